//! What a source of `--parents` means.
//!
//! ```text
//! x/y/*.txt      everything that matches, from the root        → dest/x/y/a.txt
//! x/./y/*.txt    from the first /./ on                         → dest/y/a.txt
//! ```
//!
//! Before the `/./` stands a path or a pattern as without `--parents`. Behind it the language is the ignore
//! file's: `**` is any number of components, a directory that matches brings all that is in it, and no
//! link is followed. Something without wildcards must be there.

use oxbox_layers::tar::Kind;

use super::select::{SelectError, select};
use crate::context::glob::{self, Glob};
use crate::context::ignore::clean;
use crate::context::tree::{self, FileTree, TreeError};

/// What a source of `--parents` means.
#[derive(Debug, Clone, PartialEq)]
pub struct Parents {
    /// The directories where kept paths begin, links followed.
    pub roots: Vec<Vec<u8>>,
    /// What is copied of what is in them; everything if absent.
    pub glob: Option<Glob>,
    /// The source as written, if it has no wildcards: something must come of it.
    pub literal: Option<String>,
}

/// Returns what a source of `--parents` means in a tree.
pub fn select_parents(tree: &dyn FileTree, pattern: &str) -> Result<Parents, SelectError> {
    let missing = |path| SelectError::Missing { pattern: pattern.to_owned(), path };
    let (root, kept) = pattern.split_once("/./").unwrap_or(("", pattern));
    let kept = clean(&format!("/{kept}"));
    let kept = kept.trim_start_matches('/');
    let mut roots = Vec::new();
    for selected in select(tree, root)? {
        let node = tree.node(&selected.path)?;
        if node.is_some_and(|node| node.entry.kind == Kind::Directory) {
            roots.push(selected.path);
        } else if !glob::has_wildcard(root) {
            return Err(missing(selected.path));
        }
    }
    if kept.is_empty() {
        return Ok(Parents { roots, glob: None, literal: None });
    }
    let is_literal = !glob::has_wildcard(root) && !glob::has_wildcard(kept);
    if is_literal {
        let path = glob::unescape(kept).into_bytes();
        for root in &roots {
            if !stands(tree, root, &path)? {
                return Err(missing(tree::join(root, &path)));
            }
        }
    }
    let glob = Glob::ignore_pattern(kept)
        .map_err(|source| SelectError::Pattern { pattern: pattern.to_owned(), source })?;
    Ok(Parents { roots, glob: Some(glob), literal: is_literal.then(|| pattern.to_owned()) })
}

/// Whether something is at a path that leads through directories only.
fn stands(tree: &dyn FileTree, root: &[u8], path: &[u8]) -> Result<bool, TreeError> {
    let mut here = root.to_vec();
    for component in tree::components(path) {
        if tree.node(&here)?.is_none_or(|node| node.entry.kind != Kind::Directory) {
            return Ok(false);
        }
        here = tree::join(&here, component);
    }
    Ok(tree.node(&here)?.is_some())
}

#[cfg(test)]
mod tests {
    use super::{Parents, SelectError, select_parents};
    use crate::context::tree::tests::Trial;

    fn tree() -> Trial {
        Trial::default()
            .directory("x")
            .directory("x/y")
            .file("x/y/a.txt", "a")
            .file("x/file", "f")
            .link("link", "x")
            .link("x/to", "y")
    }

    fn parents(pattern: &str) -> Result<Parents, SelectError> {
        select_parents(&tree(), pattern)
    }

    fn roots(pattern: &str) -> Vec<String> {
        let roots = parents(pattern).unwrap().roots;
        roots.into_iter().map(|root| String::from_utf8(root).unwrap()).collect()
    }

    #[test]
    fn the_first_pivot_counts_and_links_before_it_are_followed() {
        assert_eq!(roots("x/y/a.txt"), [""]);
        assert_eq!(roots("./x/./y/a.txt"), ["x"]);
        assert_eq!(roots("x/./y/./a.txt"), ["x"]);
        assert_eq!(roots("link/./y"), ["x"]);
        assert_eq!(roots("/./x"), [""]);
    }

    #[test]
    fn a_pivot_may_be_a_pattern_whose_files_mean_nothing() {
        assert_eq!(roots("x/*/./*.txt"), ["x/y", "x/y"], "the directory and the link to it");
        assert_eq!(roots("z*/./a"), [""; 0]);
    }

    #[test]
    fn what_has_no_wildcards_must_be_there_and_not_behind_a_link() {
        for pattern in ["none", "x/none", "x/./none", "none/./*", "x/file/./a", "link/y", "x/file/a"] {
            assert!(matches!(parents(pattern), Err(SelectError::Missing { .. })), "{pattern}");
        }
        for pattern in ["x", "link", "x/to", "link/./y/a.txt", "none/*", "x/**/none"] {
            parents(pattern).unwrap();
        }
    }

    #[test]
    fn the_root_itself_is_everything() {
        for pattern in [".", "/", "", "x/./", "x/./."] {
            let Parents { glob, literal, .. } = parents(pattern).unwrap();
            assert_eq!((glob, literal), (None, None), "{pattern:?}");
        }
    }
}
