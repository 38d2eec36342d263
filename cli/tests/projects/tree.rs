//! A root filesystem as lines: what two builders must agree on, times aside.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, Metadata};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Path → what it is.
type Tree = BTreeMap<PathBuf, Metadata>;

/// Returns the lines that only one of two trees has; empty if they are equal. Below some paths, nobody looks.
pub(crate) fn difference(ours: &Path, theirs: &Path, except: &[&str]) -> String {
    let (our_tree, their_tree) = (read(ours), read(theirs));
    let paths: BTreeSet<&PathBuf> = our_tree.keys().chain(their_tree.keys()).collect();
    let mut report = String::new();
    for path in paths {
        if except.iter().any(|except| path.starts_with(except)) {
            continue;
        }
        let (mine, other) = (our_tree.get(path), their_tree.get(path));
        // Of one time and size: a file of the base, which is the same layer in both.
        let same_layer = |a: &Metadata, b: &Metadata| {
            (a.mtime(), a.mtime_nsec(), a.size()) == (b.mtime(), b.mtime_nsec(), b.size())
        };
        let same = match (mine, other) {
            (Some(a), Some(b)) if line(ours, path, a) == line(theirs, path, b) => {
                !a.is_file() || same_layer(a, b) || same_content(&ours.join(path), &theirs.join(path))
            }
            _ => false,
        };
        if same {
            continue;
        }
        for (sign, root, found) in [('-', ours, mine), ('+', theirs, other)] {
            if let Some(found) = found {
                writeln!(report, "  {sign} {} {}", path.display(), line(root, path, found)).unwrap();
            }
        }
    }
    report
}

fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let (path, metadata) = (folder.join(entry.file_name()), entry.metadata().unwrap());
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            tree.insert(path, metadata);
        }
    }
    tree
}

fn line(root: &Path, path: &Path, metadata: &Metadata) -> String {
    let kind = metadata.file_type();
    let (owner, mode) = (format!("{}:{}", metadata.uid(), metadata.gid()), metadata.mode() & 0o7777);
    match kind {
        // The mode of a link means nothing.
        _ if kind.is_symlink() => {
            format!("{owner} link to {}", fs::read_link(root.join(path)).unwrap().display())
        }
        _ if kind.is_dir() => format!("{owner} {mode:04o} directory"),
        _ if kind.is_file() => format!("{owner} {mode:04o} file of {} bytes", metadata.size()),
        _ if kind.is_fifo() => format!("{owner} {mode:04o} fifo"),
        _ => format!("{owner} {mode:04o} device {}", metadata.rdev()),
    }
}

fn same_content(a: &Path, b: &Path) -> bool {
    let (mut a, mut b) = (fs::File::open(a).unwrap(), fs::File::open(b).unwrap());
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let count = a.read(&mut left).unwrap();
        if b.read_exact(&mut right[..count]).is_err() || left[..count] != right[..count] {
            return false;
        }
        if count == 0 {
            return true;
        }
    }
}
