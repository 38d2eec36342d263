//! Where copied things land: the entries of the layer that a COPY makes.
//!
//! ```text
//! file → dest/ or existing directory     dest/name
//! file → dest                            dest
//! directory → dest                       its contents in dest, which becomes a directory
//! ```
//!
//! The destination is looked up in the tree below, whose links are followed for the destination itself
//! and its parents only: a directory of the source that meets a link is an error and a file replaces it,
//! as in BuildKit. What
//! must exist on the way is made (0755, root's or `--chown`'s) or, if the tree below has it, repeated as
//! it is, so that a layer read alone says what its directories are.

use std::collections::{BTreeMap, BTreeSet, btree_map};

use oxbox_layers::tar::{Entry, Kind, whiteout};

use super::owner::Owner;
use crate::context::Ignore;
use crate::context::tree::{self, FileTree, Last, Node, TreeError};
use crate::plan::mode::Mode;

/// Where an entry's content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// It has none: a directory, a link, a device.
    None,
    /// Text of the Dockerfile.
    Inline(String),
    /// A file of one of the sources' trees.
    File {
        /// Which tree, counted among those of the instruction.
        tree: usize,
        /// Path there.
        path: Vec<u8>,
    },
}

/// Which file of which tree: the same for all its names.
type Identity = (usize, (u64, u64));

/// One entry of the layer to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Path and metadata in the layer.
    pub entry: Entry,
    /// Where its bytes are.
    pub content: Content,
    /// The tree and the file that this is one of several names of.
    identity: Option<Identity>,
    /// Whether it comes from nowhere: its time is the build's epoch.
    pub is_made: bool,
}

impl Placed {
    fn bare(entry: Entry) -> Self {
        Self { entry, content: Content::None, identity: None, is_made: false }
    }
}

/// What an instruction says of everything it places.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// `--chown`.
    pub owner: Option<Owner>,
    /// `--chmod`.
    pub mode: Option<Mode>,
    /// `--exclude`.
    pub exclude: Ignore,
}

/// Why something cannot be placed.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// A directory would have to replace something else.
    #[error("cannot copy a directory to {}, which is not a directory", .path.escape_ascii())]
    NotADirectory {
        /// Path in the image.
        path: Vec<u8>,
    },
    /// A file would have to replace a directory.
    #[error("cannot replace the directory {} by a file", .path.escape_ascii())]
    IsADirectory {
        /// Path in the image.
        path: Vec<u8>,
    },
    /// A name that layers use for whiteouts.
    #[error("{} cannot be in an image: names that begin with .wh. mean deletions", .path.escape_ascii())]
    WhiteoutName {
        /// Path in the image.
        path: Vec<u8>,
    },
    /// A tree cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// A layer under way.
pub struct Placer<'a> {
    below: &'a dyn FileTree,
    pub(super) rules: Rules,
    /// By path, slashes made NUL: then byte order is the order of components.
    pub(super) placed: BTreeMap<Vec<u8>, Placed>,
    /// Keys of what was replaced: neither it nor anything beneath it is below any more.
    pub(super) replaced: BTreeSet<Vec<u8>>,
}

/// A source that is being copied.
#[derive(Clone, Copy)]
pub struct From<'a> {
    /// Where it is.
    pub tree: &'a dyn FileTree,
    /// Number of that tree among those of the instruction.
    pub number: usize,
}

impl<'a> Placer<'a> {
    /// Starts a layer on top of `below`.
    pub fn new(below: &'a dyn FileTree, rules: Rules) -> Self {
        Self { below, rules, placed: BTreeMap::new(), replaced: BTreeSet::new() }
    }

    /// Returns the entries, parents before children, names of one file as hard links to the first.
    ///
    /// One name that was copied twice, by way of a link, gives two files.
    pub fn finish(mut self) -> Result<Vec<Placed>, PlaceError> {
        self.hide_what_was_replaced()?;
        let mut first_names: BTreeMap<Identity, (Vec<u8>, Content)> = BTreeMap::new();
        let mut placed: Vec<Placed> = self.placed.into_values().collect();
        for item in &mut placed {
            let Some(identity) = item.identity else { continue };
            match first_names.entry(identity) {
                btree_map::Entry::Vacant(vacant) => {
                    vacant.insert((item.entry.path.clone(), item.content.clone()));
                }
                btree_map::Entry::Occupied(first) if first.get().1 != item.content => {
                    item.entry.kind = Kind::Hardlink { target: first.get().0.clone() };
                    item.content = Content::None;
                }
                btree_map::Entry::Occupied(_) => {}
            }
        }
        Ok(placed)
    }

    /// A directory of the tree below that was replaced, and then by a directory, is another one: what was
    /// in it must not show again.
    fn hide_what_was_replaced(&mut self) -> Result<(), PlaceError> {
        for replaced in &self.replaced {
            let Some(placed) = self.placed.get(replaced) else { continue };
            let path = &placed.entry.path;
            if placed.entry.kind == Kind::Directory && !self.below.children(path)?.is_empty() {
                let marker = whiteout::opaque(path);
                self.placed.insert(key(&marker.path), Placed::bare(marker));
            }
        }
        Ok(())
    }

    /// Makes a directory and all above it, and returns where it is once links are followed.
    pub fn directory(&mut self, path: &[u8]) -> Result<Vec<u8>, PlaceError> {
        let resolved = tree::resolve(self.below, path, Last::Follow)?;
        self.ensure(&resolved)?;
        Ok(resolved)
    }

    /// Whether the path is a directory, in the tree below or already placed.
    pub fn is_directory(&self, path: &[u8]) -> Result<bool, PlaceError> {
        let resolved = tree::resolve(self.below, path, Last::Follow)?;
        Ok(matches!(self.kind(&resolved)?, Some(Kind::Directory)))
    }

    /// Returns the path where a file named by `destination` lands. A link there is followed, even to what
    /// is not there yet: BuildKit resolves the whole destination before it looks at sources.
    pub fn file_target(&self, destination: &[u8]) -> Result<Vec<u8>, PlaceError> {
        Ok(tree::resolve(self.below, destination, Last::Follow)?)
    }

    /// Places a file or directory at exactly this path, whose parents hold no links.
    pub fn place(&mut self, from: From<'_>, source: &[u8], target: &[u8]) -> Result<(), PlaceError> {
        let node = from.tree.node(source)?.ok_or_else(|| TreeError::Missing { path: source.to_vec() })?;
        if matches!(node.entry.kind, Kind::Directory) {
            self.put_directory(&node.entry, target)?;
            self.place_contents(from, source, target)
        } else {
            self.place_leaf(from, source, node, target)
        }
    }

    /// Places what is no directory.
    pub(super) fn place_leaf(
        &mut self,
        from: From<'_>,
        source: &[u8],
        node: Node,
        target: &[u8],
    ) -> Result<(), PlaceError> {
        let content = match node.entry.kind {
            Kind::File { .. } => Content::File { tree: from.number, path: source.to_vec() },
            _ => Content::None,
        };
        let identity = node.identity.map(|identity| (from.number, identity));
        self.put_leaf(node, target, content, identity)
    }

    /// Places all that is in a directory of the source into `target`, which is a directory.
    pub fn place_contents(&mut self, from: From<'_>, source: &[u8], target: &[u8]) -> Result<(), PlaceError> {
        for name in from.tree.children(source)? {
            self.place(from, &tree::join(source, &name), &tree::join(target, &name))?;
        }
        Ok(())
    }

    /// Places a file whose content is text.
    pub fn place_inline(&mut self, content: &str, target: &[u8]) -> Result<(), PlaceError> {
        let entry = Entry::new("", Kind::File { size: content.len() as u64 }, 0o644);
        let node = Node { entry, identity: None };
        self.put_leaf(node, target, Content::Inline(content.to_owned()), None)
    }

    /// What stands at a path now, links not followed.
    pub(super) fn entry(&self, path: &[u8]) -> Result<Option<Entry>, TreeError> {
        if let Some(placed) = self.placed.get(&key(path)) {
            return Ok(Some(placed.entry.clone()));
        }
        if !self.replaced.is_empty() && ancestors(path).any(|above| self.replaced.contains(&key(above))) {
            return Ok(None);
        }
        Ok(self.below.node(path)?.map(|node| node.entry))
    }

    pub(super) fn kind(&self, path: &[u8]) -> Result<Option<Kind>, TreeError> {
        match path {
            b"" => Ok(Some(Kind::Directory)),
            path => Ok(self.entry(path)?.map(|entry| entry.kind)),
        }
    }

    /// Sees to it that a directory and all above it are in the layer.
    pub(super) fn ensure(&mut self, path: &[u8]) -> Result<(), PlaceError> {
        if path.is_empty() {
            return Ok(());
        }
        if let Some(placed) = self.placed.get(&key(path)) {
            return match placed.entry.kind {
                Kind::Directory => Ok(()),
                _ => Err(PlaceError::NotADirectory { path: path.to_vec() }),
            };
        }
        self.ensure(parent(path))?;
        let entry = match self.entry(path)? {
            Some(entry) if entry.kind == Kind::Directory => entry,
            Some(_) => return Err(PlaceError::NotADirectory { path: path.to_vec() }),
            None => return self.insert(Placed { is_made: true, ..Placed::bare(self.made(path)) }),
        };
        self.insert(Placed::bare(entry))
    }

    /// A directory that must exist on the way. Of `--chmod` it takes the permissions of an octal mode, and
    /// nothing of a symbolic one: that changes what is copied.
    fn made(&self, path: &[u8]) -> Entry {
        let mode = self.rules.mode.as_ref().map_or(0o755, Mode::of_made_directories);
        let Owner { uid, gid } = self.rules.owner.unwrap_or_default();
        Entry { uid, gid, ..Entry::new(path, Kind::Directory, mode) }
    }

    /// Gives a directory that is in the layer the time of the source whose contents it takes.
    pub(super) fn date(&mut self, path: &[u8], mtime: i64) {
        if let Some(placed) = self.placed.get_mut(&key(path)) {
            placed.entry.mtime = mtime;
            placed.is_made = false;
        }
    }

    /// Places a directory that only leads to what is copied: one that is there takes the source's mode and
    /// nothing else.
    pub(super) fn pass_through(&mut self, source: &Entry, target: &[u8]) -> Result<(), PlaceError> {
        if self.kind(target)? != Some(Kind::Directory) {
            return self.put_directory(source, target);
        }
        self.ensure(target)?;
        if let Some(placed) = self.placed.get_mut(&key(target)) {
            placed.entry.mode = source.mode;
        }
        Ok(())
    }

    /// Places a directory below the top one: it takes the source's metadata even if it was there.
    pub(super) fn put_directory(&mut self, source: &Entry, target: &[u8]) -> Result<(), PlaceError> {
        self.ensure(parent(target))?;
        match self.kind(target)? {
            None | Some(Kind::Directory) => {}
            Some(_) => return Err(PlaceError::NotADirectory { path: target.to_vec() }),
        }
        let entry = self.ruled(Entry { path: target.to_vec(), ..source.clone() });
        self.insert(Placed::bare(entry))
    }

    fn put_leaf(
        &mut self,
        node: Node,
        target: &[u8],
        content: Content,
        identity: Option<Identity>,
    ) -> Result<(), PlaceError> {
        self.ensure(parent(target))?;
        if target.is_empty() || self.kind(target)? == Some(Kind::Directory) {
            return Err(PlaceError::IsADirectory { path: target.to_vec() });
        }
        let entry = self.ruled(Entry { path: target.to_vec(), ..node.entry });
        let is_made = matches!(content, Content::Inline(_));
        self.insert(Placed { entry, content, identity, is_made })
    }

    /// Applies `--chown` and `--chmod`; the mode of a symbolic link means nothing and stays.
    fn ruled(&self, mut entry: Entry) -> Entry {
        if let Some(owner) = self.rules.owner {
            (entry.uid, entry.gid) = (owner.uid, owner.gid);
        }
        match (&self.rules.mode, &entry.kind) {
            (None, _) | (_, Kind::Symlink { .. }) => {}
            (Some(mode), kind) => entry.mode = mode.apply(entry.mode, *kind == Kind::Directory),
        }
        entry
    }

    fn insert(&mut self, placed: Placed) -> Result<(), PlaceError> {
        if placed.entry.name().starts_with(b".wh.") {
            return Err(PlaceError::WhiteoutName { path: placed.entry.path });
        }
        self.placed.insert(key(&placed.entry.path), placed);
        Ok(())
    }
}

/// Slashes sort below every other byte of a name, so that a directory is followed by what it holds.
pub(super) fn key(path: &[u8]) -> Vec<u8> {
    path.iter().map(|&byte| if byte == b'/' { 0 } else { byte }).collect()
}

/// A path and all directories above it.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let borders = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    borders.chain([path.len()]).map(|end| &path[..end])
}

fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&byte| byte == b'/').map_or(b"", |slash| &path[..slash])
}
