//! A tree and its listing side by side, in one order.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::vec::IntoIter;

use rustix::fs::{AtFlags, FileType, OFlags, Stat};
use rustix::io::Errno;

use super::super::error::TreeError;
use super::super::overlay;
use super::super::root::{FileId, Root};
use super::super::scan::{self, Found};
use super::super::stack::join;
use super::{Listing, Record, XATTRS};
use crate::tar::Kind;

/// Bytes of directory entries asked of the kernel at a time.
const DIRECTORY_BYTES: usize = 32 << 10;

/// What is where.
#[expect(clippy::large_enum_variant, reason = "one lives at a time, on the stack of the walk")]
pub(super) enum Visit<'a> {
    /// Listed, and not in the tree any more.
    Gone(&'a Record),
    /// As listed; nothing but that was looked at.
    Same(&'a Arc<Record>),
    /// In the tree, and listed otherwise or not at all.
    Other(Option<&'a Record>, Found),
}

/// A child of a directory that was listed.
struct Child {
    path: Vec<u8>,
    /// Its record, or where that would be.
    place: Result<usize, usize>,
    /// Unless it is as its record says.
    found: Option<Found>,
    is_directory: bool,
}

/// Visits all that is listed or in the tree, parents before children. Holds no directory open between two.
///
/// Who is not `trusted` is looked at, whatever its state says.
pub(super) fn walk<E: From<TreeError>>(
    root: &Root,
    before: &Listing,
    trusted: &dyn Fn(&Record, FileId) -> bool,
    visit: &mut dyn FnMut(Visit<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut walker = Walker { root, before, trusted, buffer: vec![MaybeUninit::uninit(); DIRECTORY_BYTES] };
    let mut levels = vec![walker.children(b"")?];
    let mut next = 0;
    while let Some(level) = levels.last_mut() {
        let Some(child) = level.next() else {
            levels.pop();
            continue;
        };
        let place = child.place.unwrap_or_else(|place| place);
        for gone in &before.records[next..place] {
            visit(Visit::Gone(gone))?;
        }
        next = place + usize::from(child.place.is_ok());
        let record = child.place.ok().map(|place| &before.records[place]);
        match (child.found, record) {
            (None, Some(record)) => visit(Visit::Same(record))?,
            (Some(found), record) => visit(Visit::Other(record.map(|record| &**record), found))?,
            (None, None) => unreachable!("because only a record is a reason not to look"),
        }
        if child.is_directory {
            levels.push(walker.children(&child.path)?);
        }
    }
    before.records[next..].iter().try_for_each(|gone| visit(Visit::Gone(gone)))
}

struct Walker<'a> {
    root: &'a Root,
    before: &'a Listing,
    trusted: &'a dyn Fn(&Record, FileId) -> bool,
    buffer: Vec<MaybeUninit<u8>>,
}

impl Walker<'_> {
    fn children(&mut self, path: &[u8]) -> Result<IntoIter<Child>, TreeError> {
        let fd = self
            .root
            .resolve(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)
            .map_err(|error| self.root.error("open", path, error))?;
        let mut names =
            scan::names(&fd, &mut self.buffer).map_err(|error| self.root.error("list", path, error))?;
        names.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        let mut children = Vec::with_capacity(names.len());
        for (name, _) in names {
            let path = join(path, &name);
            let stat = match rustix::fs::statat(&fd, &name[..], AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(self.root.error("stat", &path, error)),
            };
            let place = self.before.place(&path);
            let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if place.is_ok_and(|place| self.is_same(&self.before.records[place], &stat)) {
                children.push(Child { path, place, found: None, is_directory });
                continue;
            }
            let found = scan::find(fd.as_fd(), &name, path.clone(), XATTRS)
                .map_err(|(verb, path, error)| self.root.error(verb, &path, error))?;
            // No layer can hold a device 0:0: it would mean that the name is gone, and so it is taken.
            if let Some(found) = found.filter(|found| !overlay::is_whiteout_device(&found.entry.kind)) {
                let is_directory = found.entry.kind == Kind::Directory;
                children.push(Child { path, place, found: Some(found), is_directory });
            }
        }
        Ok(children.into_iter())
    }

    fn is_same(&self, record: &Record, stat: &Stat) -> bool {
        let entry = &record.entry;
        let is_kind = match (FileType::from_raw_mode(stat.st_mode), &entry.kind) {
            (FileType::RegularFile, Kind::File { size }) => *size == stat.st_size.unsigned_abs(),
            (FileType::Directory, Kind::Directory)
            | (FileType::Symlink, Kind::Symlink { .. })
            | (FileType::Fifo, Kind::Fifo)
            | (FileType::CharacterDevice, Kind::CharacterDevice { .. })
            | (FileType::BlockDevice, Kind::BlockDevice { .. }) => true,
            _ => false,
        };
        let id = (stat.st_dev, stat.st_ino);
        is_kind
            && id == (self.before.device, record.inode)
            && entry.mode == stat.st_mode & 0o7777
            && (entry.uid, entry.gid) == (stat.st_uid.into(), stat.st_gid.into())
            && (entry.mtime, record.nanoseconds) == (stat.st_mtime, stat.st_mtime_nsec)
            && record.changed == (stat.st_ctime, stat.st_ctime_nsec)
            && (self.trusted)(record, id)
    }
}
