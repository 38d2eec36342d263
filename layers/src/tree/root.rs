//! A directory that nothing leaves: every path is resolved beneath it by the kernel.
//!
//! ```text
//! lib -> /usr/lib        lib/x opens usr/lib/x beneath the root, not the host's
//! up  -> ../../etc       up/x  opens etc/x beneath the root: `..` at the root is the root
//! ```
//!
//! Links in the middle of a path are followed so; a link at its end never is. There is no check of a
//! joined path before its use, for such a check can be raced.
//!
//! openat2(2), `RESOLVE_IN_ROOT`; Linux 5.6 and later

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::error::TreeError;

/// How often a path is resolved again when a rename elsewhere made the kernel unsure of a `..`.
const RESOLVE_ATTEMPTS: usize = 32;

/// A directory, open, beneath which all work is done.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// Opens a directory as a root. Its own path may lead through links.
    ///
    /// # Errors
    ///
    /// [`TreeError::NoOpenat2`] where the kernel cannot keep paths beneath a directory.
    pub fn open(path: &Path) -> Result<Self, TreeError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| TreeError::io("open", path, b"", error))?;
        let root = Self { fd, path: path.to_owned() };
        // Asked once: stacks have hundreds of roots.
        static RESOLVES: AtomicBool = AtomicBool::new(false);
        if RESOLVES.load(Ordering::Relaxed) {
            return Ok(root);
        }
        match root.resolve(b"", OFlags::PATH) {
            Ok(_) => {
                RESOLVES.store(true, Ordering::Relaxed);
                Ok(root)
            }
            // Filters written before openat2 answer EPERM.
            Err(error @ (Errno::NOSYS | Errno::PERM)) => {
                Err(TreeError::NoOpenat2 { path: path.to_owned(), source: error.into() })
            }
            Err(error) => Err(TreeError::io("open", path, b"", error)),
        }
    }

    /// Returns the path by which the root was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Tells whether there is nothing beneath the root.
    pub(super) fn is_empty(&self) -> Result<bool, TreeError> {
        // Not the root's own descriptor: its position in the list is shared.
        let mut buffer = [std::mem::MaybeUninit::uninit(); 1 << 10];
        let fd = self.resolve(b"", OFlags::RDONLY | OFlags::DIRECTORY);
        let fd = fd.map_err(|error| self.error("open", b"", error))?;
        let names = super::scan::names(&fd, &mut buffer).map_err(|error| self.error("list", b"", error))?;
        Ok(names.is_empty())
    }

    /// Opens a regular file for reading; a link at the end of the path is not followed.
    pub fn open_file(&self, path: &[u8]) -> Result<File, TreeError> {
        // Nonblocking: a pipe that took the file's place must not hang the build.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        self.resolve(path, flags).map(File::from).map_err(|error| self.error("open", path, error))
    }

    /// Sets the modification time, in whole seconds, of what stands at a path; of a link, its own.
    pub fn set_mtime(&self, path: &[u8], seconds: i64) -> Result<(), TreeError> {
        let (parent, name) = match path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&b""[..], path),
        };
        let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let times =
            Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: time };
        self.resolve(parent, OFlags::PATH | OFlags::DIRECTORY)
            .and_then(|parent| rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW))
            .map_err(|error| self.error("set time of", path, error))
    }

    /// Tells whether anything stands at a path, a link that leads nowhere included.
    pub(super) fn has(&self, path: &[u8]) -> Result<bool, TreeError> {
        match self.resolve(path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(error) => Err(self.error("open", path, error)),
        }
    }

    /// Resolves a path beneath the root; the empty path is the root.
    pub(super) fn resolve(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        resolve(self.fd.as_fd(), path, flags, ResolveFlags::IN_ROOT)
    }

    pub(super) fn read_error(&self, path: &[u8], source: std::io::Error) -> TreeError {
        TreeError::Io { verb: "read", path: super::error::shown(&self.path, path), source }
    }

    pub(super) fn error(&self, verb: &'static str, path: &[u8], error: Errno) -> TreeError {
        TreeError::io(verb, &self.path, path, error)
    }
}

/// Opens `path` beneath `top` in the way that `how` tells, never through magic links.
pub(super) fn resolve(
    top: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    how: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let how = how | ResolveFlags::NO_MAGICLINKS;
    let mut attempts = 0;
    loop {
        attempts += 1;
        match rustix::fs::openat2(top, path, flags | OFlags::CLOEXEC, Mode::empty(), how) {
            Err(Errno::AGAIN | Errno::INTR) if attempts < RESOLVE_ATTEMPTS => {}
            result => return result,
        }
    }
}

/// Device and inode: which file it is, whatever its names.
pub type FileId = (u64, u64);

/// A directory in which entries are made.
#[derive(Debug)]
pub(super) struct Directory {
    /// Opened as a path only: no permission to read it is needed.
    pub(super) fd: OwnedFd,
    /// The same however the directory was reached.
    pub(super) id: FileId,
    /// New entries take the directory's group, not the process's.
    pub(super) gives_group: bool,
    /// When it was written into last before it was opened.
    pub(super) mtime: i64,
}

/// The directories used last, so that siblings are made without resolving their path again.
#[derive(Debug, Default)]
pub(super) struct Directories {
    recent: VecDeque<(Vec<u8>, Arc<Directory>)>,
}

/// Directories kept open: deeper than nearly every tree, and far below any limit of open files.
const RECENT_DIRECTORIES: usize = 32;

impl Directories {
    /// Opens a directory beneath the root, through links if the path has any.
    pub(super) fn get(&mut self, root: &Root, path: &[u8]) -> rustix::io::Result<Arc<Directory>> {
        if let Some((_, directory)) = self.recent.iter().find(|(known, _)| known == path) {
            return Ok(Arc::clone(directory));
        }
        let fd = root.resolve(path, OFlags::PATH | OFlags::DIRECTORY)?;
        let stat = rustix::fs::fstat(&fd)?;
        let gives_group = stat.st_mode & 0o2000 != 0;
        let directory =
            Arc::new(Directory { fd, id: (stat.st_dev, stat.st_ino), gives_group, mtime: stat.st_mtime });
        self.recent.truncate(RECENT_DIRECTORIES - 1);
        self.recent.push_front((path.to_vec(), Arc::clone(&directory)));
        Ok(directory)
    }

    /// Forgets all: a directory or a link was removed, and paths may lead elsewhere now.
    pub(super) fn forget(&mut self) {
        self.recent.clear();
    }
}

/// Splits a path into the directory's path and the last component.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Returns the path by which a file without its own descriptor is reached through its directory's:
/// attributes have no system call of the `at` kind before Linux 6.13.
pub(super) fn through_proc(directory: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    use std::os::fd::AsRawFd;
    let mut path = format!("/proc/self/fd/{}", directory.as_raw_fd()).into_bytes();
    if !name.is_empty() {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    path
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::{Directories, Root};
    use crate::tree::TreeError;

    #[test]
    fn links_in_the_middle_stay_beneath_the_root() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("usr/lib")).unwrap();
        std::fs::write(directory.path().join("usr/lib/x"), b"ours").unwrap();
        symlink("/usr/lib", directory.path().join("absolute")).unwrap();
        symlink("../../../usr/lib", directory.path().join("climbing")).unwrap();
        let root = Root::open(directory.path()).unwrap();
        for path in [&b"absolute/x"[..], b"climbing/x"] {
            let mut text = String::new();
            root.open_file(path).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "ours");
        }
    }

    #[test]
    fn a_link_at_the_end_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        symlink("/etc/passwd", directory.path().join("link")).unwrap();
        let error = Root::open(directory.path()).unwrap().open_file(b"link").unwrap_err();
        assert!(matches!(error, TreeError::Io { verb: "open", .. }), "{error}");
    }

    #[test]
    fn a_root_that_is_no_directory_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(Root::open(file.path()), Err(TreeError::Io { .. })));
    }

    #[test]
    fn the_same_directory_by_two_paths_has_one_identity() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("real")).unwrap();
        symlink("real", directory.path().join("alias")).unwrap();
        let root = Root::open(directory.path()).unwrap();
        let mut directories = Directories::default();
        let ids = [&b"real"[..], b"alias", b"real"].map(|path| directories.get(&root, path).unwrap().id);
        assert_eq!((ids[0], ids[0]), (ids[1], ids[2]));
    }
}
