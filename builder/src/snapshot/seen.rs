//! Markers that this process has read: each step looks at all snapshots below it, of which all but one or
//! two are those that the step before looked at.
//!
//! ```text
//! <hex>/unpacked ─statx▶ device, inode, time of birth ─┬ as when it was read ▶ what it said
//!                                                      └ otherwise           ▶ read
//! ```
//!
//! Markers are never written in place, so that one that is the same file says the same. An inode may be
//! given away again, but to a file that is born later; so a file that is just born is read each time, and
//! where the filesystem knows no time of birth, each is.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use oxbox_layers::oci::ChainId;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::SnapshotError;
use super::marker::{self, Marker};

/// The longest tick of the clock that stamps inodes: a file born within the same one has the same time.
const TICK: Duration = Duration::from_millis(10);

/// What is pruned by age need not know it better than this.
const NOTED_EVERY: Duration = Duration::from_secs(60);

/// Markers that were read, by snapshot.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashMap<ChainId, Entry>>);

#[derive(Debug)]
struct Entry {
    identity: Identity,
    marker: Marker,
    /// When it was noted that a step stands on it.
    touched: Option<Instant>,
}

/// Which file it is: of no other one, now or later, all three are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: (u32, u32),
    inode: u64,
    /// Since 1970.
    born: Duration,
}

impl Seen {
    /// Returns the marker of the snapshot in `directory`; `None` without one.
    pub(super) fn read(&self, layer: &ChainId, directory: &Path) -> Result<Option<Marker>, SnapshotError> {
        self.read_at(layer, directory, SystemTime::now())
    }

    fn read_at(
        &self,
        layer: &ChainId,
        directory: &Path,
        now: SystemTime,
    ) -> Result<Option<Marker>, SnapshotError> {
        // Before it is read: what takes its place meanwhile is another file.
        let settled = |identity: &Identity| SystemTime::UNIX_EPOCH + identity.born + TICK < now;
        let Some(identity) = identity(directory).filter(settled) else { return Marker::read(directory) };
        if let Some(entry) = self.entries().get(layer).filter(|entry| entry.identity == identity) {
            return Ok(Some(entry.marker.clone()));
        }
        let marker = Marker::read(directory)?;
        if let Some(marker) = &marker {
            let entry = Entry { identity, marker: marker.clone(), touched: None };
            self.entries().insert(*layer, entry);
        }
        Ok(marker)
    }

    /// Notes that a step stands on the snapshot now; `false` if that was noted a moment ago.
    pub(super) fn touch(&self, layer: &ChainId, directory: &Path) -> bool {
        if let Some(entry) = self.entries().get_mut(layer) {
            if entry.touched.is_some_and(|touched| touched.elapsed() < NOTED_EVERY) {
                return false;
            }
            entry.touched = Some(Instant::now());
        }
        Marker::touch(directory);
        true
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<ChainId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn identity(directory: &Path) -> Option<Identity> {
    let wanted = StatxFlags::INO | StatxFlags::BTIME;
    let found = statx(CWD, directory.join(marker::NAME), AtFlags::SYMLINK_NOFOLLOW, wanted).ok()?;
    let has_all = found.stx_mask & wanted.bits() == wanted.bits();
    let born = Duration::new(u64::try_from(found.stx_btime.tv_sec).ok()?, found.stx_btime.tv_nsec);
    let device = (found.stx_dev_major, found.stx_dev_minor);
    has_all.then_some(Identity { device, inode: found.stx_ino, born })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use oxbox_layers::oci::{ChainId, Digest};

    use super::Seen;
    use crate::snapshot::marker::{Form, Marker, RootEntry};

    #[test]
    fn a_marker_that_took_the_place_of_another_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (seen, layer) = (Seen::default(), ChainId(Digest::sha256(b"layer")));
        let read = || seen.read(&layer, folder.path()).unwrap();
        assert_eq!(read(), None);
        for root in [RootEntry::Own, RootEntry::Inherited, RootEntry::Own] {
            let marker = Marker::new("boot", root, Form::Whole);
            marker.write(folder.path()).unwrap();
            assert_eq!(read(), Some(marker.clone()));
            seen.touch(&layer, folder.path());
            assert_eq!(read(), Some(marker));
            fs::remove_file(folder.path().join("unpacked")).unwrap();
            assert_eq!(read(), None);
        }
    }

    #[test]
    fn the_same_file_is_read_once_when_it_is_older_than_a_tick() {
        let folder = tempfile::tempdir().unwrap();
        let (seen, layer) = (Seen::default(), ChainId(Digest::sha256(b"layer")));
        let (first, second) = (RootEntry::Own, RootEntry::Inherited);
        let [first, second] = [first, second].map(|root| Marker::new("boot", root, Form::Whole));
        let later = SystemTime::now() + Duration::from_secs(1);
        let read = |now| seen.read_at(&layer, folder.path(), now).unwrap().unwrap();
        first.write(folder.path()).unwrap();
        assert_eq!(read(later), first);
        // In place, as nobody does.
        second.write(folder.path()).unwrap();
        assert_eq!(read(later), first);
        assert_eq!(read(SystemTime::UNIX_EPOCH), second);
    }
}
