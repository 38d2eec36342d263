//! Removes from a tree: what stands in an entry's way, and what a whiteout hides.
//!
//! A whiteout speaks of lower layers alone, wherever it stands in its own (image-spec v1.1.1,
//! layer.md#whiteouts), so what this layer wrote stays, and the directories above it:
//!
//! ```text
//! lower   a/old  a/sub/old               layer   a/new  a/sub/new  .wh.a
//! after   a/new  a/sub/new
//! ```
//!
//! No descriptor is held on the way down: a tree may be deeper than a process may have files open.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::apply::{ApplyError, Layer, Whiteouts};
use super::overlay::Namespace;
use super::root::{Directory, FileId, resolve, split};
use super::stack::join;
use super::{scan, xattr};

/// What is spared when a tree is removed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spare {
    Nothing,
    /// What this layer wrote.
    Written,
}

impl Layer<'_> {
    /// Hides a name in a directory, as far as lower layers put it there.
    pub(super) fn hide(&mut self, parent: &[u8], name: &[u8]) -> Result<(), ApplyError> {
        let path = join(parent, name);
        match self.options.whiteouts {
            Whiteouts::Apply => {
                let Some(directory) = self.existing(parent)? else { return Ok(()) };
                if self.written.is_some() {
                    self.keep_time(&directory, parent);
                    self.sweep(&directory, name, &path, Spare::Written)?;
                }
                Ok(())
            }
            Whiteouts::Overlay { namespace, .. } => {
                let directory = self.make_directory(parent)?;
                self.mark_hidden(&directory, name, &path, namespace)
            }
        }
    }

    /// Hides all that lower layers put into a directory.
    pub(super) fn hide_all(&mut self, path: &[u8]) -> Result<(), ApplyError> {
        match self.options.whiteouts {
            Whiteouts::Apply => {
                let Some(directory) = self.existing(path)? else { return Ok(()) };
                if self.written.is_none() {
                    return Ok(());
                }
                self.keep_time(&directory, path);
                let fd = self
                    .root
                    .resolve(path, OFlags::RDONLY | OFlags::DIRECTORY)
                    .map_err(|error| self.error("open", path, error))?;
                for (name, _) in self.list(&fd, path)? {
                    self.sweep(&directory, &name, &join(path, &name), Spare::Written)?;
                }
                Ok(())
            }
            // Overlayfs never asks whether a root is opaque: each name below is hidden by itself.
            Whiteouts::Overlay { namespace, lower } if path.is_empty() => {
                let directory = self.make_directory(path)?;
                for name in lower.map_or(Ok(Vec::new()), |lower| lower.names(path))? {
                    self.mark_hidden(&directory, &name, &name, namespace)?;
                }
                Ok(())
            }
            Whiteouts::Overlay { namespace, .. } => {
                let directory = self.make_directory(path)?;
                self.make_opaque(&directory, b"", path, namespace)
            }
        }
    }

    /// Leaves overlayfs's mark for a name that is gone. The tree holds this layer alone: what stands
    /// there already hides what is below, but a directory would let it show.
    fn mark_hidden(
        &mut self,
        directory: &Directory,
        name: &[u8],
        path: &[u8],
        namespace: Namespace,
    ) -> Result<(), ApplyError> {
        let device = FileType::CharacterDevice;
        match rustix::fs::mknodat(&directory.fd, name, device, Mode::empty(), 0) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) if self.is_directory(directory, name) => {
                self.make_opaque(directory, name, path, namespace)
            }
            Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(self.error("make the whiteout", path, error)),
        }
    }

    /// Marks a directory so that overlayfs shows nothing of the lower ones in it.
    pub(super) fn make_opaque(
        &mut self,
        directory: &Directory,
        name: &[u8],
        path: &[u8],
        namespace: Namespace,
    ) -> Result<(), ApplyError> {
        xattr::set(directory.fd.as_fd(), name, namespace.opaque(), b"y")
            .map_err(|error| self.error("mark as opaque", path, error))
    }

    /// Removes whatever stands under a name, for an entry to take its place.
    pub(super) fn remove(
        &mut self,
        directory: &Directory,
        name: &[u8],
        path: &[u8],
    ) -> Result<(), ApplyError> {
        self.sweep(directory, name, path, Spare::Nothing)
    }

    fn sweep(
        &mut self,
        directory: &Directory,
        name: &[u8],
        path: &[u8],
        spare: Spare,
    ) -> Result<(), ApplyError> {
        let stat = match rustix::fs::statat(&directory.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(self.error("stat", path, error)),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if matches!(kind, FileType::Directory | FileType::Symlink) {
            // Paths may lead elsewhere from now on.
            self.directories.forget();
        }
        if kind == FileType::Directory {
            return self.sweep_tree(directory, name, path, spare);
        }
        if spare == Spare::Written && self.is_written(directory.id, name) {
            return Ok(());
        }
        rustix::fs::unlinkat(&directory.fd, name, AtFlags::empty())
            .map_err(|error| self.error("remove", path, error))
    }

    /// Removes a directory from the inside out.
    fn sweep_tree(
        &mut self,
        directory: &Directory,
        name: &[u8],
        path: &[u8],
        spare: Spare,
    ) -> Result<(), ApplyError> {
        // Paths below `directory`, each with its subdirectories still to be entered.
        let mut levels = vec![(name.to_vec(), self.sweep_files(directory, name, path, spare)?)];
        while let Some((at, below)) = levels.last_mut() {
            if let Some(next) = below.pop() {
                let next = join(at, &next);
                let below = self.sweep_files(directory, &next, path, spare)?;
                levels.push((next, below));
                continue;
            }
            let at = std::mem::take(at);
            levels.pop();
            self.sweep_directory(directory, &at, path, spare)?;
        }
        Ok(())
    }

    /// Removes what is in a directory but its subdirectories, whose names it returns.
    fn sweep_files(
        &mut self,
        top: &Directory,
        at: &[u8],
        path: &[u8],
        spare: Spare,
    ) -> Result<Vec<Vec<u8>>, ApplyError> {
        let fd = resolve(top.fd.as_fd(), at, OFlags::RDONLY | OFlags::DIRECTORY, beneath())
            .map_err(|error| self.error("open", path, error))?;
        let id = self.identity(&fd, path, spare)?;
        let mut directories = Vec::new();
        for (name, kind) in self.list(&fd, path)? {
            let kind = match kind {
                FileType::Unknown => rustix::fs::statat(&fd, &name[..], AtFlags::SYMLINK_NOFOLLOW)
                    .map(|stat| FileType::from_raw_mode(stat.st_mode))
                    .map_err(|error| self.error("stat", path, error))?,
                kind => kind,
            };
            if kind == FileType::Directory {
                directories.push(name);
            } else if spare == Spare::Nothing || !self.is_written(id, &name) {
                rustix::fs::unlinkat(&fd, &name[..], AtFlags::empty())
                    .map_err(|error| self.error("remove", &join(path, &name), error))?;
            }
        }
        Ok(directories)
    }

    /// Removes a directory that has been emptied, unless it holds what is spared.
    fn sweep_directory(
        &mut self,
        top: &Directory,
        at: &[u8],
        path: &[u8],
        spare: Spare,
    ) -> Result<(), ApplyError> {
        let (parent, name) = split(at);
        let fd = resolve(top.fd.as_fd(), parent, OFlags::PATH | OFlags::DIRECTORY, beneath())
            .map_err(|error| self.error("open", path, error))?;
        let id = self.identity(&fd, path, spare)?;
        if spare == Spare::Written && self.is_written(id, name) {
            return Ok(());
        }
        match rustix::fs::unlinkat(&fd, name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) if spare == Spare::Written => Ok(()),
            Err(error) => Err(self.error("remove", path, error)),
        }
    }

    /// Returns a directory's device and inode, where anybody asks for them.
    fn identity(&self, fd: &OwnedFd, path: &[u8], spare: Spare) -> Result<FileId, ApplyError> {
        if spare == Spare::Nothing {
            return Ok((0, 0));
        }
        let stat = rustix::fs::fstat(fd).map_err(|error| self.error("stat", path, error))?;
        Ok((stat.st_dev, stat.st_ino))
    }

    fn list(&self, fd: &OwnedFd, path: &[u8]) -> Result<Vec<(Vec<u8>, FileType)>, ApplyError> {
        let mut buffer = [MaybeUninit::uninit(); 8 << 10];
        scan::names(fd, &mut buffer).map_err(|error| self.error("list", path, error))
    }

    fn existing(&mut self, path: &[u8]) -> Result<Option<Arc<Directory>>, ApplyError> {
        match self.directories.get(self.root, path) {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(self.error("open", path, error)),
        }
    }

    /// Tells whether overlayfs's mark for a name that is gone stands there.
    pub(super) fn is_whiteout(&mut self, parent: &[u8], name: &[u8]) -> Result<bool, ApplyError> {
        let Some(directory) = self.existing(parent)? else { return Ok(false) };
        let stat = rustix::fs::statat(&directory.fd, name, AtFlags::SYMLINK_NOFOLLOW);
        Ok(stat.is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
        }))
    }

    fn is_directory(&self, directory: &Directory, name: &[u8]) -> bool {
        rustix::fs::statat(&directory.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }
}

/// Neither links nor `..`: a tree is removed where it stands.
fn beneath() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS
}
