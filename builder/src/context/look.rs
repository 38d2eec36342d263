//! A context as one instruction sees it.
//!
//! ```text
//! children, node ─▶ listing, once for each directory ─┬─▶ Child: state, and what was known of it
//!                                                     └─ ends with the look: what was read is known then
//! ```
//!
//! Each directory is listed once in a look, however often it is asked for, and each name costs one `statx`.
//! The next instruction looks again: whoever edits a file while a long RUN is at work gets what is there
//! when it is copied. A file's content is read only if its state is not known.

mod recall;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use oxbox_layers::tar::Entry;
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::directory::Directory;
use super::listing::{self, Child, Detail};
use super::tree::{join, parent};
use super::unchanged::{self, Still, Unchanged, fingerprint};
use super::{FileContents, FileTree, Node, Paths, TreeError};

/// 16 KiB: as much as the hash takes at once.
const SMALL_BYTES: usize = 16 << 10;

/// A [`Directory`] as it is now.
pub struct Look {
    directory: Arc<Directory>,
    /// Of those that were listed; nothing for what is no directory.
    listings: RwLock<HashMap<Vec<u8>, Option<Arc<Listing>>>>,
    /// What was asked for by name, in directories that were not listed.
    alone: Mutex<HashMap<Vec<u8>, Option<Found>>>,
    /// Whether the times and inodes of a mount can be believed.
    mounts: Mutex<HashMap<u64, bool>>,
    /// Files that turned out to hold something else than was known.
    disproved: Mutex<HashSet<Vec<u8>>>,
}

/// What is in a directory and not hidden, in byte order of the names.
struct Listing {
    /// Of its exact size: with the room that looking needed, they would be twice as large.
    children: Box<[Child]>,
    /// Whether something is known of files that are not there any more, or are different.
    is_outdated: bool,
}

/// A child, held by the listing that it is in: a box of its own for each costs more than there is to say.
#[derive(Clone)]
struct Found {
    listing: Arc<Listing>,
    at: usize,
}

impl Deref for Found {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.listing.children[self.at]
    }
}

impl Look {
    pub(super) fn of(directory: Arc<Directory>) -> Self {
        Self {
            directory,
            listings: RwLock::default(),
            alone: Mutex::default(),
            mounts: Mutex::default(),
            disproved: Mutex::default(),
        }
    }

    /// Whether the path, clean and without links on the way, is there and only the ignore file hides it.
    pub fn hides(&self, path: &[u8]) -> bool {
        matches!(self.look_at(path), Ok(Some(_))) && matches!(self.child(path), Ok(None))
    }

    /// Returns what stands at a path and is not hidden.
    fn child(&self, path: &[u8]) -> Result<Option<Found>, TreeError> {
        let listed = self.listings.read().unwrap_or_else(PoisonError::into_inner).get(parent(path)).cloned();
        if let (Some(listing), false) = (listed, path.is_empty()) {
            return Ok(listing.and_then(|listing| Listing::find(&listing, name(path))));
        }
        if let Some(found) = locked(&self.alone).get(path) {
            return Ok(found.clone());
        }
        let found = match self.look_at(path)? {
            Some(child) if self.is_visible(path, child.is_directory())? => Some(Found::alone(child)),
            _ => None,
        };
        Ok(locked(&self.alone).entry(path.to_vec()).or_insert(found).clone())
    }

    /// Looks at one path, hidden or not.
    fn look_at(&self, path: &[u8]) -> Result<Option<Child>, TreeError> {
        let failed = |errno| self.error("look at", path, errno);
        let before = self.directory.now();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let directory = match listing::beneath(self.directory.descriptor(), parent(path), flags) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        };
        let Some(mut child) = listing::look_at(&directory, name(path)).map_err(failed)? else {
            return Ok(None);
        };
        if child.is_file() {
            let records = self.directory.known().records(parent(path));
            let known = records.iter().find(|record| record.name == name(path));
            let is_dependable = self.is_dependable(child.mount, &directory);
            self.compare(&mut child, parent(path), known, is_dependable, before);
        }
        Ok(Some(child))
    }

    /// Whether the ignore file lets the path be seen.
    fn is_visible(&self, path: &[u8], is_directory: bool) -> Result<bool, TreeError> {
        let ignore = self.directory.ignore();
        if path.is_empty() || !ignore.excludes(path) {
            return Ok(true);
        }
        if !is_directory || ignore.prunes(path) {
            return Ok(false);
        }
        Ok(self.listing(path)?.is_some_and(|listing| !listing.children.is_empty()))
    }

    /// Returns what is in a directory; `None` for anything else.
    fn listing(&self, path: &[u8]) -> Result<Option<Arc<Listing>>, TreeError> {
        let listed = self.listings.read().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        if let Some(listing) = listed {
            return Ok(listing);
        }
        let listing = self.list(path)?.map(Arc::new);
        // Another thread may have been faster; then all go on with the same one.
        let mut listings = self.listings.write().unwrap_or_else(PoisonError::into_inner);
        Ok(listings.entry(path.to_vec()).or_insert(listing).clone())
    }

    fn list(&self, path: &[u8]) -> Result<Option<Listing>, TreeError> {
        let failed = |errno| self.error("list", path, errno);
        let ignore = self.directory.ignore();
        let before = self.directory.now();
        let Some(directory) = listing::open(self.directory.descriptor(), path).map_err(failed)? else {
            return Ok(None);
        };
        let mut names = listing::names(&directory).map_err(failed)?;
        names.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        let mut children = Vec::with_capacity(names.len());
        let mut doubtful = HashSet::new();
        let matched = ignore.matched(path);
        for (name, file_type) in names {
            if !ignore.is_empty() {
                let path = join(path, &name);
                let may_be_directory = matches!(file_type, FileType::Directory | FileType::Unknown);
                if ignore.judge(&matched, &path).0 {
                    if !may_be_directory || ignore.prunes(&path) {
                        continue;
                    }
                    doubtful.insert(name.clone());
                }
            }
            children.extend(listing::look_at(&directory, &name).map_err(failed)?);
        }
        let is_outdated = self.recall(path, &directory, &mut children, before);
        // Before those below are listed: a deep tree shall not hold many directories open.
        drop(directory);
        if !doubtful.is_empty() {
            self.retain_visible(path, &mut children, &doubtful)?;
        }
        Ok(Some(Listing { children: children.into_boxed_slice(), is_outdated }))
    }

    /// Takes away the ignored, but for directories below which something was taken back.
    fn retain_visible(
        &self,
        path: &[u8],
        children: &mut Vec<Child>,
        doubtful: &HashSet<Box<[u8]>>,
    ) -> Result<(), TreeError> {
        let mut error = None;
        children.retain(|child| {
            if !doubtful.contains(&child.name) {
                return true;
            }
            let listing = match child.is_directory() {
                true => self.listing(&join(path, &child.name)),
                false => Ok(None),
            };
            let listing = listing.unwrap_or_else(|failed| {
                error.get_or_insert(failed);
                None
            });
            listing.is_some_and(|listing| !listing.children.is_empty())
        });
        error.map_or(Ok(()), Err)
    }

    /// Opens a file; `None` for a socket, which nobody can read.
    fn open(&self, path: &[u8]) -> Result<Option<File>, TreeError> {
        // What was a file a moment ago may be a link out of the context by now, or a pipe that nobody
        // ever writes to.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        match listing::beneath(self.directory.descriptor(), path, flags) {
            Ok(file) => Ok(Some(File::from(file))),
            Err(Errno::NXIO) => Ok(None),
            Err(errno) => Err(self.error("read", path, errno)),
        }
    }

    /// Reads a file's content and, if the file is still in the state in which it was looked at, notes it.
    fn hash(&self, path: &[u8], child: &Child) -> Result<Vec<u8>, TreeError> {
        let mut hasher = blake3::Hasher::new();
        if let Some(file) = self.open(path)? {
            let failed = |source| TreeError::Io { verb: "read", path: self.host_path(path), source };
            update(&mut hasher, &file, child.state.size).map_err(failed)?;
            let hash = hasher.finalize();
            // From a settled state on every change shows, so that before and after enclose all reading.
            if child.is_file() && child.is_settled && listing::state(&file) == Ok(child.state) {
                child.learn(*hash.as_bytes());
            }
        }
        Ok(fingerprint(hasher.finalize().as_bytes(), hasher.count()))
    }

    fn host_path(&self, path: &[u8]) -> PathBuf {
        self.directory.root().join(OsStr::from_bytes(path))
    }

    fn error(&self, verb: &'static str, path: &[u8], errno: Errno) -> TreeError {
        TreeError::Io { verb, path: self.host_path(path), source: errno.into() }
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        self.publish();
    }
}

impl Listing {
    fn find(self: &Arc<Self>, name: &[u8]) -> Option<Found> {
        let at = self.children.binary_search_by(|child| (*child.name).cmp(name)).ok()?;
        Some(Found { listing: Arc::clone(self), at })
    }
}

impl Found {
    fn alone(child: Child) -> Self {
        Self { listing: Arc::new(Listing { children: Box::new([child]), is_outdated: false }), at: 0 }
    }
}

impl FileTree for Look {
    fn node(&self, path: &[u8]) -> Result<Option<Node>, TreeError> {
        let Some(child) = self.child(path)? else { return Ok(None) };
        let state = &child.state;
        let xattrs = match &child.detail {
            Detail::Capability(value) => [(listing::CAPABILITY.into(), value.to_vec())].into(),
            _ => BTreeMap::new(),
        };
        let entry = Entry {
            path: path.to_vec(),
            mode: state.mode & 0o7777,
            uid: 0,
            gid: 0,
            mtime: state.mtime.seconds,
            xattrs,
            kind: child.kind(),
        };
        Ok(Some(Node { entry, identity: child.is_linked.then_some((state.device, state.inode)) }))
    }

    fn children(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, TreeError> {
        let listing = self.listing(path)?;
        let children = listing.iter().flat_map(|listing| &*listing.children);
        Ok(children.map(|child| child.name.to_vec()).collect())
    }

    fn fingerprint(&self, path: &[u8]) -> Result<Vec<u8>, TreeError> {
        let child = self.child(path)?.ok_or_else(|| TreeError::Missing { path: path.to_vec() })?;
        match child.content.get() {
            Some(content) => Ok(fingerprint(content, child.state.size)),
            None => self.hash(path, &child),
        }
    }

    fn contents(&self, _paths: &mut Paths<'_>) -> Result<Box<dyn FileContents + '_>, TreeError> {
        Ok(Box::new(self))
    }
}

impl FileContents for &Look {
    fn open(&mut self, path: &[u8], fingerprint: Option<&[u8]>) -> Result<Box<dyn Read + '_>, TreeError> {
        let Some(file) = Look::open(self, path)? else { return Ok(Box::new(io::empty())) };
        Ok(match fingerprint {
            // Were it what is known that is wrong, the next build would fail in the same way.
            Some(seen) => {
                let (look, at): (&Look, _) = (self, path.to_vec());
                let disprove = move || {
                    locked(&look.disproved).insert(at);
                };
                // It was read a moment ago, for its key, and not by a build long past.
                let is_news = |child: &Found| child.is_news() && child.content.get() == unchanged::hash(seen);
                match self.child(path)?.filter(is_news) {
                    Some(child) if listing::state(&file) == Ok(child.state) => {
                        Box::new(Still::new(file, child.state, disprove))
                    }
                    _ => Box::new(Unchanged::new(file, seen, disprove)),
                }
            }
            None => Box::new(file),
        })
    }
}

fn name(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&byte| byte == b'/').map_or(path, |slash| &path[slash + 1..])
}

/// Hashes a file. The hasher's own loop clears 64 KiB for each, of which most files need a fraction.
fn update(hasher: &mut blake3::Hasher, mut file: &File, size: u64) -> io::Result<()> {
    if size > SMALL_BYTES as u64 {
        return hasher.update_reader(file).map(drop);
    }
    let mut buffer = [0; SMALL_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => _ = hasher.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A thread that panicked in here left no half-made entry.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
