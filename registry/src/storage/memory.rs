//! Blobs in memory: for tests, and for a registry that forgets.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use futures_util::{FutureExt, StreamExt, stream};
use oxbox_layers::oci::{Algorithm, Digest};

use super::append::Sink;
use super::{Appender, BlobKey, Blobs, ByteStream, Checkpoint, Digester, StorageError, UploadId};

/// Blobs that are gone with the process.
#[derive(Debug, Default, Clone)]
pub struct Memory(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    blobs: HashMap<BlobKey, Bytes>,
    uploads: HashMap<UploadId, Vec<u8>>,
}

impl Memory {
    /// Starts with nothing.
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("because no holder of the lock panics")
    }

    fn upload(&self, upload: &UploadId, size: u64) -> Result<Vec<u8>, StorageError> {
        let kept = self.kept();
        let bytes = kept.uploads.get(upload).map(Vec::as_slice).unwrap_or_default();
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        bytes.get(..size).map(<[u8]>::to_vec).ok_or_else(|| short(upload, size, bytes.len()))
    }
}

fn key(digest: &Digest) -> BlobKey {
    BlobKey(digest.to_string())
}

fn short(what: &impl ToString, expected: usize, actual: usize) -> StorageError {
    StorageError::Short { what: what.to_string(), expected: expected as u64, actual: actual as u64 }
}

impl Blobs for Memory {
    fn read(&self, key: &BlobKey, range: Range<u64>) -> BoxFuture<'_, Result<ByteStream, StorageError>> {
        let bytes = self.kept().blobs.get(key).cloned().unwrap_or_default();
        let (start, end) = (range.start as usize, range.end as usize);
        let result = if end <= bytes.len() {
            Ok(stream::iter([Ok(bytes.slice(start..end))]).boxed())
        } else {
            Err(short(key, end, bytes.len()))
        };
        ready(result).boxed()
    }

    fn put(&self, digest: &Digest, bytes: Bytes) -> BoxFuture<'_, Result<BlobKey, StorageError>> {
        self.kept().blobs.insert(key(digest), bytes);
        ready(Ok(key(digest))).boxed()
    }

    fn append(&self, upload: &UploadId, from: Checkpoint) -> Result<Appender, StorageError> {
        let (kept, upload, offset) = (self.clone(), upload.clone(), from.offset);
        let open = move || {
            let begun = kept.upload(&upload, offset)?;
            kept.kept().uploads.insert(upload.clone(), begun);
            Ok(Tail { kept, upload })
        };
        Appender::start(open, from)
    }

    fn rehash(
        &self,
        upload: &UploadId,
        size: u64,
        algorithm: Algorithm,
    ) -> BoxFuture<'_, Result<Digester, StorageError>> {
        let hashed = self.upload(upload, size).map(|bytes| {
            let mut digester = Digester::new(algorithm);
            digester.update(&bytes);
            digester
        });
        ready(hashed).boxed()
    }

    fn publish(
        &self,
        upload: &UploadId,
        size: u64,
        digest: &Digest,
    ) -> BoxFuture<'_, Result<BlobKey, StorageError>> {
        let key = key(digest);
        let published = self.upload(upload, size);
        let mut kept = self.kept();
        kept.uploads.remove(upload);
        let result = match published {
            Ok(bytes) => {
                kept.blobs.insert(key.clone(), bytes.into());
                Ok(key)
            }
            Err(_) if kept.blobs.get(&key).is_some_and(|blob| blob.len() as u64 == size) => Ok(key),
            Err(error) => Err(error),
        };
        ready(result).boxed()
    }

    fn discard(&self, upload: &UploadId) -> BoxFuture<'_, Result<(), StorageError>> {
        self.kept().uploads.remove(upload);
        ready(Ok(())).boxed()
    }
}

struct Tail {
    kept: Memory,
    upload: UploadId,
}

impl Sink for Tail {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.kept.kept().uploads.entry(self.upload.clone()).or_default().extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    fn forget(&mut self, offset: u64) -> Result<(), StorageError> {
        if let Some(bytes) = self.kept.kept().uploads.get_mut(&self.upload) {
            bytes.truncate(usize::try_from(offset).unwrap_or(usize::MAX));
        }
        Ok(())
    }
}
