//! Directories that were touched and are as before: a layer's entries say nothing of them.
//!
//! ```text
//! upper    tmp/ (now)  etc/ (now)  etc/new           a program made tmp/x and removed it, and made etc/new
//! layer                etc/        etc/new
//! untold   tmp/ (the time of below)
//! ```
//!
//! Who keeps the tree gives them back their time, so that it shows what anybody makes of the layer: it gets into the
//! layers above, which hold the directories above what changed.

use rustix::fs::{AtFlags, OFlags, Timespec, Timestamps, UTIME_OMIT};

use super::error::TreeError;
use super::root::{Root, split};
use super::scan::{Found, compare};
use super::stack::join;
use crate::tar::Entry;
use crate::tar::whiteout::{self, Name};

/// A directory of an upper tree that is as it is below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    pub(super) path: Vec<u8>,
    /// Seconds and nanoseconds of its time below.
    mtime: (i64, u64),
}

impl Untold {
    pub(super) fn new(path: Vec<u8>, below: &Found) -> Self {
        Self { path, mtime: (below.entry.mtime, below.nanoseconds) }
    }
}

/// Returns those that the entries of a layer say nothing of; both come in the order of [`super::scan::scan`].
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

/// Gives directories of an upper tree the times that they have below.
pub fn restore_times(upper: &Root, untold: &[Untold]) -> Result<(), TreeError> {
    untold.iter().try_for_each(|Untold { path, mtime: (seconds, nanoseconds) }| {
        let (parent, name) = split(path);
        let last_modification = Timespec { tv_sec: *seconds, tv_nsec: nanoseconds.cast_signed() };
        let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let times = Timestamps { last_access, last_modification };
        upper
            .resolve(parent, OFlags::PATH | OFlags::DIRECTORY)
            .and_then(|parent| rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW))
            .map_err(|error| upper.error("set the time of", path, error))
    })
}
