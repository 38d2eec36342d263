//! Files from elsewhere, one vertex at a time: servers and repositories are on this machine, and misbehave
//! as they are told.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod git;
mod http;
mod local;
mod room;
