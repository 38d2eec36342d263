//! Makes the entries of a layer, with few system calls each.
//!
//! A plain file of the process's own takes four: open, write, set times, close. Attributes are set
//! after the content, see `attributes.rs`.

use std::cell::Cell;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::apply::{ApplyError, Deferred, Devices, Layer, Skipped, Whiteouts};
use super::attributes::{Handle, times};
use super::error::TreeError;
use super::root::{Directory, split};
use super::{overlay, recorded, xattr};
use crate::tar::{Entry, Kind, TarError};

impl Layer<'_> {
    /// Makes one entry under `name`, in place of whatever is there.
    pub(super) fn place(
        &mut self,
        directory: &Directory,
        name: &[u8],
        entry: &Entry,
        content: &mut dyn Read,
    ) -> Result<(), ApplyError> {
        if !self.deferred.is_empty() && entry.kind != Kind::Directory {
            self.deferred.remove(&entry.path);
        }
        match &entry.kind {
            Kind::File { .. } => self.place_file(directory, name, entry, content),
            Kind::Directory => self.place_directory(directory, name, entry),
            Kind::Hardlink { target } => self.place_hardlink(directory, name, entry, target),
            Kind::Symlink { target } => {
                self.make(directory, name, entry, "make the link", || {
                    rustix::fs::symlinkat(&target[..], &directory.fd, name)
                })?;
                self.finish_name(directory, name, entry)
            }
            Kind::Fifo => self.place_node(directory, name, entry, FileType::Fifo, 0),
            &Kind::BlockDevice { major, minor } => {
                let device = rustix::fs::makedev(major, minor);
                self.place_node(directory, name, entry, FileType::BlockDevice, device)
            }
            &Kind::CharacterDevice { major, minor } => {
                if overlay::is_whiteout_device(&entry.kind) {
                    return Err(ApplyError::Reserved { path: entry.path.clone() });
                }
                let device = rustix::fs::makedev(major, minor);
                self.place_node(directory, name, entry, FileType::CharacterDevice, device)
            }
        }
    }

    fn place_file(
        &mut self,
        directory: &Directory,
        name: &[u8],
        entry: &Entry,
        content: &mut dyn Read,
    ) -> Result<(), ApplyError> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let mut file = File::from(self.make(directory, name, entry, "create", || {
            rustix::fs::openat(&directory.fd, name, flags, mode)
        })?);
        match self.contents.is_some() {
            true => self.copy_noting(&mut file, entry, content)?,
            false => self.copy(&mut file, entry, content)?,
        }
        self.set_attributes(&Handle::File(&file), directory, entry)?;
        let times = times(entry.mtime);
        rustix::fs::futimens(&file, &times)
            .map_err(|error| self.error("set the times of", &entry.path, error))
    }

    fn copy_noting(
        &mut self,
        file: &mut File,
        entry: &Entry,
        content: &mut dyn Read,
    ) -> Result<(), ApplyError> {
        let mut hashed = Hashed { content, hasher: blake3::Hasher::new() };
        self.copy(file, entry, &mut hashed)?;
        let stat = rustix::fs::fstat(&*file).map_err(|error| self.error("stat", &entry.path, error))?;
        let hash = *hashed.hasher.finalize().as_bytes();
        if let Some(contents) = &mut self.contents {
            contents.insert((stat.st_dev, stat.st_ino), hash);
        }
        Ok(())
    }

    fn copy(&mut self, file: &mut File, entry: &Entry, content: &mut dyn Read) -> Result<(), ApplyError> {
        let mut left = entry.size();
        while left > 0 {
            let ask = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = match content.read(&mut self.buffer[..ask]) {
                Ok(0) => {
                    let (expected, actual) = (entry.size(), entry.size() - left);
                    return Err(TarError::ContentShort { path: entry.path.clone(), expected, actual }.into());
                }
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(source) => return Err(ApplyError::Content { path: entry.path.clone(), source }),
            };
            file.write_all(&self.buffer[..count]).map_err(|source| TreeError::Io {
                verb: "write",
                path: self.shown(&entry.path),
                source,
            })?;
            left -= count as u64;
        }
        Ok(())
    }

    fn place_hardlink(
        &mut self,
        directory: &Directory,
        name: &[u8],
        entry: &Entry,
        target: &[u8],
    ) -> Result<(), ApplyError> {
        let missing = || ApplyError::HardlinkTarget { path: entry.path.clone(), target: target.to_vec() };
        // Before anything is removed: a link to itself would remove its own target.
        if entry.path == target {
            return Err(missing());
        }
        let (target_parent, target_name) = split(target);
        let target_directory = match self.directories.get(self.root, target_parent) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(missing()),
            Err(error) => return Err(self.error("open", target_parent, error)),
        };
        let result = self.make(directory, name, entry, "link", || {
            rustix::fs::linkat(&target_directory.fd, target_name, &directory.fd, name, AtFlags::empty())
        });
        match result {
            Err(ApplyError::Tree(TreeError::Io { source, .. })) if source.kind() == ErrorKind::NotFound => {
                Err(missing())
            }
            result => result,
        }
    }

    fn place_node(
        &mut self,
        directory: &Directory,
        name: &[u8],
        entry: &Entry,
        kind: FileType,
        device: u64,
    ) -> Result<(), ApplyError> {
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let is_allowed = Cell::new(true);
        let may_skip = kind != FileType::Fifo && self.options.devices != Devices::Required;
        self.make(directory, name, entry, "make the device", || {
            match rustix::fs::mknodat(&directory.fd, name, kind, mode, device) {
                Err(Errno::PERM) if may_skip => {
                    is_allowed.set(false);
                    Ok(())
                }
                result => result,
            }
        })?;
        if is_allowed.get() {
            return self.finish_name(directory, name, entry);
        }
        if self.options.devices == Devices::Recorded
            && let Some(device) = recorded::device_text(&entry.kind)
        {
            return self.place_stand_in(directory, name, entry, &device);
        }
        self.skip(Skipped::Device { path: entry.path.clone() });
        Ok(())
    }

    /// Makes an empty file on which it is written down which device it is.
    fn place_stand_in(
        &mut self,
        directory: &Directory,
        name: &[u8],
        entry: &Entry,
        device: &str,
    ) -> Result<(), ApplyError> {
        let file = Entry { kind: Kind::File { size: 0 }, ..entry.clone() };
        self.place_file(directory, name, &file, &mut std::io::empty())?;
        Handle::Name(directory, name)
            .set_xattr(recorded::DEVICE, device.as_bytes())
            .map_err(|error| self.error("write down the device", &entry.path, error))
    }

    pub(super) fn place_directory(
        &mut self,
        directory: &Directory,
        name: &[u8],
        entry: &Entry,
    ) -> Result<(), ApplyError> {
        // While the layer is applied the process must get in; root always does.
        let shut = self.process.uid != 0 && entry.mode & 0o700 != 0o700;
        let first_mode = if shut { entry.mode & 0o777 | 0o700 } else { entry.mode & 0o777 };
        let mode = Mode::from_raw_mode(first_mode);
        let mut is_new = true;
        match rustix::fs::mkdirat(&directory.fd, name, mode) {
            Ok(()) => {}
            Err(Errno::EXIST) => is_new = self.replace_by_directory(directory, name, entry, mode)?,
            Err(error) => return Err(self.error("make the directory", &entry.path, error)),
        }
        let open = Entry { mode: entry.mode & !0o777 | first_mode, ..entry.clone() };
        self.set_directory_attributes(directory, name, &open, is_new)?;
        let mode = shut.then_some(entry.mode);
        self.deferred.insert(entry.path.clone(), Deferred { mtime: entry.mtime, mode });
        Ok(())
    }

    /// Makes room for a directory; `false` if there is one already, which stays.
    fn replace_by_directory(
        &mut self,
        directory: &Directory,
        name: &[u8],
        entry: &Entry,
        mode: Mode,
    ) -> Result<bool, ApplyError> {
        let stat = rustix::fs::statat(&directory.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| self.error("stat", &entry.path, error))?;
        let found = FileType::from_raw_mode(stat.st_mode);
        if found == FileType::Directory {
            return Ok(false);
        }
        self.remove(directory, name, &entry.path)?;
        rustix::fs::mkdirat(&directory.fd, name, mode)
            .map_err(|error| self.error("make the directory", &entry.path, error))?;
        // The whiteout hid the lower directory whole; the new one must not let it show.
        if let Whiteouts::Overlay { namespace, .. } = self.options.whiteouts
            && found == FileType::CharacterDevice
            && stat.st_rdev == 0
        {
            self.make_opaque(directory, name, &entry.path, namespace)?;
        }
        Ok(true)
    }

    fn set_directory_attributes(
        &mut self,
        directory: &Directory,
        name: &[u8],
        entry: &Entry,
        is_new: bool,
    ) -> Result<(), ApplyError> {
        let handle = Handle::Name(directory, name);
        if is_new {
            return self.set_attributes(&handle, directory, entry);
        }
        // One that was there may have any owner, mode and attributes.
        let fd = self.open_path(directory, name, &entry.path)?;
        xattr::remove_others(fd.as_fd(), &entry.xattrs, self.options.xattrs)
            .map_err(|error| self.error("remove extended attributes of", &entry.path, error))?;
        self.set_all_attributes(&handle, entry)
    }

    /// Gives the root what its own entry says.
    pub(super) fn place_root(&mut self, entry: &Entry) -> Result<(), ApplyError> {
        let directory =
            self.directories.get(self.root, b"").map_err(|error| self.error("open", b"", error))?;
        self.set_all_attributes(&Handle::Name(&directory, b""), entry)?;
        self.deferred.insert(Vec::new(), Deferred { mtime: entry.mtime, mode: None });
        Ok(())
    }

    /// Makes something under a name, after removing what is in the way.
    fn make<T>(
        &mut self,
        directory: &Directory,
        name: &[u8],
        entry: &Entry,
        verb: &'static str,
        make: impl Fn() -> rustix::io::Result<T>,
    ) -> Result<T, ApplyError> {
        let result = match make() {
            Err(Errno::EXIST) => {
                self.remove(directory, name, &entry.path)?;
                make()
            }
            result => result,
        };
        result.map_err(|error| self.error(verb, &entry.path, error))
    }
}

/// Hashes what is read.
struct Hashed<'a> {
    content: &'a mut dyn Read,
    hasher: blake3::Hasher,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.content.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
