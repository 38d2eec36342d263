//! What a tree held when it was looked at last, to tell what changed since without reading it.
//!
//! ```text
//! listing   etc/motd  inode size mtime ctime mode owner   BLAKE3 of the content, capability
//! tree      etc/motd  the same                            not looked at again: one `stat` is all it costs
//!           etc/motd  another ctime                       compared, the content by its hash
//! ```
//!
//! The kernel sets a file's ctime on every change of its content, attributes or names, and nobody can set
//! it back. It does so by a clock that stands still for some milliseconds: a change within the tick of the
//! change before does not show. So a ctime says nothing unless it is older, by a tick, than the moment from
//! which on changes are looked for; files of which it is not are compared like changed ones.
//!
//! The changes are those that `overlay.rs` would find in an upper directory, where programs did the same.
//! Overlayfs parts the names of a file that is written by one of them; a tree that is itself written to
//! does not.

mod pack;
mod restore;
mod walk;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use rustix::fs::{AtFlags, Gid, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::time::{ClockId, clock_gettime};

use super::apply::Contents;
use super::diff::{Changes, Content, DiffError};
use super::error::TreeError;
use super::root::{Directories, FileId, Root, split};
use super::scan::{Found, compare};
use super::untold;
use super::xattr::{Marks, Xattrs};
use crate::tar::{Entry, Kind};
use walk::{Visit, walk};

pub use pack::NoListing;

/// The longest tick of the clock that stamps inodes: `CONFIG_HZ=100`.
const TICK_NANOSECONDS: i128 = 10_000_000;

/// A ctime without nanoseconds is of a file system that keeps none; two seconds are the coarsest there is.
const COARSE_NANOSECONDS: i128 = 2_000_000_000;

/// Stands for the file system of what was, so that nothing in the tree is taken for it unlooked.
const BEFORE: u64 = u64::MAX;

/// What was in a tree, in the order of [`super::scan::scan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The file system.
    device: u64,
    /// The tree's own directory.
    root: Own,
    /// Shared with the listings that were carried on from this one.
    records: Vec<Arc<Record>>,
}

/// Attributes of the tree's own directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Own {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: i64,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    entry: Entry,
    inode: u64,
    links: u64,
    nanoseconds: u64,
    changed: (i64, u64),
    /// Of a file whose content is known.
    content: Option<[u8; 32]>,
}

/// A moment, by the clock that stamps inodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(i128);

impl Moment {
    /// Returns the moment now: no file that changes later bears an earlier ctime.
    pub fn now() -> Self {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::RealtimeCoarse);
        Self(i128::from(tv_sec) * 1_000_000_000 + i128::from(tv_nsec))
    }

    /// Tells whether a change at or after this moment must show in a ctime.
    fn shows_in(self, (seconds, nanoseconds): (i64, u64)) -> bool {
        let granule = if nanoseconds == 0 { COARSE_NANOSECONDS } else { TICK_NANOSECONDS };
        i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds) + granule < self.0
    }
}

/// A tree after its changes were found.
#[derive(Debug)]
pub struct Looked {
    listing: Listing,
    /// Records of what was more than stat'ed.
    others: Vec<usize>,
}

impl Listing {
    /// Looks at a tree that was `before` when it was looked at last. Nobody changed it since but who wrote
    /// the files whose `contents` are given.
    pub fn of(root: &Root, before: Option<&Self>, contents: &Contents) -> Result<Self, TreeError> {
        let mut listing = Self { device: 0, root: Own::default(), records: Vec::new() };
        listing.see_root(root)?;
        let empty = listing.clone();
        let before = before.unwrap_or(&empty);
        let known: HashMap<FileId, [u8; 32]> = before.contents().collect();
        let trusted = |record: &Record, id: FileId| record.is_file() && !contents.contains_key(&id);
        walk::<TreeError>(root, before, &trusted, &mut |visit| {
            match visit {
                Visit::Gone(_) => {}
                Visit::Same(record) => listing.records.push(Arc::clone(record)),
                Visit::Other(_, found) => {
                    let content = contents.get(&found.id).or_else(|| known.get(&found.id));
                    listing.records.push(Arc::new(Record::of(found, content.copied())));
                }
            }
            Ok(())
        })?;
        Ok(listing)
    }

    /// Returns what changed in the tree, after `since`, over what is listed. What was touched and is as it was
    /// gets back its time.
    ///
    /// # Errors
    ///
    /// [`DiffError::Reserved`] for a file that a layer would take for a whiteout.
    pub fn changes(&self, root: &Root, since: Moment) -> Result<(Vec<Entry>, Looked), DiffError> {
        let read: RefCell<HashMap<Vec<u8>, [u8; 32]>> = RefCell::default();
        let same_content = |path: &[u8]| {
            let Some(content) = self.get(path).and_then(|record| record.content) else { return Ok(false) };
            let now = hash(root, path)?;
            read.borrow_mut().insert(path.to_vec(), now);
            Ok(now == content)
        };
        let mut changes = Changes::new(&same_content, Content::Compared);
        let mut hidden = None;
        let mut listing = Self { records: Vec::with_capacity(self.records.len()), ..*self };
        let mut others = Vec::new();
        let trusted = |record: &Record, _| since.shows_in(record.changed);
        walk::<DiffError>(root, self, &trusted, &mut |visit| match visit {
            Visit::Gone(record) => {
                super::diff::hide_once(&mut changes, &mut hidden, record.entry.path.clone())
            }
            Visit::Same(record) => {
                listing.records.push(Arc::clone(record));
                // What is in it may have changed, and then it is written down too.
                match record.entry.kind {
                    Kind::Directory => changes.compare(Some(&record.found()), record.found()),
                    _ => Ok(()),
                }
            }
            Visit::Other(record, found) => {
                let was_directory = record.is_some_and(|record| record.entry.kind == Kind::Directory);
                if was_directory && found.entry.kind != Kind::Directory {
                    hidden = Some(found.entry.path.clone());
                }
                others.push(listing.records.len());
                listing.records.push(Arc::new(Record::of_ref(&found)));
                changes.compare(record.map(Record::found).as_ref(), found)
            }
        })?;
        let entries = changes.finish();
        self.restore_times(root, &listing, &others, &entries)?;
        let mut read = read.into_inner();
        for &other in &others {
            let record = Arc::make_mut(&mut listing.records[other]);
            record.content = read.remove(&record.entry.path);
        }
        Ok((entries, Looked { listing, others }))
    }

    /// Gives the tree's own directory the attributes that it had.
    pub fn restore_root(&self, root: &Root) -> Result<(), TreeError> {
        let stat = rustix::fs::fstat(root.fd()).map_err(|error| root.error("stat", b"", error))?;
        let Own { mode, uid, gid, mtime } = self.root;
        if (stat.st_uid, stat.st_gid) != (uid, gid) {
            rustix::fs::fchown(root.fd(), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(|error| root.error("change the owner of", b"", error))?;
        }
        if stat.st_mode & 0o7777 != mode {
            std::fs::set_permissions(root.path(), Permissions::from_mode(mode)).map_err(|source| {
                TreeError::Io { verb: "set the mode of", path: root.path().to_owned(), source }
            })?;
        }
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: mtime, tv_nsec: 0 },
        };
        rustix::fs::futimens(root.fd(), &times).map_err(|error| root.error("set the time of", b"", error))
    }

    /// Gives what no entry speaks of, of those that differ from their records, the times that it had.
    fn restore_times(
        &self,
        root: &Root,
        now: &Self,
        others: &[usize],
        entries: &[Entry],
    ) -> Result<(), TreeError> {
        let others: Vec<&Record> = others.iter().map(|&other| &*now.records[other]).collect();
        let mut directories = Directories::default();
        for other in untold::untold(others, |other| &other.entry.path, entries) {
            let path = &other.entry.path;
            let Some(before) = self.get(path) else { continue };
            if (before.entry.mtime, before.nanoseconds) == (other.entry.mtime, other.nanoseconds) {
                continue;
            }
            let (parent, name) = split(path);
            let times = before.times();
            directories
                .get(root, parent)
                .and_then(|parent| rustix::fs::utimensat(&parent.fd, name, &times, AtFlags::SYMLINK_NOFOLLOW))
                .map_err(|error| root.error("set the time of", path, error))?;
        }
        Ok(())
    }

    fn see_root(&mut self, root: &Root) -> Result<(), TreeError> {
        let stat = rustix::fs::fstat(root.fd()).map_err(|error| root.error("stat", b"", error))?;
        self.device = stat.st_dev;
        let mode = stat.st_mode & 0o7777;
        self.root = Own { mode, uid: stat.st_uid, gid: stat.st_gid, mtime: stat.st_mtime };
        Ok(())
    }

    fn place(&self, path: &[u8]) -> Result<usize, usize> {
        self.records.binary_search_by(|record| compare(&record.entry.path, path))
    }

    fn get(&self, path: &[u8]) -> Option<&Record> {
        self.place(path).ok().map(|place| &*self.records[place])
    }

    fn contents(&self) -> impl Iterator<Item = (FileId, [u8; 32])> {
        let device = self.device;
        self.records.iter().filter_map(move |record| Some(((device, record.inode), record.content?)))
    }
}

impl Looked {
    /// Returns how many files cost more than one `stat`.
    pub fn others(&self) -> usize {
        self.others.len()
    }

    /// Returns the listing of the tree as it is now. Since its changes were found, nobody may have done
    /// more than set the times of what had changed.
    pub fn finish(mut self, root: &Root) -> Result<Listing, TreeError> {
        let mut known = HashMap::new();
        for &other in &self.others {
            let record = Arc::make_mut(&mut self.listing.records[other]);
            if !record.is_file() || record.content.is_some() {
                continue;
            }
            let content = match known.get(&record.inode) {
                Some(content) => *content,
                None => hash(root, &record.entry.path)?,
            };
            known.insert(record.inode, content);
            record.content = Some(content);
        }
        // Last, when the tick of the newest change is most likely over.
        let mut directories = Directories::default();
        for &other in &self.others {
            Arc::make_mut(&mut self.listing.records[other]).see_times(root, &mut directories)?;
        }
        Ok(self.listing)
    }
}

impl Record {
    fn of(found: Found, content: Option<[u8; 32]>) -> Self {
        let Found { entry, id, links, nanoseconds, changed, .. } = found;
        let content = content.filter(|_| matches!(entry.kind, Kind::File { .. }));
        Self { entry, inode: id.1, links, nanoseconds, changed, content }
    }

    fn of_ref(found: &Found) -> Self {
        let Found { entry, id, links, nanoseconds, changed, .. } = found;
        let (nanoseconds, changed) = (*nanoseconds, *changed);
        Self { entry: entry.clone(), inode: id.1, links: *links, nanoseconds, changed, content: None }
    }

    fn found(&self) -> Found {
        Found {
            entry: self.entry.clone(),
            id: (BEFORE, self.inode),
            links: self.links,
            nanoseconds: self.nanoseconds,
            changed: self.changed,
            marks: Marks::default(),
        }
    }

    fn times(&self) -> Timestamps {
        let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let tv_nsec = self.nanoseconds.cast_signed();
        Timestamps { last_access, last_modification: Timespec { tv_sec: self.entry.mtime, tv_nsec } }
    }

    fn is_file(&self) -> bool {
        matches!(self.entry.kind, Kind::File { .. })
    }

    fn see_times(&mut self, root: &Root, directories: &mut Directories) -> Result<(), TreeError> {
        let path = &self.entry.path;
        let (parent, name) = split(path);
        let stat = directories
            .get(root, parent)
            .and_then(|directory| rustix::fs::statat(&directory.fd, name, AtFlags::SYMLINK_NOFOLLOW))
            .map_err(|error| root.error("stat", path, error))?;
        self.entry.mtime = stat.st_mtime;
        self.nanoseconds = stat.st_mtime_nsec;
        self.changed = (stat.st_ctime, stat.st_ctime_nsec);
        Ok(())
    }
}

fn hash(root: &Root, path: &[u8]) -> Result<[u8; 32], TreeError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(root.open_file(path)?).map_err(|source| root.read_error(path, source))?;
    Ok(*hasher.finalize().as_bytes())
}

/// What layers of changed files say of attributes: what an upper directory's would.
const XATTRS: Xattrs = Xattrs::Capability;

#[cfg(test)]
mod tests;
