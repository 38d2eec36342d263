//! Layers: from entries to a blob in one pass, and back to a tar that is what it was called.
//!
//! ```text
//! entries ─▶ tar ─▶ chunks ─┬─▶ diff_id
//!                           └─▶ compressed, or spliced in from an earlier blob ─▶ blob, hashed by the store's writer
//! ```
//!
//! Nothing is hashed twice: the blob's digest is the one that the store's writer found, and without
//! compression it is the diff_id too.
//!
//! image-spec v1.1.1, layer.md

mod copying;
mod family;

use std::io::{self, Read, Write};

use copying::Copying;
pub use family::Family;

use crate::compress::{ChunkIndex, Compression, Compressor, Decoder, Previous, ReadAhead, compressor};
use crate::oci::{Algorithm, Descriptor, DiffId, Digest, Hasher, MediaType};
use crate::stack::{Body, IndexBuilder, IndexTooLarge, LayerIndex};
use crate::store::{BlobStore, BlobWriter, StoreError};
use crate::tar::{Entry, Kind, TarError, Writer};

/// 1 TiB: a layer that decompresses to more is a bomb. The disk's own bound is the caller's business.
pub const MAX_TAR_BYTES: u64 = 1 << 40;

/// 256 KiB: blobs below this are decompressed before a thread for it would be running.
const AHEAD_FROM: u64 = 256 << 10;

/// What a tar's contents are padded to.
const BLOCK_BYTES: u64 = 512;

/// 128 KiB: between a decoder and a compressor that both buffer for themselves.
const COPY_BYTES: usize = 128 << 10;

/// A layer in a store: the blob, and the digest of the tar in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The blob, compressed or not.
    pub descriptor: Descriptor,
    /// Digest of the uncompressed tar.
    pub diff_id: DiffId,
}

/// Why a layer cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The store does not have the layer's blob.
    #[error("layer {digest} is not in the store")]
    Missing {
        /// The blob.
        digest: Digest,
    },
    /// The tar is not the one that the config names.
    #[error("layer {digest} holds a tar of diff_id {actual}, not {expected}")]
    DiffId {
        /// The blob.
        digest: Digest,
        /// What was promised.
        expected: DiffId,
        /// What came out.
        actual: DiffId,
    },
    /// The blob cannot be read or decompressed.
    #[error("cannot read layer {digest}")]
    Read {
        /// The blob.
        digest: Digest,
        /// A [`crate::compress::DecodeError`] within, or the system's word.
        #[source]
        source: io::Error,
    },
    /// A tar that was to become a layer cannot be read.
    #[error("cannot read the tar of a new layer")]
    Source {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The layer's bytes cannot be compressed or written.
    #[error("cannot write the layer")]
    Write {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An entry cannot be written.
    #[error("cannot write an entry of the layer")]
    Tar {
        /// Which, and why not.
        #[source]
        source: TarError,
    },
    /// The layer has too many entries for an index.
    #[error(transparent)]
    Index(#[from] IndexTooLarge),
    /// The store could not do as asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A layer that was written, and what was asked to be noted on the way.
pub struct Written {
    /// The layer.
    pub layer: Layer,
    /// Its entries; see [`LayerWriter::indexed`].
    pub index: Option<LayerIndex>,
    /// Its chunks; see [`LayerWriter::splicing`].
    pub chunks: Option<ChunkIndex>,
    /// Bytes of tar whose compressed form was taken over from an earlier layer.
    pub spliced_bytes: u64,
}

/// A layer being written. Dropping it discards what was written.
pub struct LayerWriter {
    tar: Writer<Copying<Sink>>,
    compression: Compression,
    index: Option<IndexBuilder>,
}

type Sink = Compressor<Box<dyn BlobWriter>>;

impl LayerWriter {
    /// Starts a layer that is compressed by up to `threads` threads.
    ///
    /// The layer's bytes depend on the entries and on `compression` alone. With one thread, and for
    /// tars of less than a chunk (512 KiB; zstd 1 MiB), everything runs on the caller's thread.
    pub fn new(store: &dyn BlobStore, compression: Compression, threads: usize) -> Result<Self, LayerError> {
        let tar = Writer::new(Copying::new(sink(store, compression, threads)?));
        Ok(Self { tar, compression, index: None })
    }

    /// Does as [`LayerWriter::new`], has the layer's chunks noted, and takes over the compressed form of
    /// those that `previous` has too. The layer's bytes are the same as without.
    ///
    /// An index of a blob that is gone, damaged or compressed otherwise saves nothing and does no harm.
    pub fn splicing(
        store: &dyn BlobStore,
        compression: Compression,
        threads: usize,
        previous: Option<&ChunkIndex>,
    ) -> Result<Self, LayerError> {
        let previous = match previous {
            Some(index) => Previous::open(index, compression, store)?,
            None => Previous::none(),
        };
        let tar = Writer::new(Copying::new(sink(store, compression, threads)?.splice(previous)));
        Ok(Self { tar, compression, index: None })
    }

    /// Has the layer's index made on the way, which then need not be read from the layer. Before the
    /// first entry only.
    #[must_use]
    pub fn indexed(mut self) -> Self {
        self.index = Some(IndexBuilder::default());
        self
    }

    /// Has the bytes of the tar written to `copy` as well, which is dropped at the end; one that fails is
    /// dropped at once. Before the first entry only.
    #[must_use]
    pub fn copied_to(mut self, copy: Box<dyn Write + Send>) -> Self {
        self.tar.sink_mut().copy_to(copy);
        self
    }

    /// Appends an entry and its content; see [`Writer::append`].
    pub fn append(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), LayerError> {
        if self.index.is_none() || entry.size() == 0 {
            return self.append_hashed(entry, content, &Body::default().hash);
        }
        let mut hashing = Hashing { reader: content, hasher: blake3::Hasher::new() };
        self.tar.append(entry, &mut hashing).map_err(|source| LayerError::Tar { source })?;
        let hash = *hashing.hasher.finalize().as_bytes();
        self.note(entry, hash)
    }

    /// Does as [`LayerWriter::append`] with a content whose blake3 hash is known: the index believes it.
    pub fn append_hashed(
        &mut self,
        entry: &Entry,
        content: &mut dyn Read,
        hash: &[u8; blake3::OUT_LEN],
    ) -> Result<(), LayerError> {
        self.tar.append(entry, content).map_err(|source| LayerError::Tar { source })?;
        self.note(entry, *hash)
    }

    fn note(&mut self, entry: &Entry, hash: [u8; blake3::OUT_LEN]) -> Result<(), LayerError> {
        if let Some(index) = &mut self.index {
            // The content ends on a block's border, and nothing follows it yet.
            let content = self.tar.position() - entry.size().next_multiple_of(BLOCK_BYTES);
            let offset = matches!(entry.kind, Kind::File { .. }).then_some(content);
            index.push(entry, &Body { offset, hash })?;
        }
        Ok(())
    }

    /// Returns how many bytes of tar there are so far.
    pub fn position(&self) -> u64 {
        self.tar.position()
    }

    /// Ends the tar and publishes the blob. A layer without entries is a layer too: 1024 zero bytes.
    pub fn finish(self) -> Result<Layer, LayerError> {
        self.finish_noted().map(|written| written.layer)
    }

    /// Does as [`LayerWriter::finish`], and returns all that was asked to be noted.
    pub fn finish_noted(self) -> Result<Written, LayerError> {
        let sink = self.tar.finish().map_err(|source| LayerError::Tar { source })?;
        let written = publish(sink.into_inner(), self.compression)?;
        Ok(Written { index: self.index.map(IndexBuilder::finish), ..written })
    }
}

/// Hashes a content on its way into a tar.
struct Hashing<'a> {
    reader: &'a mut dyn Read,
    hasher: blake3::Hasher,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

fn sink(store: &dyn BlobStore, compression: Compression, threads: usize) -> Result<Sink, LayerError> {
    let sink = compressor(compression, threads, store.writer(Algorithm::Sha256)?);
    Ok(match compression {
        Compression::None => sink,
        _ => sink.hash_input(Hasher::new(Algorithm::Sha256)),
    })
}

fn publish(sink: Sink, compression: Compression) -> Result<Written, LayerError> {
    let finished = sink.finish_hashed().map_err(|source| LayerError::Write { source })?;
    let blob = finished.writer.commit()?;
    let media_type = MediaType::oci_layer(compression.format());
    let layer = Layer {
        descriptor: Descriptor::new(media_type, blob.digest, blob.size),
        diff_id: DiffId(finished.input.unwrap_or(blob.digest)),
    };
    let chunks = finished.chunks.map(|chunks| ChunkIndex::of_written(compression, blob, chunks));
    Ok(Written { layer, index: None, chunks, spliced_bytes: finished.spliced_size })
}

impl Layer {
    /// Makes a layer of a whole tar, byte for byte. Whether it is a tar is not looked at.
    ///
    /// # Errors
    ///
    /// [`LayerError::Source`] if `tar` fails or is larger than [`MAX_TAR_BYTES`].
    pub fn of_tar(
        store: &dyn BlobStore,
        tar: &mut dyn Read,
        compression: Compression,
        threads: usize,
    ) -> Result<Self, LayerError> {
        let mut sink = sink(store, compression, threads)?;
        copy(tar, &mut sink, |source| LayerError::Source { source })?;
        publish(sink, compression).map(|written| written.layer)
    }

    /// Opens the layer's tar, uncompressed. Its last read fails if it is not the tar of the diff_id.
    ///
    /// Larger blobs are decompressed on a thread of their own; hashing is left to the reader, as it costs half of
    /// that, and most readers do less than the rest.
    ///
    /// # Errors
    ///
    /// [`LayerError::Missing`] if the blob is not in the store.
    pub fn open_tar(&self, store: &dyn BlobStore) -> Result<LayerTar, LayerError> {
        let digest = self.descriptor.digest;
        let blob = store.open(&digest)?.ok_or(LayerError::Missing { digest })?;
        let size = blob.size();
        let decoder = Decoder::new(blob).map_err(|source| LayerError::Read { digest, source })?;
        let decoder = decoder.limit(MAX_TAR_BYTES);
        let (hasher, layer) = (Some(Hasher::new(self.diff_id.0.algorithm())), self.clone());
        let reader: Box<dyn Read + Send> = if size < AHEAD_FROM {
            Box::new(Checked { reader: decoder, hasher, layer })
        } else {
            let reader = ReadAhead::new(decoder).map_err(|source| LayerError::Read { digest, source })?;
            Box::new(Checked { reader, hasher, layer })
        };
        Ok(LayerTar { reader, digest })
    }

    /// Writes the same tar in another compression. The media type stays in its family, the rest of the
    /// descriptor is not taken along.
    ///
    /// # Errors
    ///
    /// [`LayerError::Read`] or [`LayerError::DiffId`] if the layer's own blob is damaged; then nothing
    /// is written.
    pub fn recompress(
        &self,
        store: &dyn BlobStore,
        compression: Compression,
        threads: usize,
    ) -> Result<Self, LayerError> {
        let digest = self.descriptor.digest;
        let mut sink = compressor(compression, threads, store.writer(Algorithm::Sha256)?);
        copy(&mut self.open_tar(store)?, &mut sink, |source| unreadable(digest, source))?;
        let blob = sink.finish().map_err(|source| LayerError::Write { source })?.commit()?;
        let media_type = Family::of(&self.descriptor.media_type).layer(compression.format());
        Ok(Self { descriptor: Descriptor::new(media_type, blob.digest, blob.size), diff_id: self.diff_id })
    }
}

fn copy(
    reader: &mut dyn Read,
    writer: &mut dyn Write,
    explain: impl Fn(io::Error) -> LayerError,
) -> Result<(), LayerError> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut copied = 0;
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(explain(error)),
        };
        copied += count as u64;
        if copied > MAX_TAR_BYTES {
            return Err(explain(io::Error::from(io::ErrorKind::FileTooLarge)));
        }
        writer.write_all(&buffer[..count]).map_err(|source| LayerError::Write { source })?;
    }
}

/// Returns the error of a read from a [`LayerTar`] as it was before the read made an io error of it.
fn unreadable(digest: Digest, error: io::Error) -> LayerError {
    match error.downcast::<LayerError>() {
        Ok(error) => error,
        Err(source) => LayerError::Read { digest, source },
    }
}

/// A layer's tar, being read; see [`Layer::open_tar`].
pub struct LayerTar {
    reader: Box<dyn Read + Send>,
    digest: Digest,
}

impl LayerTar {
    /// Reads what is left, so that the whole is checked: tar readers stop at the end mark, before
    /// the end of the bytes that the diff_id covers.
    ///
    /// # Errors
    ///
    /// [`LayerError::DiffId`] if it is another tar than was promised, [`LayerError::Read`] if it
    /// cannot be read.
    pub fn verify(mut self) -> Result<(), LayerError> {
        let digest = self.digest;
        io::copy(&mut self.reader, &mut io::sink()).map_err(|source| unreadable(digest, source))?;
        Ok(())
    }
}

impl Read for LayerTar {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

/// Hashes what it reads; the end is an error if the hash is not the layer's diff_id.
struct Checked<R> {
    reader: R,
    // `None` once the end was seen and found right.
    hasher: Option<Hasher>,
    layer: Layer,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.reader.read(buffer)?;
        if count > 0 {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..count]);
            }
            return Ok(count);
        }
        if let Some(hasher) = &self.hasher {
            let actual = DiffId(hasher.clone().finish());
            let expected = self.layer.diff_id;
            if actual != expected {
                let digest = self.layer.descriptor.digest;
                let error = LayerError::DiffId { digest, expected, actual };
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            self.hasher = None;
        }
        Ok(0)
    }
}

#[cfg(test)]
mod splicing;
#[cfg(test)]
mod tests;
