//! Files of a tree as files on disk, for mounts: what a RUN sees of a context, and what fills a new cache.
//!
//! ```text
//! FileTree "src" ─▶ folder/        a directory: its files and its own mode
//!          "a.c" ─▶ folder/file    anything else
//! ```
//!
//! A context's files are copied rather than shown where they are: owners are root's there, what is ignored is
//! not there, and what is read is what the key was taken of, whoever edits meanwhile.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use oxbox_layers::tar::{Entry, Kind};
use oxbox_layers::tree::apply::{ApplyError, Devices, Entries, Options, Ownership, Whiteouts};
use oxbox_layers::tree::{Root, Xattrs};

use crate::context::tree::{self, FileTree, Last, TreeError};
use crate::exec::Interrupt;

/// A guard against trees that never end; no mount of a build is that large.
const MAX_BYTES: u64 = 1 << 40;

/// As many as a file system of that size has inodes by default.
const MAX_ENTRIES: u64 = 1 << 26;

/// What a source that is no directory is called.
const FILE: &str = "file";

/// Why files cannot be laid out.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// They cannot be written.
    #[error("cannot lay out files in {}", .folder.display())]
    Apply {
        /// Where.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: ApplyError,
    },
    /// The build was given up.
    #[error("interrupted")]
    Interrupted,
    /// There is no such path.
    #[error("{path:?} is not there")]
    Missing {
        /// The path, from its tree's root.
        path: String,
    },
    /// They cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// What stands at a path, to be written.
struct Found {
    /// Where it is in the tree.
    source: Vec<u8>,
    /// What it becomes.
    entry: Entry,
}

/// Writes what stands at a path of a tree into an empty folder, and returns where it is then. Links that the
/// path leads through are followed within the tree, the last one too.
pub(super) fn lay_out(
    tree: &dyn FileTree,
    path: &str,
    folder: &Path,
    interrupt: &Interrupt,
) -> Result<PathBuf, FilesError> {
    let source = tree::resolve(tree, path.as_bytes(), Last::Follow)?;
    let found = walk(tree, &source, interrupt)?;
    let Some(first) = found.first() else { return Err(FilesError::Missing { path: path.to_owned() }) };
    let place = if first.entry.kind == Kind::Directory { folder.to_owned() } else { folder.join(FILE) };
    write(tree, &found, folder, interrupt)?;
    Ok(place)
}

/// Lists what is at a path and below it, parents first.
fn walk(tree: &dyn FileTree, root: &[u8], interrupt: &Interrupt) -> Result<Vec<Found>, FilesError> {
    let mut names: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
    let mut found = Vec::new();
    // A stack rather than recursion: folders nest as deep as somebody likes.
    let mut todo = vec![(root.to_vec(), Vec::new())];
    while let Some((source, path)) = todo.pop() {
        check(interrupt)?;
        let Some(node) = tree.node(&source)? else { continue };
        let is_directory = node.entry.kind == Kind::Directory;
        let path = if path.is_empty() && !is_directory { FILE.as_bytes().to_vec() } else { path };
        let mut entry = Entry { path: path.clone(), ..node.entry };
        if let (Some(identity), Kind::File { .. }) = (node.identity, &entry.kind) {
            match names.get(&identity) {
                Some(first) => entry.kind = Kind::Hardlink { target: first.clone() },
                None => drop(names.insert(identity, path.clone())),
            }
        }
        if is_directory {
            let children = tree.children(&source)?;
            let below = |name: &Vec<u8>| (tree::join(&source, name), tree::join(&path, name));
            todo.extend(children.iter().rev().map(below));
        }
        found.push(Found { source, entry });
    }
    Ok(found)
}

fn write(
    tree: &dyn FileTree,
    found: &[Found],
    folder: &Path,
    interrupt: &Interrupt,
) -> Result<(), FilesError> {
    let failed = |source| FilesError::Apply { folder: folder.to_owned(), source };
    let is_file = |found: &&Found| matches!(found.entry.kind, Kind::File { .. });
    let mut files = found.iter().filter(is_file).map(|found| &found.source[..]);
    let mut contents = tree.contents(&mut files)?;
    let root = Root::open(folder).map_err(|error| failed(error.into()))?;
    let is_root = rustix::process::geteuid().is_root();
    let options = Options {
        ownership: if is_root { Ownership::KeepOrRecord } else { Ownership::Current },
        devices: Devices::BestEffort,
        whiteouts: Whiteouts::Apply,
        xattrs: Xattrs::CapabilityAndUser,
        max_bytes: MAX_BYTES,
        max_entries: MAX_ENTRIES,
    };
    let mut entries = Entries::new(&root, &options).map_err(failed)?;
    for Found { source, entry } in found {
        check(interrupt)?;
        match entry.kind {
            Kind::File { size } if size > 0 => {
                let fingerprint = tree.fingerprint(source)?;
                let mut content = contents.open(source, Some(&fingerprint))?;
                entries.apply(entry, &mut *content).map_err(failed)?;
                // A content that changed shows at its end.
                io::copy(&mut content, &mut io::sink()).map_err(|source| {
                    FilesError::Tree(TreeError::Io { verb: "read", path: folder.join(FILE), source })
                })?;
            }
            _ => entries.apply(entry, &mut io::empty()).map_err(failed)?,
        }
    }
    entries.finish().map(drop).map_err(failed)
}

/// Between files is often enough: even a large one takes seconds.
fn check(interrupt: &Interrupt) -> Result<(), FilesError> {
    if interrupt.is_sent() { Err(FilesError::Interrupted) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use oxbox_layers::tar::{Entry, Kind};

    use super::{FilesError, lay_out};
    use crate::context::tree::tests::Trial;
    use crate::exec::Interrupt;

    fn tree() -> Trial {
        Trial::default()
            .directory("d")
            .with(Entry { mtime: 1000, ..Entry::new("d/in", Kind::Directory, 0o700) })
            .file("d/in/a", "A")
            .file("d/empty", "")
            .link("d/link", "in/a")
            .link("to", "d/in")
            .file("other", "O")
    }

    #[test]
    fn a_directory_is_laid_out_with_all_that_is_below() {
        let folder = tempfile::tempdir().unwrap();
        let place = lay_out(&tree(), "d", folder.path(), &Interrupt::new()).unwrap();
        assert_eq!(place, folder.path());
        assert_eq!(fs::read(place.join("in/a")).unwrap(), b"A");
        assert_eq!(fs::read(place.join("empty")).unwrap(), b"");
        assert_eq!(fs::read_link(place.join("link")).unwrap().to_str(), Some("in/a"));
        let inner = fs::metadata(place.join("in")).unwrap();
        assert_eq!((inner.permissions().mode() & 0o7777, inner.mtime()), (0o700, 1000));
        assert!(!place.join("other").exists());
    }

    #[test]
    fn a_file_is_one_and_links_lead_to_it_within_the_tree() {
        for path in ["d/in/a", "to/a", "d/link", "../to/../in/a"] {
            let folder = tempfile::tempdir().unwrap();
            let place = lay_out(&tree(), path, folder.path(), &Interrupt::new()).unwrap();
            assert_eq!(fs::read(&place).unwrap(), b"A", "{path}");
            assert_eq!(place.parent().unwrap(), folder.path());
        }
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let missing = lay_out(&tree(), "d/none", folder.path(), &Interrupt::new());
        assert!(matches!(missing, Err(FilesError::Missing { .. })));
    }

    #[test]
    fn names_of_one_file_stay_one_file() {
        struct Linked(Trial);
        impl crate::context::FileTree for Linked {
            fn node(&self, path: &[u8]) -> Result<Option<crate::context::Node>, super::TreeError> {
                let node = self.0.node(path)?;
                let is_file = |node: &crate::context::Node| matches!(node.entry.kind, Kind::File { .. });
                Ok(node
                    .map(|node| crate::context::Node { identity: is_file(&node).then_some((1, 1)), ..node }))
            }
            fn children(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, super::TreeError> {
                self.0.children(path)
            }
            fn fingerprint(&self, path: &[u8]) -> Result<Vec<u8>, super::TreeError> {
                self.0.fingerprint(path)
            }
            fn contents(
                &self,
                paths: &mut crate::context::Paths<'_>,
            ) -> Result<Box<dyn crate::context::FileContents + '_>, super::TreeError> {
                self.0.contents(paths)
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let linked = Linked(Trial::default().file("a", "same").file("b", "same"));
        lay_out(&linked, "", folder.path(), &Interrupt::new()).unwrap();
        let inode = |name| fs::metadata(folder.path().join(name)).unwrap().ino();
        assert_eq!(inode("a"), inode("b"));
    }
}
