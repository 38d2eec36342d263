//! A directory tree as a sorted list of entries.
//!
//! ```text
//! etc           parents before children; siblings in byte order of their names, so that
//! etc/motd      a directory's children follow it before `etc.d` does
//! etc.d
//! ```
//!
//! The first of a file's names is the file, the later ones are hard links to it. Sockets are left
//! out: they mean nothing without the process behind them.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, OFlags, RawDir, Stat};
use rustix::io::Errno;

use super::error::TreeError;
use super::root::{FileId, Root};
use super::xattr::{self, Marks, Xattrs};
use crate::tar::{Entry, Kind};

/// Bytes of directory entries asked of the kernel at a time.
const DIRECTORY_BYTES: usize = 32 << 10;

/// Reads a whole tree, without its root, in sorted order.
pub fn scan(root: &Root, xattrs: Xattrs) -> Result<Vec<Entry>, TreeError> {
    let mut first_names: HashMap<FileId, Vec<u8>> = HashMap::new();
    let mut entries = Vec::new();
    for found in Walk::new(root, xattrs)? {
        let Found { mut entry, id, links, .. } = found?;
        if links > 1 && entry.kind != Kind::Directory {
            match first_names.get(&id) {
                Some(first) => entry.kind = Kind::Hardlink { target: first.clone() },
                None => drop(first_names.insert(id, entry.path.clone())),
            }
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Compares paths in the order of [`scan`]: component by component.
pub fn compare(left: &[u8], right: &[u8]) -> Ordering {
    let common = left.iter().zip(right).position(|(left, right)| left != right);
    let Some(at) = common else {
        return left.len().cmp(&right.len());
    };
    // The slash ends a component, so it sorts before every byte a name can go on with.
    match (left[at], right[at]) {
        (b'/', _) => Ordering::Less,
        (_, b'/') => Ordering::Greater,
        (left, right) => left.cmp(&right),
    }
}

/// An entry of a tree, and what tells whether two trees hold the same file.
#[derive(Debug)]
pub(super) struct Found {
    /// What is there; every name of a file is a file here.
    pub(super) entry: Entry,
    pub(super) id: FileId,
    /// Names the file has, in this tree or elsewhere.
    pub(super) links: u64,
    pub(super) nanoseconds: u64,
    /// Seconds and nanoseconds of the last change of anything.
    pub(super) changed: (i64, u64),
    pub(super) marks: Marks,
}

/// Walks a tree in sorted order. Holds no directory open between two entries.
pub(super) struct Walk<'root> {
    root: &'root Root,
    xattrs: Xattrs,
    /// For each directory from the top down, the children still to come.
    levels: Vec<std::vec::IntoIter<Found>>,
    buffer: Box<[MaybeUninit<u8>]>,
}

impl<'root> Walk<'root> {
    pub(super) fn new(root: &'root Root, xattrs: Xattrs) -> Result<Self, TreeError> {
        let buffer = vec![MaybeUninit::uninit(); DIRECTORY_BYTES].into_boxed_slice();
        let mut walk = Self { root, xattrs, levels: Vec::new(), buffer };
        walk.descend(b"")?;
        Ok(walk)
    }

    fn descend(&mut self, path: &[u8]) -> Result<(), TreeError> {
        let fd = self.root.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW);
        let fd = fd.map_err(|error| self.root.error("open", path, error))?;
        let mut names = names(&fd, &mut self.buffer).map_err(|error| self.root.error("list", path, error))?;
        names.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        let mut children = Vec::with_capacity(names.len());
        for (name, _) in names {
            let child = if path.is_empty() { name.clone() } else { [path, b"/", &name].concat() };
            match find(fd.as_fd(), &name, child, self.xattrs) {
                Ok(Some(found)) => children.push(found),
                Ok(None) => {}
                Err((verb, path, error)) => return Err(self.root.error(verb, &path, error)),
            }
        }
        self.levels.push(children.into_iter());
        Ok(())
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Found, TreeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = loop {
            match self.levels.last_mut()?.next() {
                Some(found) => break found,
                None => drop(self.levels.pop()),
            }
        };
        if found.entry.kind == Kind::Directory
            && let Err(error) = self.descend(&found.entry.path)
        {
            return Some(Err(error));
        }
        Some(Ok(found))
    }
}

/// Lists a directory's names and, where the file system tells, their types.
pub(super) fn names(
    fd: &OwnedFd,
    buffer: &mut [MaybeUninit<u8>],
) -> rustix::io::Result<Vec<(Vec<u8>, FileType)>> {
    let mut names = Vec::new();
    let mut directory = RawDir::new(fd, buffer);
    while let Some(entry) = directory.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((name.to_vec(), entry.file_type()));
        }
    }
    Ok(names)
}

/// Reads what a directory holds under one name; `None` for sockets and for what is gone by now.
pub(super) fn find(
    directory: BorrowedFd<'_>,
    name: &[u8],
    path: Vec<u8>,
    xattrs: Xattrs,
) -> Result<Option<Found>, (&'static str, Vec<u8>, Errno)> {
    let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(("stat", path, error)),
    };
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => match rustix::fs::readlinkat(directory, name, Vec::new()) {
            Ok(target) => Some(Kind::Symlink { target: target.into_bytes() }),
            Err(error) => return Err(("read link", path, error)),
        },
        _ => kind(&stat),
    };
    let Some(kind) = kind else {
        return Ok(None);
    };
    let (kept, marks) = match xattr::read(directory, name, xattrs) {
        Ok(read) => read,
        Err(error) => return Err(("read extended attributes of", path, error)),
    };
    let stands_in = kind == Kind::File { size: 0 };
    let kind = marks.device.as_deref().filter(|_| stands_in).cloned().unwrap_or(kind);
    let own = (u64::from(stat.st_uid), u64::from(stat.st_gid));
    let (uid, gid) = marks.owner.filter(|_| own == (0, 0)).unwrap_or(own);
    let entry =
        Entry { path, kind, mode: stat.st_mode & 0o7777, uid, gid, mtime: stat.st_mtime, xattrs: kept };
    let id = (stat.st_dev, stat.st_ino);
    Ok(Some(Found {
        entry,
        id,
        links: stat.st_nlink,
        nanoseconds: stat.st_mtime_nsec,
        changed: (stat.st_ctime, stat.st_ctime_nsec),
        marks,
    }))
}

/// Returns what a file is, unless it is a socket or a link, whose target the stat does not hold.
fn kind(stat: &Stat) -> Option<Kind> {
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Some(Kind::File { size: stat.st_size.unsigned_abs() }),
        FileType::Directory => Some(Kind::Directory),
        FileType::Fifo => Some(Kind::Fifo),
        FileType::CharacterDevice => Some(Kind::CharacterDevice { major, minor }),
        FileType::BlockDevice => Some(Kind::BlockDevice { major, minor }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::{Entry, Kind, Root, Xattrs, compare, scan};

    fn scanned(path: &std::path::Path) -> Vec<Entry> {
        scan(&Root::open(path).unwrap(), Xattrs::CapabilityAndUser).unwrap()
    }

    #[test]
    fn children_follow_their_directory_before_its_longer_siblings() {
        let directory = tempfile::tempdir().unwrap();
        for path in ["a", "a/z", "a.d", "a/z/y", "b", "a-b"] {
            std::fs::create_dir(directory.path().join(path)).unwrap();
        }
        let entries = scanned(directory.path());
        let paths: Vec<_> = entries.iter().map(|entry| entry.path.escape_ascii().to_string()).collect();
        assert_eq!(paths, ["a", "a/z", "a/z/y", "a-b", "a.d", "b"]);
        assert!(entries.is_sorted_by(|left, right| compare(&left.path, &right.path) == Ordering::Less));
    }

    #[test]
    fn later_names_of_a_file_are_links_to_its_first() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("a")).unwrap();
        std::fs::write(directory.path().join("b"), b"x").unwrap();
        std::fs::hard_link(directory.path().join("b"), directory.path().join("a/c")).unwrap();
        std::fs::hard_link(directory.path().join("b"), directory.path().join("z")).unwrap();
        let kinds: Vec<_> = scanned(directory.path()).into_iter().map(|entry| entry.kind).collect();
        let link = Kind::Hardlink { target: b"a/c".to_vec() };
        assert_eq!(kinds, [Kind::Directory, Kind::File { size: 1 }, link.clone(), link]);
    }

    #[test]
    fn links_are_not_followed_and_sockets_are_left_out() {
        let directory = tempfile::tempdir().unwrap();
        symlink("/usr", directory.path().join("usr")).unwrap();
        let _socket = UnixListener::bind(directory.path().join("socket")).unwrap();
        let entries = scanned(directory.path());
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].kind, Kind::Symlink { target: b"/usr".to_vec() });
    }

    #[test]
    fn kept_attributes_come_with_the_entry() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        std::fs::write(&path, b"x").unwrap();
        for (name, value) in [("user.a", &b"1"[..]), ("user.overlay.opaque", b"y"), ("user.big", &[7; 1000])]
        {
            rustix::fs::setxattr(&path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
        }
        let xattrs = &scanned(directory.path())[0].xattrs;
        assert_eq!(xattrs.keys().collect::<Vec<_>>(), [&b"user.a"[..], b"user.big"]);
        assert_eq!(xattrs[&b"user.big"[..]], [7; 1000]);
    }
}
