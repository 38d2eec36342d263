//! RUN through an OCI runtime: the same images as without, and nothing of it left.
//!
//! ```text
//! alike     the suite of the rungs, by runc as root, by runc and crun rootless        given     what RUN may be given
//! ends      codes, signals, Ctrl-C, kill -9                                           refused   what cannot be had
//! ```
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod alike;
mod ends;
mod given;
mod refused;
#[path = "../support/mod.rs"]
mod support;

/// The arguments of a build by runc whose RUNs are all made.
fn build<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["build", "--no-cache", "--progress", "plain", "--runtime", "runc"], arguments, &["context"]].concat()
}
