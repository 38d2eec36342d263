//! Real projects' Dockerfiles, in `testdata/projects`: built here, run by podman, compared with Debian's buildah.
//!
//! ```text
//! compiled · interpreted · services · shapes      the projects, by kind          idioms   odd ways to write a Dockerfile
//! workshop   the state that all share: base images, made once from Debian's packages
//! image      what a build made: its config beside the expected one, and under podman
//! containers podman and buildah, with storage of their own             tree     a root filesystem as lines
//! ```
//!
//! Base images, podman's storage and oxbox's state stay in `target/*/tmp/projects` from one run to the next, as
//! they take minutes to make. The projects themselves are built anew each time.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod containers;
mod image;
#[path = "../support/mod.rs"]
mod support;
mod tree;
mod workshop;

mod compiled;
mod idioms;
mod interpreted;
mod services;
mod shapes;
