//! Configuration files that container tools share.
//!
//! ```text
//! environment   the directories they live in            auth_file   who to be: auth.json, config.json
//! certs         certs.d: which CA to trust, which        helper      docker-credential-* programs
//!               client certificate to show
//! ```
//!
//! Read-only here. `registries.conf` and `policy.json` are not read yet.

pub mod auth_file;
pub mod certs;
mod environment;
pub mod helper;

pub use environment::Environment;
