//! A blob that was written here, read by positions in what was compressed: a chunk at a time.
//!
//! ```text
//! position ─▶ chunk ─▶ its place in the blob ─▶ decompressed ─▶ blake3 is its key? ─▶ the bytes wanted
//! ```
//!
//! Chunks refer to nothing before them (`cut.rs`), so that a few files of a large layer cost a few chunks,
//! not the whole blob. Where chunks are, and what they hash to, says the index that was noted when the blob
//! was written: what does not match it is an error, never a content.

use std::io::{self, Read, Seek as _, SeekFrom};
use std::sync::Arc;

use flate2::{Decompress, FlushDecompress};

use super::Compression;
use super::chunks::{Chunk, ChunkIndex};
use super::frame;
use crate::oci::Digest;
use crate::store::{Blob, BlobStore, StoreError};

/// Why a part of a blob cannot be read. It comes as the inner error of an [`io::Error`].
#[derive(Debug, thiserror::Error)]
pub enum PieceError {
    /// The chunk is not what was written.
    #[error("blob {blob} is damaged at byte {offset}")]
    Damaged {
        /// Which blob.
        blob: Digest,
        /// Where the chunk starts in it.
        offset: u64,
    },
    /// The index does not speak of that position.
    #[error("no chunk of blob {blob} holds position {position}")]
    Beyond {
        /// Which blob.
        blob: Digest,
        /// A position in the bytes before compression.
        position: u64,
    },
}

/// Where the chunks of an index start, before compression.
#[derive(Debug, Clone)]
pub struct Positions {
    index: Arc<ChunkIndex>,
    starts: Vec<u64>,
}

impl Positions {
    /// Looks at all chunks once.
    pub fn of(index: Arc<ChunkIndex>) -> Self {
        let mut next = 0;
        let start = |chunk: &Chunk| {
            let start = next;
            next += u64::from(chunk.size);
            start
        };
        let starts = index.chunks.iter().map(start).collect();
        Self { index, starts }
    }

    /// Tells whether `length` bytes at `at` are the same as those at `other_at` of another blob, as far as
    /// chunks tell: those that hold the bytes must be there in both, at the same distance. `false` may be
    /// wrong, `true` is not.
    pub fn same(&self, at: u64, length: u64, other: &Self, other_at: u64) -> bool {
        let end = at.saturating_add(length);
        let Some(mut next) = self.holding(at) else { return false };
        loop {
            let (Some(chunk), Some(&start)) = (self.index.chunks.get(next), self.starts.get(next)) else {
                return false;
            };
            let Some(theirs) = (start + other_at).checked_sub(at) else { return false };
            let Ok(found) = other.starts.binary_search(&theirs) else { return false };
            let found = &other.index.chunks[found];
            if (found.key, found.size) != (chunk.key, chunk.size) {
                return false;
            }
            next += 1;
            if start + u64::from(chunk.size) >= end {
                return true;
            }
        }
    }

    /// Returns the chunk that holds a position.
    fn holding(&self, position: u64) -> Option<usize> {
        let next = self.starts.partition_point(|&start| start <= position).checked_sub(1)?;
        let end = self.starts[next] + u64::from(self.index.chunks[next].size);
        (position < end).then_some(next)
    }
}

/// An open blob and its chunks.
pub struct Pieces {
    positions: Positions,
    /// Where each chunk starts in the blob.
    offsets: Vec<u64>,
    blob: Box<dyn Blob>,
    /// The chunk whose bytes are at hand.
    held: Option<usize>,
    content: Vec<u8>,
    packed: Vec<u8>,
}

impl Pieces {
    /// Opens the blob of an index; `None` if it is gone or of another size.
    pub fn open(index: Arc<ChunkIndex>, store: &dyn BlobStore) -> Result<Option<Self>, StoreError> {
        let blob = store.open(&index.blob.digest)?;
        let Some(blob) = blob.filter(|blob| blob.size() == index.blob.size) else { return Ok(None) };
        let mut next = frame::head_bytes(index.compression);
        let offset = |chunk: &Chunk| {
            let offset = next;
            next += u64::from(chunk.compressed);
            offset
        };
        let offsets = index.chunks.iter().map(offset).collect();
        let (content, packed) = (Vec::new(), Vec::new());
        Ok(Some(Self { positions: Positions::of(index), offsets, blob, held: None, content, packed }))
    }

    /// Returns a reader of `length` bytes from a position on. Its errors may hold a [`PieceError`].
    pub fn range(&mut self, position: u64, length: u64) -> Range<'_> {
        Range { pieces: self, position, left: length }
    }

    /// Has the chunk at hand that holds a position; returns where the chunk starts.
    fn hold(&mut self, position: u64) -> io::Result<u64> {
        let index = &self.positions.index;
        let blob = index.blob.digest;
        let next = self.positions.holding(position);
        let next = next.ok_or_else(|| io::Error::other(PieceError::Beyond { blob, position }))?;
        let start = self.positions.starts[next];
        if self.held == Some(next) {
            return Ok(start);
        }
        self.held = None;
        let (chunk, offset) = (index.chunks[next], self.offsets[next]);
        self.blob.seek(SeekFrom::Start(offset))?;
        self.packed.clear();
        self.packed.reserve_exact(chunk.compressed as usize);
        (&mut self.blob).take(u64::from(chunk.compressed)).read_to_end(&mut self.packed)?;
        let decoded = decode(index.compression, &mut self.packed, chunk.size as usize, &mut self.content);
        if decoded.is_err() || blake3::hash(&self.content) != chunk.key {
            let error = PieceError::Damaged { blob, offset };
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        self.held = Some(next);
        Ok(start)
    }
}

/// Fills `content` with what a chunk was before compression.
fn decode(
    compression: Compression,
    packed: &mut Vec<u8>,
    size: usize,
    content: &mut Vec<u8>,
) -> io::Result<()> {
    content.clear();
    match compression {
        Compression::None => std::mem::swap(packed, content),
        Compression::Gzip { .. } => {
            // One more byte: a chunk that is longer than it says must show.
            content.reserve_exact(size + 1);
            Decompress::new(false).decompress_vec(packed, content, FlushDecompress::Sync)?;
        }
        Compression::Zstd { .. } => {
            content.reserve_exact(size);
            zstd::bulk::Decompressor::new()?.decompress_to_buffer(packed, content)?;
        }
    }
    Ok(())
}

/// A reader of a part; see [`Pieces::range`].
pub struct Range<'a> {
    pieces: &'a mut Pieces,
    position: u64,
    left: u64,
}

impl Read for Range<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let start = self.pieces.hold(self.position)?;
        let content = &self.pieces.content[(self.position - start) as usize..];
        let count = content.len().min(buffer.len()).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        buffer[..count].copy_from_slice(&content[..count]);
        self.position += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::sync::Arc;

    use super::{Pieces, Positions};
    use crate::compress::{ChunkIndex, Compression, Previous, compressor};
    use crate::oci::Algorithm;
    use crate::store::{BlobStore, Layout, Memory};

    const ALL: [Compression; 3] =
        [Compression::None, Compression::Gzip { level: 1 }, Compression::Zstd { level: 1 }];

    fn noise(size: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8 % 50
        };
        (0..size).map(next).collect()
    }

    fn write(store: &dyn BlobStore, compression: Compression, bytes: &[u8]) -> Arc<ChunkIndex> {
        let writer = store.writer(Algorithm::Sha256).unwrap();
        let mut writer = compressor(compression, 2, writer).splice(Previous::none());
        writer.write_all(bytes).unwrap();
        let finished = writer.finish_hashed().unwrap();
        let blob = finished.writer.commit().unwrap();
        Arc::new(ChunkIndex::of_written(compression, blob, finished.chunks.unwrap()))
    }

    #[test]
    fn any_part_of_a_blob_is_what_was_written_there() {
        let (store, bytes) = (Memory::new(), noise(9_000_000, 1));
        for compression in ALL {
            let mut pieces = Pieces::open(write(&store, compression, &bytes), &store).unwrap().unwrap();
            for (start, length) in [(0, 10), (8_999_990, 10), (3_000_000, 5_000_000), (1, 1), (5, 0)] {
                let mut read = Vec::new();
                pieces.range(start as u64, length as u64).read_to_end(&mut read).unwrap();
                assert!(read == bytes[start..start + length], "{compression} {start} {length}");
            }
            let mut read = Vec::new();
            assert!(pieces.range(8_999_990, 11).read_to_end(&mut read).is_err());
        }
    }

    #[test]
    fn a_damaged_chunk_is_an_error_and_the_others_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let (store, bytes) = (Layout::create(folder.path()).unwrap(), noise(9_000_000, 1));
        for compression in ALL {
            let index = write(&store, compression, &bytes);
            let path = store.blob_path(&index.blob().digest);
            let mut blob = std::fs::read(&path).unwrap();
            blob[1000] ^= 1;
            std::fs::write(&path, blob).unwrap();
            let mut pieces = Pieces::open(index, &store).unwrap().unwrap();
            let mut read = Vec::new();
            assert!(pieces.range(0, 100).read_to_end(&mut read).is_err());
            pieces.range(8_000_000, 1000).read_to_end(&mut read).unwrap();
            assert!(read == bytes[8_000_000..8_001_000]);
        }
    }

    #[test]
    fn parts_are_the_same_where_all_their_chunks_are_at_the_same_distance() {
        let (store, bytes) = (Memory::new(), noise(12_000_000, 1));
        let longer = [b"inserted", &bytes[..6_000_000], b"and more", &bytes[6_000_000..]].concat();
        let positions = |bytes: &[u8]| Positions::of(write(&store, Compression::Gzip { level: 1 }, bytes));
        let (old, new) = (positions(&bytes), positions(&longer));
        assert!(old.same(0, 12_000_000, &old, 0));
        assert!(!old.same(0, 10, &new, 8), "the first chunk has changed");
        assert!(old.same(4_000_000, 1000, &new, 4_000_008));
        assert!(!old.same(4_000_000, 1000, &new, 4_000_009));
        assert!(!old.same(4_000_000, 4_000_000, &new, 4_000_008), "across what was inserted");
        assert!(old.same(11_000_000, 1_000_000, &new, 11_000_016));
        assert!(!old.same(11_000_000, 1_000_001, &new, 11_000_016), "beyond the end");
        assert!(!new.same(8, 10, &old, 0));
    }
}
