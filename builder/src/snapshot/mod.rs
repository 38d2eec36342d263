//! Layers unpacked, and the root that a RUN sees made of them.
//!
//! ```text
//! prepare(chain)       tars, snapshots ──▶ Active: a root to run in        nothing is mounted yet
//! changes(active)      what was written ─▶ entries of the new layer
//! commit(active, id)   what was written ─▶ for a root of the chain with the new layer, not unpacked again
//! Beside               a tar on its way ─▶ the same, while the layer is being written
//! drop(active)         gone
//! ```
//!
//! Overlay keeps each layer by itself, and has the kernel stack them; Plain keeps whole roots and needs no mount.
//! `contract.rs` tests what holds for both.
//!
//! A snapshot of Overlay is of a layer on a chain of others, and named by the chain_id: a layer that writes into
//! `opt/tool` without an entry for `opt` means the `opt` of the layers below, with its owner and mode,
//! or what a link there leads to.
//!
//! All of this can be rebuilt from the store. Several processes share it.

mod above;
mod beside;
mod by_rung;
pub(crate) mod claim;
mod contents;
#[cfg(test)]
mod contract;
mod marker;
mod overlay;
mod plain;
mod seen;
mod turn;
mod unpack;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use oxbox_layers::compress::ChunkIndex;
use oxbox_layers::oci::{ChainId, DiffId};
use oxbox_layers::stack::LayerIndex;
use oxbox_layers::store::BlobStore;
use oxbox_layers::tar::Entry;
use oxbox_layers::tree::{ApplyError, DiffError, TreeError};

use crate::exec::Root;

pub use beside::{Beside, TarSink};
pub use by_rung::ByRung;
pub use overlay::{Files, Kept, Overlay};
pub use plain::Plain;

/// Keeps unpacked layers and makes roots of them. Shared by threads and by processes.
pub trait Snapshotter: Send + Sync {
    /// Makes a root of layers, the lowest first; of none, an empty one. Layers that are not here are
    /// unpacked from `layers`, several at once.
    ///
    /// As long as the [`Active`] lives its layers are not pruned. Others see a layer whole or not at all.
    /// The tars are not verified against their diff_ids: that is for whoever put them into the store.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Missing`] for the lowest layer that is not here and cannot be opened.
    fn prepare_from(&self, chain: &[DiffId], layers: &dyn Layers) -> Result<Active, SnapshotError>;

    /// Makes a root of layers that are all here.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Missing`] for the lowest layer that is not.
    fn prepare(&self, chain: &[DiffId]) -> Result<Active, SnapshotError> {
        self.prepare_from(chain, &Nowhere)
    }

    /// Returns an empty directory for [`Active::upper`] to take one layer, whatever lies below; `None` if
    /// layers are not kept by themselves.
    fn blank(&self) -> Result<Option<Active>, SnapshotError>;

    /// Returns what was written in `active`, as the entries of a layer; content is beneath
    /// [`Active::upper`], where `layers::tree::emit` finds it. No program may be running there. What was touched
    /// and is as before, and so not among the entries, gets back the time that it had.
    fn changes(&self, active: &Active) -> Result<Vec<Entry>, SnapshotError>;

    /// Keeps what was written in `active` as `layer`, the diff_id that its changes were written down as, with
    /// no more done to it since than that times were set. If that is here already, `active` may be discarded.
    fn commit(&self, active: Active, layer: &DiffId) -> Result<(), SnapshotError>;

    /// Removes all that `keep` says no to and no [`Active`] of any process stands on, by the chain_ids of
    /// what it is; returns how many. May be repeated.
    fn prune(&self, keep: &mut dyn FnMut(&ChainId) -> bool) -> Result<usize, SnapshotError>;

    /// Removes what dead processes left behind. For the start of a process; may be repeated.
    fn sweep(&self) -> Result<Swept, SnapshotError>;
}

/// Where layers come from that are not unpacked. Counted from the lowest of a chain.
pub trait Layers: Sync {
    /// Opens the uncompressed tar of a layer; `None` if it cannot be had.
    fn open(&self, at: usize) -> io::Result<Option<Box<dyn Read>>>;

    /// Returns what was noted of a layer that was written here: only what differs from another one that is
    /// unpacked may have to be made. The tree is the same.
    fn known(&self, at: usize) -> Option<Known<'_>>;
}

/// For a chain whose layers are all here.
struct Nowhere;

impl Layers for Nowhere {
    fn open(&self, _at: usize) -> io::Result<Option<Box<dyn Read>>> {
        Ok(None)
    }

    fn known(&self, _at: usize) -> Option<Known<'_>> {
        None
    }
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
    /// How much was written, once that was looked at.
    size: OnceLock<marker::Size>,
    /// What a root that is written to in place held before.
    before: Option<plain::Before>,
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

    /// Returns the directory that takes the changes; of a root without layers, the whole root.
    pub fn upper(&self) -> &Path {
        &self.upper
    }

    /// Says that it holds all of a layer that stands on `below`, whatever it was prepared on.
    fn keep_above(&mut self, below: Option<ChainId>, known: &Known<'_>) {
        self.chain = below;
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
