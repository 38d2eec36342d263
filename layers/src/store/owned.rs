//! Files that belong to a living process: it holds their lock, and they go with it.
//!
//! A process that is killed leaves its files unlocked, and [`reap`] takes those, and only those. That
//! is exact where an age or a process id is a guess: containers that share a store all have a pid 1.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, RenameFlags};
use rustix::io::Errno;

use super::StoreError;
use super::disk::{self, cannot};

/// A file with a name nobody else has, locked by this process, removed when dropped.
#[derive(Debug)]
pub(super) struct Owned {
    path: PathBuf,
    file: File,
    fate: Fate,
}

/// What becomes of the file's first name.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Removed,
    Renamed,
}

/// What a living or dead owner left behind.
pub(super) enum Owner {
    /// Still at work, since then.
    Alive(SystemTime),
    /// Gone; the file was removed, or would be.
    Gone(u64),
}

/// What to do with what a dead owner left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leftover {
    /// Only say that it is there.
    Keep,
    /// Remove it.
    Remove,
}

/// Somebody would have to remove the directory each time; then it is not ours to insist.
const MAKE_ATTEMPTS: usize = 16;

impl Owned {
    /// Makes an empty file in `directory`, and the directory where it is missing.
    pub(super) fn create(directory: &Path) -> Result<Self, StoreError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut made = 0;
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = directory.join(format!("{}-{number}", process::id()));
            let file = match File::options().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => file,
                // Of a process with our pid that was killed, or that lives in another container.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                // Whoever made the directory meanwhile: try again.
                Err(error) if error.kind() == io::ErrorKind::NotFound && made < MAKE_ATTEMPTS => {
                    disk::make_directory(directory)?;
                    made += 1;
                    continue;
                }
                Err(error) => return Err(cannot("create", &path)(error)),
            };
            disk::flock(&file, FlockOperation::LockExclusive).map_err(cannot("lock", &path))?;
            // A reaper may have come between the two calls and taken the file for a dead one's.
            let metadata = file.metadata().map_err(cannot("stat", &path))?;
            if disk::still_names(&path, &metadata)? {
                return Ok(Self { path, file, fate: Fate::Removed });
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Moves the file to `target`, or returns `false` and leaves it if something stands there.
    ///
    /// The lock is kept until the value is dropped.
    pub(super) fn publish(&mut self, target: &Path) -> Result<bool, Errno> {
        use rustix::fs::{CWD, link, renameat_with};
        match renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE) {
            Ok(()) => self.fate = Fate::Renamed,
            Err(Errno::EXIST) => return Ok(false),
            // NFS and some FUSE filesystems know no such rename; the first name goes on drop.
            Err(Errno::INVAL | Errno::NOSYS) => match link(&self.path, target) {
                Ok(()) => {}
                Err(Errno::EXIST) => return Ok(false),
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Moves the file to `target` in place of what stands there.
    pub(super) fn replace(&mut self, target: &Path) -> Result<(), Errno> {
        rustix::fs::rename(&self.path, target)?;
        self.fate = Fate::Renamed;
        Ok(())
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if self.fate == Fate::Removed {
            // What cannot be removed is unlocked in a moment, and a later sweep takes it.
            let _ = disk::remove(&self.path);
        }
    }
}

/// Looks whether a file's owner lives, and deals with what a dead one left.
///
/// `None` if the file went meanwhile.
pub(super) fn reap(path: &Path, leftover: Leftover) -> Result<Option<Owner>, StoreError> {
    match disk::open(path)? {
        Some((file, metadata)) => reap_opened(path, &file, &metadata, leftover),
        None => Ok(None),
    }
}

fn reap_opened(
    path: &Path,
    file: &File,
    metadata: &Metadata,
    leftover: Leftover,
) -> Result<Option<Owner>, StoreError> {
    match disk::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let since = metadata.modified().map_err(cannot("stat", path))?;
            return Ok(Some(Owner::Alive(since)));
        }
        Err(error) => return Err(cannot("lock", path)(error)),
    }
    // Published or removed between the open and the lock: not a leftover then.
    if !disk::still_names(path, metadata)? {
        return Ok(None);
    }
    if leftover == Leftover::Remove {
        disk::remove(path)?;
    }
    Ok(Some(Owner::Gone(metadata.len())))
}

#[cfg(test)]
mod tests {
    use super::{Leftover, Owned, Owner, reap, reap_opened};
    use crate::store::disk;

    #[test]
    fn a_living_owners_file_is_not_reaped() {
        let directory = tempfile::tempdir().unwrap();
        let owned = Owned::create(directory.path()).unwrap();
        assert!(matches!(reap(owned.path(), Leftover::Remove), Ok(Some(Owner::Alive(_)))));
        assert!(owned.path().exists());
    }

    #[test]
    fn a_dead_owners_file_is_reaped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("1-1");
        std::fs::write(&path, b"left").unwrap();
        assert!(matches!(reap(&path, Leftover::Keep), Ok(Some(Owner::Gone(4)))));
        assert!(path.exists());
        assert!(matches!(reap(&path, Leftover::Remove), Ok(Some(Owner::Gone(4)))));
        assert!(!path.exists());
    }

    #[test]
    fn a_name_that_passed_to_another_file_is_not_reaped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("1-1");
        std::fs::write(&path, b"published since").unwrap();
        let (file, metadata) = disk::open(&path).unwrap().unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"anew").unwrap();
        assert!(matches!(reap_opened(&path, &file, &metadata, Leftover::Remove), Ok(None)));
        assert!(path.exists());
    }

    #[test]
    fn a_dropped_file_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        drop(Owned::create(&directory.path().join("made")).unwrap());
        assert_eq!(std::fs::read_dir(directory.path().join("made")).unwrap().count(), 0);
    }

    #[test]
    fn publishing_does_not_replace() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("target");
        std::fs::write(&target, b"first").unwrap();
        let mut owned = Owned::create(directory.path()).unwrap();
        assert!(!owned.publish(&target).unwrap());
        drop(owned);
        assert_eq!(std::fs::read(&target).unwrap(), b"first");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
