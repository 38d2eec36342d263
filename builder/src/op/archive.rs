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

use oxbox_layers::compress::{Compression, Decoder};
use oxbox_layers::layer::{Layer, LayerError};
use oxbox_layers::stack::{IndexError, LayerIndex, Stack, StackError};
use oxbox_layers::store::BlobStore;
use oxbox_layers::tar::{Kind, Reader};

use crate::context::LayerTree;

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
    /// A compression that ADD cannot undo.
    #[error("archive is compressed with {format}, which ADD cannot unpack yet (gzip and zstd it can)")]
    Compression {
        /// Its name.
        format: &'static str,
    },
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
pub fn is_archive(content: &mut dyn Read) -> Result<bool, ArchiveError> {
    let read = |source| ArchiveError::Read { source };
    let mut start = Vec::new();
    content.take(8).read_to_end(&mut start).map_err(read)?;
    if let Some(format) = foreign_compression(&start) {
        return Err(ArchiveError::Compression { format });
    }
    let Ok(mut decoder) = Decoder::new(start.chain(content)) else { return Ok(false) };
    let mut block = Vec::new();
    if decoder.by_ref().take(BLOCK as u64).read_to_end(&mut block).is_err() || block.len() < BLOCK {
        return Ok(false);
    }
    Ok(matches!(Reader::new(&block[..]).next(), Ok(Some(_))) || is_long_header(&block))
}

/// A header whose own content (a long name, extended records) lies behind the first block.
fn is_long_header(block: &[u8]) -> bool {
    let is_magic = block[257..].starts_with(b"ustar");
    is_magic && matches!(block[156], b'L' | b'K' | b'x' | b'g')
}

/// Compressions that Docker's ADD unpacks and this one must not silently copy.
fn foreign_compression(start: &[u8]) -> Option<&'static str> {
    if start.starts_with(b"\xfd7zXZ\0") {
        Some("xz")
    } else if start.starts_with(b"BZh") && start.get(3).is_some_and(u8::is_ascii_digit) {
        Some("bzip2")
    } else {
        None
    }
}

/// Sets an archive aside: its tar as a blob of the store.
pub fn set_aside(content: &mut dyn Read, store: &dyn BlobStore) -> Result<Layer, ArchiveError> {
    let decoder = Decoder::new(content).map_err(|source| ArchiveError::Read { source })?;
    let mut tar = decoder.limit(MAX_ARCHIVE_BYTES);
    Layer::of_tar(store, &mut tar, Compression::None, 1).map_err(|source| ArchiveError::Layer { source })
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
    let tree = LayerTree::new(Arc::new(stack), Arc::new(vec![layer]), Arc::clone(store), spool);
    Ok(Archive { tree, directories })
}
