//! Fixtures and generators for tests: never part of the binary.
//!
//! ```text
//! elsewhere git repositories, and servers of them and of files
//! image     images as plain bytes and JSON, written as OCI layouts
//! ```

pub mod elsewhere;
pub mod image;
