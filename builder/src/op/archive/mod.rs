//! ADD of a local archive: what is one, and its contents as a tree.
//!
//! By content, never by name: a file whose bytes, decompressed if need be, begin with a tar header is
//! unpacked; everything else is copied. The tar becomes an uncompressed blob of the store, which
//! nothing names and the next sweep takes; so that its files can be read in any order, whatever order
//! the archive has them in.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use oxbox_layers::compress::Compression;
use oxbox_layers::layer::{Layer, LayerError};
use oxbox_layers::stack::{IndexError, LayerIndex, Stack, StackError};
use oxbox_layers::store::BlobStore;
use oxbox_layers::tar::{Kind, Reader};

use crate::context::LayerTree;
use crate::exec::Interrupt;

use decompress::Bounded;

mod decompress;

/// A tar header, which is what is looked for.
const BLOCK: usize = 512;

/// The largest archive that is unpacked: decompression must end somewhere.
const MAX_ARCHIVE_BYTES: u64 = 64 << 30;

/// An archive that was set aside.
pub struct Archive {
    /// Its files.
    pub tree: LayerTree,
    /// The directories that have an entry: others only follow from the paths of files, and what an
    /// archive does not say of a directory must not change one that is there.
    pub directories: BTreeSet<Vec<u8>>,
}

/// Why an archive cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The archive cannot be read.
    #[error("cannot read the archive")]
    Read {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The archive cannot be set aside.
    #[error("cannot unpack the archive")]
    Layer {
        /// Why not.
        #[source]
        source: LayerError,
    },
    /// The archive is broken.
    #[error("cannot read the archive's entries")]
    Index {
        /// Why not.
        #[source]
        source: IndexError,
    },
    /// The archive's entries make no tree.
    #[error("the archive cannot be unpacked")]
    Stack {
        /// Why not.
        #[source]
        source: StackError,
    },
    /// A file of the archive has a name that layers use for deletions.
    #[error("the archive holds {}: names that begin with .wh. mean deletions", .path.escape_ascii())]
    WhiteoutName {
        /// Path in the archive.
        path: Vec<u8>,
    },
}

/// Whether the bytes of a file are an archive that ADD unpacks.
///
/// What only looks compressed is none, and is copied; what cannot be read for want of memory is an error,
/// since nobody could tell.
pub fn is_archive(content: &mut dyn Read) -> Result<bool, ArchiveError> {
    let mut block = Vec::new();
    let read = decompress::open(content).and_then(|reader| reader.take(BLOCK as u64).read_to_end(&mut block));
    match read {
        Err(source) if source.kind() == io::ErrorKind::OutOfMemory => Err(ArchiveError::Read { source }),
        Ok(BLOCK) => Ok(matches!(Reader::new(&block[..]).next(), Ok(Some(_))) || is_long_header(&block)),
        Ok(_) | Err(_) => Ok(false),
    }
}

/// A header whose own content (a long name, extended records) lies behind the first block.
fn is_long_header(block: &[u8]) -> bool {
    let is_magic = block[257..].starts_with(b"ustar");
    is_magic && matches!(block[156], b'L' | b'K' | b'x' | b'g')
}

/// Opens what is in a file that may be packed; more than `max_bytes` of it is an error.
pub fn decompressed(content: &mut dyn Read, max_bytes: u64) -> Result<impl Read, ArchiveError> {
    let tar = decompress::open(content).map_err(|source| ArchiveError::Read { source })?;
    Ok(Bounded::new(tar, max_bytes))
}

/// Sets an archive aside: its tar as a blob of the store. Fails once the build is given up.
pub fn set_aside(
    content: &mut dyn Read,
    store: &dyn BlobStore,
    interrupt: &Interrupt,
) -> Result<Layer, ArchiveError> {
    let mut tar = Watched { reader: decompressed(content, MAX_ARCHIVE_BYTES)?, interrupt };
    Layer::of_tar(store, &mut tar, Compression::None, 1).map_err(|source| ArchiveError::Layer { source })
}

/// Decompression takes minutes for what is large: nobody who gave up waits for it.
struct Watched<'a, R> {
    reader: R,
    interrupt: &'a Interrupt,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.interrupt.is_sent() {
            return Err(io::Error::other("the build was interrupted"));
        }
        self.reader.read(buffer)
    }
}

/// Opens an archive that was set aside.
pub fn open(layer: Layer, store: &Arc<dyn BlobStore>, spool: &Path) -> Result<Archive, ArchiveError> {
    let index = LayerIndex::of_layer(&layer, &**store).map_err(|source| ArchiveError::Index { source })?;
    if let Some(odd) = index.iter().find(|indexed| indexed.entry.name().starts_with(b".wh.")) {
        return Err(ArchiveError::WhiteoutName { path: odd.entry.path });
    }
    let directories = index.iter().filter(|indexed| indexed.entry.kind == Kind::Directory);
    let directories = directories.map(|indexed| indexed.entry.path).collect();
    let stack = Stack::of(vec![Arc::new(index)]).map_err(|source| ArchiveError::Stack { source })?;
    let tree = LayerTree::new(Arc::new(stack), || Arc::new(vec![layer]), Arc::clone(store), spool);
    Ok(Archive { tree, directories })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzEncoder;
    use oxbox_layers::store::Memory;

    use super::{Interrupt, is_archive, set_aside};

    /// A tar of one file that holds `content`, packed by `xz` and `bzip2`.
    const TAR_XZ: &[u8] = include_bytes!("testdata/archive.tar.xz");
    const TAR_BZIP2: &[u8] = include_bytes!("testdata/archive.tar.bz2");

    fn is(mut bytes: &[u8]) -> bool {
        is_archive(&mut bytes).unwrap()
    }

    #[test]
    fn what_begins_with_a_tar_header_is_an_archive_however_it_is_packed() {
        assert!(is(TAR_XZ) && is(TAR_BZIP2));
        let mut tar = Vec::new();
        super::decompress::open(TAR_XZ).unwrap().read_to_end(&mut tar).unwrap();
        assert!(is(&tar));
        let mut gzip = Vec::new();
        GzEncoder::new(&tar[..], flate2::Compression::fast()).read_to_end(&mut gzip).unwrap();
        assert!(is(&gzip));
    }

    #[test]
    fn what_is_only_packed_or_only_looks_so_is_none() {
        for bytes in [
            include_bytes!("testdata/content.xz").as_slice(),
            include_bytes!("testdata/content.bz2"),
            &TAR_XZ[..40],
            b"\xfd7zXZ\0 and no more",
            b"BZhello",
            b"\x1f\x8b\x08",
            b"",
            &[0; 4096],
            &[b'a'; 4096],
        ] {
            assert!(!is(bytes), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_build_that_is_given_up_does_not_wait_for_an_archive() {
        let store = Memory::default();
        let interrupt = Interrupt::new();
        set_aside(&mut &*TAR_XZ, &store, &interrupt).unwrap();
        interrupt.send(15);
        set_aside(&mut &*TAR_XZ, &store, &interrupt).unwrap_err();
    }

    #[test]
    fn an_archive_that_needs_too_much_memory_is_not_taken_for_something_else() {
        let mut bytes: &[u8] = include_bytes!("testdata/dictionary-1GiB.xz");
        is_archive(&mut bytes).unwrap_err();
    }
}
