//! What a Dockerfile means, one test for each of the numbered semantics that implementations get wrong.
//!
//! ```text
//! scene    a base, a context, builds, and layers as lines
//! copy     19 to 37: COPY and ADD           layers   58 to 61: what a layer's bytes are
//! ```
//!
//! Those that need a RUN (56 and 57) are with the sandbox, whose tests can start one.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod copy;
mod layers;
#[path = "../build/room.rs"]
#[allow(dead_code, reason = "each test binary needs a part of it")]
mod room;
mod scene;
