//! Ignore files: any bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oxbox_builder::context;

// Shared with the builder's property tests.
include!("text/ignore.rs");

fuzz_target!(|bytes: &[u8]| exercise_ignore(bytes));
