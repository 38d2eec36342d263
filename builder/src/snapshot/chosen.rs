//! The snapshots of the rung that this process stands on, which is looked for when the first ones are needed.
//!
//! A build without RUN needs none, and to try what the machine allows takes longer than many a build.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use oxbox_layers::oci::{ChainId, DiffId};
use oxbox_layers::tar::Entry;

use super::{Active, Layers, Overlay, Plain, SnapshotError, Snapshotter, Swept};
use crate::exec::rung::{self, Rung};

/// Opens what is needed, once.
pub struct Chosen {
    state: PathBuf,
    made: Mutex<Option<Arc<dyn Snapshotter>>>,
}

impl Chosen {
    /// Chooses beneath the state directory `state`, later.
    pub fn new(state: &Path) -> Self {
        Self { state: state.to_owned(), made: Mutex::new(None) }
    }

    fn made(&self) -> Result<Arc<dyn Snapshotter>, SnapshotError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*made {
            return Ok(Arc::clone(made));
        }
        let new: Arc<dyn Snapshotter> = match rung::standing().rung {
            Rung::Chroot => Arc::new(Plain::new(&self.state)?),
            _ => Arc::new(Overlay::open(&self.state)?),
        };
        *made = Some(Arc::clone(&new));
        Ok(new)
    }
}

impl Snapshotter for Chosen {
    fn prepare_from(&self, chain: &[DiffId], layers: &dyn Layers) -> Result<Active, SnapshotError> {
        self.made()?.prepare_from(chain, layers)
    }

    fn blank(&self) -> Result<Option<Active>, SnapshotError> {
        self.made()?.blank()
    }

    fn changes(&self, active: &Active) -> Result<Vec<Entry>, SnapshotError> {
        self.made()?.changes(active)
    }

    fn commit(&self, active: Active, layer: &DiffId) -> Result<(), SnapshotError> {
        self.made()?.commit(active, layer)
    }

    fn prune(&self, keep: &mut dyn FnMut(&ChainId) -> bool) -> Result<usize, SnapshotError> {
        self.made()?.prune(keep)
    }

    /// Removes what dead processes left of snapshots that are there; asks for no rung.
    fn sweep(&self) -> Result<Swept, SnapshotError> {
        let mut swept = Swept::default();
        let mut add = |more: Swept| {
            swept.abandoned += more.abandoned;
            swept.doubtful += more.doubtful;
        };
        if self.state.join("snapshots").is_dir() {
            add(Overlay::open(&self.state)?.sweep()?);
        }
        if Plain::is_used(&self.state) {
            add(Plain::new(&self.state)?.sweep()?);
        }
        Ok(swept)
    }
}
