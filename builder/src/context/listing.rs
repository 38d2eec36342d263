//! One look at a directory: its names, and of each what one `statx` relative to the directory tells.
//!
//! ```text
//! openat2(root, "a/b") ─▶ getdents ─▶ names ─▶ statx(fd, name) ─▶ Child     a link: readlinkat besides
//! ```
//!
//! The kernel resolves the directory's own path once, and goes through no link.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use oxbox_layers::tar::Kind;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;

use super::state::State;

/// Bytes of directory entries asked of the kernel at a time.
const DIRECTORY_BYTES: usize = 32 << 10;
/// The attribute that holds file capabilities; copies lose `setcap` without it.
pub(super) const CAPABILITY: &str = "security.capability";
/// A capability value has 24 bytes at most (version 3); anything longer is none.
pub(super) const MAX_CAPABILITY: usize = 64;

/// What stands under one name of a directory.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) name: Box<[u8]>,
    pub(super) state: State,
    /// Which mount it is on.
    pub(super) mount: u64,
    /// Whether it has other names.
    pub(super) is_linked: bool,
    /// Whether every change since the look shows in its state.
    pub(super) is_settled: bool,
    pub(super) detail: Detail,
    /// The blake3 hash of what a file in this state holds, once it is known.
    pub(super) content: OnceLock<[u8; 32]>,
    is_news: AtomicBool,
}

/// What a state does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Detail {
    /// Nothing.
    None,
    /// Where a link leads.
    Target(Box<[u8]>),
    /// Which device.
    Device { major: u32, minor: u32 },
    /// What a program may do.
    Capability(Box<[u8]>),
}

impl Child {
    pub(super) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.state.mode)
    }

    pub(super) fn is_directory(&self) -> bool {
        self.file_type() == FileType::Directory
    }

    pub(super) fn is_file(&self) -> bool {
        self.file_type() == FileType::RegularFile
    }

    /// Takes over what was known of a file in this state.
    pub(super) fn recall(&mut self, content: [u8; 32], capability: &[u8]) {
        self.content = OnceLock::from(content);
        if !capability.is_empty() {
            self.detail = Detail::Capability(capability.into());
        }
    }

    /// Notes the content of a file in this state, which was read just now.
    pub(super) fn learn(&self, content: [u8; 32]) {
        if self.content.set(content).is_ok() {
            self.is_news.store(true, Ordering::Relaxed);
        }
    }

    /// Whether its content was not known before.
    pub(super) fn is_news(&self) -> bool {
        self.is_news.load(Ordering::Relaxed)
    }

    pub(super) fn kind(&self) -> Kind {
        match (self.file_type(), &self.detail) {
            (FileType::Directory, _) => Kind::Directory,
            (FileType::Symlink, Detail::Target(target)) => Kind::Symlink { target: target.to_vec() },
            (FileType::Fifo, _) => Kind::Fifo,
            (FileType::CharacterDevice, &Detail::Device { major, minor }) => {
                Kind::CharacterDevice { major, minor }
            }
            (FileType::BlockDevice, &Detail::Device { major, minor }) => Kind::BlockDevice { major, minor },
            // BuildKit's transfer of a context makes an empty file of a socket, and so do we.
            (FileType::Socket, _) => Kind::File { size: 0 },
            _ => Kind::File { size: self.state.size },
        }
    }
}

/// Opens a directory beneath the root; `None` if nothing or something else stands there.
pub(super) fn open(root: BorrowedFd<'_>, path: &[u8]) -> rustix::io::Result<Option<OwnedFd>> {
    match beneath(root, path, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(fd) => Ok(Some(fd)),
        // The last two: a link, here or on the way.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens what stands at a path that leads through no links, and is none.
pub(super) fn beneath(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(root, path, flags, Mode::empty(), how) {
        // Linux before 5.6, or a filter that was written before. Then a link that somebody makes of a
        // directory on the way, at this very moment, is followed.
        Err(Errno::NOSYS | Errno::PERM) => rustix::fs::openat(root, path, flags, Mode::empty()),
        result => result,
    }
}

/// Lists a directory's names and, where the filesystem tells, their types.
pub(super) fn names(directory: &OwnedFd) -> rustix::io::Result<Vec<(Box<[u8]>, FileType)>> {
    let mut buffer = [const { MaybeUninit::uninit() }; DIRECTORY_BYTES];
    let mut names = Vec::new();
    let mut listing = RawDir::new(directory, &mut buffer);
    while let Some(entry) = listing.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((name.into(), entry.file_type()));
        }
    }
    Ok(names)
}

/// Looks at what stands under a name, links not followed; the empty name is the directory itself. `None`
/// if nothing does.
pub(super) fn look_at(directory: impl AsFd, name: &[u8]) -> rustix::io::Result<Option<Child>> {
    let directory = directory.as_fd();
    let found = match statx(directory, name) {
        Ok(found) => found,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(error),
    };
    let state = State::of(&found);
    let detail = match FileType::from_raw_mode(state.mode) {
        FileType::Symlink => match rustix::fs::readlinkat(directory, name, Vec::new()) {
            Ok(target) => Detail::Target(target.into_bytes().into()),
            // It is something else by now.
            Err(Errno::NOENT | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error),
        },
        FileType::CharacterDevice | FileType::BlockDevice => {
            Detail::Device { major: found.stx_rdev_major, minor: found.stx_rdev_minor }
        }
        _ => Detail::None,
    };
    let is_linked = found.stx_nlink > 1 && FileType::from_raw_mode(state.mode) == FileType::RegularFile;
    Ok(Some(Child {
        name: name.into(),
        state,
        mount: mount_of(&found),
        is_linked,
        is_settled: false,
        detail,
        content: OnceLock::new(),
        is_news: AtomicBool::new(false),
    }))
}

/// Reads a file's capabilities; empty without any.
pub(super) fn capability(path: &Path) -> Box<[u8]> {
    let mut value = [0; MAX_CAPABILITY];
    // No such attribute, or a filesystem without them: both mean there is none.
    let length = rustix::fs::lgetxattr(path, CAPABILITY, &mut value).unwrap_or(0);
    value[..length].into()
}

/// Returns the state of an open file.
pub(super) fn state(file: impl AsFd) -> rustix::io::Result<State> {
    statx(file.as_fd(), b"").map(|found| State::of(&found))
}

/// Returns the mount that a directory is on.
pub(super) fn mount(directory: &OwnedFd) -> rustix::io::Result<u64> {
    statx(directory.as_fd(), b"").map(|found| mount_of(&found))
}

fn statx(directory: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Statx> {
    let flags = if name.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::SYMLINK_NOFOLLOW };
    rustix::fs::statx(directory, name, flags | AtFlags::NO_AUTOMOUNT, State::WANTED)
}

fn mount_of(found: &Statx) -> u64 {
    match found.stx_mask & StatxFlags::MNT_ID.bits() {
        // Before Linux 5.8. No mount has a number this high, so that the two do not mix.
        0 => u64::MAX - u64::from(found.stx_dev_major) * (1 << 32) - u64::from(found.stx_dev_minor),
        _ => found.stx_mnt_id,
    }
}
