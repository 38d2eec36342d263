//! Builds that end badly: killed at any moment, or interrupted, on every rung. Nothing stays that should not, and the
//! next build goes on as if nothing had been.
//!
//! ```text
//! workload       the build         moment     when it ends
//! kill           SIGKILL           interrupt  SIGINT, SIGTERM
//! ```
//!
//! `OXBOX_TEST_KILLS` says how many times each build is ended, `OXBOX_TEST_SEED` repeats the moments of a run.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod interrupt;
mod kill;
mod moment;
#[path = "../support/mod.rs"]
mod support;
mod workload;
