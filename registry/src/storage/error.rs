//! What may go wrong below the handlers. A missing thing is never an error here.
//!
//! Nothing of this reaches a client: `crate::error` logs it and says only that something broke.

use std::io;
use std::path::PathBuf;

/// Why bytes or metadata could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The system refused.
    #[error("cannot {verb} {path}", path = .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The database refused.
    #[error("cannot {verb} in the metadata database")]
    Database {
        /// What was tried.
        verb: &'static str,
        /// Why not.
        #[source]
        source: rusqlite::Error,
    },
    /// The database holds something that this program would not write.
    #[error("the metadata database holds a broken {what}: {value:?}")]
    Broken {
        /// What it should be.
        what: &'static str,
        /// What it is.
        value: String,
    },
    /// The database was written by a later version of this program.
    #[error("{path} has schema {found}, but this program knows no later one than {known}", path = .path.display())]
    TooNew {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest known one.
        known: i64,
    },
    /// Bytes that the metadata promises are not where they should be.
    #[error("{what} has {actual} bytes where {expected} were promised")]
    Short {
        /// Blob or upload.
        what: String,
        /// Bytes that are promised.
        expected: u64,
        /// Bytes that are there.
        actual: u64,
    },
    /// Another process serves the same root.
    #[error("{path} is served by another process already", path = .path.display())]
    Locked {
        /// The root.
        path: PathBuf,
    },
    /// The transaction that this was part of could not be committed; the log says why.
    #[error("cannot commit to the metadata database{}", if *.full { ": no space left" } else { "" })]
    NotCommitted {
        /// Whether there was no space left.
        full: bool,
    },
    /// The server is going down.
    #[error("the storage is closed")]
    Closed,
}

impl StorageError {
    /// Names what was tried on which file.
    pub(crate) fn io(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { verb, path, source }
    }

    /// Names what was tried in the database.
    pub(crate) fn database(verb: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Database { verb, source }
    }

    /// Whether there is no space left: the operator's fault, not the client's.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Database { source, .. } => is_full(source),
            Self::NotCommitted { full } => *full,
            _ => false,
        }
    }
}

/// Whether the database found no space left.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
}
