//! The fuzz target's body, for the property tests.

use crate::dockerfile;

include!("../../../../fuzz/fuzz_targets/dockerfile/exercise.rs");

/// Runs the body.
pub(super) fn run(bytes: &[u8]) {
    exercise(bytes);
}
