//! One maker for each key, whichever process it is in.
//!
//! ```text
//! locks/steps/<key, 32 hex digits>     locked (flock) by whoever makes what the key stands for
//! ```
//!
//! A lock is held while one vertex is made, and whoever holds one takes no other: there is no order that
//! could make two builds wait for each other. Nobody sleeps on a lock either: the schedule comes back to
//! the vertex now and then, and makes others meanwhile. The system gives the locks of a process that dies
//! back. A file lives as long as its lock, so that there are as many as there are vertices under way,
//! and those of killed processes until the next build sweeps them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::Key;

/// Each attempt fails only if another process removed the file at that very moment.
const MAX_ATTEMPTS: usize = 100;

/// The locks of a state folder.
#[derive(Debug)]
pub struct Locks {
    folder: PathBuf,
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    // Closing it gives the lock back.
    _file: File,
}

/// Why a lock cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {}", .path.display())]
pub struct LockError {
    /// What was tried.
    pub verb: &'static str,
    /// Which file.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: io::Error,
}

impl Locks {
    /// Opens the folder, making it if it is not there, and removes what killed processes left.
    pub fn open(folder: &Path) -> Result<Self, LockError> {
        fs::create_dir_all(folder).map_err(error("make", folder))?;
        let locks = Self { folder: folder.to_owned() };
        locks.sweep()?;
        Ok(locks)
    }

    /// Takes a key's lock; `None` while somebody else has it. Never waits.
    pub fn try_take(&self, key: &Key) -> Result<Option<Held>, LockError> {
        let path = self.folder.join(key.name());
        for _ in 0..MAX_ATTEMPTS {
            let opened = File::options().create(true).truncate(false).write(true).open(&path);
            let file = match opened {
                Ok(file) => file,
                // Somebody deletes the whole state, as they may.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir_all(&self.folder).map_err(self::error("make", &self.folder))?;
                    continue;
                }
                Err(source) => return Err(LockError { verb: "open", path, source }),
            };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(LockError { verb: "lock", path, source: errno.into() }),
            }
            if is_at(&file, &path) {
                return Ok(Some(Held { path, _file: file }));
            }
        }
        let source = io::Error::from(io::ErrorKind::ResourceBusy);
        Err(LockError { verb: "lock", path, source })
    }

    fn sweep(&self) -> Result<(), LockError> {
        let entries = fs::read_dir(&self.folder).map_err(error("list", &self.folder))?;
        for entry in entries {
            let path = entry.map_err(error("list", &self.folder))?.path();
            let Ok(file) = File::open(&path) else { continue };
            let is_free = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
            if is_free && is_at(&file, &path) {
                let _ = fs::remove_file(&path);
            }
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // While it is still locked: whoever opened it meanwhile sees that the name is gone.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether a path still names this file: between opening and locking it may have been removed.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(locked), Ok(found)) => (locked.dev(), locked.ino()) == (found.dev(), found.ino()),
        _ => false,
    }
}

fn error<'a>(verb: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> LockError + 'a {
    move |source| LockError { verb, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Locks;
    use crate::solve::KeyHasher;

    #[test]
    fn a_key_has_one_holder_and_another_key_another() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (Locks::open(folder.path()).unwrap(), Locks::open(folder.path()).unwrap());
        let (key, other) = (KeyHasher::new("a").finish(), KeyHasher::new("b").finish());
        let held = one.try_take(&key).unwrap().unwrap();
        assert!(two.try_take(&key).unwrap().is_none());
        assert!(one.try_take(&key).unwrap().is_none(), "nor does the same process get it twice");
        assert!(two.try_take(&other).unwrap().is_some());
        drop(held);
        assert!(two.try_take(&key).unwrap().is_some());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_what_is_held_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let locks = Locks::open(folder.path()).unwrap();
        let held = locks.try_take(&KeyHasher::new("a").finish()).unwrap().unwrap();
        fs::write(folder.path().join("left"), "").unwrap();
        let again = Locks::open(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(again.try_take(&KeyHasher::new("a").finish()).unwrap().is_none());
        drop(held);
    }

    #[test]
    fn many_takers_are_never_two_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyHasher::new("a").finish();
        let (inside, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let locks = Locks::open(folder.path()).unwrap();
                    while taken.load(Ordering::SeqCst) < 200 {
                        let Some(held) = locks.try_take(&key).unwrap() else { continue };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        taken.fetch_add(1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(held);
                    }
                });
            }
        });
    }
}
