//! Places in the image to mount at: found, made where they lack, and taken away after the run.
//!
//! ```text
//! /etc/resolv.conf -> ../run/systemd/resolve/stub-resolv.conf        the link is followed inside the image,
//! /run/systemd/resolve/stub-resolv.conf                              and its target made, with all parents
//! ```
//!
//! What is made must not be found in the layer, nor may a directory's mtime tell of it. A stub is
//! remembered by its parent's descriptor, so it is found again even if the program renamed the parent.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, chownat, fstat, mkdirat,
    openat, openat2, readlinkat, unlinkat, utimensat,
};
use rustix::io::Errno as Kernel;

use crate::exec::failure::{Errno, Failure, OrFail};
use crate::exec::user::Identity;

/// As many as the kernel follows in one path.
const MAX_LINKS: usize = 40;

/// What must stand at a place to mount something there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

/// The places of one run.
pub(super) struct Mountpoints<'root> {
    root: BorrowedFd<'root>,
    made: Vec<Stub>,
}

struct Stub {
    parent: OwnedFd,
    name: OsString,
    kind: Kind,
}

/// What happens to the directories that a walk has to make.
enum Making<'a> {
    Stub,
    Inner,
    Lasting(&'a Identity),
}

impl<'root> Mountpoints<'root> {
    /// Starts without any place; `root` has nothing mounted below it.
    pub(super) fn new(root: BorrowedFd<'root>) -> Self {
        Self { root, made: Vec::new() }
    }

    /// Returns where `target` is, relative to the root and without symbolic links, made if it lacks.
    pub(super) fn place(&mut self, target: &str, kind: Kind) -> Result<PathBuf, Failure> {
        self.walk(target, kind, &Making::Stub)
    }

    /// Makes a place inside another mount, which takes it away when it ends, and returns where it is.
    pub(super) fn inner(&mut self, place: &Path, kind: Kind) -> Result<PathBuf, Failure> {
        let target = place.display().to_string();
        self.walk(&target, kind, &Making::Inner)
    }

    /// Returns the permission bits of what stands at `target`, links followed; `None` if nothing does.
    pub(super) fn mode(&self, target: &str) -> Result<Option<u32>, Failure> {
        let path = Path::new(target.trim_start_matches('/'));
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match openat2(self.root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Ok(found) => Ok(Some(fstat(&found).or_fail("stat", target)?.st_mode & 0o7777)),
            Err(Kernel::NOENT | Kernel::NOTDIR) => Ok(None),
            Err(error) => Err(error).or_fail("look up the mount point", target),
        }
    }

    /// Makes the working directory and its parents for good, owned by the user, if it lacks.
    pub(super) fn working_directory(&mut self, path: &str, owner: &Identity) -> Result<(), Failure> {
        self.walk(path, Kind::Directory, &Making::Lasting(owner)).map(|_| ())
    }

    /// Takes away every stub that still is one; what the program put into it stays.
    pub(super) fn remove(&mut self) -> Result<(), Failure> {
        while let Some(stub) = self.made.pop() {
            let flags = match stub.kind {
                Kind::Directory => AtFlags::REMOVEDIR,
                Kind::File => AtFlags::empty(),
            };
            let times = times(&stub.parent).or_fail("stat the parent of", &stub.name)?;
            match unlinkat(&stub.parent, &stub.name, flags) {
                Ok(()) => utimensat(&stub.parent, ".", &times, AtFlags::empty())
                    .or_fail("restore the times of the parent of", &stub.name)?,
                Err(Kernel::NOTEMPTY | Kernel::NOENT) => {}
                Err(error) => return Err(error).or_fail("remove the mount point", &stub.name),
            }
        }
        Ok(())
    }

    fn walk(&mut self, target: &str, kind: Kind, making: &Making<'_>) -> Result<PathBuf, Failure> {
        let mut pending: VecDeque<OsString> = components(target.as_bytes()).collect();
        let mut resolved = PathBuf::new();
        let mut links = 0;
        while let Some(name) = pending.pop_front() {
            if name == ".." {
                resolved.pop();
                continue;
            }
            let wanted = if pending.is_empty() { kind } else { Kind::Directory };
            let place = match self.look(&resolved.join(&name)) {
                Ok(place) => place,
                Err(Kernel::NOENT) => {
                    self.make(&resolved, &name, wanted, making).or_fail("make the mount point", target)?;
                    resolved.push(name);
                    continue;
                }
                Err(error) => return Err(error).or_fail("look up the mount point", target),
            };
            match FileType::from_raw_mode(fstat(&place).or_fail("stat", target)?.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    follow(&place, &mut resolved, &mut pending).or_fail("follow", target)?;
                    if links > MAX_LINKS {
                        return Err(Errno(libc::ELOOP)).or_fail("follow", target);
                    }
                }
                FileType::Directory if wanted == Kind::Directory => resolved.push(name),
                FileType::Directory => return Err(mismatch(target, "a directory")),
                _ if wanted == Kind::File => resolved.push(name),
                _ => return Err(mismatch(target, "a file")),
            }
        }
        Ok(resolved)
    }

    // `path` has no symbolic links but perhaps its last component, which is opened itself.
    fn look(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        openat2(self.root, path, flags, Mode::empty(), resolve)
    }

    fn make(
        &mut self,
        parent: &Path,
        name: &OsStr,
        kind: Kind,
        making: &Making<'_>,
    ) -> rustix::io::Result<()> {
        let parent =
            if parent.as_os_str().is_empty() { rustix::io::dup(self.root)? } else { self.look(parent)? };
        let before = times(&parent)?;
        match kind {
            Kind::Directory => mkdirat(&parent, name, Mode::from_raw_mode(0o755))?,
            Kind::File => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                drop(openat(&parent, name, flags, Mode::from_raw_mode(0o644))?);
            }
        }
        match making {
            Making::Stub => {
                utimensat(&parent, ".", &before, AtFlags::empty())?;
                self.made.push(Stub { parent, name: name.to_owned(), kind });
            }
            Making::Inner => {}
            Making::Lasting(owner) => {
                let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
                match chownat(&parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
                    // No such id in this user namespace: it is written down after the run, see exec/given.rs.
                    Err(Kernel::INVAL) => {}
                    given => given?,
                }
            }
        }
        Ok(())
    }
}

fn follow(
    link: &OwnedFd,
    resolved: &mut PathBuf,
    pending: &mut VecDeque<OsString>,
) -> rustix::io::Result<()> {
    let target = readlinkat(link, "", Vec::new())?;
    if target.as_bytes().starts_with(b"/") {
        resolved.clear();
    }
    for name in components(target.as_bytes()).collect::<Vec<_>>().into_iter().rev() {
        pending.push_front(name);
    }
    Ok(())
}

fn components(path: &[u8]) -> impl Iterator<Item = OsString> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(|name| OsString::from_vec(name.to_vec()))
}

pub(super) fn times(directory: &OwnedFd) -> rustix::io::Result<Timestamps> {
    let stat = fstat(directory)?;
    Ok(Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
    })
}

fn mismatch(target: &str, found: &str) -> Failure {
    Failure::Target { target: target.to_owned(), found: found.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::{Failure, Kind, Mountpoints};

    fn with_root(check: impl FnOnce(&std::path::Path, &mut Mountpoints<'_>)) {
        let root = tempfile::tempdir().unwrap();
        let opened = fs::File::open(root.path()).unwrap();
        check(root.path(), &mut Mountpoints::new(opened.as_fd()));
    }

    #[test]
    fn a_stub_and_its_parents_leave_no_trace() {
        with_root(|root, points| {
            fs::create_dir(root.join("etc")).unwrap();
            let before = [fs::metadata(root).unwrap(), fs::metadata(root.join("etc")).unwrap()];
            assert_eq!(points.place("/etc/a/b/hosts", Kind::File).unwrap().to_str(), Some("etc/a/b/hosts"));
            assert!(root.join("etc/a/b/hosts").is_file());
            points.remove().unwrap();
            assert!(!root.join("etc/a").exists());
            let after = [fs::metadata(root).unwrap(), fs::metadata(root.join("etc")).unwrap()];
            for (before, after) in before.iter().zip(&after) {
                assert_eq!((before.mtime(), before.mtime_nsec()), (after.mtime(), after.mtime_nsec()));
            }
        });
    }

    #[test]
    fn what_was_there_stays() {
        with_root(|root, points| {
            fs::create_dir(root.join("etc")).unwrap();
            fs::write(root.join("etc/hosts"), "mine").unwrap();
            points.place("/etc/hosts", Kind::File).unwrap();
            points.remove().unwrap();
            assert_eq!(fs::read(root.join("etc/hosts")).unwrap(), b"mine");
        });
    }

    #[test]
    fn what_the_program_put_into_a_stub_stays() {
        with_root(|root, points| {
            points.place("/etc/hosts", Kind::File).unwrap();
            fs::write(root.join("etc/kept"), "").unwrap();
            points.remove().unwrap();
            assert!(!root.join("etc/hosts").exists());
            assert!(root.join("etc/kept").exists());
        });
    }

    #[test]
    fn a_stub_is_found_though_its_parent_was_renamed() {
        with_root(|root, points| {
            fs::create_dir(root.join("etc")).unwrap();
            points.place("/etc/hosts", Kind::File).unwrap();
            fs::rename(root.join("etc"), root.join("moved")).unwrap();
            points.remove().unwrap();
            assert!(!root.join("moved/hosts").exists());
        });
    }

    #[test]
    fn a_dangling_link_is_followed_inside_the_root_only() {
        with_root(|root, points| {
            fs::create_dir(root.join("etc")).unwrap();
            symlink("../../../../run/stub.conf", root.join("etc/resolv.conf")).unwrap();
            let place = points.place("/etc/resolv.conf", Kind::File).unwrap();
            assert_eq!(place.to_str(), Some("run/stub.conf"));
            assert!(root.join("run/stub.conf").is_file());
            points.remove().unwrap();
            assert!(!root.join("run").exists());
            assert!(root.join("etc/resolv.conf").is_symlink());
        });
    }

    #[test]
    fn an_absolute_link_means_the_image() {
        with_root(|root, points| {
            symlink("/etc/alternative", root.join("proc")).unwrap();
            let place = points.place("/proc", Kind::Directory).unwrap();
            assert_eq!(place.to_str(), Some("etc/alternative"));
        });
    }

    #[test]
    fn a_ring_of_links_is_an_error() {
        with_root(|root, points| {
            symlink("b", root.join("a")).unwrap();
            symlink("a", root.join("b")).unwrap();
            assert!(matches!(points.place("/a", Kind::File), Err(Failure::Io { .. })));
        });
    }

    #[test]
    fn a_file_is_not_mounted_over_a_directory() {
        with_root(|root, points| {
            fs::create_dir_all(root.join("etc/hosts")).unwrap();
            assert!(matches!(points.place("/etc/hosts", Kind::File), Err(Failure::Target { .. })));
        });
    }
}
