//! Sets what a file is besides its content, in the one order that works.
//!
//! ```text
//! owner  →  mode  →  extended attributes  →  times
//! ```
//!
//! The kernel clears setuid and setgid when the owner changes, and capabilities with them; everything
//! touches the times. What a new file has by itself is not set again.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::apply::{ApplyError, Deferred, Layer, Ownership, Skipped};
use super::error::TreeError;
use super::root::{Directory, FileId, Root, split, through_proc};
use super::{recorded, xattr};
use crate::tar::{Entry, Kind};

/// What the kernel gives to every file that this process makes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process {
    pub(super) uid: u64,
    gid: u64,
    /// Bits of a mode that a new file may lack.
    masked: u32,
}

impl Process {
    pub(super) fn look(root: &Root) -> Result<Self, TreeError> {
        let uid = u64::from(rustix::process::geteuid().as_raw());
        let gid = u64::from(rustix::process::getegid().as_raw());
        // A default ACL on the root is inherited, and takes the place of the umask.
        let acl = rustix::fs::fgetxattr(root.fd(), "system.posix_acl_default", &mut [0; 0][..]);
        let masked = if acl.is_ok_and(|bytes| bytes > 0) { 0o777 } else { umask().unwrap_or(0o777) };
        Ok(Self { uid, gid, masked })
    }

    /// Makes an entry the process's own.
    pub(super) fn own(self, entry: Entry) -> Entry {
        Entry { uid: self.uid, gid: self.gid, ..entry }
    }
}

/// Reads the umask without setting it: other threads make files too.
fn umask() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}

/// How to reach what attributes are set on.
pub(super) enum Handle<'a> {
    /// An open file.
    File(&'a File),
    /// A name in a directory, not followed if it is a link.
    Name(&'a Directory, &'a [u8]),
}

impl Handle<'_> {
    fn give(&self, uid: u32, gid: u32) -> rustix::io::Result<()> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        match self {
            Self::File(file) => rustix::fs::fchown(file, uid, gid),
            Self::Name(directory, name) => {
                let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
                rustix::fs::chownat(&directory.fd, *name, uid, gid, flags)
            }
        }
    }

    pub(super) fn set_xattr(&self, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
        match self {
            Self::File(file) => xattr::set(file.as_fd(), b"", name, value),
            Self::Name(directory, file) => xattr::set(directory.fd.as_fd(), file, name, value),
        }
    }
}

/// Writes the owner down; a link or a pipe, which takes no such attribute, is root's then.
fn record_owner(handle: &Handle<'_>, entry: &Entry) -> rustix::io::Result<()> {
    // The record counts for files of root alone, and a directory may have given its group.
    handle.give(0, 0)?;
    match handle.set_xattr(recorded::OWNER, recorded::owner_text(entry.uid, entry.gid).as_bytes()) {
        Err(Errno::PERM) if !matches!(entry.kind, Kind::File { .. } | Kind::Directory) => Ok(()),
        result => result,
    }
}

impl Layer<'_> {
    pub(super) fn finish_name(
        &mut self,
        directory: &Directory,
        name: &[u8],
        entry: &Entry,
    ) -> Result<(), ApplyError> {
        self.set_attributes(&Handle::Name(directory, name), directory, entry)?;
        let times = times(entry.mtime);
        rustix::fs::utimensat(&directory.fd, name, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| self.error("set the times of", &entry.path, error))
    }

    /// Tells whether a new file's owner has to be changed.
    pub(super) fn gives_away(&self, directory: &Directory, entry: &Entry) -> bool {
        let own = (self.process.uid, self.process.gid);
        self.options.ownership != Ownership::Current
            && ((entry.uid, entry.gid) != own || directory.gives_group)
    }

    /// Tells whether a new file's mode has to be set again.
    pub(super) fn needs_mode(&self, directory: &Directory, entry: &Entry) -> bool {
        let inherits = directory.gives_group && entry.kind == Kind::Directory;
        entry.mode & (0o7000 | self.process.masked) != 0 || inherits
    }

    /// Sets those attributes of a new file that it does not have by itself.
    pub(super) fn set_attributes(
        &mut self,
        handle: &Handle<'_>,
        directory: &Directory,
        entry: &Entry,
    ) -> Result<(), ApplyError> {
        if self.gives_away(directory, entry) {
            self.set_owner(handle, entry)?;
        }
        // After the owner: the kernel clears setuid and setgid when that changes.
        if self.needs_mode(directory, entry) {
            self.set_mode(handle, entry)?;
        }
        self.set_xattrs(handle, entry)
    }

    pub(super) fn set_all_attributes(
        &mut self,
        handle: &Handle<'_>,
        entry: &Entry,
    ) -> Result<(), ApplyError> {
        if self.options.ownership != Ownership::Current {
            self.set_owner(handle, entry)?;
        }
        self.set_mode(handle, entry)?;
        self.set_xattrs(handle, entry)
    }

    fn set_owner(&self, handle: &Handle<'_>, entry: &Entry) -> Result<(), ApplyError> {
        // 2^32 - 1 means "leave it" to the kernel.
        let number = |id: u64| u32::try_from(id).ok().filter(|&id| id != u32::MAX);
        let (Some(uid), Some(gid)) = (number(entry.uid), number(entry.gid)) else {
            return Err(ApplyError::Owner { path: entry.path.clone(), uid: entry.uid, gid: entry.gid });
        };
        let result = match handle.give(uid, gid) {
            // No such id in this user namespace.
            Err(Errno::INVAL) if self.options.ownership == Ownership::KeepOrRecord => {
                record_owner(handle, entry)
            }
            result => result,
        };
        result.map_err(|error| self.error("change the owner of", &entry.path, error))
    }

    fn set_mode(&self, handle: &Handle<'_>, entry: &Entry) -> Result<(), ApplyError> {
        let mode = Mode::from_raw_mode(entry.mode & 0o7777);
        let result = match handle {
            Handle::File(file) => rustix::fs::fchmod(file, mode),
            // A link has no mode of its own.
            Handle::Name(..) if matches!(entry.kind, Kind::Symlink { .. }) => Ok(()),
            Handle::Name(directory, name) => {
                let fd = self.open_path(directory, name, &entry.path)?;
                rustix::fs::chmod(through_proc(fd.as_fd(), b""), mode)
            }
        };
        result.map_err(|error| self.error("change the mode of", &entry.path, error))
    }

    /// Sets the attributes that are kept. After the owner: changing that drops capabilities.
    fn set_xattrs(&mut self, handle: &Handle<'_>, entry: &Entry) -> Result<(), ApplyError> {
        for (name, value) in &entry.xattrs {
            if !self.options.xattrs.keeps(name) {
                continue;
            }
            match handle.set_xattr(name, value) {
                Ok(()) => {}
                // The file system has no attributes, or they are not this process's to set.
                Err(Errno::NOTSUP | Errno::PERM) => {
                    self.skip(Skipped::Xattr { path: entry.path.clone(), name: name.clone() });
                }
                Err(error) => return Err(self.error("set extended attributes of", &entry.path, error)),
            }
        }
        Ok(())
    }

    /// Opens a name as a path only, for calls that have no form for names.
    pub(super) fn open_path(
        &self,
        directory: &Directory,
        name: &[u8],
        path: &[u8],
    ) -> Result<OwnedFd, ApplyError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = if name.is_empty() { b"." } else { name };
        rustix::fs::openat(&directory.fd, name, flags, Mode::empty())
            .map_err(|error| self.error("open", path, error))
    }

    /// Gives a directory its time, and its mode if that was held back.
    pub(super) fn finish_directory(&mut self, path: &[u8], deferred: &Deferred) -> Result<(), ApplyError> {
        let (parent, name) = split(path);
        let directory = match self.directories.get(self.root, parent) {
            Ok(directory) => directory,
            // Removed again by the layer itself.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(error) => return Err(self.error("open", parent, error)),
        };
        if let Some(mode) = deferred.mode {
            let entry = Entry::new(path, Kind::Directory, mode);
            self.set_mode(&Handle::Name(&directory, name), &entry)?;
        }
        let name = if name.is_empty() { b"." } else { name };
        match rustix::fs::utimensat(&directory.fd, name, &times(deferred.mtime), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.error("set the times of", path, error)),
        }
    }

    /// Gives a directory the time that it had before the layer.
    pub(super) fn finish_kept(&mut self, id: FileId, path: &[u8], mtime: i64) -> Result<(), ApplyError> {
        let set = |fd: &OwnedFd| {
            let stat = rustix::fs::fstat(fd)?;
            match (stat.st_dev, stat.st_ino) == id {
                true => rustix::fs::utimensat(fd, ".", &times(mtime), AtFlags::empty()),
                // Something else stands there now.
                false => Ok(()),
            }
        };
        match self.root.resolve(path, OFlags::PATH | OFlags::DIRECTORY).and_then(|fd| set(&fd)) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(error) => Err(self.error("set the times of", path, error)),
        }
    }
}

pub(super) fn times(seconds: i64) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}
