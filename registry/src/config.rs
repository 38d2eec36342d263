//! What an operator decides.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::accept::SparseIndexes;

/// Where and how a registry serves. Made by [`ServeConfig::new`]; the fields may be changed after.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// The directory that holds everything; made if it is not there.
    pub root: PathBuf,
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether an index may name manifests that are not in its repository.
    pub sparse_indexes: SparseIndexes,
    /// How long requests under way may still take once the server is told to stop.
    pub drain: Duration,
    /// How long a client may be silent within a request or an answer.
    pub idle: Duration,
}

impl ServeConfig {
    /// The defaults for a root and an address.
    pub fn new(root: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Self {
            root: root.into(),
            listen,
            sparse_indexes: SparseIndexes::Refuse,
            drain: Duration::from_secs(30),
            idle: Duration::from_secs(60),
        }
    }
}
