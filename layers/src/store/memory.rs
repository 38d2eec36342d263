//! A store in memory: for tests, and for documents that need no disk.

use std::collections::HashMap;
use std::io::{self, Cursor, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Blob, BlobStore, BlobWriter, Committed, StoreError};
use crate::oci::{Algorithm, Digest};

type Blobs = Arc<Mutex<HashMap<Digest, Arc<[u8]>>>>;

/// Blobs in memory; clones are the same store. Bounded by nothing but what is written.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    blobs: Blobs,
}

impl Memory {
    /// Returns an empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

fn locked(blobs: &Blobs) -> MutexGuard<'_, HashMap<Digest, Arc<[u8]>>> {
    // Each use is one call on the map: a panic elsewhere cannot have left it half-changed.
    blobs.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BlobStore for Memory {
    fn stat(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        Ok(locked(&self.blobs).get(digest).map(|bytes| bytes.len() as u64))
    }

    fn open(&self, digest: &Digest) -> Result<Option<Box<dyn Blob>>, StoreError> {
        let bytes = locked(&self.blobs).get(digest).cloned();
        Ok(bytes.map(|bytes| Box::new(Cursor::new(bytes)) as Box<dyn Blob>))
    }

    fn writer(&self, algorithm: Algorithm) -> Result<Box<dyn BlobWriter>, StoreError> {
        Ok(Box::new(MemoryWriter { blobs: Arc::clone(&self.blobs), bytes: Vec::new(), algorithm }))
    }

    fn remove(&self, digest: &Digest) -> Result<bool, StoreError> {
        Ok(locked(&self.blobs).remove(digest).is_some())
    }
}

impl Blob for Cursor<Arc<[u8]>> {
    fn size(&self) -> u64 {
        self.get_ref().len() as u64
    }
}

struct MemoryWriter {
    blobs: Blobs,
    bytes: Vec<u8>,
    algorithm: Algorithm,
}

impl MemoryWriter {
    fn committed(&self) -> Committed {
        Committed { digest: Digest::of(self.algorithm, &self.bytes), size: self.bytes.len() as u64 }
    }

    fn publish(self, digest: Digest) {
        locked(&self.blobs).entry(digest).or_insert_with(|| self.bytes.into());
    }
}

impl Write for MemoryWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for MemoryWriter {
    fn commit(self: Box<Self>) -> Result<Committed, StoreError> {
        let committed = self.committed();
        self.publish(committed.digest);
        Ok(committed)
    }

    fn commit_as(self: Box<Self>, expected: &Committed) -> Result<(), StoreError> {
        self.committed().check(expected)?;
        self.publish(expected.digest);
        Ok(())
    }
}
