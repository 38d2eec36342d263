//! A read-only filesystem, seen from its root: the contract, and what holds for every one of them.
//!
//! Paths are relative bytes without `.` and `..`, empty for the root, as in `layers::tar::Entry`.
//! Symbolic links are resolved here, within the tree: an absolute target starts at the tree's root and
//! `..` ends there.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::PathBuf;

use oxbox_layers::tar::{Entry, Kind};

/// Most symbolic links in one look-up, as the kernel has it.
const MAX_LINKS: usize = 40;

/// Longest path that is followed, as the kernel has it.
const MAX_PATH: usize = 4096;

/// A read-only filesystem.
pub trait FileTree: Send + Sync {
    /// Returns what stands at a path, links not followed; `None` if nothing does.
    ///
    /// Never a [`Kind::Hardlink`]: a file with many names is a file at each of them.
    fn node(&self, path: &[u8]) -> Result<Option<Node>, TreeError>;

    /// Returns the names in a directory in byte order; empty for anything else.
    fn children(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, TreeError>;

    /// Returns bytes that are equal for two files only if their contents are: part of cache keys.
    fn fingerprint(&self, path: &[u8]) -> Result<Vec<u8>, TreeError>;

    /// Gets ready to read these files, in any order and as often as wanted.
    fn contents(&self, paths: &mut Paths<'_>) -> Result<Box<dyn FileContents + '_>, TreeError>;
}

/// Paths, one after the other: who needs no list of them makes none.
pub type Paths<'a> = dyn Iterator<Item = &'a [u8]> + 'a;

/// Contents of files of a tree.
pub trait FileContents {
    /// Opens a file that was announced, of the size that its node says. With a fingerprint, reading to
    /// the end fails if the content is another by now.
    fn open(&mut self, path: &[u8], fingerprint: Option<&[u8]>) -> Result<Box<dyn Read + '_>, TreeError>;
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Kind and metadata.
    pub entry: Entry,
    /// The same for all names of one file; `None` for a file with one name.
    pub identity: Option<(u64, u64)>,
}

/// Why a tree cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The system refused.
    #[error("cannot {verb} {}", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Symbolic links lead in a circle.
    #[error("too many symbolic links in {}", .path.escape_ascii())]
    Loop {
        /// Where the look-up began.
        path: Vec<u8>,
    },
    /// A file that was there is not any more.
    #[error("{} is not there any more", .path.escape_ascii())]
    Missing {
        /// Which file.
        path: Vec<u8>,
    },
    /// A layer's tar cannot be read.
    #[error("cannot read the layers of another stage or image")]
    Layers {
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Whether the last component of a path is followed if it is a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// It is.
    Follow,
    /// It is not.
    Keep,
}

/// Returns the path without links on the way, as far as it exists; what is missing is kept as it is.
pub fn resolve(tree: &dyn FileTree, path: &[u8], last: Last) -> Result<Vec<u8>, TreeError> {
    resolve_by(|path| Ok(tree.node(path)?.map(|node| node.entry.kind)), path, last)
}

/// Does as [`resolve`] in whatever `kind` knows, which says what stands at a path.
pub fn resolve_by(
    kind: impl Fn(&[u8]) -> Result<Option<Kind>, TreeError>,
    path: &[u8],
    last: Last,
) -> Result<Vec<u8>, TreeError> {
    let mut todo: VecDeque<Vec<u8>> = components(path).map(<[u8]>::to_vec).collect();
    let mut resolved: Vec<u8> = Vec::new();
    let mut links = 0;
    while let Some(component) = todo.pop_front() {
        if component == b".." {
            resolved.truncate(resolved.iter().rposition(|&byte| byte == b'/').unwrap_or(0));
            continue;
        }
        let here = join(&resolved, &component);
        let keep = todo.is_empty() && last == Last::Keep;
        let target = match kind(&here)? {
            Some(Kind::Symlink { target }) if !keep => target,
            _ => {
                resolved = here;
                continue;
            }
        };
        links += 1;
        if links > MAX_LINKS || here.len() + target.len() > MAX_PATH {
            return Err(TreeError::Loop { path: path.to_vec() });
        }
        if target.first() == Some(&b'/') {
            resolved.clear();
        }
        for part in components(&target).collect::<Vec<_>>().into_iter().rev() {
            todo.push_front(part.to_vec());
        }
    }
    Ok(resolved)
}

/// Returns the components of a path that mean something.
pub fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// Returns a path below a directory.
pub fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match (directory, name) {
        (b"", name) => name.to_vec(),
        (directory, b"") => directory.to_vec(),
        (directory, name) => [directory, b"/", name].concat(),
    }
}

/// Returns the path of the directory that a path is in; that of the root is itself.
pub fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&byte| byte == b'/').map_or(b"", |slash| &path[..slash])
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use oxbox_layers::tar::{Entry, Kind};

    use super::{FileContents, FileTree, Last, Node, Paths, TreeError, resolve};

    /// A tree in memory: path → kind, and content for files.
    #[derive(Default)]
    pub(crate) struct Trial(pub(crate) BTreeMap<Vec<u8>, (Entry, Vec<u8>)>);

    impl Trial {
        pub(crate) fn with(mut self, entry: Entry) -> Self {
            self.0.insert(entry.path.clone(), (entry, Vec::new()));
            self
        }

        pub(crate) fn directory(self, path: &str) -> Self {
            self.with(Entry::new(path, Kind::Directory, 0o755))
        }

        pub(crate) fn link(self, path: &str, target: &str) -> Self {
            self.with(Entry::new(path, Kind::Symlink { target: target.into() }, 0o777))
        }

        pub(crate) fn file(mut self, path: &str, content: &str) -> Self {
            let entry = Entry::new(path, Kind::File { size: content.len() as u64 }, 0o644);
            self.0.insert(path.into(), (entry, content.into()));
            self
        }
    }

    impl FileTree for Trial {
        fn node(&self, path: &[u8]) -> Result<Option<Node>, TreeError> {
            if path.is_empty() {
                return Ok(Some(Node { entry: Entry::new("", Kind::Directory, 0o755), identity: None }));
            }
            Ok(self.0.get(path).map(|(entry, _)| Node { entry: entry.clone(), identity: None }))
        }

        fn children(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, TreeError> {
            let below = self.0.values().filter(|(entry, _)| entry.parent() == path);
            Ok(below.map(|(entry, _)| entry.name().to_vec()).filter(|name| !name.is_empty()).collect())
        }

        fn fingerprint(&self, path: &[u8]) -> Result<Vec<u8>, TreeError> {
            Ok(self.0[path].1.clone())
        }

        fn contents(&self, _paths: &mut Paths<'_>) -> Result<Box<dyn FileContents + '_>, TreeError> {
            Ok(Box::new(self))
        }
    }

    impl FileContents for &Trial {
        fn open(&mut self, path: &[u8], _: Option<&[u8]>) -> Result<Box<dyn Read + '_>, TreeError> {
            Ok(Box::new(&self.0[path].1[..]))
        }
    }

    #[test]
    fn links_are_followed_within_the_tree() {
        let tree = Trial::default()
            .directory("usr")
            .directory("usr/lib")
            .link("lib", "usr/lib")
            .link("abs", "/usr")
            .link("out", "../../../usr/lib");
        for (path, last, expected) in [
            ("lib/x", Last::Follow, "usr/lib/x"),
            ("abs/lib", Last::Follow, "usr/lib"),
            ("out", Last::Follow, "usr/lib"),
            ("out", Last::Keep, "out"),
            ("usr/../../lib/./y/", Last::Follow, "usr/lib/y"),
            ("none/at/all", Last::Follow, "none/at/all"),
        ] {
            let resolved = resolve(&tree, path.as_bytes(), last).unwrap();
            assert_eq!(String::from_utf8(resolved).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn links_in_a_circle_are_an_error() {
        let tree = Trial::default().link("a", "b").link("b", "a");
        assert!(matches!(resolve(&tree, b"a", Last::Follow), Err(TreeError::Loop { .. })));
    }
}
