//! What a Dockerfile means, point by point: one test for each semantic that re-implementers get wrong.
//!
//! ```text
//! parser     1–10   lines, words, JSON, heredocs, order        other     38–46   the other instructions
//! variables  11–18  ARG, ENV and where words are expanded      layers    58–61   what a layer's bytes are
//! copy       19–37  COPY and ADD                               history   62–66   what images say of themselves
//! cache      47–55  what is made again
//! sources    51     what comes from elsewhere is known by
//! given      parsing, planning and building in one line
//! scene      a base, a context, builds, and layers as lines
//! ```
//!
//! A test is named after its number and what it states. BuildKit's behaviour is the reference, but for
//! what `docs/shortcomings.md` lists as different. Those that need a RUN (56 and 57) are with the
//! sandbox, whose tests can start one.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod cache;
mod copy;
mod given;
mod history;
mod layers;
mod other;
mod parser;
#[path = "../build/room.rs"]
mod room;
mod scene;
mod sources;
mod variables;
