//! One chunk on its way: compressed on its own, by whichever thread, to the same bytes.

use std::io;

use flate2::{Compress, FlushCompress, Status};

use super::Compression;
use super::cut::Lengths;

/// The smallest output that gzip offers.
pub(super) const GZIP_HIGHEST: u8 = 9;

/// The smallest output that zstd offers.
pub(super) const ZSTD_HIGHEST: u8 = 22;

/// Chunks and their compressed forms, all threads together, stay below this.
const MEMORY: usize = 64 << 20;

/// Returns how many compressing threads are of use within the memory bound: zstd 3, gzip 14.
///
/// Three zstd threads compress about as fast as one thread can hash what they take.
pub(super) fn most_workers(compression: Compression) -> usize {
    match compression {
        Compression::None => 0,
        Compression::Gzip { .. } | Compression::Zstd { .. } => {
            MEMORY / (2 * Lengths::of(compression).most) - 2
        }
    }
}

/// A chunk on its way: filled, compressed, written, and filled again.
#[derive(Default)]
pub(super) struct Block {
    /// Place in the stream, counted from 0.
    pub(super) sequence: u64,
    /// The bytes to compress.
    pub(super) input: Vec<u8>,
    /// The compressed bytes; empty where nothing is compressed.
    pub(super) output: Vec<u8>,
    /// CRC-32 of the input; only gzip wants it.
    pub(super) crc: crc32fast::Hasher,
}

/// A thread's compressor, used for one chunk after the other.
pub(super) enum Encoder {
    Plain,
    Gzip(Compress),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Encoder {
    pub(super) fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::Plain,
            Compression::Gzip { level } => {
                // Not level 0: its stored blocks follow the room in the output buffer.
                let level = flate2::Compression::new(u32::from(level.clamp(1, GZIP_HIGHEST)));
                Self::Gzip(Compress::new(level, false))
            }
            Compression::Zstd { level } => {
                Self::Zstd(zstd::bulk::Compressor::new(i32::from(level.clamp(1, ZSTD_HIGHEST)))?)
            }
        })
    }

    /// Fills `output` and `crc` from `input`.
    pub(super) fn encode(&mut self, block: &mut Block) -> io::Result<()> {
        block.output.clear();
        match self {
            Self::Plain => Ok(()),
            Self::Gzip(deflate) => {
                block.crc = crc32fast::Hasher::new();
                block.crc.update(&block.input);
                deflate_block(deflate, &block.input, &mut block.output)
            }
            Self::Zstd(zstd) => {
                block.output.reserve(zstd::zstd_safe::compress_bound(block.input.len()));
                zstd.compress_to_buffer(&block.input, &mut block.output).map(drop)
            }
        }
    }
}

/// Deflates `input` up to a sync flush, after which another chunk may follow on a byte boundary.
fn deflate_block(deflate: &mut Compress, input: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
    deflate.reset();
    // More than deflate can ever need (its own bound is an eighth more and some): a flush that
    // filled the buffer to the last byte would have to be repeated, and would be written twice.
    output.reserve(input.len() + input.len() / 8 + input.len() / 64 + 1024);
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
