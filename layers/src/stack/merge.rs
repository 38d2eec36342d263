//! One layer onto the layers below it: whiteouts, replaced types, parents that are links.
//!
//! A whiteout hides what the lower layers had, whether it stands before or after an entry of its own
//! layer with the same name. Parents are followed through symbolic links, beneath the root, since an
//! unpacked tree would do so: with `lib -> usr/lib` below, `lib/x` is `usr/lib/x`.
//!
//! image-spec v1.1.1, layer.md#whiteouts and #applying-changesets

use super::index::LayerIndex;
use super::tree::{Key, Node, Place, Shape, Tree, join, key, path};
use super::{Follow, StackError, resolve};
use crate::tar::{Entry, Kind, whiteout};

/// Applies the last of `layers` to the tree of those below it.
pub(super) fn apply(tree: &mut Tree, layers: &[std::sync::Arc<LayerIndex>]) -> Result<(), StackError> {
    let Some((index, _)) = layers.split_last() else { return Ok(()) };
    let layer = u32::try_from(layers.len() - 1).expect("because an image has far fewer layers than 2^32");
    for (path, record) in index.records() {
        let entry = index.indexed(&path, record).entry;
        let place = Place { layer, record: Some(record) };
        Step { tree, layers, layer }.take(&entry, place)?;
    }
    Ok(())
}

struct Step<'a> {
    tree: &'a mut Tree,
    layers: &'a [std::sync::Arc<LayerIndex>],
    layer: u32,
}

impl Step<'_> {
    fn take(self, entry: &Entry, place: Place) -> Result<(), StackError> {
        let name = whiteout::read(entry.name())
            .map_err(|source| StackError::Whiteout { path: entry.path.clone(), source })?;
        match name {
            whiteout::Name::Plain(_) => self.put(entry, place),
            whiteout::Name::Hides(hidden) => self.hide(entry, |tree, directory, layer| {
                tree.hide(&join(directory, hidden), layer);
            }),
            whiteout::Name::Opaque => self.hide(entry, Tree::hide_beneath),
        }
    }

    /// Hides something of the directory that a whiteout stands in.
    fn hide(self, whiteout: &Entry, hide: impl Fn(&mut Tree, &[u8], u32)) -> Result<(), StackError> {
        match self.directory(whiteout.parent()) {
            Ok(directory) => hide(self.tree, &directory, self.layer),
            // Where there is no directory there is nothing to hide.
            Err(StackError::NotADirectory { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn put(self, entry: &Entry, place: Place) -> Result<(), StackError> {
        let layer = self.layer;
        if entry.path.is_empty() {
            // The root is a directory whatever a layer says.
            self.tree.put(Vec::new(), Node { layer, shape: Shape::Directory, place });
            return Ok(());
        }
        let directory = self.directory(entry.parent())?;
        self.tree
            .make_directories(&directory, layer)
            .map_err(|key| StackError::NotADirectory { path: path(&key) })?;
        let key = join(&directory, entry.name());
        let node = match &entry.kind {
            Kind::Directory => Node { layer, shape: Shape::Directory, place },
            Kind::Symlink { .. } => Node { layer, shape: Shape::Symlink, place },
            Kind::Hardlink { target } => self.linked(&key, target)?,
            _ => Node { layer, shape: Shape::Other, place },
        };
        self.tree.put(key, node);
        Ok(())
    }

    /// Another name of what `target` is, its content and its owner included.
    fn linked(&self, link: &[u8], target: &[u8]) -> Result<Node, StackError> {
        let missing = || StackError::LinkTarget { path: path(link), target: target.to_vec() };
        let (parent, name) = match target.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&target[..slash], &target[slash + 1..]),
            None => (&b""[..], target),
        };
        let target = join(&self.directory(parent)?, name);
        // The link takes the place of what stands there: a target in that place would be gone.
        if target.starts_with(link) && matches!(target.get(link.len()), None | Some(0)) {
            return Err(missing());
        }
        match self.tree.get(&target) {
            Some(node) if node.shape != Shape::Directory => Ok(Node { layer: self.layer, ..*node }),
            _ => Err(missing()),
        }
    }

    /// Returns the key of a directory that an entry names as its parent; it may not be there yet.
    fn directory(&self, parent: &[u8]) -> Result<Key, StackError> {
        let literal = key(parent);
        // Nearly always: what is in the tree has no link on the way to it.
        if self.tree.is_directory(&literal) {
            return Ok(literal);
        }
        resolve::resolve(self.tree, self.layers, parent, Follow::Last)
    }
}
