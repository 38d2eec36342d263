//! Dockerfile to layers: parser, plan, solver, executor.
//!
//! ```text
//! Dockerfile ─dockerfile─▶ AST ─plan─▶ Graph + configs ─solve─▶ [Layer] ─export─▶ Image in the store
//! ```
//!
//! Nothing here knows HTTP: base images and URLs come through [`Fetch`], which the binary implements.
//! Everything blocks, on plain threads.

pub mod build;
pub mod context;
pub mod definition;
pub mod depot;
pub mod dockerfile;
pub mod exec;
pub mod export;
pub mod fetch;
pub mod housekeeping;
pub mod lazy;
pub mod lent;
pub mod lint;
pub mod mounts;
pub mod op;
pub mod plan;
pub mod progress;
pub mod snapshot;
pub mod solve;
pub mod verify;

pub use build::{BuildError, DEFAULT_EPOCH, Request, build};
pub use definition::{Definition, Given, Origin};
pub use export::Exported;
pub use fetch::{Downloaded, Fetch, FetchError, UrlRequest, Validators};
