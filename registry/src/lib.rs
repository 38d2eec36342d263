//! A distribution registry: bytes on disk, truth in SQLite.
//!
//! ```text
//! bytes ─ server ─▶ route ─▶ handle/<resource> ─▶ storage ─▶ response
//!
//! route      method, path, query → Request       name, query, page, range, condition: its parts
//! handle/    one file for each resource           body, session: what uploads need
//! accept     which manifests are taken            error: every refusal's status and code
//! storage/   Blobs: disk, memory                  Metadata: sqlite
//! server/    the socket, and stopping in order    observe: one log line for each request
//! ```
//!
//! ```
//! use oxbox_registry::{ServeConfig, Server};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let root = tempfile::tempdir()?;
//! tokio::runtime::Runtime::new()?.block_on(async {
//!     let server = Server::bind(ServeConfig::new(root.path(), "127.0.0.1:0".parse()?)).await?;
//!     println!("listening on {}", server.local_addr());
//!     server.run(async {}).await;
//!     Ok(())
//! })
//! # }
//! ```

pub mod accept;
pub mod body;
pub mod condition;
pub mod config;
pub mod error;
mod handle;
pub mod name;
mod observe;
pub mod page;
pub mod query;
pub mod range;
pub mod registry;
pub mod route;
pub mod server;
mod session;
pub mod storage;

pub use accept::SparseIndexes;
pub use config::ServeConfig;
pub use registry::Registry;
pub use server::{Server, StartError, router};
