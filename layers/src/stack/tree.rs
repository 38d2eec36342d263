//! The merged tree: every path that is left of a stack of layers, in the order of a walk.
//!
//! Keys are paths with NUL for the slash: in the order of bytes a directory is then followed by all
//! that is beneath it, and only that (`a`, `a/b`, `a-b`). No path of a tar holds a NUL.
//!
//! It always holds: a node's parent is in the tree and is a directory. A path that is there has
//! therefore no symbolic link on the way to it.

use std::collections::BTreeMap;
use std::ops::Bound;

/// A path in the form of the tree's keys.
pub(super) type Key = Vec<u8>;

/// What the tree must know of a node without reading its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Directory,
    Symlink,
    Other,
}

/// Where a node's record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Ordinal of the layer.
    pub(super) layer: u32,
    /// Position of the record in the layer's index; `None` for a directory that no layer speaks of.
    pub(super) record: Option<u32>,
}

/// A path of the merged tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    /// The layer that put it there: the place may be a lower one's, through a hard link.
    pub(super) layer: u32,
    pub(super) shape: Shape,
    pub(super) place: Place,
}

/// The nodes by key. The root is always there.
#[derive(Clone)]
pub(super) struct Tree {
    nodes: BTreeMap<Key, Node>,
}

/// Turns a relative, normal path into a key.
pub(super) fn key(path: &[u8]) -> Key {
    path.iter().map(|&byte| if byte == b'/' { 0 } else { byte }).collect()
}

/// Turns a key into the path it stands for.
pub(super) fn path(key: &[u8]) -> Vec<u8> {
    key.iter().map(|&byte| if byte == 0 { b'/' } else { byte }).collect()
}

/// Returns the key of a child.
pub(super) fn join(parent: &[u8], name: &[u8]) -> Key {
    if parent.is_empty() { name.to_vec() } else { [parent, b"\0", name].concat() }
}

/// Returns the key of the directory that holds `key`; the root holds itself.
pub(super) fn parent(key: &[u8]) -> &[u8] {
    key.iter().rposition(|&byte| byte == 0).map_or(&b""[..], |slash| &key[..slash])
}

fn implied(layer: u32) -> Node {
    Node { layer, shape: Shape::Directory, place: Place { layer, record: None } }
}

impl Tree {
    pub(super) fn new() -> Self {
        Self { nodes: BTreeMap::from([(Vec::new(), implied(0))]) }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Node> {
        self.nodes.get(key)
    }

    pub(super) fn is_directory(&self, key: &[u8]) -> bool {
        self.get(key).is_some_and(|node| node.shape == Shape::Directory)
    }

    /// Puts a node where its parent directory is. A directory keeps what was beneath a directory;
    /// anything else takes the place of all that stood there.
    pub(super) fn put(&mut self, key: Key, node: Node) {
        let before = self.nodes.insert(key.clone(), node);
        // Only beneath a directory there is anything to remove.
        if before.is_some_and(|before| before.shape == Shape::Directory) && node.shape != Shape::Directory {
            self.remove_beneath(&key);
        }
    }

    /// Makes the directories on the way to `key` and `key` itself, as far as there is nothing yet.
    ///
    /// Returns the key of what is there and is no directory, if that is in the way.
    pub(super) fn make_directories(&mut self, directory: &[u8], layer: u32) -> Result<(), Key> {
        if self.is_directory(directory) {
            return Ok(());
        }
        let ends = (0..=directory.len()).filter(|&end| end == directory.len() || directory[end] == 0);
        for end in ends {
            let key = &directory[..end];
            match self.get(key) {
                None => drop(self.nodes.insert(key.to_vec(), implied(layer))),
                Some(node) if node.shape == Shape::Directory => {}
                Some(_) => return Err(key.to_vec()),
            }
        }
        Ok(())
    }

    /// Takes away what the layers below `layer` had at `key` and beneath it. Directories above what is
    /// left stay as they were: as in an unpacked tree, where they could not be removed.
    pub(super) fn hide(&mut self, key: &[u8], layer: u32) {
        self.hide_beneath(key, layer);
        if !key.is_empty() && self.get(key).is_some_and(|node| node.layer < layer) {
            self.remove_if_empty(key);
        }
    }

    /// Takes away what the layers below `layer` had beneath the directory `key`.
    pub(super) fn hide_beneath(&mut self, key: &[u8], layer: u32) {
        let hidden: Vec<Key> =
            self.beneath(key).filter(|(_, node)| node.layer < layer).map(|(key, _)| key.to_vec()).collect();
        // Deepest first, so that a directory is looked at when it is known what is left in it.
        for key in hidden.iter().rev() {
            self.remove_if_empty(key);
        }
    }

    fn remove_if_empty(&mut self, key: &[u8]) {
        if self.nodes.range(bounds(key)).next().is_none() {
            self.nodes.remove(key);
        }
    }

    fn remove_beneath(&mut self, key: &[u8]) {
        let gone: Vec<Key> = self.beneath(key).map(|(key, _)| key.to_vec()).collect();
        for key in gone {
            self.nodes.remove(&key);
        }
    }

    /// Returns what is beneath `key`, parents before children, siblings by the bytes of their names.
    pub(super) fn beneath<'a>(&'a self, key: &[u8]) -> impl Iterator<Item = (&'a [u8], &'a Node)> + use<'a> {
        self.nodes.range(bounds(key)).map(|(key, node)| (&key[..], node))
    }

    /// Returns what stands in the directory `key`, by the bytes of the names.
    pub(super) fn children<'a>(&'a self, key: &[u8]) -> impl Iterator<Item = (&'a [u8], &'a Node)> + use<'a> {
        let (mut from, to) = bounds(key);
        std::iter::from_fn(move || {
            let (child, node) = self.nodes.range((from.clone(), to.clone())).next()?;
            // The first key that is no longer beneath the child.
            from = Bound::Included([child, &b"\x01"[..]].concat());
            Some((&child[..], node))
        })
    }
}

type Bounds = (Bound<Key>, Bound<Key>);

fn bounds(key: &[u8]) -> Bounds {
    if key.is_empty() {
        return (Bound::Excluded(Vec::new()), Bound::Unbounded);
    }
    (Bound::Included([key, b"\0"].concat()), Bound::Excluded([key, b"\x01"].concat()))
}
