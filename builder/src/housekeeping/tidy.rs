//! Keeps a state folder in bounds by itself, after builds.
//!
//! ```text
//! locks/housekeeping     flock: one process tidies at a time, the others go on;  mtime: when that was last
//! ```
//!
//! A look costs no walk: the cache knows the sizes of its layers, and each snapshot is measured once. Blobs go
//! as in every sweep: what somebody at work wrote or found stays.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use oxbox_layers::oci::Digest;
use oxbox_layers::store::{Layout, Sweep};
use rustix::fs::{FlockOperation, flock};

use super::bounds::{Bounds, Disk};
use super::evict::{Evicted, evict, seconds};
use super::{HousekeepingError, cache, leftovers, list, measure, remembered, remove};
use crate::solve::Cache;

/// How often it is looked at all. A build that fills the disk within that time is noticed by the next one.
const EVERY: Duration = Duration::from_secs(5 * 60);

/// What is known of a context that nobody built for so long goes, and so do the chunks of layers that an
/// instruction led to: BuildKit calls a cache of this age stale.
const STALE_AFTER: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// Tidies a state folder if that was not done lately; returns what went of the cache.
///
/// The caller must not be at work in the store, or what it found there stays.
pub fn tidy(state: &Path, bounds: &Bounds) -> Result<Option<Evicted>, HousekeepingError> {
    let Some(turn) = turn(state)? else { return Ok(None) };
    leftovers::sweep_leftovers(state, Sweep::Remove)?;
    for path in list(&state.join("stat"))? {
        if leftovers::is_older(&path, STALE_AFTER) {
            remove(&path, Sweep::Remove)?;
        }
    }
    let cache = cache(state)?;
    if let Some(cache) = &cache {
        let stale = i64::try_from(STALE_AFTER.as_secs()).unwrap_or(i64::MAX);
        cache.forget_chunks_before(seconds(SystemTime::now()) - stale)?;
    }
    let layers = cache.as_ref().map(Cache::layers).transpose()?.unwrap_or_default();
    let snapshots = measure::snapshots(state, cache.as_ref())?;
    let mounts = measure::mounts(state)?;
    let rebuilt = snapshots.iter().map(|one| one.bytes).chain(mounts.iter().map(|(_, bytes)| *bytes));
    // More than that it is not, whatever images have of it.
    let most = layers.iter().map(|layer| layer.size).chain(rebuilt).sum();
    let evicted = match bounds.keeps(most, Disk::of(state)) >= most {
        true => Evicted::default(),
        false => bound(state, bounds)?,
    };
    // Not before: if this was cut off, the next build goes on.
    let _ = turn.set_modified(SystemTime::now());
    Ok(Some(evicted))
}

/// Brings the cache back into its bounds. What neither an image nor the cache knows goes first: perhaps the
/// disk has enough room then.
fn bound(state: &Path, bounds: &Bounds) -> Result<Evicted, HousekeepingError> {
    let store = Layout::open(state.join("store"))?;
    let known = remembered(state)?;
    let blobs = store.blobs()?.into_iter().map(|blob| blob.digest);
    let unknown: Vec<Digest> = blobs.filter(|blob| !known.contains(blob)).collect();
    // Images' own are among those, and spared.
    let mut bytes = store.sweep_only(&unknown, Sweep::Remove)?.bytes;
    let evicted = evict(state, Some(&store), &store.reached()?, bounds, Sweep::Remove)?;
    bytes += store.sweep_only(&evicted.layers, Sweep::Remove)?.bytes;
    Ok(Evicted { bytes: evicted.bytes + bytes, ..evicted })
}

/// Returns the lock, unless somebody has it or it is too early.
fn turn(state: &Path) -> Result<Option<File>, HousekeepingError> {
    let folder = state.join("locks");
    let path = folder.join("housekeeping");
    let failed = |source| HousekeepingError::Io { verb: "open", path: path.clone(), source };
    if !leftovers::is_older(&path, EVERY) && is_past(&path) {
        return Ok(None);
    }
    fs::create_dir_all(&folder).map_err(failed)?;
    let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
    Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(file))
}

/// Whether a file is there, and not from a future that a clock once was in.
fn is_past(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|found| found.modified());
    modified.is_ok_and(|time| time <= SystemTime::now())
}
