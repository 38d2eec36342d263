//! What stands around the chunks: gzip's head and tail, zstd's empty frame; and the digest of the input.

use std::io::{self, Write};

use super::Compression;
use super::block::Block;
use super::chunks::{Chunk, WrittenChunks};
use crate::oci::{Digest, Hasher};

/// No name, no time, no flags, unknown system: what Go's library writes, and nothing of this host.
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A last deflate block, of fixed codes and without content. Standing alone, it leaves every chunk
/// of input free to be anywhere in the stream.
const DEFLATE_END: [u8; 2] = [3, 0];

/// A zstd frame of no bytes (single segment, one empty raw block): no frame at all would not be zstd.
const ZSTD_EMPTY: [u8; 9] = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0];

/// The inner writer, and what must be remembered of the blocks written so far.
pub(super) struct Frame<W> {
    writer: W,
    compression: Compression,
    input: Option<Hasher>,
    crc: crc32fast::Hasher,
    size: u64,
    blocks: u64,
    chunks: Option<WrittenChunks>,
    spliced: u64,
}

/// Returns how many bytes stand before the first chunk.
pub(super) fn head_bytes(compression: Compression) -> u64 {
    match compression {
        Compression::Gzip { .. } => GZIP_HEAD.len() as u64,
        Compression::None | Compression::Zstd { .. } => 0,
    }
}

/// A stream that was written to its end.
pub struct Finished<W> {
    /// The inner writer, not flushed.
    pub writer: W,
    /// Digest of the input, if it was asked for.
    pub input: Option<Digest>,
    /// Bytes of input.
    pub input_size: u64,
    /// Bytes of input whose compressed form was taken over.
    pub spliced_size: u64,
    /// The chunks, if they were to be remembered.
    pub(crate) chunks: Option<WrittenChunks>,
}

impl<W: Write> Frame<W> {
    pub(super) fn new(compression: Compression, writer: W) -> Self {
        Self {
            writer,
            compression,
            input: None,
            crc: crc32fast::Hasher::new(),
            size: 0,
            blocks: 0,
            chunks: None,
            spliced: 0,
        }
    }

    /// Has the input hashed, from here on.
    pub(super) fn hash_input(&mut self, hasher: Hasher) {
        self.input = Some(hasher);
    }

    /// Has the chunks remembered, from here on.
    pub(super) fn keep_chunks(&mut self) {
        self.chunks = Some(WrittenChunks::default());
    }

    /// Returns how many blocks were written.
    pub(super) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Writes the next block. Blocks must come in order.
    pub(super) fn take(&mut self, block: &Block) -> io::Result<()> {
        if let Some(hasher) = &mut self.input {
            hasher.update(&block.input);
        }
        let size = block.input.len() as u64;
        self.size += size;
        self.spliced += if block.is_spliced { size } else { 0 };
        if let Some(chunks) = &mut self.chunks {
            // What is not compressed came straight from the caller.
            chunks.push(block.chunk.unwrap_or_else(|| Chunk::plain(&block.input)));
        }
        match self.compression {
            Compression::None => self.writer.write_all(&block.input)?,
            Compression::Gzip { .. } => {
                if self.blocks == 0 {
                    self.writer.write_all(&GZIP_HEAD)?;
                }
                self.crc.combine(&crc32fast::Hasher::new_with_initial_len(block.crc, size));
                self.writer.write_all(&block.output)?;
            }
            Compression::Zstd { .. } => self.writer.write_all(&block.output)?,
        }
        self.blocks += 1;
        Ok(())
    }

    /// Writes what ends the format.
    pub(super) fn finish(mut self) -> io::Result<Finished<W>> {
        match self.compression {
            Compression::None => {}
            Compression::Gzip { .. } => {
                if self.blocks == 0 {
                    self.writer.write_all(&GZIP_HEAD)?;
                }
                self.writer.write_all(&DEFLATE_END)?;
                self.writer.write_all(&self.crc.finalize().to_le_bytes())?;
                // ISIZE is the size modulo 2^32 (RFC 1952, 2.3.1).
                self.writer.write_all(&(self.size as u32).to_le_bytes())?;
            }
            Compression::Zstd { .. } if self.blocks == 0 => self.writer.write_all(&ZSTD_EMPTY)?,
            Compression::Zstd { .. } => {}
        }
        Ok(Finished {
            writer: self.writer,
            input: self.input.map(Hasher::finish),
            input_size: self.size,
            spliced_size: self.spliced,
            chunks: self.chunks,
        })
    }
}
