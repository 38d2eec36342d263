//! Our client and our engine against our own registry, over real sockets.
//!
//! ```text
//! everyday        push, pull, mount, referrers, tags, delete
//! interruptions   connections that break and a registry that restarts in the middle of a copy
//! killed          what was answered survives SIGKILL
//! crowd           many pushers, pullers and deleters at once
//! ```

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "tests")]

mod crowd;
mod everyday;
mod interruptions;
mod killed;
mod proxy;
mod setting;
