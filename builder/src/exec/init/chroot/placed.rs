//! Files that are in the root for one run only, in the place of the image's own.
//!
//! ```text
//! fs/etc/hosts       the run's                         afterwards: removed, and the image's moved back
//! run-XXXXXX/3       the image's /etc/hosts, aside     beside the root, so that it is a rename and no copy
//! ```
//!
//! Parents are held by descriptors and keep their times, so that nothing tells of it afterwards. Where a run was
//! killed the root is of no use any more, and what is aside goes with it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, renameat, utimensat};
use rustix::io::Errno as Kernel;
use tempfile::TempDir;

use crate::exec::failure::{Errno, Failure, OrFail};

use super::super::mountpoint::{self, Kind, Mountpoints};
use super::super::outer::open_place;

/// What was placed.
pub(super) struct Placed<'root> {
    root: &'root OwnedFd,
    aside: TempDir,
    aside_fd: OwnedFd,
    items: Vec<Item>,
}

struct Item {
    parent: OwnedFd,
    name: OsString,
    /// Where what was placed came from, and goes again.
    back: Option<PathBuf>,
}

impl<'root> Placed<'root> {
    /// Starts with nothing; `path` is where the root is.
    pub(super) fn new(root: &'root OwnedFd, path: &Path) -> Result<Self, Failure> {
        let beside = path.parent().unwrap_or(path);
        let aside =
            tempfile::Builder::new().prefix("run-").tempdir_in(beside).or_fail("make a folder in", beside)?;
        let aside_fd = directory(aside.path())?;
        Ok(Self { root, aside, aside_fd, items: Vec::new() })
    }

    /// Places an empty directory, and returns it.
    pub(super) fn directory(
        &mut self,
        mountpoints: &mut Mountpoints<'_>,
        target: &str,
        mode: u32,
    ) -> Result<OwnedFd, Failure> {
        self.swap(mountpoints, target, Kind::Directory, |parent, name| {
            mkdirat(parent, name, Mode::from_raw_mode(mode))?;
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
            openat(parent, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        })
    }

    /// Places a file.
    pub(super) fn file(
        &mut self,
        mountpoints: &mut Mountpoints<'_>,
        target: &str,
        content: &[u8],
        mode: u32,
    ) -> Result<File, Failure> {
        let file = self.swap(mountpoints, target, Kind::File, |parent, name| {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = openat(parent, name, flags, Mode::from_raw_mode(mode))?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map(|()| file)
        })?;
        let mut file = File::from(file);
        file.write_all(content).or_fail("write", target).map(|()| file)
    }

    /// Moves a file or directory to a place, and afterwards `back`; without, it goes.
    pub(super) fn moved(
        &mut self,
        mountpoints: &mut Mountpoints<'_>,
        target: &str,
        (from, kind): (&Path, Kind),
        back: Option<PathBuf>,
    ) -> Result<(), Failure> {
        self.swap(mountpoints, target, kind, |parent, name| {
            renameat(CWD, from, parent, name)?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(parent, name, flags, Mode::empty())
        })?;
        if let Some(item) = self.items.last_mut() {
            item.back = back;
        }
        Ok(())
    }

    /// Returns a folder of its own, which goes with this.
    pub(super) fn room(&self) -> Result<PathBuf, Failure> {
        let room = tempfile::Builder::new().prefix("room-").tempdir_in(self.aside.path());
        Ok(room.or_fail("make a folder in", self.aside.path())?.keep())
    }

    /// Moves what stands at a place aside, and has something else made there.
    fn swap(
        &mut self,
        mountpoints: &mut Mountpoints<'_>,
        target: &str,
        kind: Kind,
        make: impl FnOnce(&OwnedFd, &OsString) -> rustix::io::Result<OwnedFd>,
    ) -> Result<OwnedFd, Failure> {
        let place = mountpoints.place(target, kind)?;
        let name = place.file_name().ok_or(Errno(libc::EINVAL)).or_fail("place", target)?.to_owned();
        let parent = match place.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => open_place(self.root, parent)?,
            None => rustix::io::dup(self.root).or_fail("keep", "the root")?,
        };
        let times = mountpoint::times(&parent).or_fail("stat the parent of", target)?;
        renameat(&parent, &name, &self.aside_fd, self.items.len().to_string())
            .or_fail("move aside", target)?;
        let made = make(&parent, &name);
        self.items.push(Item { parent, name, back: None });
        let item = &self.items[self.items.len() - 1];
        utimensat(&item.parent, ".", &times, AtFlags::empty())
            .or_fail("restore the times of the parent of", target)?;
        made.or_fail("make", target)
    }

    /// Takes away what was placed, and puts back what was there. No program may be running any more.
    pub(super) fn remove(&mut self) -> Result<(), Failure> {
        while let Some(Item { parent, name, back }) = self.items.pop() {
            let times = mountpoint::times(&parent).or_fail("stat the parent of", &name)?;
            if let Some(back) = back {
                match renameat(&parent, &name, CWD, &back) {
                    // The program removed it.
                    Ok(()) | Err(Kernel::NOENT) => {}
                    Err(error) => return Err(error).or_fail("move back", &back),
                }
            }
            remove(&parent, &name).or_fail("remove", &name)?;
            match renameat(&self.aside_fd, self.items.len().to_string(), &parent, &name) {
                Ok(()) => {}
                // The program removed the directory, and so the place.
                Err(Kernel::NOENT) => continue,
                Err(error) => return Err(error).or_fail("put back", &name),
            }
            utimensat(&parent, ".", &times, AtFlags::empty())
                .or_fail("restore the times of the parent of", &name)?;
        }
        Ok(())
    }
}

impl Drop for Placed<'_> {
    fn drop(&mut self) {
        // What could not be put back goes with the folder; the root is of no use then.
        if let Err(failure) = self.remove() {
            tracing::warn!(%failure, path = %self.aside.path().display(), "cannot put back");
        }
    }
}

fn directory(path: &Path) -> Result<OwnedFd, Failure> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .or_fail("open", path)
}

/// Removes a file or a whole directory, if there is one.
fn remove(parent: &OwnedFd, name: &OsString) -> std::io::Result<()> {
    let path: PathBuf = Path::new("/proc/self/fd").join(parent.as_fd().as_raw_fd().to_string()).join(name);
    let removed = match fs::symlink_metadata(&path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
        Ok(_) => fs::remove_file(&path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
