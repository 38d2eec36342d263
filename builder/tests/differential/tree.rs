//! A root filesystem as lines: what two builders must agree on.
//!
//! Times are not compared, and neither is which of several equal files is a hard link of which.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read;

use oxbox_layers::tar::{Entry, Kind, Reader};

/// Path → kind, mode, owner, content.
pub(crate) type Tree = BTreeMap<String, String>;

/// Reads the tar of a whole filesystem.
pub(crate) fn of_tar(tar: impl Read) -> Tree {
    let mut reader = Reader::new(tar);
    let mut tree = Tree::new();
    while let Some(entry) = reader.next().unwrap() {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        let line = match &entry.kind {
            Kind::Hardlink { target } => tree[&text(target)].clone(),
            _ => line(&entry, &content),
        };
        if !entry.path.is_empty() {
            tree.insert(text(&entry.path), line);
        }
    }
    tree
}

/// What is compared of one path.
pub(crate) fn line(entry: &Entry, content: &[u8]) -> String {
    let Entry { mode, uid, gid, xattrs, .. } = entry;
    let kind = match &entry.kind {
        Kind::BlockDevice { major, minor } => format!("block {major},{minor}"),
        Kind::CharacterDevice { major, minor } => format!("character {major},{minor}"),
        Kind::Directory => "directory".to_owned(),
        Kind::Fifo => "fifo".to_owned(),
        Kind::File { .. } => {
            format!("file of {}: {:?}", content.len(), text(&content[..content.len().min(40)]))
        }
        Kind::Hardlink { .. } => unreachable!("resolved by whoever reads the tree"),
        // The mode of a link means nothing, and kernels differ about it.
        Kind::Symlink { target } => return format!("{uid}:{gid} link {:?}", text(target)),
    };
    let capability = xattrs.contains_key(&b"security.capability"[..]);
    format!("{uid}:{gid} {mode:04o} {kind}{}", if capability { " capability" } else { "" })
}

/// Which special bits of modes are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    All,
    Sticky,
    None,
}

impl Special {
    fn mask(self) -> u32 {
        match self {
            Self::All => 7,
            Self::Sticky => 1,
            Self::None => 0,
        }
    }
}

/// Returns the lines that only one of two trees has; empty if they are equal.
pub(crate) fn difference(ours: &Tree, peer: &Tree, special: Special) -> String {
    let plain = |tree: &Tree| masked(tree, special);
    let (ours, peer) = (&plain(ours), &plain(peer));
    let paths: BTreeSet<&String> = ours.keys().chain(peer.keys()).collect();
    let mut report = String::new();
    for path in paths.into_iter().filter(|path| ours.get(*path) != peer.get(*path)) {
        for (sign, tree) in [('-', ours), ('+', peer)] {
            if let Some(line) = tree.get(path) {
                writeln!(report, "  {sign} {path} {line}").unwrap();
            }
        }
    }
    report
}

/// Whether all that differs is the mode of directories that are 0755 at the peer's.
pub(crate) fn differ_in_made_directories(ours: &Tree, peer: &Tree) -> bool {
    let (ours, peer) = (&masked(ours, Special::None), &masked(peer, Special::None));
    let paths: BTreeSet<&String> = ours.keys().chain(peer.keys()).collect();
    paths.into_iter().all(|path| match (ours.get(path), peer.get(path)) {
        (Some(ours), Some(peer)) if ours != peer => {
            let fields = |line: &'_ str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
            let (ours, peer) = (fields(ours), fields(peer));
            ours[0] == peer[0] && peer[1] == "0755" && [&ours[2], &peer[2]] == ["directory"; 2]
        }
        (ours, peer) => ours == peer,
    })
}

fn masked(tree: &Tree, special: Special) -> Tree {
    tree.iter().map(|(path, line)| (path.clone(), mask(line, special.mask()))).collect()
}

/// `uid:gid mode kind`, the mode's first digit cut to these bits.
fn mask(line: &str, bits: u32) -> String {
    let Some((owner, rest)) = line.split_once(' ') else { return line.to_owned() };
    match rest.chars().next().and_then(|digit| digit.to_digit(8)) {
        Some(digit) => format!("{owner} {}{}", digit & bits, &rest[1..]),
        None => line.to_owned(),
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
