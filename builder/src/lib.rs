//! Dockerfile to layers: parser, plan, solver, executor.
//!
//! ```text
//! Dockerfile ─dockerfile─▶ AST ─plan─▶ Graph + configs ─solve─▶ [Layer] ─export─▶ Image in the store
//! ```
//!
//! Nothing here knows HTTP: base images and URLs come through [`Fetch`], which the binary implements.
//! Everything blocks, on plain threads.

pub mod dockerfile;
pub mod exec;
pub mod fetch;
pub mod plan;
pub mod snapshot;

pub use fetch::{Fetch, FetchError, Fetched};
