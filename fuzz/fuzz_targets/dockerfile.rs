//! Any bytes: the Dockerfile parser, its errors' rendering, the printer and the expansion of words.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oxbox_builder::dockerfile;

// Shared with the builder's property tests.
include!("dockerfile/exercise.rs");

fuzz_target!(|bytes: &[u8]| exercise(bytes));
