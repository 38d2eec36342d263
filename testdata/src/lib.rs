//! Fixtures and generators for tests: never part of the binary.
//!
//! ```text
//! image     images as plain bytes and JSON, written as OCI layouts
//! ```

pub mod image;
