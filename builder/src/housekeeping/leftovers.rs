//! Files that killed processes left unfinished.

use std::fs;
use std::path::Path;
use std::time::Duration;

use oxbox_layers::store::Sweep;

use super::{HousekeepingError, list, measure, remove};

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
