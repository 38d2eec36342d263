//! Layers unpacked, and the root that a RUN sees made of them.
//!
//! ```text
//! unpack(chain)        tar ──────────────▶ snapshot of its topmost layer   once, whoever needs it first
//!                      what differs ─────▶ the same, above another one     if little does, see above.rs
//! prepare(chain)       snapshots ────────▶ Active: a root to run in        nothing is mounted yet
//! changes(active)      what was written ─▶ entries of the new layer
//! commit(active, id)   what was written ─▶ snapshot of the new layer       without unpacking it again
//! Beside               a tar on its way ─▶ the same, while the layer is being written
//! drop(active)         gone
//! ```
//!
//! A snapshot is of a layer on a chain of others, and named by the chain_id: a layer that writes into
//! `opt/tool` without an entry for `opt` means the `opt` of the layers below, with its owner and mode,
//! or what a link there leads to.
//!
//! All of this can be rebuilt from the store. Several processes share it.

mod above;
mod beside;
pub(crate) mod claim;
mod contents;
mod marker;
mod overlay;
mod seen;
mod turn;
mod unpack;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oxbox_layers::compress::ChunkIndex;
use oxbox_layers::oci::{ChainId, DiffId};
use oxbox_layers::stack::LayerIndex;
use oxbox_layers::store::BlobStore;
use oxbox_layers::tar::Entry;
use oxbox_layers::tree::{ApplyError, DiffError, TreeError};

use crate::exec::Root;

pub use beside::{Beside, TarSink};
pub use overlay::{Kept, Overlay};

/// Keeps unpacked layers and makes roots of them. Shared by threads and by processes.
pub trait Snapshotter: Send + Sync {
    /// Returns how many layers of the chain, from the lowest, are here whole. Until
    /// [`Snapshotter::prepare`] returned, another process may remove what is here.
    fn unpacked(&self, chain: &[DiffId]) -> Result<usize, SnapshotError>;

    /// Unpacks the topmost layer of a chain unless it is here; `open` yields its uncompressed tar and
    /// may not be called. With what is `known` of the layer, only what differs from another layer that is
    /// unpacked may have to be made; the tree is the same.
    ///
    /// Atomic: others see the whole layer or none. A second caller waits for the first and then finds
    /// it done. The tar is not verified against the diff_id: that is for whoever put it into the store.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Missing`] for the lowest layer below that is not here.
    fn unpack(
        &self,
        chain: &[DiffId],
        open: &mut OpenLayer<'_>,
        known: Option<&Known<'_>>,
    ) -> Result<(), SnapshotError>;

    /// Makes a root of layers, the lowest first; of none, an empty one.
    ///
    /// As long as the [`Active`] lives its layers are not pruned.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Missing`] for the lowest layer that is not here: unpack it and try again.
    fn prepare(&self, chain: &[DiffId]) -> Result<Active, SnapshotError>;

    /// Returns what was written in `active`, as the entries of a layer; content is beneath
    /// [`Active::upper`], where `layers::tree::emit` finds it. No program may be running there.
    fn changes(&self, active: &Active) -> Result<Vec<Entry>, SnapshotError>;

    /// Keeps what was written in `active` as the snapshot of `layer`, the diff_id that its changes
    /// were written down as. If that is here already, `active` is discarded.
    fn commit(&self, active: Active, layer: &DiffId) -> Result<(), SnapshotError>;

    /// Removes every snapshot that `keep` says no to and no [`Active`] of any process stands on;
    /// returns how many. May be repeated.
    fn prune(&self, keep: &mut dyn FnMut(&ChainId) -> bool) -> Result<usize, SnapshotError>;

    /// Removes what dead processes left behind. For the start of a process; may be repeated.
    fn sweep(&self) -> Result<Swept, SnapshotError>;
}

/// Yields the uncompressed tar of a layer.
pub type OpenLayer<'a> = dyn FnMut() -> io::Result<Box<dyn Read>> + 'a;

/// What was noted of a layer when it was written here.
pub struct Known<'a> {
    /// Its entries.
    pub index: Arc<LayerIndex>,
    /// The chunks of its tar.
    pub chunks: Arc<ChunkIndex>,
    /// Where its blob is.
    pub store: &'a dyn BlobStore,
}

/// A root to run in, and what is written there. Dropping it discards that.
#[derive(Debug)]
pub struct Active {
    root: Root,
    upper: PathBuf,
    lowers: Vec<PathBuf>,
    chain: Option<ChainId>,
    noted: Option<Noted>,
    claim: claim::Claim,
}

/// What is in it, if it holds a whole layer.
#[derive(Debug)]
struct Noted {
    index: Arc<LayerIndex>,
    chunks: Arc<ChunkIndex>,
}

impl Active {
    /// Returns the root as the sandbox mounts it. Several programs may run in it, one after another.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Returns the directory that takes the changes.
    pub fn upper(&self) -> &Path {
        &self.upper
    }

    /// Says that it holds all of a layer that stands on `below`, whatever it was prepared on.
    fn keep_above(&mut self, below: &[DiffId], known: &Known<'_>) {
        self.chain = ChainId::of(below);
        let (index, chunks) = (Arc::clone(&known.index), Arc::clone(&known.chunks));
        self.noted = Some(Noted { index, chunks });
    }

    /// Returns the directories beneath it, topmost first.
    pub fn lowers(&self) -> &[PathBuf] {
        &self.lowers
    }
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Unfinished work of dead processes that was removed.
    pub abandoned: usize,
    /// Snapshots removed because the machine went down before they were surely on disk.
    pub doubtful: usize,
}

/// Why a snapshot could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The layer was never unpacked here, or was removed since.
    #[error("layer {layer} is not unpacked")]
    Missing {
        /// Which.
        layer: DiffId,
    },
    /// The layer's tar cannot be unpacked.
    #[error("cannot unpack a layer into {path}", path = .path.display())]
    Unpack {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: ApplyError,
    },
    /// What was written cannot be said as a layer.
    #[error("cannot write down what changed in {path}", path = .path.display())]
    Changes {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: DiffError,
    },
    /// A tree cannot be opened.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The system refused.
    #[error("cannot {verb} {path}", path = .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Names verb and path of an io error.
fn io_error<E: Into<io::Error>>(verb: &'static str, path: &Path) -> impl FnOnce(E) -> SnapshotError {
    move |error| SnapshotError::Io { verb, path: path.to_owned(), source: error.into() }
}
