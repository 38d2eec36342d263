//! Any bytes: the Dockerfile parser, its errors' rendering, the printer, the expansion of words, the plan and the lint.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oxbox_builder::{context, dockerfile, lint, plan};

// Shared with the builder's property tests.
include!("dockerfile/exercise.rs");
include!("dockerfile/lint.rs");
include!("dockerfile/plan.rs");

fuzz_target!(|bytes: &[u8]| exercise(bytes));
