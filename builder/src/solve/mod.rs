//! Graph → layers: each vertex looked up by its keys, or made.
//!
//! ```text
//!                      ┌──────── look ────────┐ ┌───────────────── make ─────────────────┐
//! vertex ─define▶ definition key ─▶ derivation ─▶ content key ─▶ record ─▶ layer
//!                                        └miss▶ inputs ─▶ content key ─▶ record ─▶ layer
//!                                                                          └miss▶ op ▶ layer ▶ both
//! ```
//!
//! | room | holds |
//! |---|---|
//! | `schedule` | what is made when; knows nothing of builds |
//! | `solver` | all that a solver works with, and what comes out |
//! | `answer` | both halves of the drawing, for every vertex of a graph |
//! | `define`, `gather` | definition keys, and what steps read of contexts |
//! | `job` | one COPY, ADD or WORKDIR: its content key, and how its layer is made |
//! | `mounted` | RUN: what its mounts are made of |
//! | `found` | what keys led to, here or elsewhere |
//! | `key` | keys |
//! | `lock` | one maker for each key, over all processes |
//! | `outline` | stacks of layers that share what is below |
//! | `reuse` | what must be made again because somebody says so |
//! | `settled` | whether what was guessed fits what was made |
//! | `explain` | why a step was made |
//! | `beside` | layers unpacked for a RUN while they are written |
//! | `cache`, `indexes` | what earlier builds left |
//!
//! # Two keys
//!
//! A *content key* is of what a step does and of what comes into it, whatever that was made of. It finds
//! what is the same although its description changed, so that looking goes on after a miss; but all that
//! comes in must be at hand to be looked at.
//!
//! A *definition key* is of what a step does and of the definitions of its inputs, down to files and base
//! images. It can be had before anything is made. So a `COPY --from=build` whose stage did not change is
//! answered though nothing of that stage is left here but records, or not even these.
//!
//! One definition may have led to different layers: `RUN date` does so whenever it is made again. What
//! such a step led to last is what everything in a build must agree on, or an image would hold the output
//! of one run beside what was made from another. So a definition is noted along with what was below (by
//! chain_id) and what every other input was, and counts only if
//!
//! - what is below now is what was below then: that is always made or found first, since its layers are
//!   part of the result;
//! - no other input is known to be something else by now: not by what this build made of it, nor, if it
//!   was not needed, by its own definition's note. An input without a note was forgotten, not changed.
//!
//! A stage that is made again because somebody says so (`--no-cache-filter`), or because something below
//! it changed, is waited for and never guessed. If an input that had been taken for unchanged, or what
//! it was made of, is made after all, since another step needs its files, and comes out as something
//! else, the graph is solved once more; by then all of it is noted, and nothing is guessed any more.

mod answer;
mod beside;
pub mod cache;
mod define;
pub mod downloads;
pub mod explain;
mod found;
mod gather;
pub mod indexes;
mod job;
pub mod key;
pub mod lock;
mod mounted;
mod outline;
mod reuse;
pub mod schedule;
mod settled;
pub mod solver;
mod source;

pub use answer::{Answered, Asked, solve};
pub use beside::stood_on;
pub use cache::usage::Remembered;
pub use cache::{Cache, CacheError};
pub use explain::Explanation;
pub use found::Conclusion;
pub use indexes::{Indexes, IndexesError};
pub use key::{Key, KeyHasher};
pub use lock::{LockError, Locks};
pub use reuse::Reuse;
pub use schedule::Cancel;
pub use solver::{SolveError, Solved, Workshop};

use crate::exec::Interrupt;
use crate::op::copy::CopyError;

/// Between files is often enough: even a large one takes seconds.
fn check(interrupt: &Interrupt) -> Result<(), CopyError> {
    if interrupt.is_sent() { Err(CopyError::Interrupted) } else { Ok(()) }
}
