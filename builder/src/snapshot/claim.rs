//! Directories that belong to a living process.
//!
//! ```text
//! active/<pid>-<number>/      locked (flock) by its owner; whoever can lock it finds it abandoned
//! ```
//!
//! A process that is killed gives its locks back without a word. A claim that is renamed elsewhere is
//! published, and no longer a claim.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};

use super::{SnapshotError, io_error};

/// Another process sweeping at the same moment may take a name away before it is locked. That it
/// does so again and again is no coincidence.
const MAX_ATTEMPTS: usize = 1000;

/// A directory of this process; removed when dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    published: bool,
    // Holds the lock; closed after the directory is gone.
    _lock: File,
}

impl Claim {
    /// Makes and locks a new directory in `parent`.
    pub(crate) fn new(parent: &Path) -> Result<Self, SnapshotError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        for _ in 0..MAX_ATTEMPTS {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => {}
                // Left by a dead process of the same number, or of another pid namespace.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(io_error("make", &path)(error)),
            }
            if let Some(lock) = lock(&path)? {
                return Ok(Self { path, published: false, _lock: lock });
            }
        }
        let error = io::Error::from(io::ErrorKind::ResourceBusy);
        Err(io_error("find a free name in", parent)(error))
    }

    /// Takes what an owner left for the next one; `None` if somebody has it, or if it is gone.
    pub(super) fn take(path: &Path) -> Result<Option<Self>, SnapshotError> {
        Ok(lock(path)?.map(|lock| Self { path: path.to_owned(), published: false, _lock: lock }))
    }

    /// Leaves it for the next owner.
    pub(super) fn leave(mut self) {
        self.published = true;
    }

    /// Returns where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Renames it to `place`; `false` if something is there already, and then it is dropped.
    pub(crate) fn publish(mut self, place: &Path) -> Result<bool, SnapshotError> {
        match fs::rename(&self.path, place) {
            Ok(()) => {
                self.published = true;
                Ok(true)
            }
            Err(error) if is_occupied(&error) => Ok(false),
            Err(error) => Err(io_error("publish", place)(error)),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            // The lock goes with this process at the latest, and then a sweep finds it.
            tracing::warn!(path = %self.path.display(), %error, "cannot remove");
        }
    }
}

/// Removes every directory in `parent` whose owner is dead; returns how many.
pub(crate) fn sweep(parent: &Path) -> Result<usize, SnapshotError> {
    let mut removed = 0;
    for path in directories(parent)? {
        if let Some(_lock) = lock(&path)? {
            match fs::remove_dir_all(&path) {
                Ok(()) => removed += 1,
                // It harms nobody but by its size. Perhaps it is another user's to remove.
                Err(error) => tracing::warn!(path = %path.display(), %error, "cannot remove what was left"),
            }
        }
    }
    Ok(removed)
}

/// Returns the paths of all that is in `parent`.
pub(super) fn directories(parent: &Path) -> Result<Vec<PathBuf>, SnapshotError> {
    let entries = fs::read_dir(parent).map_err(io_error("list", parent))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths.collect::<Result<_, _>>().map_err(io_error("list", parent))
}

/// Locks a directory if nobody has; `None` if somebody has, or if it is no longer at `path`.
fn lock(path: &Path) -> Result<Option<File>, SnapshotError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("open", path)(error)),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(io_error("lock", path)(error)),
    }
    // Between opening and locking it may have been removed or published.
    let locked = file.metadata().map_err(io_error("stat", path))?;
    match fs::symlink_metadata(path) {
        Ok(found) if (found.dev(), found.ino()) == (locked.dev(), locked.ino()) => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("stat", path)(error)),
    }
}

fn is_occupied(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Claim, directories, sweep};

    #[test]
    fn a_dropped_claim_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let claim = Claim::new(parent.path()).unwrap();
        fs::write(claim.path().join("file"), "").unwrap();
        drop(claim);
        assert!(directories(parent.path()).unwrap().is_empty());
    }

    #[test]
    fn a_sweep_takes_what_nobody_holds_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let claim = Claim::new(parent.path()).unwrap();
        fs::create_dir_all(parent.path().join("1-0/fs/deep")).unwrap();
        assert_eq!(sweep(parent.path()).unwrap(), 1);
        assert_eq!(directories(parent.path()).unwrap(), [claim.path()]);
    }

    #[test]
    fn a_claim_is_published_once() {
        let parent = tempfile::tempdir().unwrap();
        let place = parent.path().join("place");
        for expected in [true, false] {
            let claim = Claim::new(parent.path()).unwrap();
            fs::write(claim.path().join("file"), "").unwrap();
            assert_eq!(claim.publish(&place).unwrap(), expected);
        }
        assert_eq!(directories(parent.path()).unwrap(), [place]);
    }

    #[test]
    fn a_sweep_at_the_same_moment_takes_no_claim_that_was_given() {
        let parent = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let claim = Claim::new(parent.path()).unwrap();
                        sweep(parent.path()).unwrap();
                        assert!(claim.path().is_dir());
                    }
                });
            }
        });
    }
}
