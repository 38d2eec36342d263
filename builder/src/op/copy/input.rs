//! The sources of an instruction, and where each of them goes.

use std::collections::BTreeSet;
use std::sync::Arc;

use oxbox_layers::tar::Kind;

use super::filter::Filter;
use super::parents::Parents;
use super::place::{From, Placer};
use super::select::Selected;
use super::{CopyError, unpack};
use crate::context::Ignore;
use crate::context::tree::{self, FileTree};

/// A source whose tree is at hand.
pub enum Input {
    /// Paths that a pattern selected, to be copied.
    Paths {
        /// Where they are.
        tree: Arc<dyn FileTree>,
        /// Which.
        selected: Vec<Selected>,
    },
    /// Paths that a pattern of `--parents` selected, to be copied with the directories that lead to them.
    Parents {
        /// Where they are.
        tree: Arc<dyn FileTree>,
        /// Which.
        parents: Parents,
    },
    /// An archive, to be unpacked into the destination.
    Archive {
        /// What is in it.
        tree: Arc<dyn FileTree>,
        /// Its directories that have an entry of their own.
        directories: BTreeSet<Vec<u8>>,
    },
    /// A file of the Dockerfile itself.
    Inline {
        /// Its name.
        name: String,
        /// Its content.
        content: String,
    },
}

/// The destination, as far as its text says what it is.
pub(super) struct Target {
    path: Vec<u8>,
    is_directory: bool,
}

impl Target {
    pub(super) fn read(destination: &str) -> Self {
        let path: Vec<&[u8]> = tree::components(destination.as_bytes()).collect();
        let is_directory = path.is_empty() || destination.ends_with('/') || destination.ends_with("/.");
        Self { path: path.join(&b'/'), is_directory }
    }
}

/// Places one source, and returns the tree that its contents are to be read from.
pub(super) fn place(
    placer: &mut Placer<'_>,
    number: usize,
    input: Input,
    target: &Target,
    exclude: &Ignore,
) -> Result<Option<Arc<dyn FileTree>>, CopyError> {
    match input {
        Input::Inline { name, content } => {
            let path = file_path(placer, target, name.as_bytes())?;
            placer.place_inline(&content, &path)?;
            Ok(None)
        }
        Input::Archive { tree, directories } => {
            let archive = unpack::Archive { from: From { tree: &*tree, number }, directories };
            placer.unpack(&archive, &target.path)?;
            Ok(Some(tree))
        }
        Input::Paths { tree, selected } => {
            let from = From { tree: &*tree, number };
            for one in &selected {
                place_selected(placer, from, one, target, exclude)?;
            }
            Ok(Some(tree))
        }
        Input::Parents { tree, parents } => {
            let from = From { tree: &*tree, number };
            place_parents(placer, from, &parents, target, exclude)?;
            Ok(Some(tree))
        }
    }
}

/// `--exclude` is about what is in a directory, never about what the source itself names: so it is in
/// BuildKit (moby/buildkit#5489), against its documentation.
fn place_selected(
    placer: &mut Placer<'_>,
    from: From<'_>,
    Selected { name, path }: &Selected,
    target: &Target,
    exclude: &Ignore,
) -> Result<(), CopyError> {
    let node = from.tree.node(path)?.filter(|node| node.entry.kind == Kind::Directory);
    let Some(directory) = node else {
        let target = file_path(placer, target, name)?;
        return Ok(placer.place(from, path, &target)?);
    };
    let into = placer.directory(&target.path)?;
    match exclude.is_empty() {
        true => placer.place_contents(from, path, &into)?,
        false => drop(placer.place_filtered(&Filter { from, include: None, exclude }, path, &into)?),
    }
    placer.date(&into, directory.entry.mtime);
    Ok(())
}

fn place_parents(
    placer: &mut Placer<'_>,
    from: From<'_>,
    parents: &Parents,
    target: &Target,
    exclude: &Ignore,
) -> Result<(), CopyError> {
    let filter = Filter { from, include: parents.glob.as_ref(), exclude };
    let mut is_found = false;
    for root in &parents.roots {
        let into = placer.directory(&target.path)?;
        is_found |= placer.place_filtered(&filter, root, &into)?;
    }
    match &parents.literal {
        Some(pattern) if !is_found => Err(CopyError::Excluded { pattern: pattern.clone() }),
        _ => Ok(()),
    }
}

/// Where a file lands: into a directory under its own name, else at the destination itself.
fn file_path(placer: &mut Placer<'_>, target: &Target, name: &[u8]) -> Result<Vec<u8>, CopyError> {
    if target.is_directory || placer.is_directory(&target.path)? {
        return Ok(tree::join(&placer.directory(&target.path)?, name));
    }
    Ok(placer.file_target(&target.path)?)
}
