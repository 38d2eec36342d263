//! Compressed chunks of an earlier blob, to be taken over where the new stream has the same content.
//!
//! A chunk's compressed bytes depend on its content and the level alone, so that a blob with chunks taken
//! over is the blob that would have been written without. What is taken over is hashed first: a blob that
//! was damaged since costs the time of compressing again, and nothing else.

use std::collections::HashMap;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::{Mutex, PoisonError};

use super::Compression;
use super::chunks::{Chunk, ChunkIndex};
use super::frame;
use crate::store::{Blob, BlobStore, StoreError};

/// An earlier blob and what is known of its chunks.
pub struct Previous {
    places: HashMap<blake3::Hash, Place>,
    blob: Mutex<Option<Box<dyn Blob>>>,
}

/// A chunk and where it starts.
#[derive(Clone, Copy)]
struct Place {
    chunk: Chunk,
    offset: u64,
}

impl Previous {
    /// Returns nothing to take over.
    pub fn none() -> Self {
        Self { places: HashMap::new(), blob: Mutex::new(None) }
    }

    /// Opens the blob of an index, for a stream that is to be compressed so. If it is gone, or was
    /// compressed otherwise, there is nothing to take over.
    pub fn open(
        index: &ChunkIndex,
        compression: Compression,
        store: &dyn BlobStore,
    ) -> Result<Self, StoreError> {
        if index.compression != compression {
            return Ok(Self::none());
        }
        let blob = store.open(&index.blob.digest)?;
        let Some(blob) = blob.filter(|blob| blob.size() == index.blob.size) else { return Ok(Self::none()) };
        let mut offset = frame::head_bytes(compression);
        let mut places = HashMap::with_capacity(index.chunks.len());
        for &chunk in &index.chunks {
            places.insert(chunk.key, Place { chunk, offset });
            offset += u64::from(chunk.compressed);
        }
        Ok(Self { places, blob: Mutex::new(Some(blob)) })
    }

    /// Fills `output` with the compressed form of what has this key, if it is to be had.
    pub(super) fn find(&self, key: &blake3::Hash, output: &mut Vec<u8>) -> Option<Chunk> {
        let &Place { chunk, offset } = self.places.get(key)?;
        output.clear();
        // Whatever cannot be read or is not what it was can still be compressed.
        self.read(offset, chunk.compressed, output).ok()?;
        (blake3::hash(output) == chunk.digest).then_some(chunk)
    }

    fn read(&self, offset: u64, length: u32, output: &mut Vec<u8>) -> io::Result<()> {
        let mut blob = self.blob.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(blob) = &mut *blob else { return Ok(()) };
        blob.seek(SeekFrom::Start(offset))?;
        output.reserve(length as usize);
        blob.take(u64::from(length)).read_to_end(output)?;
        Ok(())
    }
}
