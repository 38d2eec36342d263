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
        if passes {
            self.is_found = true;
            self.place_above()?;
        }
        if node.entry.kind != Kind::Directory {
            return if passes { self.placer.place_leaf(*from, &source, node, &target) } else { Ok(()) };
        }
        if passes {
            self.placer.put_directory(&node.entry, &target)?;
        }
        self.above.push(Above { source: node.entry, target: target.clone(), is_placed: passes });
        self.contents(&Here { source, target, relative, is_included, matched })?;
        self.above.pop();
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{Filter, From, Glob, Ignore, Placer};
    use crate::context::tree::tests::Trial;
    use crate::op::copy::Rules;

    /// All of `a`, `b` and `c.o` within each other, three deep; what is deepest is a file.
    fn tree() -> Trial {
        let names = ["a", "b", "c.o"];
        let mut tree = Trial::default();
        for first in names {
            tree = tree.directory(first);
            for second in names {
                tree = tree.directory(&format!("{first}/{second}"));
                for third in names {
                    tree = tree.file(&format!("{first}/{second}/{third}"), "");
                }
            }
        }
        tree
    }

    fn ancestors(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        slashes.map(|(at, _)| path[..at].to_vec()).collect::<Vec<_>>().into_iter()
    }

    fn pattern() -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec!["a", "b", "c.o", "*", "**", "*.o", "?", "[ab]"]);
        let parts = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"));
        (prop::bool::weighted(0.3), parts)
            .prop_map(|(back, parts)| if back { format!("!{parts}") } else { parts })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// What is placed is what each path's own patterns say, and the directories that lead to it.
        #[test]
        fn what_is_pruned_would_not_have_passed(
            exclude in prop::collection::vec(pattern(), 0..4),
            include in prop::option::of(pattern().prop_filter("--parents has no !", |pattern| !pattern.starts_with('!'))),
        ) {
            let tree = tree();
            let exclude = Ignore::of_patterns(&exclude).unwrap();
            let include = include.map(|pattern| Glob::ignore_pattern(&pattern).unwrap());
            let below = Trial::default();
            let mut placer = Placer::new(&below, Rules::default());
            let from = From { tree: &tree, number: 0 };
            let filter = Filter { from, include: include.as_ref(), exclude: &exclude };
            let is_found = placer.place_filtered(&filter, b"", b"").unwrap();
            let placed: BTreeSet<Vec<u8>> =
                placer.finish().unwrap().into_iter().map(|placed| placed.entry.path).collect();
            let passes = |path: &Vec<u8>| {
                let is_included = include.as_ref().is_none_or(|glob| {
                    ancestors(path).chain([path.clone()]).any(|path| glob.matches(&path))
                });
                is_included && !exclude.excludes(path)
            };
            let passing: Vec<_> = tree.0.keys().filter(|path| passes(path)).cloned().collect();
            let expected: BTreeSet<_> =
                passing.iter().flat_map(|path| ancestors(path).chain([path.clone()])).collect();
            prop_assert_eq!(placed, expected);
            prop_assert_eq!(is_found, !passing.is_empty());
        }
    }
}
