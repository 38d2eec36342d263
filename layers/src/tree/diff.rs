//! What one tree changes over another, as the entries of a layer.
//!
//! ```text
//! etc            a directory whose children change comes before them, changed itself or not
//! etc/.wh.motd   deleted: stands where etc/motd would
//! etc/passwd     changed: owner, mode, attributes, whole seconds of its time, or content
//! .wh.srv, srv   a directory became a file, or a file a directory: the old one is hidden first
//! ```
//!
//! A directory whose time alone changed does not count. If one name of a file is written, all are,
//! so that they stay names of one file. The root itself is never among the entries.
//!
//! image-spec v1.1.1, layer.md#changesets; the choices are containerd's

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};

use super::error::TreeError;
use super::root::{FileId, Root, split};
use super::scan::{Found, Walk, compare};
use super::xattr::Xattrs;
use crate::tar::{Entry, Kind, whiteout};

/// Why two trees cannot be written down as a layer.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// Part of a file is not where its name is.
    #[error("{} was moved by overlayfs without its content; mount with redirect_dir=off,metacopy=off", crate::tar::Quoted(.path))]
    Elsewhere {
        /// The file or directory.
        path: Vec<u8>,
    },
    /// A file's name would be taken for a whiteout.
    #[error("{} cannot be in a layer: names that start with .wh. mean deletions", crate::tar::Quoted(.path))]
    Reserved {
        /// The file.
        path: Vec<u8>,
    },
    /// A tree cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Returns what `upper` changes over `lower`, as the entries of a layer.
///
/// Files of the same size, attributes and time are compared by content only if the time has no
/// fraction of a second or another one, which is how an unpacked layer looks.
///
/// # Errors
///
/// [`DiffError::Reserved`] for a file that a layer would take for a whiteout.
pub fn trees(lower: &Root, upper: &Root, xattrs: Xattrs) -> Result<Vec<Entry>, DiffError> {
    let same = |path: &[u8]| {
        same_content(&mut lower.open_file(path)?, &mut upper.open_file(path)?)
            .map_err(|source| upper.read_error(path, source))
    };
    let mut changes = Changes::new(&same, Content::Trusted);
    let mut below = Walk::new(lower, xattrs)?.peekable();
    let mut hidden: Option<Vec<u8>> = None;
    for found in Walk::new(upper, xattrs)? {
        let found = found?;
        while let Some(deleted) = next_before(&mut below, &found.entry.path)? {
            hide_once(&mut changes, &mut hidden, deleted.entry.path)?;
        }
        let same_path = |below: &Result<Found, TreeError>| {
            below.as_ref().is_ok_and(|below| below.entry.path == found.entry.path)
        };
        let below = below.next_if(same_path).transpose()?;
        // Its children are not there any more; they need no whiteouts of their own.
        if below.as_ref().is_some_and(|below| below.entry.kind == Kind::Directory)
            && found.entry.kind != Kind::Directory
        {
            hidden = Some(found.entry.path.clone());
        }
        changes.compare(below.as_ref(), found)?;
    }
    for deleted in below {
        hide_once(&mut changes, &mut hidden, deleted?.entry.path)?;
    }
    Ok(changes.finish())
}

type Below<'a> = std::iter::Peekable<Walk<'a>>;

/// Takes the next lower file that comes before a path.
fn next_before(below: &mut Below<'_>, path: &[u8]) -> Result<Option<Found>, TreeError> {
    let is_before = |found: &Result<Found, TreeError>| match found {
        Ok(found) => compare(&found.entry.path, path).is_lt(),
        Err(_) => true,
    };
    below.next_if(is_before).transpose()
}

/// Hides a file, unless a directory above it was hidden already.
pub(super) fn hide_once(
    changes: &mut Changes<'_>,
    hidden: &mut Option<Vec<u8>>,
    path: Vec<u8>,
) -> Result<(), DiffError> {
    let is_hidden = hidden
        .as_ref()
        .is_some_and(|top| path.strip_prefix(&top[..]).is_some_and(|rest| rest.first() == Some(&b'/')));
    if is_hidden {
        return Ok(());
    }
    changes.hide(&path)?;
    *hidden = Some(path);
    Ok(())
}

/// Tells whether two files hold the same bytes.
pub(super) fn same_content(left: &mut File, right: &mut File) -> io::Result<bool> {
    const BYTES: usize = 64 << 10;
    let (mut ours, mut theirs) = (vec![0; BYTES], vec![0; BYTES]);
    loop {
        let count = fill(left, &mut ours)?;
        if count != fill(right, &mut theirs)? || ours[..count] != theirs[..count] {
            return Ok(false);
        }
        if count == 0 {
            return Ok(true);
        }
    }
}

fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// How much a file's times are worth when nothing else differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Equal times with a fraction of a second mean equal content.
    Trusted,
    /// Content is compared whatever the times say.
    Compared,
}

/// The entries of a layer while they are found, in any order.
pub(super) struct Changes<'a> {
    same_content: &'a dyn Fn(&[u8]) -> Result<bool, TreeError>,
    content: Content,
    /// With the path that decides the place: a whiteout's is what it hides.
    found: Vec<(Vec<u8>, Entry)>,
    /// The upper tree's directories, to be written before what is in them.
    directories: HashMap<Vec<u8>, Entry>,
    /// The upper tree's files with several names.
    linked: HashMap<FileId, Linked>,
    /// Which upper file stayed the same as a lower one with several names.
    claims: HashMap<FileId, FileId>,
}

/// A file with several names.
#[derive(Default)]
struct Linked {
    names: Vec<Entry>,
    changed: bool,
    /// The lower file that all names had.
    below: Option<FileId>,
}

impl<'a> Changes<'a> {
    pub(super) fn new(same_content: &'a dyn Fn(&[u8]) -> Result<bool, TreeError>, content: Content) -> Self {
        Self {
            same_content,
            content,
            found: Vec::new(),
            directories: HashMap::new(),
            linked: HashMap::new(),
            claims: HashMap::new(),
        }
    }

    /// Notes that a path is gone.
    pub(super) fn hide(&mut self, path: &[u8]) -> Result<(), DiffError> {
        refuse_reserved(path)?;
        self.found.push((path.to_vec(), whiteout::hiding(path)));
        Ok(())
    }

    /// Notes a file of the upper tree, and what the lower one has in its place.
    pub(super) fn compare(&mut self, below: Option<&Found>, found: Found) -> Result<(), DiffError> {
        let path = &found.entry.path;
        refuse_reserved(path)?;
        let is_directory = found.entry.kind == Kind::Directory;
        if below.is_some_and(|below| (below.entry.kind == Kind::Directory) != is_directory) {
            self.hide(path)?;
        }
        if is_directory {
            self.directories.insert(path.clone(), found.entry.clone());
        }
        let same = match below {
            Some(below) => self.same(below, &found)?,
            None => false,
        };
        if found.links > 1 && !is_directory {
            self.note_linked(below, found, same);
        } else if !same {
            self.found.push((found.entry.path.clone(), found.entry));
        }
        Ok(())
    }

    fn same(&mut self, below: &Found, found: &Found) -> Result<bool, DiffError> {
        let (old, new) = (&below.entry, &found.entry);
        let attributes = |entry: &Entry| (entry.mode, entry.uid, entry.gid);
        if old.kind != new.kind || attributes(old) != attributes(new) || old.xattrs != new.xattrs {
            return Ok(false);
        }
        if new.kind == Kind::Directory {
            return Ok(true);
        }
        if old.mtime != new.mtime {
            return Ok(false);
        }
        if new.size() > 0 && below.id != found.id && !self.trusts_times(below, found) {
            let same_content = self.same_content;
            if !same_content(&new.path)? {
                return Ok(false);
            }
        }
        // Two names of one lower file that are two files now: only one of them may stay as it is.
        let is_claimed = below.links > 1 && *self.claims.entry(below.id).or_insert(found.id) != found.id;
        Ok(!is_claimed)
    }

    fn trusts_times(&self, below: &Found, found: &Found) -> bool {
        self.content == Content::Trusted && found.nanoseconds != 0 && below.nanoseconds == found.nanoseconds
    }

    fn note_linked(&mut self, below: Option<&Found>, found: Found, same: bool) {
        let linked = self.linked.entry(found.id).or_default();
        let id = below.map(|below| below.id);
        // Names that belonged to different files do not become one by staying as they are.
        linked.changed |= !same || !linked.names.is_empty() && linked.below != id;
        linked.below = id;
        linked.names.push(found.entry);
    }

    /// Returns the entries in order, each directory once and before what is in it.
    pub(super) fn finish(mut self) -> Vec<Entry> {
        for linked in self.linked.into_values().filter(|linked| linked.changed) {
            let mut names = linked.names.into_iter();
            let first = names.next().expect("because a file is noted with a name");
            for mut other in names {
                other.kind = Kind::Hardlink { target: first.path.clone() };
                self.found.push((other.path.clone(), other));
            }
            self.found.push((first.path.clone(), first));
        }
        // Stable: the whiteout of what a directory replaces was noted before the directory.
        self.found.sort_by(|left, right| compare(&left.0, &right.0));
        let mut entries = Vec::with_capacity(self.found.len());
        let mut last_parent = None;
        for (path, entry) in self.found {
            let parent = split(&path).0;
            if last_parent.as_deref() != Some(parent) {
                push_parents(parent, &mut self.directories, &mut entries);
                last_parent = Some(parent.to_vec());
            }
            if entry.kind == Kind::Directory {
                self.directories.remove(&entry.path);
            }
            entries.push(entry);
        }
        entries
    }
}

/// Moves a path's directories, from the top down, to the entries, unless they are there already.
fn push_parents(path: &[u8], directories: &mut HashMap<Vec<u8>, Entry>, entries: &mut Vec<Entry>) {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    for end in slashes.chain([path.len()]) {
        entries.extend(directories.remove(&path[..end]));
    }
}

fn refuse_reserved(path: &[u8]) -> Result<(), DiffError> {
    if whiteout::is_reserved(split(path).1) {
        return Err(DiffError::Reserved { path: path.to_vec() });
    }
    Ok(())
}
