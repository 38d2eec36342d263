//! Which files a source pattern means.
//!
//! A pattern without wildcards means one path, which must be there. With wildcards it means every path
//! that matches, perhaps none; only what stands before the first wildcard must be there. Links are
//! followed in every component up to the first wildcard, and in the last one: COPY of a link copies what
//! it points to. In between they are names that lead nowhere, as in BuildKit.

use oxbox_layers::tar::Kind;

use crate::context::glob::{self, Glob, GlobError};
use crate::context::ignore::clean;
use crate::context::tree::{self, FileTree, Last, TreeError};

/// One path that a pattern means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Last component as it was named: what a file is called when it is copied into a directory.
    pub name: Vec<u8>,
    /// Where it is, links followed.
    pub path: Vec<u8>,
}

/// Why a pattern means nothing.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// There is no such path.
    #[error("{pattern:?} is not there")]
    Missing {
        /// As written.
        pattern: String,
        /// Where it would be, links followed.
        path: Vec<u8>,
    },
    /// A wildcard matched a link, and what that points to is not there. Leaving it out would make an
    /// image that lacks a file without a word.
    #[error("{pattern:?} matches {}, a link to what is not there", .path.escape_ascii())]
    Dangling {
        /// As written.
        pattern: String,
        /// The link.
        path: Vec<u8>,
    },
    /// It is no pattern.
    #[error("{pattern:?} is not a pattern")]
    Pattern {
        /// As written.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: GlobError,
    },
    /// The tree cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Returns what a pattern means in a tree, in the order of names.
pub fn select(tree: &dyn FileTree, pattern: &str) -> Result<Vec<Selected>, SelectError> {
    let missing = |path| SelectError::Missing { pattern: pattern.to_owned(), path };
    // Rooted, so that `..` ends at the root of the source instead of leaving it.
    let clean = clean(&format!("/{pattern}"));
    let clean = clean.trim_start_matches('/');
    if !glob::has_wildcard(clean) {
        let path = glob::unescape(clean).into_bytes();
        let resolved = tree::resolve(tree, &path, Last::Follow)?;
        if tree.node(&resolved)?.is_none() {
            return Err(missing(resolved));
        }
        return Ok(vec![Selected { name: last(&path).to_vec(), path: resolved }]);
    }
    let parts: Vec<&str> = clean.split('/').collect();
    let literals = parts.iter().take_while(|part| !glob::has_wildcard(part)).count();
    let start = glob::unescape(&parts[..literals].join("/")).into_bytes();
    let start = tree::resolve(tree, &start, Last::Follow)?;
    if tree.node(&start)?.is_none() {
        return Err(missing(start));
    }
    let mut found = vec![start];
    for component in &parts[literals..] {
        found = step(tree, &found, component, pattern)?;
    }
    let mut selected = Vec::new();
    for path in found {
        let resolved = tree::resolve(tree, &path, Last::Follow)?;
        if tree.node(&resolved)?.is_none() {
            return Err(SelectError::Dangling { pattern: pattern.to_owned(), path });
        }
        selected.push(Selected { name: last(&path).to_vec(), path: resolved });
    }
    Ok(selected)
}

/// Goes one component down from every directory found so far.
fn step(
    tree: &dyn FileTree,
    found: &[Vec<u8>],
    component: &str,
    pattern: &str,
) -> Result<Vec<Vec<u8>>, SelectError> {
    let mut next = Vec::new();
    if !glob::has_wildcard(component) {
        let name = glob::unescape(component).into_bytes();
        for directory in found {
            let path = tree::join(directory, &name);
            let is_directory = tree.node(directory)?.is_some_and(|node| node.entry.kind == Kind::Directory);
            if is_directory && tree.node(&path)?.is_some() {
                next.push(path);
            }
        }
        return Ok(next);
    }
    let glob = Glob::copy_pattern(component)
        .map_err(|source| SelectError::Pattern { pattern: pattern.to_owned(), source })?;
    for directory in found {
        let names = tree.children(directory)?;
        next.extend(names.iter().filter(|name| glob.matches(name)).map(|name| tree::join(directory, name)));
    }
    Ok(next)
}

fn last(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&byte| byte == b'/').map_or(path, |slash| &path[slash + 1..])
}

#[cfg(test)]
mod tests {
    use super::{SelectError, select};
    use crate::context::tree::tests::Trial;

    fn tree() -> Trial {
        Trial::default()
            .directory("src")
            .directory("src/sub")
            .file("src/a.c", "a")
            .file("src/b.c", "b")
            .file("src/sub/c.c", "c")
            .file("odd*name", "o")
            .link("link", "src/a.c")
            .link("linked", "src")
            .link("dangling", "nowhere")
    }

    fn names(pattern: &str) -> Vec<String> {
        let selected = select(&tree(), pattern).unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        selected.into_iter().map(|one| format!("{}={}", text(one.name), text(one.path))).collect()
    }

    #[test]
    fn a_plain_path_is_itself_and_dots_stay_inside() {
        assert_eq!(names("src/a.c"), ["a.c=src/a.c"]);
        assert_eq!(names("../../src/./a.c"), ["a.c=src/a.c"]);
        assert_eq!(names("/src/a.c"), ["a.c=src/a.c"]);
        assert_eq!(names("."), ["="]);
    }

    #[test]
    fn links_are_followed_even_through_wildcards() {
        assert_eq!(names("link"), ["link=src/a.c"]);
        assert_eq!(names("lin?"), ["link=src/a.c"]);
        assert_eq!(names("linked/*.c"), ["a.c=src/a.c", "b.c=src/b.c"]);
    }

    #[test]
    fn wildcards_match_names_and_may_match_nothing() {
        assert_eq!(names("src/*.c"), ["a.c=src/a.c", "b.c=src/b.c"]);
        assert_eq!(names("*/*/*.c"), ["c.c=src/sub/c.c"]);
        assert_eq!(names("*.rs"), [""; 0]);
        assert_eq!(names("src/sub/c.c/*"), [""; 0]);
    }

    #[test]
    fn what_stands_before_the_first_wildcard_must_be_there() {
        assert!(matches!(select(&tree(), "none/*"), Err(SelectError::Missing { .. })));
        assert!(matches!(select(&tree(), "dangling/*"), Err(SelectError::Missing { .. })));
    }

    #[test]
    fn a_wildcard_goes_through_no_link() {
        assert_eq!(names("*/*.c"), ["a.c=src/a.c", "b.c=src/b.c"]);
        assert_eq!(names("?inked/sub/*"), [""; 0]);
    }

    #[test]
    fn a_link_to_nothing_is_an_error_even_through_a_wildcard() {
        let Err(SelectError::Dangling { path, .. }) = select(&tree(), "dang*") else { panic!() };
        assert_eq!(path, b"dangling");
    }

    #[test]
    fn a_backslash_takes_a_star_by_its_letter() {
        assert_eq!(names("odd\\*name"), ["odd*name=odd*name"]);
    }

    #[test]
    fn a_plain_path_that_is_not_there_is_an_error() {
        assert!(matches!(select(&tree(), "none"), Err(SelectError::Missing { .. })));
        assert!(matches!(select(&tree(), "dangling"), Err(SelectError::Missing { .. })));
        assert!(matches!(select(&tree(), "[x"), Err(SelectError::Pattern { .. })));
    }
}
