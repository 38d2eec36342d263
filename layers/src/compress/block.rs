//! One chunk on its way: compressed on its own, by whichever thread, to the same bytes.

use std::io;
use std::sync::Arc;

use flate2::{Compress, FlushCompress, Status};

use super::Compression;
use super::chunks::Chunk;
use super::cut::Lengths;
use super::splice::Previous;

/// The smallest output that gzip offers.
pub(super) const GZIP_HIGHEST: u8 = 9;

/// The smallest output that zstd offers.
pub(super) const ZSTD_HIGHEST: u8 = 22;

/// 40 MiB: chunks and their compressed forms, all threads together, stay below this. Allocators keep as
/// much again of it, and a whole build has to do with 96 MB.
const MEMORY: usize = 40 << 20;

/// Returns how many compressing threads are of use within the memory bound: zstd 3, gzip 8.
///
/// That many compress about as fast as one thread can hash what they take.
pub(super) fn most_workers(compression: Compression) -> usize {
    match compression {
        Compression::None => 0,
        Compression::Gzip { .. } | Compression::Zstd { .. } => {
            MEMORY / (2 * Lengths::of(compression).most) - 2
        }
    }
}

/// 64 KiB: a layer of a few files need not ask for room that it does not use.
const SMALL: usize = 64 << 10;

/// A chunk on its way: filled, compressed or taken over, written, and filled again.
#[derive(Default)]
pub(super) struct Block {
    /// Place in the stream, counted from 0.
    pub(super) sequence: u64,
    /// The bytes to compress.
    pub(super) input: Vec<u8>,
    /// The compressed bytes; empty where nothing is compressed.
    pub(super) output: Vec<u8>,
    /// CRC-32 of the input; only gzip wants it.
    pub(super) crc: u32,
    /// What it is, if that is to be remembered.
    pub(super) chunk: Option<Chunk>,
    /// The compressed bytes were taken over.
    pub(super) is_spliced: bool,
}

impl Block {
    /// Appends to the input of a chunk that can become `most` bytes long.
    ///
    /// Buffers have one size from the start, and are never grown: what growing leaves behind, mimalloc
    /// keeps (gzip on two threads 60 MB in place of 48, zstd 85 in place of 62). Unused pages cost nothing.
    pub(super) fn fill(&mut self, bytes: &[u8], most: usize) {
        if self.input.len() + bytes.len() > SMALL {
            self.input.reserve_exact(most.saturating_sub(self.input.len()));
        }
        self.input.extend_from_slice(bytes);
    }

    /// Has the output take what the longest chunk that the input has room for can become.
    fn empty_output(&mut self, bound: impl Fn(usize) -> usize) {
        self.output.clear();
        self.output.reserve_exact(bound(self.input.capacity()));
    }
}

/// A thread's compressor, used for one chunk after the other.
pub(super) struct Encoder {
    engine: Engine,
    previous: Option<Arc<Previous>>,
}

enum Engine {
    Plain,
    Gzip(Compress),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Encoder {
    /// Starts one; with a `previous` blob, chunks are taken over from it, and remembered.
    pub(super) fn new(compression: Compression, previous: Option<Arc<Previous>>) -> io::Result<Self> {
        let engine = match compression {
            Compression::None => Engine::Plain,
            Compression::Gzip { level } => {
                // Not level 0: its stored blocks follow the room in the output buffer.
                let level = flate2::Compression::new(u32::from(level.clamp(1, GZIP_HIGHEST)));
                Engine::Gzip(Compress::new(level, false))
            }
            Compression::Zstd { level } => {
                Engine::Zstd(zstd::bulk::Compressor::new(i32::from(level.clamp(1, ZSTD_HIGHEST)))?)
            }
        };
        Ok(Self { engine, previous })
    }

    /// Fills everything else from `input`.
    pub(super) fn encode(&mut self, block: &mut Block) -> io::Result<()> {
        block.chunk = None;
        block.is_spliced = false;
        let Some(previous) = &self.previous else { return self.engine.encode(block) };
        let key = blake3::hash(&block.input);
        if let Some(chunk) = previous.find(&key, &mut block.output) {
            block.crc = chunk.crc;
            block.chunk = Some(chunk);
            block.is_spliced = true;
            return Ok(());
        }
        self.engine.encode(block)?;
        block.chunk = Some(Chunk {
            key,
            size: length(&block.input),
            crc: block.crc,
            digest: blake3::hash(&block.output),
            compressed: length(&block.output),
        });
        Ok(())
    }
}

impl Engine {
    fn encode(&mut self, block: &mut Block) -> io::Result<()> {
        match self {
            Self::Plain => Ok(()),
            Self::Gzip(deflate) => {
                block.crc = crc32fast::hash(&block.input);
                block.empty_output(deflate_bound);
                deflate_block(deflate, &block.input, &mut block.output)
            }
            Self::Zstd(zstd) => {
                block.empty_output(zstd::zstd_safe::compress_bound);
                zstd.compress_to_buffer(&block.input, &mut block.output).map(drop)
            }
        }
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("because no chunk is longer than a few MiB")
}

/// More than deflate can ever need (its own bound is an eighth more and some): a flush that filled the
/// buffer to the last byte would have to be repeated, and would be written twice.
fn deflate_bound(length: usize) -> usize {
    length + length / 8 + length / 64 + 1024
}

/// Deflates `input` up to a sync flush, after which another chunk may follow on a byte boundary.
fn deflate_block(deflate: &mut Compress, input: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
    deflate.reset();
    let status = deflate.compress_vec(input, output, FlushCompress::Sync).map_err(io::Error::other)?;
    let whole = deflate.total_in() == input.len() as u64 && output.len() < output.capacity();
    match status {
        Status::Ok if whole => Ok(()),
        _ => Err(io::Error::other("deflate left a chunk unfinished")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Lengths, MEMORY, most_workers};
    use crate::compress::Compression;

    #[test]
    fn the_chunks_of_all_threads_fit_the_memory_bound() {
        for compression in [Compression::GZIP, Compression::ZSTD] {
            // Two more chunks than workers: one being filled, one being written.
            assert!((most_workers(compression) + 2) * 2 * Lengths::of(compression).most <= MEMORY);
        }
    }
}
