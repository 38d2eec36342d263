//! How much one archive may ask of its reader. The writer keeps the same limits, so that what it
//! writes can be read.
//!
//! Content is not limited here: whoever unpacks knows how much room there is
//! (`tree::apply::Options::max_bytes`).

/// Bytes of one path: the kernel's `PATH_MAX`, so a longer one could not be created by its name.
pub const MAX_PATH_BYTES: usize = 4096;

/// Bytes of a symbolic link: `PATH_MAX` again, as no file system stores a longer one.
pub const MAX_LINK_BYTES: usize = 4096;

/// Bytes of one PAX extended header: what Go's `archive/tar` reads and writes at most, and with it
/// nearly every other tool of this trade.
pub const MAX_PAX_BYTES: usize = 1 << 20;

/// Bytes of one extended attribute's name: the kernel's `XATTR_NAME_MAX`.
pub const MAX_XATTR_NAME_BYTES: usize = 255;

/// Bytes of one extended attribute's value: the kernel's `XATTR_SIZE_MAX`.
pub const MAX_XATTR_BYTES: usize = 1 << 16;

/// Extended attributes of one entry: ext4 and xfs hold far fewer with names of usual length.
pub const MAX_XATTRS: usize = 1024;

/// Pieces of one sparse file. A map of this many takes 4 MiB of memory.
pub const MAX_SPARSE_SEGMENTS: usize = 1 << 18;

/// Headers of one archive, extension headers included: a thousand empty entries compress to a few
/// hundred bytes, so their number needs a bound of its own. The largest images in public have
/// about a million files.
pub const MAX_HEADERS: u64 = 1 << 24;
