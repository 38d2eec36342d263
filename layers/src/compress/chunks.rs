//! What the chunks of a written blob are and where: with it, the next blob takes over what has not changed.
//!
//! ```text
//! "oxlc" 01 │ engine 8 │ format 1 │ level 1 │ blob: sha256 32, size 8 │ chunk │ … │ blake3 of all this 32
//! chunk     = key 32 │ size 4 │ crc32 4 │ digest 32 │ compressed size 4
//! ```
//!
//! Numbers are little endian. The key is blake3 of the chunk's bytes before compression, the digest blake3
//! of those after it. The chunks stand in the blob in this order without gaps, from its first byte on
//! (gzip: after its head of 10 bytes). 76 bytes for about a MiB of tar.
//!
//! An index is a hint that saves time. It may be lost, be of another time, or name a blob that is gone or
//! damaged: then chunks are compressed, to the same bytes. Splicing is in `splice.rs`.

use super::Compression;
use super::cut::Lengths;
use crate::oci::{Algorithm, Digest};
use crate::store::Committed;

const MAGIC: &[u8; 5] = b"oxlc\x01";

/// 20 MB of index for some 300 GB of tar. Of what is beyond, nothing is remembered.
const MAX_CHUNKS: usize = 1 << 18;

const HASH_BYTES: usize = 32;

const ENGINE_BYTES: usize = 8;

const HEAD_BYTES: usize = MAGIC.len() + ENGINE_BYTES + 2 + HASH_BYTES + 8;

const CHUNK_BYTES: usize = HASH_BYTES + 4 + 4 + HASH_BYTES + 4;

/// What the engines write, as digests of samples that they compressed. A test compares; whoever changes
/// these changes the digest of every layer, and makes all kept indexes void, since their blobs hold
/// what would now be written otherwise.
///
/// gzip at its default and at 9, zstd at its default, then a shorter sample at all levels of each.
pub(super) const ENGINES: [&str; 5] = [
    "sha256:d39946654fd03082ecf994048db02429708b18239582d04169e21b72a64ecc74",
    "sha256:f1bb86cef27e955aecc3653313196c46eca970470c5c826f122a8cfc6b47240a",
    "sha256:8fb6003cb15ac93a9397956e9e02b16c345456a8e6c9c118b10278526f2d5470",
    "sha256:a0f1b61d286c32a1a5ad47881e48e15bc13d3cb0f2543d185f0d3ee4288a68c7",
    "sha256:a7c4d6871d49366dbd51eafc07e597de01a2a1539204f46a7c8d383a448d0dfd",
];

/// One chunk of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    /// blake3 of the bytes before compression.
    pub(super) key: blake3::Hash,
    /// How many they are.
    pub(super) size: u32,
    /// Their CRC-32; zero where the format wants none.
    pub(super) crc: u32,
    /// blake3 of the compressed bytes.
    pub(super) digest: blake3::Hash,
    /// How many they are.
    pub(super) compressed: u32,
}

impl Chunk {
    /// Returns the chunk of bytes that are written as they are.
    pub(super) fn plain(bytes: &[u8]) -> Self {
        let key = blake3::hash(bytes);
        let size = u32::try_from(bytes.len()).expect("because no chunk is longer than a few MiB");
        Self { key, size, crc: 0, digest: key, compressed: size }
    }
}

/// The chunks of one blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkIndex {
    pub(super) compression: Compression,
    pub(super) blob: Committed,
    pub(super) chunks: Vec<Chunk>,
}

/// Packed bytes are no index of chunks, or one that is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkIndexError {
    /// They are not what was packed.
    #[error("packed index of chunks is damaged, or of another version")]
    Malformed,
    /// The blob was compressed by a program whose compressed bytes differ.
    #[error("packed index of chunks is of another compression engine")]
    Engine,
}

impl ChunkIndex {
    /// Joins the chunks that were written to the blob that they became.
    pub(crate) fn of_written(compression: Compression, blob: Committed, written: WrittenChunks) -> Self {
        Self { compression, blob, chunks: written.chunks }
    }

    /// Returns digest and size of the blob that the chunks are in.
    pub fn blob(&self) -> &Committed {
        &self.blob
    }

    /// Returns how the blob is compressed. Chunks are of use for the same compression only.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Returns how many bytes the chunks are before compression.
    pub fn size(&self) -> u64 {
        self.chunks.iter().map(|chunk| u64::from(chunk.size)).sum()
    }

    /// Returns the packed form, which checks itself when it is read.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.chunks.len() * CHUNK_BYTES + HASH_BYTES);
        let (format, level) = match self.compression {
            Compression::None => (0, 0),
            Compression::Gzip { level } => (1, level),
            Compression::Zstd { level } => (2, level),
        };
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&engine());
        bytes.extend_from_slice(&[format, level]);
        bytes.extend_from_slice(self.blob.digest.hash());
        bytes.extend_from_slice(&self.blob.size.to_le_bytes());
        for chunk in &self.chunks {
            bytes.extend_from_slice(chunk.key.as_bytes());
            bytes.extend_from_slice(&chunk.size.to_le_bytes());
            bytes.extend_from_slice(&chunk.crc.to_le_bytes());
            bytes.extend_from_slice(chunk.digest.as_bytes());
            bytes.extend_from_slice(&chunk.compressed.to_le_bytes());
        }
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        bytes
    }

    /// Reads what [`ChunkIndex::to_bytes`] packed.
    ///
    /// # Errors
    ///
    /// [`ChunkIndexError`]; the index is then of no use, and nothing is lost.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ChunkIndexError> {
        let (body, hash) = bytes.split_last_chunk::<HASH_BYTES>().ok_or(ChunkIndexError::Malformed)?;
        if blake3::hash(body) != *hash {
            return Err(ChunkIndexError::Malformed);
        }
        let mut fields = Fields(body);
        if fields.next()? != *MAGIC {
            return Err(ChunkIndexError::Malformed);
        }
        if fields.next()? != engine() {
            return Err(ChunkIndexError::Engine);
        }
        let compression = match fields.next()? {
            [0, 0] => Compression::None,
            [1, level] => Compression::Gzip { level },
            [2, level] => Compression::Zstd { level },
            _ => return Err(ChunkIndexError::Malformed),
        };
        let digest = Digest::from_hash(Algorithm::Sha256, &fields.next::<HASH_BYTES>()?)
            .ok_or(ChunkIndexError::Malformed)?;
        let blob = Committed { digest, size: u64::from_le_bytes(fields.next()?) };
        let mut chunks = Vec::with_capacity(fields.0.len() / CHUNK_BYTES);
        while !fields.0.is_empty() {
            chunks.push(chunk(&mut fields, compression)?);
        }
        Ok(Self { compression, blob, chunks })
    }
}

fn chunk(fields: &mut Fields<'_>, compression: Compression) -> Result<Chunk, ChunkIndexError> {
    let chunk = Chunk {
        key: fields.next()?.into(),
        size: u32::from_le_bytes(fields.next()?),
        crc: u32::from_le_bytes(fields.next()?),
        digest: fields.next()?.into(),
        compressed: u32::from_le_bytes(fields.next()?),
    };
    let most = Lengths::noted(compression).most;
    // No format makes bytes twice as many.
    if chunk.size as usize > most || chunk.compressed as usize > 2 * most {
        return Err(ChunkIndexError::Malformed);
    }
    Ok(chunk)
}

/// Names the engines by what they write.
fn engine() -> [u8; ENGINE_BYTES] {
    let hash = blake3::hash(ENGINES.concat().as_bytes());
    *hash.as_bytes().first_chunk().expect("because a blake3 hash is longer")
}

/// The fields of a packed index, each of a fixed length.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn next<const N: usize>(&mut self) -> Result<[u8; N], ChunkIndexError> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(ChunkIndexError::Malformed)?;
        self.0 = rest;
        Ok(*field)
    }
}

/// Chunks in the order they were written, until their blob has a name.
#[derive(Debug, Default)]
pub(crate) struct WrittenChunks {
    chunks: Vec<Chunk>,
}

impl WrittenChunks {
    pub(super) fn push(&mut self, chunk: Chunk) {
        if self.chunks.len() < MAX_CHUNKS {
            self.chunks.push(chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Chunk, ChunkIndex, ChunkIndexError, HASH_BYTES, MAGIC};
    use crate::compress::Compression;
    use crate::oci::Digest;
    use crate::store::Committed;

    fn index(chunks: u32, compression: Compression) -> ChunkIndex {
        let chunk = |at: u32| Chunk {
            key: blake3::hash(&at.to_le_bytes()),
            size: 1_000_000 + at,
            crc: at.wrapping_mul(0x9e37_79b9),
            digest: blake3::hash(&[at as u8]),
            compressed: 300_000 + at,
        };
        let blob = Committed { digest: Digest::sha256(b"blob"), size: 1 << 40 };
        ChunkIndex { compression, blob, chunks: (0..chunks).map(chunk).collect() }
    }

    #[test]
    fn what_was_packed_is_read_back() {
        for compression in [Compression::Gzip { level: 9 }, Compression::ZSTD, Compression::None] {
            for chunks in [0, 1, 300] {
                let index = index(chunks, compression);
                assert_eq!(ChunkIndex::from_bytes(&index.to_bytes()), Ok(index));
            }
        }
    }

    #[test]
    fn an_index_of_another_engine_is_told_from_a_damaged_one() {
        let mut bytes = index(2, Compression::GZIP).to_bytes();
        bytes.truncate(bytes.len() - HASH_BYTES);
        bytes[MAGIC.len()] ^= 1;
        let hash = blake3::hash(&bytes);
        bytes.extend(hash.as_bytes());
        assert_eq!(ChunkIndex::from_bytes(&bytes), Err(ChunkIndexError::Engine));
    }

    #[test]
    fn a_chunk_longer_than_any_is_refused() {
        let mut index = index(1, Compression::GZIP);
        index.chunks[0].compressed = u32::MAX;
        assert_eq!(ChunkIndex::from_bytes(&index.to_bytes()), Err(ChunkIndexError::Malformed));
    }

    proptest! {
        #[test]
        fn a_changed_or_cut_index_is_refused(at in 0.0_f64..1.0, flip in 1_u8..) {
            let bytes = index(5, Compression::GZIP).to_bytes();
            let at = (bytes.len() as f64 * at) as usize;
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            prop_assert_eq!(ChunkIndex::from_bytes(&changed), Err(ChunkIndexError::Malformed));
            prop_assert_eq!(ChunkIndex::from_bytes(&bytes[..at]), Err(ChunkIndexError::Malformed));
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(body: Vec<u8>) {
            let body = [&MAGIC[..], &super::engine(), &body].concat();
            let _ = ChunkIndex::from_bytes(&[&body[..], blake3::hash(&body).as_bytes()].concat());
        }
    }
}
