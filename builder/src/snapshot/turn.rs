//! Locks that leave no file behind: whose turn it is to make something.
//!
//! ```text
//! open or make ─▶ flock ─▶ does the name still lead to this file?  no: again     drop: remove, unlock
//! ```
//!
//! A file is removed only by who holds its lock. Whoever waited for that one meanwhile has the lock of a
//! file that nobody else will find, and takes the next one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{SnapshotError, io_error};

/// The lock of one thing, held until dropped.
#[derive(Debug)]
pub(super) struct Turn {
    path: PathBuf,
    // Unlocked when it is closed, after the name is gone.
    _file: File,
}

impl Turn {
    /// Waits for the lock at a path.
    pub(super) fn wait(path: PathBuf) -> Result<Self, SnapshotError> {
        loop {
            let file =
                File::options().create(true).append(true).open(&path).map_err(io_error("open", &path))?;
            flock(&file, FlockOperation::LockExclusive).map_err(io_error("lock", &path))?;
            if still_names(&path, &file)? {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            // A sweep takes it.
            tracing::debug!(path = %self.path.display(), %error, "cannot remove");
        }
    }
}

/// Removes the locks in a folder whose names begin so and that nobody holds: killed processes left them.
pub(super) fn sweep(folder: &Path, prefix: &str) -> Result<(), SnapshotError> {
    for path in super::claim::directories(folder)? {
        let name = path.file_name().and_then(|name| name.to_str());
        if !name.is_some_and(|name| name.starts_with(prefix)) {
            continue;
        }
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io_error("open", &path)(error)),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if still_names(&path, &file)? => drop(Turn { path, _file: file }),
            Ok(()) | Err(Errno::WOULDBLOCK) => {}
            Err(error) => return Err(io_error("lock", &path)(error)),
        }
    }
    Ok(())
}

fn still_names(path: &Path, file: &File) -> Result<bool, SnapshotError> {
    let locked = file.metadata().map_err(io_error("stat", path))?;
    match fs::symlink_metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (locked.dev(), locked.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error("stat", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{Turn, sweep};

    #[test]
    fn a_turn_that_ended_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        drop(Turn::wait(folder.path().join("t-1")).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_sweep_takes_what_nobody_holds_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let turn = Turn::wait(folder.path().join("t-held")).unwrap();
        for name in ["t-left", "other"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        sweep(folder.path(), "t-").unwrap();
        let left = |name: &str| folder.path().join(name).exists();
        assert_eq!((left("t-held"), left("t-left"), left("other")), (true, false, true));
        drop(turn);
    }

    #[test]
    fn two_never_have_the_same_turn_though_files_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let holders = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let turn = Turn::wait(folder.path().join("t-1")).unwrap();
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                        holders.fetch_sub(1, Ordering::SeqCst);
                        drop(turn);
                        sweep(folder.path(), "t-").unwrap();
                    }
                });
            }
        });
    }
}
