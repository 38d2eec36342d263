//! Which files a source pattern means.
//!
//! A pattern without wildcards means one path, which must be there. With wildcards it means every path
//! that matches, perhaps none. Links are followed in every component, the last one too: COPY of a link
//! copies what it points to.

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
    // Rooted, so that `..` ends at the root of the source instead of leaving it.
    let clean = clean(&format!("/{pattern}"));
    let clean = clean.trim_start_matches('/');
    if !glob::has_wildcard(clean) {
        let path = glob::unescape(clean).into_bytes();
        let resolved = tree::resolve(tree, &path, Last::Follow)?;
        if tree.node(&resolved)?.is_none() {
            return Err(SelectError::Missing { pattern: pattern.to_owned() });
        }
        return Ok(vec![Selected { name: last(&path).to_vec(), path: resolved }]);
    }
    let mut found = vec![Vec::new()];
    let mut links = Links::Follow;
    for component in clean.split('/') {
        found = step(tree, &found, component, links, pattern)?;
        if glob::has_wildcard(component) {
            links = Links::Stop;
        }
    }
    let mut selected = Vec::new();
    for path in found {
        let resolved = tree::resolve(tree, &path, Last::Follow)?;
        if tree.node(&resolved)?.is_some() {
            selected.push(Selected { name: last(&path).to_vec(), path: resolved });
        }
    }
    Ok(selected)
}

/// Whether links lead on. Those that a wildcard matched do not, so that `*/*` ends in a tree whose
/// links go in circles.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    Follow,
    Stop,
}

/// Goes one component down from every path found so far.
fn step(
    tree: &dyn FileTree,
    found: &[Vec<u8>],
    component: &str,
    links: Links,
    pattern: &str,
) -> Result<Vec<Vec<u8>>, SelectError> {
    let mut next = Vec::new();
    let directory = |path: &Vec<u8>| match links {
        Links::Follow => tree::resolve(tree, path, Last::Follow),
        Links::Stop => Ok(path.clone()),
    };
    if !glob::has_wildcard(component) {
        let name = glob::unescape(component).into_bytes();
        for path in found {
            let path = tree::join(&directory(path)?, &name);
            if tree.node(&path)?.is_some() {
                next.push(path);
            }
        }
        return Ok(next);
    }
    let glob = Glob::copy_pattern(component)
        .map_err(|source| SelectError::Pattern { pattern: pattern.to_owned(), source })?;
    for path in found {
        let directory = directory(path)?;
        for name in tree.children(&directory)? {
            if glob.matches(&name) {
                next.push(tree::join(&directory, &name));
            }
        }
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
        assert_eq!(names("dang*"), [""; 0]);
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
