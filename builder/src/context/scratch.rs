//! A folder for what comes from elsewhere, for as long as it is used.
//!
//! ```text
//! state/scratch/<pid>-<number>/      locked by its owner; what a dead one left, the next build removes
//! ```

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::snapshot::claim::{self, Claim};

/// A folder of this process, empty at first; removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    claim: Claim,
}

impl Scratch {
    /// Makes one below a state folder, and removes what dead processes left there.
    pub fn new(state: &Path) -> io::Result<Self> {
        Self::sweep(state)?;
        Self::beside_others(state)
    }

    /// The same, and leaves alone what dead processes left: for who may be unable to remove it.
    pub(crate) fn beside_others(state: &Path) -> io::Result<Self> {
        let parent = parent(state);
        fs::create_dir_all(&parent)?;
        Ok(Self { claim: Claim::new(&parent).map_err(io::Error::other)? })
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        self.claim.path()
    }

    /// Whether a path leads into such a folder of this state.
    pub fn holds(state: &Path, path: &Path) -> bool {
        path.starts_with(parent(state))
    }

    /// Removes what dead processes left.
    pub fn sweep(state: &Path) -> io::Result<()> {
        let parent = parent(state);
        if parent.exists() {
            claim::sweep(&parent).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Folders that nobody may write into cannot be emptied, but by root.
        if !rustix::process::geteuid().is_root() {
            open_up(self.claim.path());
        }
    }
}

fn open_up(folder: &Path) {
    let _ = fs::set_permissions(folder, Permissions::from_mode(0o700));
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

fn parent(state: &Path) -> PathBuf {
    state.join("scratch")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Scratch;

    #[test]
    fn a_scratch_folder_goes_with_its_owner_and_so_do_those_of_the_dead() {
        let state = tempfile::tempdir().unwrap();
        let left = state.path().join("scratch/1-0");
        fs::create_dir_all(left.join("file")).unwrap();
        let scratch = Scratch::new(state.path()).unwrap();
        fs::write(scratch.path().join("file"), "").unwrap();
        assert!(!left.exists());
        // Nobody takes what is in use.
        let other = Scratch::new(state.path()).unwrap();
        assert!(scratch.path().exists() && other.path() != scratch.path());
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
    }
}
