//! The registry client against registries that misbehave on purpose, and against one that is not ours.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "tests")]

mod auth;
mod downloads;
mod lists;
mod manifests;
mod memory;
mod peer;
mod scripted;
mod setting;
mod tls;
mod transfers;
mod uploads;
mod web;
