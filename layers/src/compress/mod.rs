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
    /// Cycles of the compressing threads and size, for the 242 MB that `bench/build` copies, in chunks as
    /// they are here:
    ///
    /// | | -1 | **-2** | -3 | -4 | -5 | -6 | libdeflate -1 | -2 | igzip -1 | -3 |
    /// |---|---|---|---|---|---|---|---|---|---|---|
    /// | 10⁹ cycles | 4.2 | **5.6** | 7.2 | 11.6 | 14.5 | 18.4 | 4.1 | 5.1 | 2.0 | 3.7 |
    /// | MB | 100.4 | **77.8** | 72.9 | 69.4 | 67.4 | 66.3 | 76.5 | 72.1 | 82.2 | 79.1 |
    ///
    /// A build is done when its layers are, so that time counts for more than size: -3 is 6 % smaller for 28 % more
    /// cycles, -4 another 5 % for 60 % more, and -1 saves time as fast as it adds size. Cold, that context
    /// takes 2.1 to 2.5 CPU s at -2 and 2.8 to 3.5 at -3, on the same two cores by turns. libdeflate cannot flush
    /// within a member, as chunks must; ISA-L's igzip wants a C library and nasm to build.
    pub const GZIP: Self = Self::Gzip { level: 2 };

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
