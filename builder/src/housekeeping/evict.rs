//! Takes from the cache what was of use the longest ago, until the rest is in bounds.
//!
//! Only what nothing else needs counts: layers that no image has, unpacked layers, and cache mounts. Records go here, and
//! snapshots; the layers' blobs are the store's to remove, after their records.

use std::collections::HashSet;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use oxbox_layers::oci::{ChainId, Digest};
use oxbox_layers::store::{BlobStore as _, Layout, Sweep};

use super::bounds::{Bounds, Candidate, Disk, Kind};
use super::measure::{self, Measured};
use super::{HousekeepingError, cache};
use crate::mounts::{Kept, Mounts, Removal};
use crate::snapshot::{Overlay, Plain, Snapshotter as _};
use crate::solve::Cache;

/// What went, or would.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Blobs of layers that nothing remembers any more: the store has them still.
    pub layers: Vec<Digest>,
    /// Records that led to them.
    pub records: usize,
    /// Unpacked layers.
    pub snapshots: usize,
    /// Cache mounts.
    pub mounts: usize,
    /// Bytes of those, and of the unpacked layers.
    pub bytes: u64,
}

/// Something of the cache.
enum Thing {
    Layer(Digest),
    Mount(Kept, u64),
    Snapshot(Measured),
}

impl Thing {
    fn kind(&self) -> Kind {
        match self {
            Self::Mount(..) => Kind::CacheMount,
            Self::Layer(_) | Self::Snapshot(_) => Kind::Regular,
        }
    }
}

/// Forgets what is beyond the bounds; `needed` are blobs that images have.
pub fn evict(
    state: &Path,
    store: Option<&Layout>,
    needed: &HashSet<Digest>,
    bounds: &Bounds,
    sweep: Sweep,
) -> Result<Evicted, HousekeepingError> {
    let cache = cache(state)?;
    let mut candidates = Vec::new();
    let layers = cache.as_ref().map(Cache::layers).transpose()?.unwrap_or_default();
    for layer in layers.into_iter().filter(|layer| !needed.contains(&layer.digest)) {
        let bytes = store.map(|store| store.stat(&layer.digest)).transpose()?.flatten().unwrap_or(0);
        candidates.push(Candidate { what: Thing::Layer(layer.digest), bytes, used: layer.used });
    }
    for one in measure::snapshots(state, cache.as_ref())? {
        let (bytes, used) = (one.bytes, seconds(one.kept.used));
        candidates.push(Candidate { what: Thing::Snapshot(one), bytes, used });
    }
    for (kept, bytes) in measure::mounts(state)? {
        let used = seconds(kept.used);
        candidates.push(Candidate { what: Thing::Mount(kept, bytes), bytes, used });
    }
    candidates.retain(|candidate| bounds.kind.is_none_or(|kind| candidate.what.kind() == kind));
    let mut evicted = Evicted::default();
    let (mut snapshots, mut mounts) = (Vec::new(), Vec::new());
    for candidate in bounds.choose(candidates, seconds(SystemTime::now()), Disk::of(state)) {
        match candidate.what {
            Thing::Layer(digest) => evicted.layers.push(digest),
            Thing::Mount(kept, bytes) => mounts.push((kept, bytes)),
            Thing::Snapshot(one) => snapshots.push(one),
        }
    }
    evicted.records = match (&cache, sweep) {
        (None, _) => 0,
        (Some(cache), Sweep::Remove) => cache.forget_layers(&evicted.layers)?,
        (Some(cache), Sweep::DryRun) => cache.count_records(&evicted.layers)?,
    };
    (evicted.snapshots, evicted.bytes) = drop_snapshots(state, &snapshots, sweep)?;
    let (mounts, bytes) = drop_mounts(state, &mounts, sweep)?;
    evicted.mounts = mounts;
    evicted.bytes += bytes;
    Ok(evicted)
}

/// Removes those of the cache mounts that no RUN has; returns how many, and their bytes.
pub(super) fn drop_mounts(
    state: &Path,
    mounts: &[(Kept, u64)],
    sweep: Sweep,
) -> Result<(usize, u64), HousekeepingError> {
    let here = Mounts::new(state);
    let (mut dropped, mut freed) = (0, 0);
    for (kept, bytes) in mounts {
        let goes = match sweep {
            Sweep::DryRun => !here.is_in_use(&kept.name)?,
            Sweep::Remove => here.remove(&kept.name)? == Removal::Gone,
        };
        if goes {
            dropped += 1;
            freed += bytes;
        }
    }
    Ok((dropped, freed))
}

/// Removes those of the snapshots that no step stands on; returns how many, and their bytes.
pub(super) fn drop_snapshots(
    state: &Path,
    snapshots: &[Measured],
    sweep: Sweep,
) -> Result<(usize, u64), HousekeepingError> {
    if snapshots.is_empty() {
        return Ok((0, 0));
    }
    let (mut dropped, mut bytes) = (0, 0);
    // Asked of those that nobody uses, and of no others.
    for overlay in Overlay::open_all(state)? {
        let place = |layer: &ChainId| overlay.place(layer);
        overlay.prune(&mut |layer: &ChainId| {
            let path = place(layer);
            let Some(one) = snapshots.iter().find(|one| one.kept.path == path) else { return true };
            dropped += 1;
            bytes += one.bytes;
            sweep == Sweep::DryRun
        })?;
    }
    if Plain::is_used(state) {
        let plain = Plain::new(state)?;
        let here = plain.list()?;
        plain.prune(&mut |layer: &ChainId| {
            let here = here.iter().find(|kept| kept.layer == *layer);
            let one = here.and_then(|kept| snapshots.iter().find(|one| one.kept.path == kept.path));
            let Some(one) = one else { return true };
            dropped += 1;
            bytes += one.bytes;
            sweep == Sweep::DryRun
        })?;
    }
    Ok((dropped, bytes))
}

/// Returns a time as the cache notes it.
pub(super) fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
