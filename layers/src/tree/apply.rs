//! Applies a layer to a directory tree.
//!
//! ```text
//! file, link, device   whatever stood there is removed, whole directories too, then it is made
//! directory            one that is there stays, with new attributes; anything else is replaced
//! etc/.wh.motd         etc/motd goes, as far as lower layers put it there
//! etc/.wh..wh..opq     the same for all that is in etc/
//! ```
//!
//! Each path is resolved beneath the root at the moment of its use (`root.rs`), so links that the
//! layer itself plants lead nowhere else. Directories get their times at the end, when nothing is
//! made in them any more: those of their entries, or, without one, what they had. Nothing is synced: a tree can be unpacked again.
//!
//! image-spec v1.1.1, layer.md#applying-changesets

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::PathBuf;

use rustix::io::Errno;

use super::attributes::Process;
use super::error::{TreeError, shown};
use super::overlay::Namespace;
use super::root::{Directories, Directory, FileId, Root, split};
use super::stack::Stack;
use super::xattr::Xattrs;
use crate::tar::whiteout::{self, Name, WhiteoutError};
use crate::tar::{Entry, Reader, TarError};

/// How a layer is applied.
pub struct Options<'a> {
    /// Whose the files become.
    pub ownership: Ownership,
    /// What to do with devices that may not be made.
    pub devices: Devices,
    /// What whiteouts do.
    pub whiteouts: Whiteouts<'a>,
    /// Which extended attributes are set.
    pub xattrs: Xattrs,
    /// Bytes of content that the layer may unpack to.
    pub max_bytes: u64,
    /// Entries that the layer may have.
    pub max_entries: u64,
}

/// Whose the files become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// As the layer says; needs the right to give files away.
    Keep,
    /// As the layer says; ids that this user namespace lacks are written down, see [`recorded`](super::recorded).
    KeepOrRecord,
    /// The process's own, whatever the layer says.
    Current,
}

/// What to do with devices that may not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Devices {
    /// Fail.
    Required,
    /// Leave them out and report them.
    BestEffort,
    /// Write those down that may not be made, see [`recorded`](super::recorded).
    Recorded,
}

/// What whiteouts do.
#[derive(Clone, Copy)]
pub enum Whiteouts<'a> {
    /// They remove what lower layers put into this tree.
    Apply,
    /// The tree holds this layer alone and becomes a lower directory of an overlay mount: whiteouts
    /// become overlayfs's marks.
    Overlay {
        /// Which marks.
        namespace: Namespace,
        /// What will lie below. A directory that the layer does not mention though it writes into it
        /// gets its attributes from there, and a link in its place is followed.
        lower: Option<&'a dyn Lower>,
    },
}

/// What will lie below a layer. Asked only where the layer leans on it.
pub trait Lower: Sync {
    /// Returns what stands at a path whose directories are no links.
    fn find(&self, path: &[u8]) -> Result<Option<Entry>, TreeError>;

    /// Returns what is in a directory, sorted; nothing if there is none.
    fn names(&self, directory: &[u8]) -> Result<Vec<Vec<u8>>, TreeError>;
}

impl Lower for Stack {
    fn find(&self, path: &[u8]) -> Result<Option<Entry>, TreeError> {
        Self::find(self, path)
    }

    fn names(&self, directory: &[u8]) -> Result<Vec<Vec<u8>>, TreeError> {
        Self::names(self, directory)
    }
}

/// The BLAKE3 of files that were written.
pub type Contents = HashMap<FileId, [u8; 32]>;

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Entries of the layer, whiteouts included.
    pub entries: u64,
    /// Bytes of content written.
    pub bytes: u64,
    /// What could not be done and may be missed; the first [`MAX_REPORTED`] of it.
    pub skipped: Vec<Skipped>,
}

/// What was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skipped {
    /// A device that the process may not make.
    Device {
        /// Its path.
        path: Vec<u8>,
    },
    /// An extended attribute that the file system does not hold or the process may not set.
    Xattr {
        /// The file.
        path: Vec<u8>,
        /// The attribute.
        name: Vec<u8>,
    },
}

/// How many things left out are reported: more is no longer read by anybody.
pub const MAX_REPORTED: usize = 1000;

/// Why a layer cannot be applied. What was applied before stays.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The archive is damaged or asks for what no layer may hold.
    #[error("cannot read the layer")]
    Archive(#[from] TarError),
    /// A file's content cannot be read from the archive.
    #[error("cannot read {} from the layer", crate::tar::Quoted(.path))]
    Content {
        /// The file.
        path: Vec<u8>,
        /// What failed; a [`TarError`] within if the archive is to blame.
        #[source]
        source: std::io::Error,
    },
    /// A hard link to something that neither this layer nor, in this tree, a lower one holds.
    #[error("{} is a hard link to {}, which does not exist", crate::tar::Quoted(.path), crate::tar::Quoted(.target))]
    HardlinkTarget {
        /// The link.
        path: Vec<u8>,
        /// What it names.
        target: Vec<u8>,
    },
    /// The layer is larger than allowed.
    #[error("layer has more than {limit} {what}")]
    Limit {
        /// Bytes or entries.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
    },
    /// A user or group number that Linux does not have.
    #[error("{} belongs to {uid}:{gid}, beyond what Linux can express", crate::tar::Quoted(.path))]
    Owner {
        /// The file.
        path: Vec<u8>,
        /// Its user.
        uid: u64,
        /// Its group.
        gid: u64,
    },
    /// An entry that would be taken for a deletion later: a device 0:0, or something beneath a
    /// whiteout.
    #[error("{} would be taken for a deletion", crate::tar::Quoted(.path))]
    Reserved {
        /// The entry.
        path: Vec<u8>,
    },
    /// The tree cannot be changed.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A whiteout that hides no file.
    #[error("cannot apply the whiteout {}", crate::tar::Quoted(.path))]
    Whiteout {
        /// Its path.
        path: Vec<u8>,
        /// What is wrong with its name.
        #[source]
        source: WhiteoutError,
    },
}

/// Applies the rest of an archive to a tree.
///
/// The archive is read to its end mark, not beyond: who verifies its digest reads on. After an error
/// the tree holds part of the layer.
///
/// # Errors
///
/// [`ApplyError::Limit`] before the first byte too many is written.
pub fn apply<R: Read>(
    root: &Root,
    archive: &mut Reader<R>,
    options: &Options<'_>,
) -> Result<Applied, ApplyError> {
    let mut entries = Entries::new(root, options)?;
    while let Some(entry) = archive.next()? {
        entries.apply(&entry, archive)?;
    }
    entries.finish()
}

/// A layer applied entry by entry, for who has them without an archive.
pub struct Entries<'a>(Layer<'a>);

impl<'a> Entries<'a> {
    /// Starts with a tree as it is.
    pub fn new(root: &'a Root, options: &'a Options<'a>) -> Result<Self, ApplyError> {
        Layer::new(root, options).map(Self)
    }

    /// Applies the next entry; of `content`, as much is read as the entry says.
    pub fn apply(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), ApplyError> {
        self.0.entry(entry, content)
    }

    /// Notes the content of each file that is written, for [`Self::finish_noted`].
    pub fn noting_contents(mut self) -> Self {
        self.0.contents = Some(Contents::new());
        self
    }

    /// Does as [`Self::finish`], and returns what was noted. A file that was removed again may be among it.
    pub fn finish_noted(mut self) -> Result<(Applied, Contents), ApplyError> {
        let contents = self.0.contents.take().unwrap_or_default();
        Ok((self.0.finish()?, contents))
    }

    /// Gives directories their times. Without it they have those of being written into.
    pub fn finish(self) -> Result<Applied, ApplyError> {
        self.0.finish()
    }
}

/// By directory, names of files.
type Written = HashMap<FileId, HashSet<Vec<u8>>>;

/// A layer being applied.
pub(super) struct Layer<'a> {
    pub(super) root: &'a Root,
    pub(super) options: &'a Options<'a>,
    pub(super) process: Process,
    pub(super) directories: Directories,
    /// By directory, the names this layer wrote: whiteouts spare them. `None` if the tree was empty,
    /// for then there is nothing to hide.
    pub(super) written: Option<Written>,
    /// What directories get at the end.
    pub(super) deferred: HashMap<Vec<u8>, Deferred>,
    /// Of directories that lower layers put there, the paths and the times that they have unless the layer has an
    /// entry for them.
    pub(super) kept: HashMap<FileId, (Vec<u8>, i64)>,
    pub(super) applied: Applied,
    /// `None` unless somebody asks.
    pub(super) contents: Option<Contents>,
    pub(super) buffer: Box<[u8]>,
}

/// What a directory gets when nothing is made in it any more.
pub(super) struct Deferred {
    pub(super) mtime: i64,
    /// Only where the final mode would keep the process itself out.
    pub(super) mode: Option<u32>,
}

/// Bytes of content moved at a time; beyond 128 KiB writes get no cheaper.
const BUFFER_BYTES: usize = 128 << 10;

impl<'a> Layer<'a> {
    fn new(root: &'a Root, options: &'a Options<'a>) -> Result<Self, ApplyError> {
        let hides = matches!(options.whiteouts, Whiteouts::Apply) && !root.is_empty()?;
        Ok(Self {
            root,
            options,
            process: Process::look(root)?,
            directories: Directories::default(),
            written: hides.then(Written::new),
            deferred: HashMap::new(),
            kept: HashMap::new(),
            applied: Applied::default(),
            contents: None,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
        })
    }

    fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), ApplyError> {
        self.count(entry)?;
        if entry.path.is_empty() {
            return self.place_root(entry);
        }
        let (parent, name) = split(&entry.path);
        let name = whiteout::read(name)
            .map_err(|source| ApplyError::Whiteout { path: entry.path.clone(), source })?;
        match name {
            Name::Plain(name) => {
                let directory = self.make_directory(parent)?;
                self.keep_time(&directory, parent);
                self.place(&directory, name, entry, content)?;
                self.note_written(&directory, name);
                Ok(())
            }
            Name::Hides(hidden) => self.hide(parent, hidden),
            Name::Opaque => self.hide_all(parent),
        }
    }

    fn count(&mut self, entry: &Entry) -> Result<(), ApplyError> {
        self.applied.entries += 1;
        if self.applied.entries > self.options.max_entries {
            return Err(ApplyError::Limit { what: "entries", limit: self.options.max_entries });
        }
        self.applied.bytes = self.applied.bytes.saturating_add(entry.size());
        if self.applied.bytes > self.options.max_bytes {
            return Err(ApplyError::Limit { what: "bytes", limit: self.options.max_bytes });
        }
        Ok(())
    }

    pub(super) fn note_written(&mut self, directory: &Directory, name: &[u8]) {
        if let Some(written) = &mut self.written {
            written.entry(directory.id).or_default().insert(name.to_vec());
        }
    }

    /// Notes that something is done in a directory.
    pub(super) fn keep_time(&mut self, directory: &Directory, path: &[u8]) {
        // In a tree of its own it has the time of the directory below, see `parents.rs`.
        if self.written.is_some() && !self.kept.contains_key(&directory.id) {
            self.kept.insert(directory.id, (path.to_vec(), directory.mtime));
        }
    }

    pub(super) fn is_written(&self, directory: FileId, name: &[u8]) -> bool {
        let written = self.written.as_ref().and_then(|written| written.get(&directory));
        written.is_some_and(|names| names.contains(name))
    }

    pub(super) fn skip(&mut self, skipped: Skipped) {
        if self.applied.skipped.len() < MAX_REPORTED {
            self.applied.skipped.push(skipped);
        }
    }

    pub(super) fn error(&self, verb: &'static str, path: &[u8], error: Errno) -> ApplyError {
        self.root.error(verb, path, error).into()
    }

    pub(super) fn shown(&self, path: &[u8]) -> PathBuf {
        shown(self.root.path(), path)
    }

    /// Gives directories their times, the innermost first: a mode may close the way to it.
    fn finish(mut self) -> Result<Applied, ApplyError> {
        for (id, (path, mtime)) in std::mem::take(&mut self.kept) {
            self.finish_kept(id, &path, mtime)?;
        }
        let mut deferred: Vec<_> = self.deferred.drain().collect();
        deferred.sort_unstable_by(|left, right| right.0.cmp(&left.0));
        for (path, deferred) in deferred {
            self.finish_directory(&path, &deferred)?;
        }
        Ok(self.applied)
    }
}
