//! The binary beside other tools' programs, as Debian packages them. A program that is missing is a failure.
//!
//! ```text
//! clients    docker, podman, skopeo and ctr push to and pull from `oxbox serve`
//! built      what oxbox builds is taken by skopeo, umoci and podman, and runs
//! passage    what buildah and umoci build passes through `oxbox copy` without a changed byte
//! peer       running such programs      daemon   those that stay: private sockets and folders, gone at the end
//! ```
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod built;
mod clients;
mod daemon;
mod passage;
mod peer;
#[path = "../support/mod.rs"]
mod support;
