//! What an unpacked layer holds, noted beside it, so that another layer's snapshot can be made above it.
//!
//! ```text
//! <hex>/contents      blake3 of the rest 32 │ length 8 │ index of the layer (`oxli`) │ its chunks (`oxlc`)
//! ```
//!
//! A note that is damaged, or of another version, is none: then nothing is made above that snapshot.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use oxbox_layers::compress::ChunkIndex;
use oxbox_layers::stack::LayerIndex;

use super::{SnapshotError, io_error};

const NAME: &str = "contents";
const HASH_BYTES: usize = 32;
const LENGTH_BYTES: usize = 8;

/// The entries of a layer, and the chunks of its tar.
pub(super) struct Contents {
    pub(super) index: LayerIndex,
    pub(super) chunks: Arc<ChunkIndex>,
}

/// Writes a note into the directory of a snapshot that nobody else sees yet.
pub(super) fn write(directory: &Path, index: &LayerIndex, chunks: &ChunkIndex) -> Result<(), SnapshotError> {
    let (index, chunks) = (index.as_bytes(), chunks.to_bytes());
    let length = (index.len() as u64).to_le_bytes();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&length).update(index).update(&chunks);
    let bytes = [hasher.finalize().as_bytes(), &length[..], index, &chunks].concat();
    let path = directory.join(NAME);
    fs::write(&path, bytes).map_err(io_error("write", &path))
}

/// Returns how long the note of a snapshot is, which tells roughly how many entries it has; `None` without one.
pub(super) fn length(directory: &Path) -> Option<u64> {
    fs::metadata(directory.join(NAME)).ok().map(|metadata| metadata.len())
}

/// Reads the note of a snapshot; `None` without one that is of use.
pub(super) fn read(directory: &Path) -> Result<Option<Contents>, SnapshotError> {
    let path = directory.join(NAME);
    match fs::read(&path) {
        Ok(bytes) => Ok(parse(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", &path)(error)),
    }
}

fn parse(bytes: Vec<u8>) -> Option<Contents> {
    let (hash, rest) = bytes.split_at_checked(HASH_BYTES)?;
    if blake3::hash(rest).as_bytes() != hash {
        return None;
    }
    let (length, rest) = rest.split_first_chunk::<LENGTH_BYTES>()?;
    let (index, chunks) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let chunks = Arc::new(ChunkIndex::from_bytes(chunks).ok()?);
    Some(Contents { index: LayerIndex::from_bytes(index.to_vec()).ok()?, chunks })
}
