//! What several trees of a stack say together, as one tree.
//!
//! ```text
//! top       a/x gone   b (opaque)       c/new              a program sees the same, whether it is shown
//! middle    a/x  a/y   b/old            c/old gone         the three over what lies below or the one
//! bottom    a/z                         c/
//! folded    a/y  a/z   b (opaque, if b is below)   c/new  c/old (gone, if c is below)
//! ```
//!
//! Marks for what is gone are left only in directories that are below, too: of a directory that only one tree of
//! a mount has, overlayfs lists all that is in it, marks too (fs/overlayfs/inode.c, `OVL_WHITEOUTS`).

use std::os::fd::AsFd;

use rustix::fs::AtFlags;

use super::apply::{ApplyError, Entries, Lower};
use super::overlay;
use super::root::{Directories, Root, split};
use super::scan::Found;
use super::stack::{Stack, join};
use crate::tar::{Kind, whiteout};

/// Makes what `stack` says over `lower` in an empty tree on the same file system: `entries` makes directories and
/// marks, files are linked. The stack's trees must not be written to as long as the new one is.
pub fn fold(
    stack: &Stack,
    lower: &dyn Lower,
    root: &Root,
    entries: &mut Entries<'_>,
) -> Result<(), ApplyError> {
    let opened = stack.layers().iter().map(|_| Directories::default()).collect();
    let mut folding = Folding { stack, lower, root, opened, made: Directories::default() };
    let mut waiting = vec![Vec::new()];
    while let Some(directory) = waiting.pop() {
        for name in stack.all_names(&directory)? {
            let path = join(&directory, &name);
            let Some((layer, found)) = stack.topmost(&path)? else { continue };
            if found.entry.kind == Kind::Directory {
                folding.directory(&found, entries)?;
                waiting.push(path);
            } else if overlay::is_whiteout(&found) {
                folding.hide(&found, entries)?;
            } else {
                folding.link(layer, &path)?;
            }
        }
    }
    Ok(())
}

struct Folding<'a> {
    stack: &'a Stack,
    lower: &'a dyn Lower,
    root: &'a Root,
    opened: Vec<Directories>,
    made: Directories,
}

impl Folding<'_> {
    fn directory(&self, found: &Found, entries: &mut Entries<'_>) -> Result<(), ApplyError> {
        let path = &found.entry.path;
        entries.apply(&found.entry, &mut std::io::empty())?;
        if self.stack.is_closed(path)?
            && !self.stack.is_closed(split(path).0)?
            && self.is_directory_below(path)?
        {
            entries.apply(&whiteout::opaque(path), &mut std::io::empty())?;
        }
        Ok(())
    }

    fn hide(&self, found: &Found, entries: &mut Entries<'_>) -> Result<(), ApplyError> {
        let path = &found.entry.path;
        let parent = split(path).0;
        if !self.stack.is_closed(parent)? && self.is_directory_below(parent)? {
            entries.apply(&whiteout::hiding(path), &mut std::io::empty())?;
        }
        Ok(())
    }

    /// Whether a directory is below: what is in it cannot be told by names alone, for nobody tells of sockets.
    fn is_directory_below(&self, path: &[u8]) -> Result<bool, ApplyError> {
        if path.is_empty() {
            return Ok(!self.lower.names(path)?.is_empty());
        }
        Ok(self.lower.find(path)?.is_some_and(|below| below.kind == Kind::Directory))
    }

    fn link(&mut self, layer: usize, path: &[u8]) -> Result<(), ApplyError> {
        let (parent, name) = split(path);
        let from = self.opened[layer].get(&self.stack.layers()[layer], parent);
        let to = self.made.get(self.root, parent);
        from.and_then(|from| {
            rustix::fs::linkat(from.fd.as_fd(), name, to?.fd.as_fd(), name, AtFlags::empty())
        })
        .map_err(|error| self.root.error("link", path, error).into())
    }
}
