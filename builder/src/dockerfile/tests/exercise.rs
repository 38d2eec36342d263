//! The fuzz target's body, for the property tests.

use crate::{context, dockerfile, lint, plan};

include!("../../../../fuzz/fuzz_targets/dockerfile/exercise.rs");
include!("../../../../fuzz/fuzz_targets/dockerfile/lint.rs");
include!("../../../../fuzz/fuzz_targets/dockerfile/plan.rs");

/// Runs the body.
pub(crate) fn run(bytes: &[u8]) {
    exercise(bytes);
}
