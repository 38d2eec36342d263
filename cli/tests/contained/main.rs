//! What a RUN cannot do, whatever it tries, and what it may be given, on every rung.
//!
//! ```text
//! attempts     too many processes, too many files, what is left running
//! given        options where nothing can be mounted: what works, and what is refused before anything is made
//! shell        --on-error=shell below root
//! ```
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod attempts;
mod given;
mod shell;
#[path = "../support/mod.rs"]
mod support;

use support::Ran;
use support::ladder::Place;

/// Builds what a place has, anew.
fn build(place: &Place, options: &[&str]) -> Ran {
    place.run(&[&["build", "--no-cache", "--progress", "plain"], options, &["context"]].concat())
}

/// The same, and it succeeds; returns what it said.
#[track_caller]
fn built(place: &Place, options: &[&str]) -> String {
    let ran = build(place, options);
    assert_eq!(ran.code, Some(0), "{:?}: {}", place.rung, ran.stderr);
    ran.stderr
}
