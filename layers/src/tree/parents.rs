//! The directories that a layer writes into without mentioning them.
//!
//! ```text
//! lib -> usr/lib  and then  lib/x     x is made in usr/lib, which is made if it is not there
//! opt/tool/bin/x                      opt, opt/tool and opt/tool/bin are made, the process's own and 0755
//! ```
//!
//! In a tree that holds one layer of several, such a directory, or the link in its place, is most
//! likely in a layer below: then its attributes are those it has there, lest the new one hide them.

use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::apply::{ApplyError, Layer, Whiteouts};
use super::root::{Directory, split};
use super::stack::join;
use crate::tar::{Entry, Kind, whiteout};

/// Links on one path: what the kernel follows (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

impl Layer<'_> {
    /// Opens a directory, and makes it and those above it if the layer did not mention them.
    pub(super) fn make_directory(&mut self, path: &[u8]) -> Result<Arc<Directory>, ApplyError> {
        match self.directories.get(self.root, path) {
            Ok(directory) => return Ok(directory),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => return Err(self.error("open", path, error)),
        }
        let path = self.follow(path)?;
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in slashes.chain([path.len()]) {
            self.make_missing(&path[..end])?;
        }
        self.directories.get(self.root, &path).map_err(|error| self.error("open", &path, error))
    }

    /// Returns where a path to a directory leads, though what it leads to may not be there yet.
    fn follow(&self, path: &[u8]) -> Result<Vec<u8>, ApplyError> {
        let mut rest: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        let mut real = Vec::new();
        let mut links = 0;
        while let Some(component) = rest.pop() {
            if component == b".." {
                real = split(&real).0.to_vec();
                continue;
            }
            let next = join(&real, &component);
            let Some(target) = self.link_target(&next)? else {
                real = next;
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(self.error("resolve", path, Errno::LOOP));
            }
            if target.starts_with(b"/") {
                real.clear();
            }
            rest.extend(components(&target).rev().map(<[u8]>::to_vec));
        }
        Ok(real)
    }

    /// Reads the link that stands at a path, here or, if nothing does, in the trees below.
    fn link_target(&self, path: &[u8]) -> Result<Option<Vec<u8>>, ApplyError> {
        match self.root.resolve(path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(fd) => match rustix::fs::readlinkat(&fd, "", Vec::new()) {
                Ok(target) => Ok(Some(target.into_bytes())),
                // No link.
                Err(Errno::INVAL | Errno::NOENT) => Ok(None),
                Err(error) => Err(self.error("read link", path, error)),
            },
            Err(Errno::NOENT) => {
                let Whiteouts::Overlay { lower: Some(lower), .. } = self.options.whiteouts else {
                    return Ok(None);
                };
                match lower.find(path)? {
                    Some(Entry { kind: Kind::Symlink { target }, .. }) => Ok(Some(target)),
                    _ => Ok(None),
                }
            }
            Err(Errno::NOTDIR) => Ok(None),
            Err(error) => Err(self.error("open", path, error)),
        }
    }

    fn make_missing(&mut self, path: &[u8]) -> Result<(), ApplyError> {
        let (parent, name) = split(path);
        match self.directories.get(self.root, path) {
            Ok(_) => return Ok(()),
            Err(Errno::NOENT) => {}
            // This layer's own whiteout, if it writes into what it hid.
            Err(Errno::NOTDIR) if self.is_whiteout(parent, name)? => {}
            Err(error) => return Err(self.error("open", path, error)),
        }
        if whiteout::is_reserved(name) {
            return Err(ApplyError::Reserved { path: path.to_vec() });
        }
        let below = match self.options.whiteouts {
            Whiteouts::Overlay { lower: Some(lower), .. } => lower.find(path)?,
            _ => None,
        };
        let directory = match below {
            Some(entry) if entry.kind == Kind::Directory => entry,
            _ => self.process.own(Entry::new(path, Kind::Directory, 0o755)),
        };
        let above = parent;
        let parent =
            self.directories.get(self.root, parent).map_err(|error| self.error("open", path, error))?;
        self.keep_time(&parent, above);
        self.place_directory(&parent, name, &directory)?;
        self.note_written(&parent, name);
        Ok(())
    }
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|component| !component.is_empty() && *component != b".")
}
