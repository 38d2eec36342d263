//! Several layers unpacked at once.
//!
//! ```text
//! layer 1   ████████████████                     each by a thread of its own, the lowest first
//! layer 2   ██████████
//! layer 3             ███▒▒▒███                  ▒ it writes into opt/tool without an entry for opt:
//! layer 4                ████████                   waits until all below are there
//! ```
//!
//! Layers are directories of their own, so most do not care what is below. Who waits, waits for lower ones only,
//! and those are always with somebody: nobody waits in a circle, across processes neither.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::{io, thread};

use oxbox_layers::oci::{ChainId, DiffId};
use oxbox_layers::tar::Entry;
use oxbox_layers::tree::apply::Lower;
use oxbox_layers::tree::{Stack, TreeError};

use super::{Made, Overlay, chain_ids, start_again};
use crate::snapshot::unpack::Unpacked;
use crate::snapshot::{Active, Known, Layers, OpenLayer, SnapshotError, above, io_error, unpack};

/// What lies below a layer that is unpacked, looked at if that must be. Keeps it from being pruned then.
pub(super) struct Below<'a> {
    overlay: &'a Overlay,
    chain: &'a [DiffId],
    /// Returns when all of it is there.
    wait: &'a (dyn Fn() -> Result<(), SnapshotError> + Sync),
    stood_on: OnceLock<(Active, Stack)>,
}

impl<'a> Below<'a> {
    pub(super) fn new(
        overlay: &'a Overlay,
        chain: &'a [DiffId],
        wait: &'a (dyn Fn() -> Result<(), SnapshotError> + Sync),
    ) -> Self {
        Self { overlay, chain, wait, stood_on: OnceLock::new() }
    }

    pub(super) fn active(&self) -> Result<&Active, SnapshotError> {
        Ok(&self.stood_on()?.0)
    }

    fn stood_on(&self) -> Result<&(Active, Stack), SnapshotError> {
        if let Some(stood_on) = self.stood_on.get() {
            return Ok(stood_on);
        }
        (self.wait)()?;
        let active = self.overlay.stand_on(self.chain)?;
        let stack = unpack::stack(active.lowers())?;
        Ok(self.stood_on.get_or_init(|| (active, stack)))
    }

    fn stack(&self) -> Result<&Stack, TreeError> {
        let stood_on = self.stood_on().map_err(|error| TreeError::Io {
            verb: "look below a layer in",
            path: self.overlay.snapshots.clone(),
            source: io::Error::other(error),
        });
        Ok(&stood_on?.1)
    }
}

impl Lower for Below<'_> {
    fn find(&self, path: &[u8]) -> Result<Option<Entry>, TreeError> {
        self.stack()?.find(path)
    }

    fn names(&self, directory: &[u8]) -> Result<Vec<Vec<u8>>, TreeError> {
        self.stack()?.names(directory)
    }
}

impl Overlay {
    /// Unpacks the topmost layer of a chain unless it is here; `open` yields its uncompressed tar and
    /// may not be called. With what is `known` of the layer, only what differs from another layer that is
    /// unpacked may have to be made; the tree is the same.
    ///
    /// Atomic: others see the whole layer or none. A second caller waits for the first and then finds
    /// it done.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Missing`] for the lowest layer below that is not here.
    pub fn unpack(
        &self,
        chain: &[DiffId],
        open: &mut OpenLayer<'_>,
        known: Option<&Known<'_>>,
    ) -> Result<(), SnapshotError> {
        let Some((layer, lower)) = chain.split_last() else { return Ok(()) };
        let below = Below::new(self, lower, &|| Ok(()));
        below.active()?;
        self.unpack_above(Top::of(layer, ChainId::of(lower)), &below, open, known)
    }

    fn unpack_above(
        &self,
        top: Top,
        below: &Below<'_>,
        open: &mut OpenLayer<'_>,
        known: Option<&Known<'_>>,
    ) -> Result<(), SnapshotError> {
        let large = known.filter(|known| above::is_worth_it(&known.index, &known.chunks));
        self.make(&top.name, &mut |claim| {
            // Of a small one there is no note, and to look for one would cost more than unpacking does.
            if (known.is_none() || large.is_some())
                && let Some(made) = self.make_same(claim, &top)?
            {
                return Ok(made);
            }
            if let Some(known) = large {
                match self.make_above(claim, &top, below.active()?, known) {
                    Ok(Some(made)) => return Ok(made),
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(layer = %top.layer, %error, "unpacked whole, after a failure")
                    }
                }
                start_again(claim)?;
            }
            let fs = claim.path().join("fs");
            let mut tar = open().map_err(io_error("open the layer for", &fs))?;
            let Unpacked { root, size } = unpack::unpack(&fs, Some(below), &mut tar)?;
            let noted = known.map(|known| (&*known.index, &*known.chunks));
            let form = above::note(claim.path(), top.layer, top.below, noted)?;
            Ok(Made { root, form, size })
        })
    }

    /// Unpacks all layers of a chain that are not here.
    pub(super) fn unpack_missing(&self, chain: &[DiffId], layers: &dyn Layers) -> Result<(), SnapshotError> {
        let first = self.unpacked(chain)?;
        let work = Work {
            overlay: self,
            chain,
            names: chain_ids(chain),
            layers,
            next: AtomicUsize::new(first),
            outcomes: Mutex::new(chain[first..].iter().map(|_| None).collect()),
            first,
            changed: Condvar::new(),
        };
        let threads = thread::available_parallelism().map_or(1, NonZero::get).min(chain.len() - first);
        thread::scope(|scope| {
            for _ in 1..threads {
                let spawned =
                    thread::Builder::new().name("unpack".to_owned()).spawn_scoped(scope, || work.run());
                if let Err(error) = spawned {
                    // This thread does it all.
                    tracing::debug!(%error, "cannot start a thread");
                }
            }
            work.run();
        });
        let outcomes = work.outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Those above one that failed may have failed for that.
        outcomes.into_iter().flatten().collect()
    }
}

/// A layer on others.
pub(super) struct Top {
    pub(super) layer: DiffId,
    pub(super) below: Option<ChainId>,
    /// What its snapshot is called.
    pub(super) name: ChainId,
}

impl Top {
    fn of(layer: &DiffId, below: Option<ChainId>) -> Self {
        let name = below.map_or(ChainId(layer.0), |below| below.then(layer));
        Self { layer: *layer, below, name }
    }
}

/// Layers that threads unpack.
struct Work<'a> {
    overlay: &'a Overlay,
    chain: &'a [DiffId],
    names: Vec<ChainId>,
    layers: &'a dyn Layers,
    first: usize,
    next: AtomicUsize,
    /// Of the layers from the first on, as they are done.
    outcomes: Mutex<Vec<Option<Result<(), SnapshotError>>>>,
    changed: Condvar,
}

impl Work<'_> {
    fn run(&self) {
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            if at >= self.chain.len() {
                return;
            }
            let outcome = self.unpack(at);
            if outcome.is_err() {
                self.next.store(self.chain.len(), Ordering::Relaxed);
            }
            self.outcomes()[at - self.first] = Some(outcome);
            self.changed.notify_all();
        }
    }

    fn unpack(&self, at: usize) -> Result<(), SnapshotError> {
        let layer = self.chain[at];
        let wait = || self.wait_below(at);
        let below = Below::new(self.overlay, &self.chain[..at], &wait);
        let known = self.layers.known(at);
        let mut missing = false;
        let mut open = || {
            let tar = self.layers.open(at)?;
            missing = tar.is_none();
            tar.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        };
        let top = Top { layer, below: at.checked_sub(1).map(|at| self.names[at]), name: self.names[at] };
        let result = self.overlay.unpack_above(top, &below, &mut open, known.as_ref());
        if missing { Err(SnapshotError::Missing { layer }) } else { result }
    }

    /// Waits until all layers below one are done.
    fn wait_below(&self, at: usize) -> Result<(), SnapshotError> {
        let mut outcomes = self.outcomes();
        loop {
            let below = &outcomes[..at - self.first];
            if let Some(failed) = below.iter().position(|outcome| matches!(outcome, Some(Err(_)))) {
                return Err(SnapshotError::Missing { layer: self.chain[self.first + failed] });
            }
            if below.iter().all(Option::is_some) {
                return Ok(());
            }
            outcomes = self.changed.wait(outcomes).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// An outcome that was noted stays true if a thread panicked.
    fn outcomes(&self) -> MutexGuard<'_, Vec<Option<Result<(), SnapshotError>>>> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
