//! A tree made again what a listing says, where that takes no content.
//!
//! ```text
//! new files and directories          removed
//! times of directories               set
//! anything that was listed, changed  then the tree is left as it is, for somebody to throw away
//! ```
//!
//! Whatever is made or removed in a directory changes its times: only in such ones is looked for what is new, what no
//! scan shows among it.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{AtFlags, FileType, OFlags};
use rustix::io::Errno;

use super::super::apply::Contents;
use super::super::error::{TreeError, shown};
use super::super::root::{Root, through_proc};
use super::super::scan::{self, Found};
use super::super::stack::join;
use super::walk::{Visit, walk};
use super::{Listing, Moment, Record, hash};
use crate::tar::Kind;

/// Bytes of directory entries asked of the kernel at a time.
const DIRECTORY_BYTES: usize = 32 << 10;

/// Names of attributes: of more than a handful, it does not matter which.
const NAMES_BYTES: usize = 1 << 10;

/// What a security module puts on every file.
const LABEL: &[u8] = b"security.selinux";

impl Listing {
    /// Makes a tree again what is listed if, after `since`, nothing that is listed was changed or removed. Returns
    /// its listing then; of `None`, the tree is nobody's any more.
    pub fn restore(&self, root: &Root, since: Moment) -> Result<Option<Self>, TreeError> {
        // The tree's own directory, too: whatever is new in it would show in its times.
        let mut touched: Vec<Option<&Record>> = vec![None];
        let mut is_there = true;
        let trusted = |record: &Record, _| since.shows_in(record.changed);
        walk::<TreeError>(root, self, &trusted, &mut |visit| {
            match visit {
                Visit::Same(_) | Visit::Other(None, _) => {}
                Visit::Gone(_) => is_there = false,
                Visit::Other(Some(record), found) if is_there => match is_directory(record, &found) {
                    true => {
                        is_there = has_no_attributes(root, record)?;
                        touched.push(self.get(&record.entry.path));
                    }
                    false => is_there = is_same(root, record, &found)?,
                },
                Visit::Other(Some(_), _) => {}
            }
            Ok(())
        })?;
        if !is_there {
            return Ok(None);
        }
        for directory in &touched {
            self.remove_new(root, directory.map_or(b"", |directory| &directory.entry.path))?;
        }
        for directory in touched.into_iter().flatten() {
            let path = &directory.entry.path;
            root.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)
                .and_then(|fd| rustix::fs::futimens(fd, &directory.times()))
                .map_err(|error| root.error("set the time of", path, error))?;
        }
        self.restore_root(root)?;
        Self::of(root, Some(self), &Contents::new()).map(Some)
    }

    /// Removes what is in a directory and not listed.
    fn remove_new(&self, root: &Root, directory: &[u8]) -> Result<(), TreeError> {
        let fd = root
            .resolve(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)
            .map_err(|error| root.error("open", directory, error))?;
        let mut buffer = vec![MaybeUninit::uninit(); DIRECTORY_BYTES];
        let names = scan::names(&fd, &mut buffer).map_err(|error| root.error("list", directory, error))?;
        for (name, _) in names {
            let path = join(directory, &name);
            if self.get(&path).is_none() {
                remove(root, &fd, &name, &path)?;
            }
        }
        Ok(())
    }
}

/// Tells whether it was a directory and is the same one, whatever its times say.
fn is_directory(record: &Record, found: &Found) -> bool {
    record.entry.kind == Kind::Directory
        && found.entry.kind == Kind::Directory
        && record.inode == found.id.1
        && is_alike(record, found)
}

/// Tells whether nothing was put on a directory that no listing knows of: lists of access rights, for one, get from
/// there to what is made in it.
fn has_no_attributes(root: &Root, directory: &Record) -> Result<bool, TreeError> {
    let path = &directory.entry.path;
    let mut names = vec![0; NAMES_BYTES];
    let read = root
        .resolve(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)
        .and_then(|fd| rustix::fs::flistxattr(&fd, &mut names[..]));
    match read {
        Ok(length) => {
            let mut names = names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
            Ok(names.all(|name| name == LABEL))
        }
        Err(Errno::OPNOTSUPP) => Ok(true),
        Err(Errno::RANGE) => Ok(false),
        Err(error) => Err(root.error("read extended attributes of", path, error)),
    }
}

/// Tells whether a file is the same that was listed, which changed at the same time; its state does not say so
/// only if that was the moment before.
fn is_same(root: &Root, record: &Record, found: &Found) -> Result<bool, TreeError> {
    let is_alike = record.inode == found.id.1
        && record.links == found.links
        && record.entry.kind == found.entry.kind
        && (record.entry.mtime, record.nanoseconds) == (found.entry.mtime, found.nanoseconds)
        && record.changed == found.changed
        && is_alike(record, found);
    match (is_alike, record.content) {
        (true, Some(content)) => Ok(hash(root, &record.entry.path)? == content),
        (is_alike, _) => Ok(is_alike && !record.is_file()),
    }
}

fn is_alike(record: &Record, found: &Found) -> bool {
    let (was, is) = (&record.entry, &found.entry);
    (was.mode, was.uid, was.gid) == (is.mode, is.uid, is.gid) && was.xattrs == is.xattrs
}

fn remove(root: &Root, parent: &OwnedFd, name: &[u8], path: &[u8]) -> Result<(), TreeError> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| root.error("stat", path, error))?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        use std::os::unix::ffi::OsStringExt as _;
        let place = std::ffi::OsString::from_vec(through_proc(parent.as_fd(), name));
        return std::fs::remove_dir_all(place).map_err(|source| TreeError::Io {
            verb: "remove",
            path: shown(root.path(), path),
            source,
        });
    }
    rustix::fs::unlinkat(parent, name, AtFlags::empty()).map_err(|error| root.error("remove", path, error))
}
