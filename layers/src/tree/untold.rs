//! What was touched in a tree and is as before: a layer's entries say nothing of it.
//!
//! ```text
//! upper    tmp/ (now)  etc/ etc/motd (the same)  etc/new        a program made tmp/x and removed it, wrote etc/motd
//! layer                etc/                      etc/new        as it was, and made etc/new
//! untold   tmp/             etc/motd
//! ```
//!
//! Who keeps the tree takes it back, so that it shows what anybody makes of the layer: times of directories, above
//! all, which get into the layers above.

use std::mem::MaybeUninit;

use rustix::fs::{AtFlags, FileType, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::error::TreeError;
use super::overlay::is_beneath;
use super::root::{Root, split};
use super::scan::{self, compare};
use super::stack::{Stack, join};
use crate::tar::Entry;
use crate::tar::whiteout::{self, Name};

/// Bytes of directory entries asked of the kernel at a time.
const DIRECTORY_BYTES: usize = 4 << 10;

/// Something that stands in an upper directory and is as it is below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    pub(super) path: Vec<u8>,
    pub(super) is_directory: bool,
}

/// Returns those that the entries of a layer say nothing of; both come in the order of [`scan::scan`].
pub(super) fn untold<T>(all: Vec<T>, path: impl Fn(&T) -> &[u8], entries: &[Entry]) -> Vec<T> {
    let mut told = entries.iter().map(place).peekable();
    let mut is_untold = |one: &T| {
        while told.next_if(|told| compare(told, path(one)).is_lt()).is_some() {}
        told.peek().is_none_or(|told| told != path(one))
    };
    all.into_iter().filter(|one| is_untold(one)).collect()
}

/// Returns what an entry speaks of: of a whiteout, what it hides.
fn place(entry: &Entry) -> Vec<u8> {
    match whiteout::read(entry.name()) {
        Ok(Name::Hides(hidden)) => join(entry.parent(), hidden),
        _ => entry.path.clone(),
    }
}

/// Returns those without any that has other attributes of users than what is below it, and without what they are in:
/// no layer tells of them, but a later program on the same tree sees what an earlier one set.
///
/// Both trees must see those attributes; `upper` is the upper directory alone.
pub fn without_attributes(
    upper: &Stack,
    below: &Stack,
    untold: Vec<Untold>,
) -> Result<Vec<Untold>, TreeError> {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut left = Vec::with_capacity(untold.len());
    // What is in a directory comes before it.
    for one in untold.into_iter().rev() {
        let has_kept = kept.iter().any(|path| is_beneath(path, &one.path));
        // Of a mark for a name that is gone there is nothing.
        let differs = || -> Result<bool, TreeError> {
            let Some(entry) = upper.find(&one.path)? else { return Ok(false) };
            Ok(below.find(&one.path)?.is_some_and(|below| below.xattrs != entry.xattrs))
        };
        match has_kept || differs()? {
            true => kept.push(one.path),
            false => left.push(one),
        }
    }
    left.reverse();
    Ok(left)
}

/// Removes them from an upper directory, so that what is below shows. Directories that stay keep their times.
pub fn remove(upper: &Root, untold: &[Untold]) -> Result<(), TreeError> {
    // What is in a directory goes before it.
    for siblings in untold.chunk_by(|one, next| split(&one.path).0 == split(&next.path).0).rev() {
        let parent = split(&siblings[0].path).0;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let fd = upper.resolve(parent, flags).map_err(|error| upper.error("open", parent, error))?;
        let stat = rustix::fs::fstat(&fd).map_err(|error| upper.error("stat", parent, error))?;
        for Untold { path, is_directory } in siblings.iter().rev() {
            let name = split(path).1;
            match is_directory {
                false => rustix::fs::unlinkat(&fd, name, AtFlags::empty()),
                true => match rustix::fs::unlinkat(&fd, name, AtFlags::REMOVEDIR) {
                    Err(Errno::NOTEMPTY | Errno::EXIST) => {
                        remove_sockets(upper, path)?;
                        rustix::fs::unlinkat(&fd, name, AtFlags::REMOVEDIR)
                    }
                    removed => removed,
                },
            }
            .map_err(|error| upper.error("remove", path, error))?;
        }
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.cast_signed() },
        };
        rustix::fs::futimens(&fd, &times).map_err(|error| upper.error("set the time of", parent, error))?;
    }
    Ok(())
}

/// Empties a directory of what no layer holds, and no scan shows.
fn remove_sockets(upper: &Root, directory: &[u8]) -> Result<(), TreeError> {
    let failed = |verb| move |error| upper.error(verb, directory, error);
    let fd = upper.resolve(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW);
    let fd = fd.map_err(failed("open"))?;
    let mut buffer = [MaybeUninit::uninit(); DIRECTORY_BYTES];
    for (name, kind) in scan::names(&fd, &mut buffer).map_err(failed("list"))? {
        if matches!(kind, FileType::Socket | FileType::Unknown) {
            rustix::fs::unlinkat(&fd, &name[..], AtFlags::empty()).map_err(failed("empty"))?;
        }
    }
    Ok(())
}
