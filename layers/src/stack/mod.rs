//! The merged tree of a stack of layers, from their tars alone: nothing is unpacked or mounted.
//!
//! ```text
//! layer ─▶ LayerIndex (packed, kept by diff_id) ─┐
//! layer ─▶ LayerIndex ───────────────────────────┼─▶ Stack: path ─▶ entry, layer, place of the content
//! layer ─▶ LayerIndex ───────────────────────────┘        └─▶ Contents: the bytes, seldom unpacked twice
//! ```
//!
//! A stack answers what a COPY asks of its base: where a destination's links lead, whether a directory
//! is there, who `--chown` means, and what `--from` has to copy. `index.rs` reads one layer, `merge.rs`
//! puts it onto the others, `contents.rs` gets at the files, `flat.rs` makes one layer of several, `delta.rs`
//! compares two of them.

mod contents;
pub mod delta;
mod flat;
mod index;
mod merge;
mod pack;
mod resolve;
#[cfg(test)]
mod tests;
mod tree;

use std::sync::Arc;

use crate::tar::{Entry, Kind, whiteout};
use tree::{Node, Tree};

pub use contents::{Content, ContentError, Contents, read_file};
pub use delta::Delta;
pub use flat::{Flat, FlatError};
pub use index::{Body, IndexBuilder, IndexError, IndexTooLarge, Indexed, Iter, LayerIndex};

/// Layers merged into one tree.
#[derive(Clone)]
pub struct Stack {
    layers: Vec<Arc<LayerIndex>>,
    tree: Tree,
}

/// A path of the merged tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What is there, under its path in the merged tree. It is never a hard link: two names of one
    /// file are two files of equal `content`.
    pub entry: Entry,
    /// Where a file's bytes are; `None` for everything else.
    pub content: Option<Content>,
}

/// Whether a symbolic link in the last place of a path is followed; those before it always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// It is.
    Last,
    /// It is what the path means.
    Parents,
}

/// Why layers do not make a tree, or a path leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// Something that is no directory stands on the way.
    #[error("{} is not a directory", .path.escape_ascii())]
    NotADirectory {
        /// What stands there.
        path: Vec<u8>,
    },
    /// A path leads through more links than the kernel would follow; most likely in a circle.
    #[error("{} leads through more than {limit} symbolic links", .path.escape_ascii())]
    TooManyLinks {
        /// The path that was to be resolved.
        path: Vec<u8>,
        /// As many are followed.
        limit: usize,
    },
    /// A hard link to what is not there, or to a directory.
    #[error("{} is a hard link to {}, which is no file", .path.escape_ascii(), .target.escape_ascii())]
    LinkTarget {
        /// The link.
        path: Vec<u8>,
        /// What it names.
        target: Vec<u8>,
    },
    /// A name that a layer must not hold.
    #[error("layer holds {}", .path.escape_ascii())]
    Whiteout {
        /// The entry.
        path: Vec<u8>,
        /// What is wrong with it.
        #[source]
        source: whiteout::WhiteoutError,
    },
}

impl Stack {
    /// Merges layers, bottom first. No layers make an empty root.
    ///
    /// # Errors
    ///
    /// [`StackError`] for layers that could not be unpacked either.
    pub fn of(layers: Vec<Arc<LayerIndex>>) -> Result<Self, StackError> {
        layers.into_iter().try_fold(Self::empty(), Self::with)
    }

    /// Returns the root that nothing is in.
    pub fn empty() -> Self {
        Self { layers: Vec::new(), tree: Tree::new() }
    }

    /// Puts a layer on top. What it costs depends on that layer's entries alone.
    ///
    /// # Errors
    ///
    /// [`StackError`] for a layer that could not be unpacked either.
    pub fn with(mut self, layer: Arc<LayerIndex>) -> Result<Self, StackError> {
        self.layers.push(layer);
        merge::apply(&mut self.tree, &self.layers)?;
        Ok(self)
    }

    /// Returns what stands at a path, which is relative and normal. No link is followed: beneath a
    /// symbolic link there is nothing. The empty path is the root.
    pub fn get(&self, path: &[u8]) -> Option<Found> {
        let key = tree::key(path);
        self.tree.get(&key).map(|node| self.found(&key, node))
    }

    /// Returns what stands in a directory, by the bytes of the names; nothing if it is no directory.
    pub fn children<'a>(&'a self, path: &[u8]) -> impl Iterator<Item = Found> + use<'a> {
        let key = tree::key(path);
        self.tree.children(&key).map(|(key, node)| self.found(key, node))
    }

    /// Returns a path and all that is beneath it, parents before children, siblings by the bytes of
    /// their names; nothing if it is not there.
    pub fn walk<'a>(&'a self, path: &[u8]) -> impl Iterator<Item = Found> + use<'a> {
        let key = tree::key(path);
        let top = self.tree.get(&key).map(|node| self.found(&key, node));
        top.into_iter().chain(self.tree.beneath(&key).map(|(key, node)| self.found(key, node)))
    }

    /// Returns the path without links that `path` leads to, within the root: `..` and absolute links
    /// do not leave it. What is missing is taken as it is written, so that the result may be a path
    /// that is still to be made.
    ///
    /// # Errors
    ///
    /// [`StackError::NotADirectory`] and [`StackError::TooManyLinks`].
    pub fn resolve(&self, path: &[u8], follow: Follow) -> Result<Vec<u8>, StackError> {
        resolve::resolve(&self.tree, &self.layers, path, follow).map(|key| tree::path(&key))
    }

    /// Returns how many layers there are.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    fn found(&self, key: &[u8], node: &Node) -> Found {
        let path = tree::path(key);
        let Some(record) = node.place.record else {
            // As containerd makes the directories that no layer speaks of.
            return Found { entry: Entry::new(path, Kind::Directory, 0o755), content: None };
        };
        let layer = node.place.layer;
        let Indexed { mut entry, ordinal, body } = self.layers[layer as usize].indexed(&path, record);
        if key.is_empty() {
            entry.kind = Kind::Directory;
        }
        let content = match entry.kind {
            Kind::File { size } => Some(Content { layer, ordinal, body, size }),
            _ => None,
        };
        Found { entry, content }
    }
}
