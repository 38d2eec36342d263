//! COPY, ADD and WORKDIR: entries placed on the tree below and written straight into a layer.
//!
//! ```text
//! sources ─select─▶ paths ─input─▶ place ─▶ entries ─┬─▶ key
//!         parents          filter                    └─▶ LayerWriter
//!                          unpack
//! ```
//!
//! The key is of what the layer will hold and nothing else: names, kinds, modes, owners and contents.
//! Two bases on which the same entries land share one layer. Times are not in it.

mod filter;
mod input;
pub mod owner;
pub mod parents;
pub mod place;
pub mod select;
mod unpack;

use std::io;
use std::num::NonZero;
use std::sync::Arc;

use oxbox_layers::layer::{LayerError, LayerWriter};
use oxbox_layers::tar::Entry;

use input::Target;

pub use input::Input;
pub use owner::{Names, Owner, OwnerError};
pub use parents::{Parents, select_parents};
pub use place::{Content, PlaceError, Placed, Placer, Rules};
pub use select::{SelectError, Selected, select};

use super::archive::ArchiveError;
use crate::context;
use crate::context::fingerprints::Fingerprints;
use crate::context::ignore::ExcludeError;
use crate::context::tree::{self, FileTree, TreeError};
use crate::exec::Interrupt;
use crate::solve::{Key, KeyHasher};

/// The entries of a layer that is still to be written.
pub struct Planned {
    entries: Vec<Placed>,
    /// Of each entry's content, once the key was taken.
    fingerprints: Fingerprints,
    trees: Vec<Option<Arc<dyn FileTree>>>,
}

/// Which times a layer may carry, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dates {
    /// No entry is later.
    pub latest: i64,
    /// What comes from nowhere: directories on the way, and heredocs.
    pub made: i64,
}

impl Dates {
    /// Returns those of a build whose epoch is [`i64::MAX`] if it has none: then `now` counts.
    pub fn of_epoch(epoch: i64, now: i64) -> Self {
        Self { latest: epoch, made: if epoch == i64::MAX { now } else { epoch } }
    }
}

/// Why a COPY, ADD or WORKDIR fails.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// An archive cannot be unpacked.
    #[error("cannot add {pattern:?}")]
    Archive {
        /// The source.
        pattern: String,
        /// Why not.
        #[source]
        source: ArchiveError,
    },
    /// An `--exclude` cannot be used.
    #[error("cannot use --exclude")]
    Exclude {
        /// Which, and why not.
        #[source]
        source: ExcludeError,
    },
    /// `--exclude` leaves nothing of a source of `--parents` that is no pattern.
    #[error("nothing is left of {pattern:?}: --exclude matches it")]
    Excluded {
        /// As written.
        pattern: String,
    },
    /// The build was given up.
    #[error("interrupted")]
    Interrupted,
    /// The layer cannot be written.
    #[error("cannot write the layer")]
    Layer {
        /// Why not.
        #[source]
        source: LayerError,
    },
    /// A source is there, but the ignore file hides it.
    #[error("{pattern:?} is excluded by the ignore file")]
    Ignored {
        /// As written.
        pattern: String,
    },
    /// `--chown` or USER is nobody.
    #[error("cannot tell the owner")]
    Owner {
        /// Why not.
        #[source]
        source: OwnerError,
    },
    /// Something has no place.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A source is not there.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// A tree cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Places the inputs of a COPY or ADD at `destination`, absolute, its trailing slash kept.
///
/// One source after the other, as if each were an instruction: of several files that go to one name
/// without a slash, the last stays.
pub fn plan(
    below: &dyn FileTree,
    inputs: Vec<Input>,
    destination: &str,
    rules: Rules,
) -> Result<Planned, CopyError> {
    let exclude = rules.exclude.clone();
    let mut placer = Placer::new(below, rules);
    let target = Target::read(destination);
    let mut trees = Vec::new();
    for (number, input) in inputs.into_iter().enumerate() {
        trees.push(input::place(&mut placer, number, input, &target, &exclude)?);
    }
    Planned::of(placer, trees)
}

/// Makes a directory and all above it that is missing.
pub fn plan_directory(below: &dyn FileTree, path: &str, owner: Owner) -> Result<Planned, CopyError> {
    let mut placer = Placer::new(below, Rules { owner: Some(owner), ..Rules::default() });
    let mut missing = false;
    let parts: Vec<&[u8]> = tree::components(path.as_bytes()).collect();
    for end in 1..=parts.len() {
        missing |= !placer.is_directory(&parts[..end].join(&b'/'))?;
    }
    if missing {
        placer.directory(&parts.join(&b'/'))?;
    }
    Planned::of(placer, Vec::new())
}

impl Planned {
    fn of(placer: Placer<'_>, trees: Vec<Option<Arc<dyn FileTree>>>) -> Result<Self, CopyError> {
        Ok(Self { entries: placer.finish()?, fingerprints: Fingerprints::default(), trees })
    }

    /// Whether the layer would hold nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the key of the layer: of everything in it but times. What is written afterwards must still
    /// be what the key was taken of.
    pub fn key(
        &mut self,
        epoch: i64,
        threads: NonZero<usize>,
        interrupt: &Interrupt,
    ) -> Result<Key, CopyError> {
        self.fingerprints = self.fingerprints(threads, interrupt)?;
        let mut hasher = KeyHasher::new("placed");
        hasher.field("epoch", epoch.to_le_bytes());
        for (at, placed) in self.entries.iter().enumerate() {
            let Entry { path, kind, mode, uid, gid, mtime: _, xattrs } = &placed.entry;
            hasher.field("path", path).field("mode", mode.to_le_bytes());
            hasher.field("uid", uid.to_le_bytes()).field("gid", gid.to_le_bytes());
            hasher.list(
                "xattrs",
                xattrs.iter().flat_map(|(name, value)| [name, value]).collect::<Vec<_>>().into_iter(),
            );
            hasher.field("kind", format!("{kind:?}"));
            if let Content::Inline(text) = &placed.content {
                hasher.field("inline", text);
            }
            if let Content::File { .. } = &placed.content {
                hasher.field("content", self.fingerprints.get(at));
            }
        }
        Ok(hasher.finish())
    }

    fn fingerprints(
        &self,
        threads: NonZero<usize>,
        interrupt: &Interrupt,
    ) -> Result<Fingerprints, CopyError> {
        Fingerprints::read(self.entries.len(), threads, |at| match &self.entries[at].content {
            Content::File { tree, path } => {
                check(interrupt)?;
                Ok(self.tree(*tree).fingerprint(path)?)
            }
            _ => Ok(Vec::new()),
        })
    }

    /// Writes the entries.
    pub fn write(
        &self,
        writer: &mut LayerWriter,
        dates: Dates,
        interrupt: &Interrupt,
    ) -> Result<(), CopyError> {
        let contents = self.trees.iter().enumerate().map(|(number, tree)| {
            let mut wanted = self.entries.iter().filter_map(|placed| match &placed.content {
                Content::File { tree, path } if *tree == number => Some(&path[..]),
                _ => None,
            });
            tree.as_ref().map(|tree| tree.contents(&mut wanted)).transpose()
        });
        let mut contents = contents.collect::<Result<Vec<_>, _>>()?;
        for (at, placed) in self.entries.iter().enumerate() {
            check(interrupt)?;
            let mut entry = placed.entry.clone();
            entry.mtime = if placed.is_made { dates.made } else { entry.mtime.min(dates.latest) };
            let appended = match &placed.content {
                Content::None => writer.append(&entry, &mut io::empty()),
                Content::Inline(text) => writer.append(&entry, &mut text.as_bytes()),
                Content::File { tree, path } => {
                    let contents = contents[*tree].as_mut().expect("because only trees have files");
                    let fingerprint = Some(self.fingerprints.get(at)).filter(|known| !known.is_empty());
                    let mut content = contents.open(path, fingerprint)?;
                    match fingerprint.and_then(context::hash) {
                        Some(hash) => writer.append_hashed(&entry, &mut *content, hash),
                        None => writer.append(&entry, &mut *content),
                    }
                }
            };
            appended.map_err(|source| CopyError::Layer { source })?;
        }
        Ok(())
    }

    fn tree(&self, number: usize) -> &dyn FileTree {
        self.trees[number].as_deref().expect("because only trees have files")
    }
}

/// Between files is often enough: even a large one takes seconds.
fn check(interrupt: &Interrupt) -> Result<(), CopyError> {
    if interrupt.is_sent() { Err(CopyError::Interrupted) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
