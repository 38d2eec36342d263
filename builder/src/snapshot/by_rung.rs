//! The snapshotter for the rung that this process stands on.
//!
//! Which one that is, is tried only when a RUN needs a root: most builds from the cache never do.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use oxbox_layers::oci::{ChainId, DiffId};
use oxbox_layers::tar::Entry;

use super::{Active, Layers, Overlay, Plain, SnapshotError, Snapshotter, Swept};
use crate::exec::rung::{self, Rung};

/// Overlay where something can be mounted, and Plain in a changed root.
#[derive(Debug)]
pub struct ByRung {
    state: PathBuf,
    overlay: Overlay,
    plain: OnceLock<Plain>,
}

impl ByRung {
    /// Opens what is beneath the state directory `state`.
    pub fn open(state: &Path) -> Result<Self, SnapshotError> {
        Ok(Self { state: state.to_owned(), overlay: Overlay::open(state)?, plain: OnceLock::new() })
    }

    fn get(&self) -> Result<&dyn Snapshotter, SnapshotError> {
        match rung::standing().rung {
            Rung::Chroot => self.plain().map(|plain| plain as &dyn Snapshotter),
            Rung::Root | Rung::Rootless | Rung::SingleId | Rung::None => Ok(&self.overlay),
        }
    }

    fn plain(&self) -> Result<&Plain, SnapshotError> {
        if let Some(plain) = self.plain.get() {
            return Ok(plain);
        }
        let plain = Plain::new(&self.state)?;
        Ok(self.plain.get_or_init(|| plain))
    }

    /// Returns the roots that another process may have left, on whichever rung.
    fn left(&self) -> Result<Option<&Plain>, SnapshotError> {
        Plain::is_used(&self.state).then(|| self.plain()).transpose()
    }
}

impl Snapshotter for ByRung {
    fn prepare_from(&self, chain: &[DiffId], layers: &dyn Layers) -> Result<Active, SnapshotError> {
        self.get()?.prepare_from(chain, layers)
    }

    fn blank(&self) -> Result<Option<Active>, SnapshotError> {
        self.get()?.blank()
    }

    fn changes(&self, active: &Active) -> Result<Vec<Entry>, SnapshotError> {
        self.get()?.changes(active)
    }

    fn commit(&self, active: Active, layer: &DiffId) -> Result<(), SnapshotError> {
        self.get()?.commit(active, layer)
    }

    fn prune(&self, keep: &mut dyn FnMut(&ChainId) -> bool) -> Result<usize, SnapshotError> {
        let roots = self.left()?.map_or(Ok(0), |plain| plain.prune(keep))?;
        Ok(roots + self.overlay.prune(keep)?)
    }

    fn sweep(&self) -> Result<Swept, SnapshotError> {
        let roots = self.left()?.map_or(Ok(Swept::default()), Plain::sweep)?;
        let layers = self.overlay.sweep()?;
        Ok(Swept {
            abandoned: roots.abandoned + layers.abandoned,
            doubtful: roots.doubtful + layers.doubtful,
        })
    }
}
