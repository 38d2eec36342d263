//! What can go wrong in a directory tree.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// Why a tree cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The kernel refused.
    #[error("cannot {verb} {}", .path.display())]
    Io {
        /// What was to be done.
        verb: &'static str,
        /// To what, with the root's own path in front.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Paths cannot be kept beneath a root here: the kernel is older than Linux 5.6, or a seccomp
    /// filter knows no openat2.
    #[error("cannot keep paths beneath {}: openat2 is not available", .path.display())]
    NoOpenat2 {
        /// The root.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Builds the path that an error shows: the root's own, and what follows.
pub(super) fn shown(root: &Path, path: &[u8]) -> PathBuf {
    if path.is_empty() { root.to_owned() } else { root.join(std::ffi::OsStr::from_bytes(path)) }
}

impl TreeError {
    pub(super) fn io(verb: &'static str, root: &Path, path: &[u8], error: Errno) -> Self {
        Self::Io { verb, path: shown(root, path), source: error.into() }
    }
}
