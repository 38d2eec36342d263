//! The bytes of files in a stack's layers, got at with as little decompression as can be.
//!
//! ```text
//! uncompressed layer    seek to the content's offset, whenever it is asked for
//! compressed layer      one pass up to the last file that is wanted; all of those into a spool
//! ```
//!
//! The spool is memory up to a bound and an unlinked temporary file beyond, so that the files can be
//! asked for in any order. The layers are those of the local store, verified when they came; they are
//! not hashed again, since a pass seldom reads to their end.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use tempfile::SpooledTempFile;

use super::{Body, Follow, Stack, StackError};
use crate::compress::Decoder;
use crate::layer::{Layer, LayerError};
use crate::oci::{Compressed, Digest};
use crate::store::{Blob, BlobStore, StoreError};
use crate::tar::{Reader, TarError};

/// 8 MiB: what COPY looks up in a base, and most of what it takes from a stage, needs no file.
const SPOOL_MEMORY: usize = 8 << 20;

/// 64 KiB: headers are read block by block, contents in larger steps past the buffer.
const READ_BYTES: usize = 64 << 10;

/// Where a file's bytes are. Two names of one file have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Content {
    /// The layer, counted from the bottom.
    pub layer: u32,
    /// The entry's place among those of the layer's archive.
    pub ordinal: u32,
    /// Where the bytes start in the uncompressed tar, and what they are.
    pub body: Body,
    /// How many there are.
    pub size: u64,
}

/// Why files cannot be read from layers.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// A layer cannot be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A layer's tar cannot be read.
    #[error("cannot read the tar of layer {digest}")]
    Tar {
        /// The layer's blob.
        digest: Digest,
        /// Why not.
        #[source]
        source: TarError,
    },
    /// The bytes cannot be read or set aside.
    #[error("cannot {verb} the content of entry {ordinal} of layer {digest}")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The layer's blob.
        digest: Digest,
        /// The entry.
        ordinal: u32,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The layer is another one than the index was read from.
    #[error("entry {ordinal} of layer {digest} is not a file of {size} bytes, as its index says")]
    Stale {
        /// The layer's blob.
        digest: Digest,
        /// The entry.
        ordinal: u32,
        /// Bytes it should have.
        size: u64,
    },
    /// A content that was not named when the contents were gathered.
    #[error("entry {ordinal} of layer {layer} was not gathered")]
    NotGathered {
        /// The layer, counted from the bottom.
        layer: u32,
        /// The entry.
        ordinal: u32,
    },
    /// A file is larger than was allowed.
    #[error("{} has {size} bytes, more than {limit}", .path.escape_ascii())]
    TooLarge {
        /// The file.
        path: Vec<u8>,
        /// Its size.
        size: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A path leads nowhere.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// The store could not do as asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Files of a stack's layers, ready to be read in any order.
pub struct Contents {
    digests: Vec<Digest>,
    plain: HashMap<u32, Box<dyn Blob>>,
    spool: SpooledTempFile,
    spooled: HashMap<(u32, u32), u64>,
}

impl Contents {
    /// Gets at the contents that are wanted of `layers`, which must be those of the stack, in its order.
    ///
    /// Compressed layers are read once each, up to the last content wanted of them. What does not fit
    /// into memory is set aside in `spool`, a directory; it is gone when the contents are dropped.
    pub fn gather(
        store: &dyn BlobStore,
        layers: &[Layer],
        wanted: impl IntoIterator<Item = Content>,
        spool: &Path,
    ) -> Result<Self, ContentError> {
        let mut contents = Self {
            digests: layers.iter().map(|layer| layer.descriptor.digest).collect(),
            plain: HashMap::new(),
            spool: tempfile::spooled_tempfile_in(SPOOL_MEMORY, spool),
            spooled: HashMap::new(),
        };
        for (layer, wanted) in by_layer(wanted) {
            let source = layers.get(layer as usize).ok_or(ContentError::NotGathered { layer, ordinal: 0 })?;
            contents.gather_layer(store, layer, source, wanted)?;
        }
        Ok(contents)
    }

    /// Opens one of the gathered contents.
    pub fn open(&mut self, content: &Content) -> Result<ContentReader<'_>, ContentError> {
        let Content { layer, ordinal, size, .. } = *content;
        let Some(&digest) = self.digests.get(layer as usize) else {
            return Err(ContentError::NotGathered { layer, ordinal });
        };
        let failed = |source| ContentError::Io { verb: "seek", digest, ordinal, source };
        let reader: &mut dyn Read = if size == 0 {
            &mut self.spool
        } else if let Some(&at) = self.spooled.get(&(layer, ordinal)) {
            self.spool.seek(SeekFrom::Start(at)).map_err(failed)?;
            &mut self.spool
        } else if let (Some(blob), Some(offset)) = (self.plain.get_mut(&layer), content.body.offset) {
            blob.seek(SeekFrom::Start(offset)).map_err(failed)?;
            blob
        } else {
            return Err(ContentError::NotGathered { layer, ordinal });
        };
        Ok(ContentReader { reader: reader.take(size) })
    }

    fn gather_layer(
        &mut self,
        store: &dyn BlobStore,
        layer: u32,
        source: &Layer,
        mut wanted: BTreeMap<u32, Content>,
    ) -> Result<(), ContentError> {
        let digest = source.descriptor.digest;
        let mut blob = store.open(&digest)?.ok_or(LayerError::Missing { digest })?;
        let format = Decoder::new(&mut blob).map_err(|source| LayerError::Read { digest, source })?.format();
        if format == Compressed::None {
            self.plain.insert(layer, blob);
            // What is sparse has no offset to seek to.
            wanted.retain(|_, content| content.body.offset.is_none());
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let mut tar = Reader::new(BufReader::with_capacity(READ_BYTES, source.open_tar(store)?));
        let mut ordinal = 0;
        while !wanted.is_empty() {
            let entry = tar.next().map_err(|source| ContentError::Tar { digest, source })?;
            let Some(entry) = entry else { break };
            if let Some(content) = wanted.remove(&ordinal) {
                if entry.size() != content.size {
                    return Err(ContentError::Stale { digest, ordinal, size: content.size });
                }
                self.set_aside(&mut tar, layer, ordinal, digest)?;
            }
            ordinal += 1;
        }
        match wanted.first_key_value() {
            None => Ok(()),
            Some((&ordinal, content)) => Err(ContentError::Stale { digest, ordinal, size: content.size }),
        }
    }

    fn set_aside(
        &mut self,
        content: &mut dyn Read,
        layer: u32,
        ordinal: u32,
        digest: Digest,
    ) -> Result<(), ContentError> {
        let failed = |source| ContentError::Io { verb: "set aside", digest, ordinal, source };
        let at = self.spool.seek(SeekFrom::End(0)).map_err(failed)?;
        io::copy(content, &mut self.spool).map_err(failed)?;
        self.spooled.insert((layer, ordinal), at);
        Ok(())
    }
}

fn by_layer(wanted: impl IntoIterator<Item = Content>) -> BTreeMap<u32, BTreeMap<u32, Content>> {
    let mut layers: BTreeMap<u32, BTreeMap<u32, Content>> = BTreeMap::new();
    for content in wanted.into_iter().filter(|content| content.size > 0) {
        layers.entry(content.layer).or_default().insert(content.ordinal, content);
    }
    layers
}

/// The bytes of one file. It ends after as many as the entry says, or fails.
pub struct ContentReader<'a> {
    reader: io::Take<&'a mut dyn Read>,
}

impl fmt::Debug for ContentReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentReader").field("left", &self.reader.limit()).finish()
    }
}

impl Read for ContentReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if count == 0 && !buffer.is_empty() && self.reader.limit() > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(count)
    }
}

/// Reads a small file of the merged tree, `/etc/passwd` for one, following links; `None` if there is
/// no file of that name.
///
/// # Errors
///
/// [`ContentError::TooLarge`] if it has more than `limit` bytes, or more than 8 MiB.
pub fn read_file(
    stack: &Stack,
    store: &dyn BlobStore,
    layers: &[Layer],
    path: &[u8],
    limit: u64,
) -> Result<Option<Vec<u8>>, ContentError> {
    let found = stack.get(&stack.resolve(path, Follow::Last)?);
    let Some(content) = found.and_then(|found| found.content) else { return Ok(None) };
    let Content { ordinal, size, .. } = content;
    let limit = limit.min(SPOOL_MEMORY as u64);
    if size > limit {
        return Err(ContentError::TooLarge { path: path.to_vec(), size, limit });
    }
    // What fits into memory needs no directory.
    let mut contents = Contents::gather(store, layers, [content], Path::new("/"))?;
    let digest = contents.digests[content.layer as usize];
    let mut bytes = Vec::new();
    contents.open(&content)?.read_to_end(&mut bytes).map_err(|source| ContentError::Io {
        verb: "read",
        digest,
        ordinal,
        source,
    })?;
    Ok(Some(bytes))
}
