//! The JSON form of instructions: any bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oxbox_builder::dockerfile;

// Shared with the builder's property tests.
include!("text/json.rs");

fuzz_target!(|bytes: &[u8]| exercise_json(bytes));
