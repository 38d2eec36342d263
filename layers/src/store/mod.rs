//! Blobs at rest, and the contract that every store keeps.
//!
//! ```text
//! writer() ─ Write, Write, … ─▶ commit()     publishes under the digest that was hashed on the way
//!                              └ drop        leaves nothing that a reader could see
//! ```
//!
//! Stores are shared: `&self` everywhere, by many threads and many processes at once.
//!
//! ```text
//! layout     a standard OCI image layout on disk     names: its index.json     sweep: takes what no entry reaches
//! memory     the same contract without a disk        verify: content checked while it is read
//! prune      takes entries without a name, and sweeps
//! disk owned reach session writer                    what a layout is made of
//! ```

#[cfg(test)]
mod contract;
mod disk;
pub mod layout;
pub mod memory;
pub mod names;
mod owned;
pub mod prune;
mod reach;
mod session;
pub mod sweep;
pub mod verify;
mod writer;

pub use layout::Layout;
pub use memory::Memory;
pub use names::Entries;
pub use prune::Pruned;
pub use reach::ReachError;
pub use sweep::{Sweep, Swept};
pub use verify::{ReadError, Verified, read_document, read_small};

use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;

use crate::oci::{Algorithm, Descriptor, Digest};

/// Content by digest. Safe to use from many threads and, where the store is on disk, many processes.
pub trait BlobStore: Send + Sync {
    /// Returns the blob's size in bytes, or `None` if it is not here. Reads no content.
    fn stat(&self, digest: &Digest) -> Result<Option<u64>, StoreError>;

    /// Opens a blob from its start, or returns `None` if it is not here.
    ///
    /// The content is what was committed; whoever distrusts the disk re-hashes while reading.
    /// A blob that is removed later stays readable through what was opened.
    fn open(&self, digest: &Digest) -> Result<Option<Box<dyn Blob>>, StoreError>;

    /// Starts a blob whose digest will be of `algorithm`.
    fn writer(&self, algorithm: Algorithm) -> Result<Box<dyn BlobWriter>, StoreError>;

    /// Removes a blob; `false` if it was not here. May be repeated.
    fn remove(&self, digest: &Digest) -> Result<bool, StoreError>;
}

/// An open blob.
pub trait Blob: Read + Seek + Send {
    /// Returns the blob's size in bytes.
    fn size(&self) -> u64;
}

/// A blob being written: hashed as it comes, invisible until committed, gone if dropped.
pub trait BlobWriter: Write + Send {
    /// Publishes what was written under the digest that was hashed on the way.
    ///
    /// Atomic: readers see the whole blob or none. May be repeated: `Ok` means the content is in the
    /// store, not that this call put it there, so racing writers of one blob all succeed.
    /// Blocks until the bytes would survive a crash.
    fn commit(self: Box<Self>) -> Result<Committed, StoreError>;

    /// Publishes only if size and digest are the promised ones.
    ///
    /// # Errors
    ///
    /// [`StoreError::Mismatch`], and nothing is published.
    fn commit_as(self: Box<Self>, expected: &Committed) -> Result<(), StoreError>;
}

/// A blob's digest and size: what a store knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Digest of the bytes.
    pub digest: Digest,
    /// How many bytes.
    pub size: u64,
}

impl Committed {
    /// Refuses content that is other than was promised.
    ///
    /// # Errors
    ///
    /// [`StoreError::Mismatch`] with both.
    pub fn check(&self, expected: &Self) -> Result<(), StoreError> {
        if self == expected {
            return Ok(());
        }
        Err(StoreError::Mismatch {
            expected: expected.digest,
            expected_size: expected.size,
            actual: self.digest,
            actual_size: self.size,
        })
    }
}

impl From<&Descriptor> for Committed {
    fn from(descriptor: &Descriptor) -> Self {
        Self { digest: descriptor.digest, size: descriptor.size }
    }
}

/// Why a store could not do as asked. A missing blob is never an error.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The content is other than was promised.
    #[error("content is {actual} ({actual_size} bytes) but {expected} ({expected_size} bytes) was promised")]
    Mismatch {
        /// What was promised.
        expected: Digest,
        /// Bytes that were promised.
        expected_size: u64,
        /// What came.
        actual: Digest,
        /// Bytes that came.
        actual_size: u64,
    },
    /// The blob is not here yet, and could not be brought in from where it is.
    #[error("cannot bring in {digest}")]
    Elsewhere {
        /// The blob.
        digest: Digest,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
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
    /// The directory is not an OCI layout that this program understands.
    #[error("{path} is not an OCI image layout: {reason}", path = .path.display())]
    NotALayout {
        /// The directory.
        path: PathBuf,
        /// What is wrong, as the reader found it.
        reason: String,
    },
    /// An entry was to be listed whose blob is not here; a sweep may have taken it.
    #[error("cannot list {digest} in {path}: the blob is not there", path = .path.display())]
    Unlisted {
        /// The blob that is missing.
        digest: Digest,
        /// The index.
        path: PathBuf,
    },
}
