//! Directories of which only a part is copied: `--exclude` and `--parents`.
//!
//! ```text
//! include   matches the path or one above it    --parents
//! exclude   as an ignore file                   --exclude
//! ```
//!
//! Paths are those from the directory that is copied, which is itself never asked about. A directory that
//! does not pass is made only once something in it does: with the source's metadata if it is not there,
//! else with the source's mode alone. So it is in BuildKit.

use oxbox_layers::tar::{Entry, Kind};

use super::place::{From, PlaceError, Placer};
use crate::context::Ignore;
use crate::context::glob::Glob;
use crate::context::ignore::Matched;
use crate::context::tree::{self, TreeError};

/// What of a directory is copied.
pub(super) struct Filter<'a> {
    /// Where it is.
    pub(super) from: From<'a>,
    /// What is copied, with all that is in it; everything if absent.
    pub(super) include: Option<&'a Glob>,
    /// What of that is not.
    pub(super) exclude: &'a Ignore,
}

impl Placer<'_> {
    /// Places what passes the filter of all that is in `source` into `target`, which is a directory.
    /// Returns whether there was anything.
    pub(super) fn place_filtered(
        &mut self,
        filter: &Filter<'_>,
        source: &[u8],
        target: &[u8],
    ) -> Result<bool, PlaceError> {
        let mut walk = Walk { placer: self, filter, above: Vec::new(), is_found: false };
        let here = Here { source: source.to_vec(), target: target.to_vec(), ..Here::default() };
        walk.contents(&here)?;
        Ok(walk.is_found)
    }
}

struct Walk<'w, 'p> {
    placer: &'w mut Placer<'p>,
    filter: &'w Filter<'w>,
    /// The directories that lead to where it is.
    above: Vec<Above>,
    is_found: bool,
}

struct Above {
    source: Entry,
    target: Vec<u8>,
    is_placed: bool,
}

/// A place of the source.
#[derive(Default)]
struct Here {
    source: Vec<u8>,
    target: Vec<u8>,
    /// From the directory that is copied.
    relative: Vec<u8>,
    is_included: bool,
    matched: Matched,
}

impl Walk<'_, '_> {
    fn contents(&mut self, here: &Here) -> Result<(), PlaceError> {
        for name in self.filter.from.tree.children(&here.source)? {
            self.one(here, &name)?;
        }
        Ok(())
    }

    fn one(&mut self, parent: &Here, name: &[u8]) -> Result<(), PlaceError> {
        let Filter { from, include, exclude } = self.filter;
        let relative = tree::join(&parent.relative, name);
        let is_included = parent.is_included || include.is_none_or(|glob| glob.matches(&relative));
        let (is_excluded, matched) = exclude.judge(&parent.matched, &relative);
        let may_include = is_included || include.is_none_or(|glob| glob.may_match_below(&relative));
        if !may_include || (is_excluded && !exclude.may_take_back_below(&relative)) {
            return Ok(());
        }
        let (source, target) = (tree::join(&parent.source, name), tree::join(&parent.target, name));
        let node = from.tree.node(&source)?.ok_or_else(|| TreeError::Missing { path: source.clone() })?;
        let passes = is_included && !is_excluded;
        let is_directory = node.entry.kind == Kind::Directory;
        if passes {
            self.is_found = true;
            self.place_above()?;
            match is_directory {
                true => self.placer.put_directory(&node.entry, &target)?,
                false => self.placer.place_leaf(*from, &source, node.clone(), &target)?,
            }
        }
        if is_directory {
            self.above.push(Above { source: node.entry, target: target.clone(), is_placed: passes });
            self.contents(&Here { source, target, relative, is_included, matched })?;
            self.above.pop();
        }
        Ok(())
    }

    fn place_above(&mut self) -> Result<(), PlaceError> {
        for above in self.above.iter_mut().filter(|above| !above.is_placed) {
            self.placer.pass_through(&above.source, &above.target)?;
            above.is_placed = true;
        }
        Ok(())
    }
}
