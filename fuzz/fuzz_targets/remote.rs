//! Addresses of files and repositories: any bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oxbox_builder::plan;

// Shared with the builder's property tests.
include!("text/remote.rs");

fuzz_target!(|bytes: &[u8]| exercise_remote(bytes));
