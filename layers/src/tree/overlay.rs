//! How overlayfs marks what an upper directory hides, and the changes an upper directory holds.
//!
//! ```text
//! character device 0:0                    this name is gone
//! empty file, *.overlay.whiteout          the same, where no such device can be made
//! trusted.overlay.opaque = y              nothing of the lower directories shows in here
//! user.overlay.opaque = y                 the same, for mounts with `userxattr`
//! ```
//!
//! Layers say the same with names, see `tar/whiteout.rs`. Of an opaque directory each hidden name
//! is spelled out instead of writing the marker, for not every tool heeds that.
//!
//! Linux, Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories"

use super::diff::{Changes, Content, DiffError};
use super::root::Root;
use super::scan::{Found, Walk};
use super::stack::{Stack, join};
use super::untold::{self, Untold};
use super::xattr::Xattrs;
use crate::tar::{Entry, Kind};

/// Whose extended attributes carry overlayfs's marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// `trusted.overlay.*`, for mounts made by root.
    Trusted,
    /// `user.overlay.*`, for mounts with `userxattr` inside a user namespace.
    User,
}

impl Namespace {
    /// Returns the name of the attribute that makes a directory opaque.
    pub(super) fn opaque(self) -> &'static [u8] {
        match self {
            Self::Trusted => b"trusted.overlay.opaque",
            Self::User => b"user.overlay.opaque",
        }
    }
}

/// Tells whether a file is overlayfs's mark for a name that is gone.
pub(super) fn is_whiteout(found: &Found) -> bool {
    is_whiteout_device(&found.entry.kind)
        || found.marks.whiteout && found.entry.kind == Kind::File { size: 0 }
}

/// Tells whether a file is the device that is such a mark.
pub(super) fn is_whiteout_device(kind: &Kind) -> bool {
    *kind == Kind::CharacterDevice { major: 0, minor: 0 }
}

/// What an upper directory holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// What it changes over the stack below it, as the entries of a layer.
    pub entries: Vec<Entry>,
    /// Directories that it holds besides, and that are as below.
    pub untold: Vec<Untold>,
}

/// Returns what an upper directory changes over the stack below it, and which directories it does not.
///
/// Files that were copied up and are as before are among neither.
///
/// # Errors
///
/// [`DiffError::Elsewhere`] if the mount had `redirect_dir` or `metacopy` on,
/// [`DiffError::Reserved`] for a file that a layer would take for a whiteout.
pub fn changes(upper: &Root, lower: &Stack, xattrs: Xattrs) -> Result<Changed, DiffError> {
    let same_content = |path: &[u8]| match lower.open(path)? {
        Some(mut file) => super::diff::same_content(&mut file, &mut upper.open_file(path)?)
            .map_err(|source| upper.read_error(path, source)),
        None => Ok(false),
    };
    let mut changes = Changes::new(&same_content, Content::Compared);
    // The innermost directory that hides the lower ones and has not been left yet.
    let mut opaque: Option<Vec<u8>> = None;
    let mut directories = Vec::new();
    for found in Walk::new(upper, xattrs)? {
        let found = found?;
        let path = found.entry.path.clone();
        if found.marks.elsewhere {
            return Err(DiffError::Elsewhere { path });
        }
        if opaque.as_ref().is_some_and(|top| !is_beneath(&path, top)) {
            opaque = None;
        }
        let below = lower.locate(&path)?.map(|(_, found)| found);
        if is_whiteout(&found) {
            if below.is_some() {
                changes.hide(&path)?;
            }
            continue;
        }
        let is_directory = found.entry.kind == Kind::Directory;
        if is_directory && (found.marks.opaque || opaque.is_some()) {
            if opaque.is_none() {
                opaque = Some(path.clone());
            }
            hide_others(upper, lower, &path, &mut changes)?;
        }
        let both = below.as_ref().filter(|below| is_directory && below.entry.kind == Kind::Directory);
        directories.extend(both.map(|below| Untold::new(path, below)));
        changes.compare(below.as_ref(), found)?;
    }
    let entries = changes.finish();
    let untold = untold::untold(directories, |one| &one.path, &entries);
    Ok(Changed { entries, untold })
}

/// Hides what the stack shows in an opaque directory and the upper directory lacks.
fn hide_others(
    upper: &Root,
    lower: &Stack,
    directory: &[u8],
    changes: &mut Changes<'_>,
) -> Result<(), DiffError> {
    for name in lower.names(directory)? {
        let path = join(directory, &name);
        if !upper.has(&path)? {
            changes.hide(&path)?;
        }
    }
    Ok(())
}

fn is_beneath(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.first() == Some(&b'/'))
}
