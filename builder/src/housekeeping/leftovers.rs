//! Files that killed processes left unfinished.

use std::fs;
use std::path::Path;
use std::time::Duration;

use oxbox_layers::store::Sweep;

use super::{HousekeepingError, list, measure, remove};
use crate::context::Scratch;
use crate::exec::cgroup;
use crate::mounts::Mounts;
use crate::snapshot::{Overlay, Plain, Snapshotter as _};
use crate::solve::Locks;

/// An unfinished file this old is nobody's: writing one takes seconds.
const ABANDONED_AFTER: Duration = Duration::from_secs(60 * 60);

/// Contents set aside may be in use as long as a step takes.
const SET_ASIDE_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// What went, or would.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// How many files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Removes what killed processes left in a state folder, but for its store.
pub fn sweep_leftovers(state: &Path, sweep: Sweep) -> Result<Leftovers, HousekeepingError> {
    let mut left = unfinished(state, sweep)?;
    for path in list(&state.join("tmp"))? {
        if path.is_file() && is_older(&path, SET_ASIDE_FOR) {
            left.take(&path, sweep)?;
        }
    }
    Ok(left)
}

/// Removes what killed builds had under way: roots, cache mounts that were being filled, control groups, locks.
///
/// Each build does so when it begins; this is for who wants the room and no build. As with builds, what belongs to a
/// living process stays.
pub fn sweep_abandoned(state: &Path) -> Result<(), HousekeepingError> {
    let io = |verb| move |source| HousekeepingError::Io { verb, path: state.to_owned(), source };
    cgroup::sweep(state).map_err(io("look for control groups of"))?;
    if state.join("snapshots").exists() {
        for overlay in Overlay::open_all(state)? {
            overlay.sweep()?;
        }
    }
    if Plain::is_used(state) {
        Plain::new(state)?.sweep()?;
    }
    Mounts::new(state).sweep()?;
    let locks = state.join("locks/steps");
    if locks.exists() {
        Locks::open(&locks)?;
    }
    Scratch::sweep(state).map_err(io("sweep the scratch folder of"))
}

/// Removes what nobody finishes any more.
pub(super) fn unfinished(state: &Path, sweep: Sweep) -> Result<Leftovers, HousekeepingError> {
    let mut left = Leftovers::default();
    for folder in ["indexes", "stat"] {
        for path in list(&state.join(folder))? {
            if is_unfinished(&path) && is_older(&path, ABANDONED_AFTER) {
                left.take(&path, sweep)?;
            }
        }
    }
    Ok(left)
}

impl Leftovers {
    fn take(&mut self, path: &Path, sweep: Sweep) -> Result<(), HousekeepingError> {
        let bytes = measure::file(path);
        if remove(path, sweep)? {
            self.files += 1;
            self.bytes += bytes;
        }
        Ok(())
    }
}

/// Whether a file of `indexes/` or `stat/` is one that is still to get its name, which is hexadecimal.
pub(super) fn is_unfinished(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Whether a file was last written or of use longer ago than that.
pub(super) fn is_older(path: &Path, than: Duration) -> bool {
    let modified = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age >= than))
}
