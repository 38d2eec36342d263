//! What a state folder holds of past builds, how much that is, and how it is emptied or kept in bounds.
//!
//! ```text
//! cache.db      records ─▶ remembered layers, which a sweep of the store spares     forget: no record is left
//! snapshots/    layers unpacked for RUN                                             forget: those not in use go
//! mounts/       directories that RUNs see and builds outlive                        forget: those not in use go
//! indexes/      what is in layers            sweep: those of layers that are gone   forget: all go
//! stat/         what contexts' files hold    tidy: those of two months ago          forget: all go
//! git/          what was fetched of repositories                                   forget: those not in use go
//! scratch/      what came from elsewhere, for one build                             forget: those of dead builds go
//! tmp/          contents set aside for a while: files without a name, or leftovers  forget: all go
//!
//! usage     what takes how much             bounds   how much may stay (pure)     tidy       now and then, by itself
//! evict     the least recently used first   indexes  those that nobody knows      leftovers  of killed processes
//! measure   bytes on disk
//! ```
//!
//! All of it can be rebuilt, and builds may be under way: whatever goes is a miss to them, no failure.
//! Nothing here makes what is not there.

pub mod bounds;
pub mod evict;
pub mod indexes;
pub mod leftovers;
mod measure;
pub mod tidy;
pub mod usage;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oxbox_layers::oci::Digest;
use oxbox_layers::store::{ReachError, StoreError, Sweep};

pub use self::bounds::{Amount, Bounds, Disk, Kind};
pub use self::evict::{Evicted, evict};
pub use self::indexes::sweep_indexes;
pub use self::leftovers::{Leftovers, sweep_abandoned, sweep_leftovers};
pub use self::tidy::tidy;
pub use self::usage::{Usage, usage};
use crate::context::Scratch;
use crate::mounts::MountsError;
use crate::op::git;
use crate::snapshot::SnapshotError;
use crate::solve::{Cache, CacheError, LockError};

/// What was forgotten, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Records of the cache.
    pub records: usize,
    /// Unpacked layers.
    pub snapshots: usize,
    /// Cache mounts.
    pub mounts: usize,
    /// Indexes of layers.
    pub indexes: usize,
    /// Contexts whose files were known.
    pub contexts: usize,
    /// What was fetched of git repositories.
    pub repositories: usize,
    /// Bytes of what went, but for the records and the repositories.
    pub bytes: u64,
}

/// Why a state folder cannot be kept in order.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant carries its own room's error")]
pub enum HousekeepingError {
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Mounts(#[from] MountsError),
    #[error(transparent)]
    Snapshots(#[from] SnapshotError),
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot {verb} {}", .path.display())]
    Io { verb: &'static str, path: PathBuf, source: io::Error },
}

/// Returns the blobs of the layers that the cache remembers.
pub fn remembered(state: &Path) -> Result<HashSet<Digest>, HousekeepingError> {
    let Some(cache) = cache(state)? else { return Ok(HashSet::new()) };
    Ok(cache.used_since(i64::MIN)?.into_iter().map(|layer| layer.descriptor.digest).collect())
}

/// Forgets past builds. Snapshots that a step stands on stay, and so do cache mounts that one has.
pub fn forget(state: &Path, sweep: Sweep) -> Result<Forgotten, HousekeepingError> {
    let mut forgotten = Forgotten::default();
    let cache = cache(state)?;
    let snapshots = measure::snapshots(state, cache.as_ref())?;
    (forgotten.snapshots, forgotten.bytes) = evict::drop_snapshots(state, &snapshots, sweep)?;
    let (mounts, bytes) = evict::drop_mounts(state, &measure::mounts(state)?, sweep)?;
    forgotten.mounts = mounts;
    forgotten.bytes += bytes;
    if let Some(cache) = cache {
        forgotten.records = match sweep {
            Sweep::Remove => cache.forget_all()?,
            Sweep::DryRun => cache.count()?,
        };
    }
    let mut empty = |folder: &str, is_one: &dyn Fn(&Path) -> bool| {
        let mut gone = 0;
        for path in list(&state.join(folder))?.into_iter().filter(|path| is_one(path)) {
            let bytes = measure::file(&path);
            if remove(&path, sweep)? {
                gone += 1;
                forgotten.bytes += bytes;
            }
        }
        Ok::<_, HousekeepingError>(gone)
    };
    let is_finished = |path: &Path| !leftovers::is_unfinished(path);
    forgotten.indexes = empty("indexes", &is_finished)?;
    forgotten.contexts = empty("stat", &is_finished)?;
    empty("tmp", &|_| true)?;
    forgotten.bytes += leftovers::unfinished(state, sweep)?.bytes;
    let failed = |source| HousekeepingError::Io { verb: "empty", path: state.to_owned(), source };
    forgotten.repositories = match sweep {
        Sweep::Remove => git::forget(state).and_then(|gone| Scratch::sweep(state).map(|()| gone)),
        Sweep::DryRun => git::count(state),
    }
    .map_err(failed)?;
    Ok(forgotten)
}

fn cache(state: &Path) -> Result<Option<Cache>, HousekeepingError> {
    let path = state.join("cache.db");
    // Opening makes what is not there, and nothing is to be made by removing.
    match path.exists() {
        true => Ok(Some(Cache::open(&path)?)),
        false => Ok(None),
    }
}

/// Lists a folder's files; one that is missing has none.
fn list(folder: &Path) -> Result<Vec<PathBuf>, HousekeepingError> {
    let failed = |source| HousekeepingError::Io { verb: "list", path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect()
}

/// Removes a file; `false` if it was gone already.
fn remove(path: &Path, sweep: Sweep) -> Result<bool, HousekeepingError> {
    if sweep == Sweep::DryRun {
        return Ok(true);
    }
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(HousekeepingError::Io { verb: "remove", path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests;
