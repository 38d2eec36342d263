//! How an archive is unpacked, which is not how a directory is copied.
//!
//! ```text
//!                        copied                      unpacked
//! directory on a link    an error                    replaces the link
//! file on a directory    an error                    replaces it with all that is in it
//! parent without entry   cannot be                   links are followed, what is there stays as it is
//! owner and mode         --chown, --chmod            --chown; the mode is the archive's
//! ```
//!
//! So BuildKit does it. The destination is the root of the archive: absolute links start there.

use std::collections::BTreeSet;

use oxbox_layers::tar::Kind;

use super::place::{From, PlaceError, Placer, key};
use crate::context::tree::{self, Last};

/// An archive that is being unpacked.
pub(super) struct Archive<'a> {
    /// Where it is.
    pub(super) from: From<'a>,
    /// Its directories that have an entry of their own.
    pub(super) directories: BTreeSet<Vec<u8>>,
}

impl Placer<'_> {
    /// Unpacks an archive into a directory, which is made if it is not there.
    pub(super) fn unpack(&mut self, archive: &Archive<'_>, destination: &[u8]) -> Result<(), PlaceError> {
        let mode = self.rules.mode.take();
        let root = self.directory(destination)?;
        self.unpack_directory(archive, &root, b"", b"")?;
        self.rules.mode = mode;
        Ok(())
    }

    /// Unpacks what is in `source` into `target`, as seen from `root`.
    fn unpack_directory(
        &mut self,
        archive: &Archive<'_>,
        root: &[u8],
        source: &[u8],
        target: &[u8],
    ) -> Result<(), PlaceError> {
        let tree = archive.from.tree;
        for name in tree.children(source)? {
            let (source, target) = (tree::join(source, &name), tree::join(target, &name));
            let Some(node) = tree.node(&source)? else { continue };
            let path = tree::join(root, &target);
            match node.entry.kind {
                Kind::Directory if archive.directories.contains(&source) => {
                    if self.kind(&path)? != Some(Kind::Directory) {
                        self.remove(&path)?;
                    }
                    self.put_directory(&node.entry, &path)?;
                    self.unpack_directory(archive, root, &source, &target)?;
                }
                Kind::Directory => {
                    let target = self.implied(root, &target)?;
                    self.unpack_directory(archive, root, &source, &target)?;
                }
                _ => {
                    self.remove(&path)?;
                    self.place_leaf(archive.from, &source, node, &path)?;
                }
            }
        }
        Ok(())
    }

    /// Makes a directory that only paths speak of, root's whatever `--chown` says, and returns where it
    /// is once links are followed.
    fn implied(&mut self, root: &[u8], path: &[u8]) -> Result<Vec<u8>, PlaceError> {
        let resolved = tree::resolve_by(|path| self.kind(&tree::join(root, path)), path, Last::Follow)?;
        let owner = self.rules.owner.take();
        let made = self.ensure(&tree::join(root, &resolved));
        self.rules.owner = owner;
        made.map(|()| resolved)
    }

    /// Forgets what stands at a path that is about to be replaced, and all beneath it.
    fn remove(&mut self, path: &[u8]) -> Result<(), PlaceError> {
        if self.entry(path)?.is_none() {
            return Ok(());
        }
        let (start, mut end) = (key(path), key(path));
        end.push(1);
        let gone: Vec<_> = self.placed.range(start.clone()..end).map(|(key, _)| key.clone()).collect();
        gone.iter().for_each(|key| drop(self.placed.remove(key)));
        self.replaced.insert(start);
        Ok(())
    }
}
