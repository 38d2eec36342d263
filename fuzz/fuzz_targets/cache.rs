//! Documents of caches: any bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oxbox_builder::depot::Document;
use oxbox_layers::oci::{Descriptor, MediaType};

// Shared with the builder's property tests.
include!("text/cache.rs");

fuzz_target!(|bytes: &[u8]| exercise_cache(bytes));
