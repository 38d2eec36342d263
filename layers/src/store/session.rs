//! Sessions: how a process at work keeps a sweep in another process from taking what it relies on.
//!
//! ```text
//! sweep keeps        │← one hour →│ oldest living session began                       now
//!  unreachable blobs ─────────────┼──────────────────────────────────────────────────▶
//!   last used: │ taken            │ kept
//! ```
//!
//! A session is a locked file whose mtime is its beginning. Whatever the process uses after that, by
//! writing it or by finding it here, has a younger mtime: a hit on an older blob renews it, once. So a
//! blob older than every living session is nobody's. Renewing and removing both lock the blob's own
//! file, so that a sweep cannot take a blob between the look and the renewal.
//!
//! Renewing needs to own the blobs: a layout that several users write is swept while none of them works.

use std::fs::{File, Metadata};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;

use super::StoreError;
use super::disk::{self, Disk, cannot};
use super::owned::{self, Leftover, Owned, Owner};

/// How far before its beginning a session protects blobs: a clock that steps back by less does no harm.
const GRACE: Duration = Duration::from_secs(60 * 60);

/// A process at work in a layout, until dropped.
#[derive(Debug)]
pub(super) struct Session {
    began: SystemTime,
    // Locked as long as this lives.
    _file: Owned,
}

/// Who keeps a sweep from taking what no name reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtWork {
    /// Nobody, and nobody begins while the sweep holds the lock.
    Nobody,
    /// Processes that rely on nothing last used before then.
    Since(SystemTime),
}

impl Session {
    /// Begins a session; waits while a sweep has the layout to itself.
    pub(super) fn begin(disk: &Disk) -> Result<Self, StoreError> {
        let _gate = disk::lock(&disk.sessions_lock(), FlockOperation::LockShared)?;
        let file = Owned::create(&disk.sessions())?;
        // Of the filesystem's clock, as the blobs' times are.
        let began = file.file().metadata().and_then(|metadata| metadata.modified());
        Ok(Self { began: began.map_err(cannot("stat", file.path()))?, _file: file })
    }

    /// Opens a blob's file, kept from sweeps until this session ends; `None` if it is not there.
    pub(super) fn open(&self, path: &Path) -> Result<Option<(File, Metadata)>, StoreError> {
        loop {
            let Some((file, metadata)) = disk::open(path)? else { return Ok(None) };
            if self.covers(&metadata) || renew(path, &file, &metadata)? {
                return Ok(Some((file, metadata)));
            }
        }
    }

    /// Returns a blob's metadata, kept from sweeps until this session ends; `None` if it is not there.
    pub(super) fn stat(&self, path: &Path) -> Result<Option<Metadata>, StoreError> {
        match disk::stat(path)? {
            Some(metadata) if !self.covers(&metadata) => Ok(self.open(path)?.map(|(_, metadata)| metadata)),
            other => Ok(other),
        }
    }

    fn covers(&self, metadata: &Metadata) -> bool {
        metadata.modified().is_ok_and(|used| used >= self.began)
    }
}

/// Makes a blob look used now; `false` if it was removed or replaced before it could be locked.
fn renew(path: &Path, file: &File, metadata: &Metadata) -> Result<bool, StoreError> {
    disk::flock(file, FlockOperation::LockShared).map_err(cannot("lock", path))?;
    if !disk::still_names(path, metadata)? {
        return Ok(false);
    }
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let renewed = match rustix::fs::futimens(file, &Timestamps { last_access: now, last_modification: now }) {
        // Another user's blob, or a filesystem that nobody can write.
        Ok(()) | Err(Errno::PERM | Errno::ACCESS | Errno::ROFS) => Ok(true),
        Err(error) => Err(cannot("touch", path)(error)),
    };
    // The file stays open for reading, perhaps for hours: the lock must not.
    disk::flock(file, FlockOperation::Unlock).map_err(cannot("unlock", path))?;
    renewed
}

/// Removes a blob unless somebody at work may rely on it; `false` if it is kept.
pub(super) fn remove_unused(path: &Path, at_work: AtWork) -> Result<bool, StoreError> {
    match disk::open(path)? {
        Some((file, _)) => remove_opened(path, &file, at_work),
        None => Ok(true),
    }
}

fn remove_opened(path: &Path, file: &File, at_work: AtWork) -> Result<bool, StoreError> {
    match disk::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        // Somebody renews it, or has just published it.
        Err(Errno::WOULDBLOCK) => return Ok(false),
        Err(error) => return Err(cannot("lock", path)(error)),
    }
    // Looked at again now that it is locked: it may have been renewed or replaced since it was opened.
    let metadata = file.metadata().map_err(cannot("stat", path))?;
    if !is_unused(&metadata, at_work) || !disk::still_names(path, &metadata)? {
        return Ok(false);
    }
    disk::remove(path)?;
    Ok(true)
}

/// Whether nobody at work can be relying on a blob.
pub(super) fn is_unused(metadata: &Metadata, at_work: AtWork) -> bool {
    match at_work {
        AtWork::Nobody => true,
        AtWork::Since(time) => metadata.modified().is_ok_and(|used| used < time),
    }
}

/// Finds out who is at work. While the file lives, nobody begins a session.
///
/// The sweep reads `index.json` after this: what a session that is not seen here has named, is seen there.
pub(super) fn survey(disk: &Disk, leftover: Leftover) -> Result<(AtWork, Option<File>), StoreError> {
    let gate = disk::lock(&disk.sessions_lock(), FlockOperation::LockExclusive)?;
    let mut oldest: Option<SystemTime> = None;
    for path in disk::list(&disk.sessions())? {
        if let Some(Owner::Alive(began)) = owned::reap(&path, leftover)? {
            oldest = Some(oldest.map_or(began, |other| other.min(began)));
        }
    }
    Ok(match oldest {
        None => (AtWork::Nobody, Some(gate)),
        // Those who are at work shall not make others wait: the times protect newcomers just as well.
        Some(began) => (AtWork::Since(began.checked_sub(GRACE).unwrap_or(SystemTime::UNIX_EPOCH)), None),
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::MetadataExt as _;
    use std::thread::ScopedJoinHandle;
    use std::time::{Duration, SystemTime};

    use rustix::fs::FlockOperation;

    use super::{AtWork, Session, remove_opened, remove_unused, renew, survey};
    use crate::store::disk::{self, Disk};
    use crate::store::owned::Leftover;

    fn aged(directory: &tempfile::TempDir) -> std::path::PathBuf {
        let path = directory.path().join("blob");
        let file = File::create(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(9 * 3600)).unwrap();
        path
    }

    #[test]
    fn nobody_at_work_leaves_everything_to_the_sweep() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::new(directory.path().to_owned());
        drop(Session::begin(&disk).unwrap());
        assert_eq!(survey(&disk, Leftover::Remove).unwrap().0, AtWork::Nobody);
    }

    #[test]
    fn the_oldest_session_bounds_the_sweep() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::new(directory.path().to_owned());
        let first = Session::begin(&disk).unwrap();
        let _second = Session::begin(&disk).unwrap();
        let (at_work, gate) = survey(&disk, Leftover::Remove).unwrap();
        assert_eq!(at_work, AtWork::Since(first.began - super::GRACE));
        assert!(gate.is_none());
    }

    #[test]
    fn a_blob_that_a_session_found_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::new(directory.path().to_owned());
        let path = aged(&directory);
        let session = Session::begin(&disk).unwrap();
        let (at_work, _) = survey(&disk, Leftover::Remove).unwrap();
        assert!(session.stat(&path).unwrap().is_some());
        assert!(!remove_unused(&path, at_work).unwrap());
        assert!(path.exists());
    }

    #[test]
    fn a_blob_older_than_every_session_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::new(directory.path().to_owned());
        let path = aged(&directory);
        let _session = Session::begin(&disk).unwrap();
        let (at_work, _) = survey(&disk, Leftover::Remove).unwrap();
        assert!(remove_unused(&path, at_work).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_blob_replaced_under_the_sweep_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = aged(&directory);
        let (old, _) = disk::open(&path).unwrap().unwrap();
        std::fs::remove_file(&path).unwrap();
        File::create(&path).unwrap();
        assert!(!remove_opened(&path, &old, AtWork::Nobody).unwrap());
        assert!(path.exists());
    }

    #[test]
    fn a_blob_swept_before_it_could_be_renewed_is_not_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = aged(&directory);
        let (file, metadata) = disk::open(&path).unwrap().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(!renew(&path, &file, &metadata).unwrap());
    }

    #[test]
    fn nobody_begins_while_a_sweep_has_the_layout_to_itself() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::new(directory.path().to_owned());
        let (_, gate) = survey(&disk, Leftover::Remove).unwrap();
        std::thread::scope(|scope| {
            let begin = scope.spawn(|| Session::begin(&disk).unwrap());
            await_waiter(gate.as_ref().unwrap(), &begin);
            drop(gate);
            begin.join().unwrap();
        });
    }

    #[test]
    fn a_blob_is_not_renewed_while_a_sweep_looks_at_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = aged(&directory);
        let (file, metadata) = disk::open(&path).unwrap().unwrap();
        let (sweeps, _) = disk::open(&path).unwrap().unwrap();
        disk::flock(&sweeps, FlockOperation::NonBlockingLockExclusive).unwrap();
        std::thread::scope(|scope| {
            let renewal = scope.spawn(|| renew(&path, &file, &metadata).unwrap());
            await_waiter(&sweeps, &renewal);
            std::fs::remove_file(&path).unwrap();
            drop(sweeps);
            assert!(!renewal.join().unwrap());
        });
    }

    /// Returns once the kernel shows that somebody waits for a lock of the file.
    fn await_waiter<T>(locked: &File, waiter: &ScopedJoinHandle<'_, T>) {
        let inode = format!(":{} ", locked.metadata().unwrap().ino());
        let is_awaited = |locks: &str| locks.lines().any(|line| line.contains("->") && line.contains(&inode));
        while !is_awaited(&std::fs::read_to_string("/proc/locks").unwrap()) {
            assert!(!waiter.is_finished(), "it did not wait");
        }
    }
}
