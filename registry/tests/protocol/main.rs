//! The protocol, request by request, against a registry on a disk of its own.

// Helpers outside `#[test]` functions are tests all the same.
#![allow(clippy::unwrap_used)]

mod connections;
mod fixture;
mod interop;
mod listings;
mod manifests;
mod model;
mod pull;
mod push;
mod referrers;
mod restart;
