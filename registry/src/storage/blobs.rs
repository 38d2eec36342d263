//! The contract for bytes: immutable once published, and dumb.
//!
//! ```text
//! append(upload, from) ─ push, push, … ─▶ finish ─▶ checkpoint     bytes that survive a crash, unseen
//! publish(upload, digest) ─▶ key                                   bytes that can be read, for ever
//! ```
//!
//! The store names what it keeps by a key of its own choosing. The metadata maps digests to keys, so
//! that an object store need not know the digest before the bytes are there, and a blob that is
//! removed and pushed again never shares a key with its former self.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use oxbox_layers::oci::{Algorithm, Digest};

use super::{Appender, Checkpoint, Digester, StorageError, UploadId};

/// Bytes on their way out, in order, in pieces of bounded size. Ends early only by an error.
pub type ByteStream = BoxStream<'static, Result<Bytes, StorageError>>;

/// Where a store put a blob: opaque to all others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BlobKey(pub String);

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Bytes at rest. Safe to use from many tasks at once.
pub trait Blobs: Send + Sync {
    /// Reads part of a published blob. The caller knows its size, and keeps the range within it.
    ///
    /// # Errors
    ///
    /// If the bytes are not there: whoever holds a key was promised them.
    fn read(&self, key: &BlobKey, range: Range<u64>) -> BoxFuture<'_, Result<ByteStream, StorageError>>;

    /// Keeps a blob that is whole in memory, and returns once it would survive a crash.
    ///
    /// May be repeated. The caller has checked the digest.
    fn put(&self, digest: &Digest, bytes: Bytes) -> BoxFuture<'_, Result<BlobKey, StorageError>>;

    /// Continues an upload at a checkpoint; at offset zero the upload begins.
    ///
    /// What was written behind the checkpoint is forgotten. Only one appender of an upload may be
    /// alive at a time, which callers see to.
    fn append(&self, upload: &UploadId, from: Checkpoint) -> Result<Appender, StorageError>;

    /// Reads the first `size` bytes of an upload back and returns their running hash.
    fn rehash(
        &self,
        upload: &UploadId,
        size: u64,
        algorithm: Algorithm,
    ) -> BoxFuture<'_, Result<Digester, StorageError>>;

    /// Publishes the first `size` bytes of an upload, and returns once they would survive a crash.
    ///
    /// Atomic: never are fewer bytes seen. May be repeated, also after a crash between this and the
    /// metadata; racing publishers of one digest all succeed. The caller has checked the digest.
    fn publish(
        &self,
        upload: &UploadId,
        size: u64,
        digest: &Digest,
    ) -> BoxFuture<'_, Result<BlobKey, StorageError>>;

    /// Drops an upload's bytes. May be repeated; what is missing is dropped already.
    fn discard(&self, upload: &UploadId) -> BoxFuture<'_, Result<(), StorageError>>;
}
