//! Compression of layers: bytes that depend on the input and the level, and on nothing else.
//!
//! ```text
//! write() ─▶ chunks ─▶ workers compress each on its own, or take it over ─▶ written in order
//!            └ cut.rs   └ pool.rs, block.rs               └ splice.rs         └ frame.rs
//!
//! gzip   1f8b 08 00 00000000 00 ff │ deflate(chunk) sync │ … │ 03 00 │ crc32 │ size    one member
//! zstd   frame(chunk) │ frame(chunk) │ …                                               one frame per chunk
//! ```
//!
//! Chunks end where their content says, and none refers to another one. So neither the number of
//! threads, nor the way the input was cut into `write` calls, nor whether a chunk was compressed or
//! taken over from an earlier blob (`chunks.rs` says where it is) can show in the bytes.
//! The other direction, with sniffing and limits, is in `decode.rs`.
//!
//! RFC 1951, RFC 1952, RFC 8878; image-spec v1.1.1, layer.md#gzip-media-types

mod ahead;
mod block;
mod chunks;
mod cut;
mod decode;
mod frame;
mod pieces;
mod pipeline;
mod pool;
mod splice;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::oci::Compressed;

pub use ahead::ReadAhead;
pub use chunks::{ChunkIndex, ChunkIndexError};
pub use decode::{DecodeError, Decoder};
pub use frame::Finished;
pub use pieces::{PieceError, Pieces, Positions, Range};
pub use pipeline::{Compressor, compressor};
pub use splice::Previous;

/// How a layer's tar is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, which everybody reads.
    Gzip {
        /// 1 (fast) to 9 (small).
        level: u8,
    },
    /// zstd, which container tools read since about 2020.
    Zstd {
        /// 1 (fast) to 22 (small).
        level: u8,
    },
}

/// Why a level cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// The level is outside the format's range.
    #[error("{format} level {level} is not between {lowest} and {highest}")]
    Level {
        /// Name of the format.
        format: &'static str,
        /// What was asked for.
        level: i32,
        /// The fastest level.
        lowest: u8,
        /// The smallest level.
        highest: u8,
    },
    /// A level was given for bytes that are not compressed.
    #[error("uncompressed layers have no level (level {level} was given)")]
    NoLevel {
        /// What was asked for.
        level: i32,
    },
}

impl Compression {
    /// gzip at the level that pays best.
    ///
    /// CPU MB/s and ratio on 178 MB of sources / 209 MB of an operating system, blocks of 1 MiB:
    /// -1 525 .276 / 326 .474, -2 343 .219 / 188 .397, **-4 220 .195 / 139 .378**, -6 146 .188 / 104 .372.
    /// Level 4 is as small as what Go's default writes and two thirds of the work of -6.
    ///
    /// ISA-L's igzip -3 takes a third of the CPU of -4 and writes 10 % more of sources and libraries, 6 %
    /// more of an operating system (-2: a fifth, 14 % and 8 %). It wants a C library and nasm to build,
    /// and a layer is compressed once, but pushed and pulled often.
    pub const GZIP: Self = Self::Gzip { level: 4 };

    /// zstd at its own default level.
    ///
    /// On the same two inputs, frames of 4 MiB: -1 811 .193 / 720 .385, **-3 686 .161 / 464 .349**,
    /// -9 168 .138 / 122 .325.
    pub const ZSTD: Self = Self::Zstd { level: 3 };

    /// Returns the compression of that format, at `level` or at the format's default.
    ///
    /// # Errors
    ///
    /// [`CompressionError`] if the format has no such level.
    pub fn new(format: Compressed, level: Option<i32>) -> Result<Self, CompressionError> {
        match (format, level) {
            (Compressed::None, None) => Ok(Self::None),
            (Compressed::None, Some(level)) => Err(CompressionError::NoLevel { level }),
            (Compressed::Gzip, None) => Ok(Self::GZIP),
            (Compressed::Zstd, None) => Ok(Self::ZSTD),
            (Compressed::Gzip, Some(level)) => {
                Ok(Self::Gzip { level: checked("gzip", level, block::GZIP_HIGHEST)? })
            }
            (Compressed::Zstd, Some(level)) => {
                Ok(Self::Zstd { level: checked("zstd", level, block::ZSTD_HIGHEST)? })
            }
        }
    }

    /// Returns the format without the level, as media types name it.
    pub fn format(self) -> Compressed {
        match self {
            Self::None => Compressed::None,
            Self::Gzip { .. } => Compressed::Gzip,
            Self::Zstd { .. } => Compressed::Zstd,
        }
    }
}

fn checked(format: &'static str, level: i32, highest: u8) -> Result<u8, CompressionError> {
    u8::try_from(level).ok().filter(|level| (1..=highest).contains(level)).ok_or(CompressionError::Level {
        format,
        level,
        lowest: 1,
        highest,
    })
}

impl Default for Compression {
    fn default() -> Self {
        Self::GZIP
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Gzip { level } => write!(f, "gzip:{level}"),
            Self::Zstd { level } => write!(f, "zstd:{level}"),
        }
    }
}
