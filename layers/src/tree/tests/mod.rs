//! Layers applied to trees, and trees written down as layers.

mod hostile;
mod overlaid;
mod round_trip;
mod whiteouts;

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::apply::{Applied, ApplyError, Devices, Options, Ownership, Whiteouts, apply};
use super::{Root, Xattrs, scan};
use crate::tar::{Entry, Kind, Reader, Writer, whiteout};

/// An entry and its content.
type Member = (Entry, Vec<u8>);

pub(super) fn file(path: &str, content: &str) -> Member {
    let entry = Entry::new(path, Kind::File { size: content.len() as u64 }, 0o644);
    (own(entry), content.as_bytes().to_vec())
}

pub(super) fn directory(path: &str) -> Member {
    (own(Entry::new(path, Kind::Directory, 0o755)), Vec::new())
}

fn symlink(path: &str, target: &str) -> Member {
    (own(Entry::new(path, Kind::Symlink { target: target.into() }, 0o777)), Vec::new())
}

pub(super) fn hardlink(path: &str, target: &str) -> Member {
    (own(Entry::new(path, Kind::Hardlink { target: target.into() }, 0o644)), Vec::new())
}

/// Makes an entry this process's own, so that the tests need no privilege where their fact needs none.
fn own(mut entry: Entry) -> Entry {
    entry.uid = rustix::process::geteuid().as_raw().into();
    entry.gid = rustix::process::getegid().as_raw().into();
    entry
}

/// Tells whether owners can be changed and devices made; where not, says what is left unchecked.
fn is_privileged(fact: &str) -> bool {
    let privileged = rustix::process::geteuid().is_root();
    if !privileged {
        eprintln!("not root: {fact} is not checked");
    }
    privileged
}

fn archive(members: &[Member]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, content) in members {
        writer.append(entry, &mut &content[..]).unwrap();
    }
    writer.finish().unwrap()
}

const OPTIONS: Options<'static> = Options {
    ownership: Ownership::Keep,
    devices: Devices::Required,
    whiteouts: Whiteouts::Apply,
    xattrs: Xattrs::CapabilityAndUser,
    max_bytes: 1 << 30,
    max_entries: 1 << 20,
};

fn apply_bytes(tree: &Path, archive: &[u8], options: &Options<'_>) -> Result<Applied, ApplyError> {
    apply(&Root::open(tree).unwrap(), &mut Reader::new(archive), options)
}

fn apply_to(tree: &Path, members: &[Member]) -> Result<Applied, ApplyError> {
    apply_bytes(tree, &archive(members), &OPTIONS)
}

fn paths(tree: &Path) -> Vec<String> {
    let entries = scan::scan(&Root::open(tree).unwrap(), Xattrs::None).unwrap();
    entries.iter().map(|entry| entry.path.escape_ascii().to_string()).collect()
}

/// A tree applied from members, in its own temporary folder.
pub(super) fn tree(members: &[Member]) -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    apply_to(tree.path(), members).unwrap();
    tree
}

#[test]
fn every_kind_of_entry_arrives_as_it_was() {
    if !is_privileged("ownership") {
        return;
    }
    let mut special = file("bin/special", "content").0;
    (special.mode, special.uid, special.gid, special.mtime) = (0o6755, 1000, 2000, -5);
    special.xattrs.insert(b"user.mime".to_vec(), b"text".to_vec());
    let mut sticky = directory("tmp").0;
    (sticky.mode, sticky.mtime) = (0o1777, 1_000_000_000);
    let members = [
        directory("bin"),
        (special, b"content".to_vec()),
        hardlink("bin/twin", "bin/special"),
        (own(Entry::new("null", Kind::CharacterDevice { major: 1, minor: 3 }, 0o666)), Vec::new()),
        (own(Entry::new("pipe", Kind::Fifo, 0o620)), Vec::new()),
        symlink("sh", "bin/special"),
        (sticky, Vec::new()),
        file("tmp/x", ""),
    ];
    let tree = tree(&members);
    let mut expected: Vec<Entry> = members.iter().map(|(entry, _)| entry.clone()).collect();
    // A second name has the attributes of the file, and so the scan says.
    expected[2] =
        Entry { path: expected[2].path.clone(), kind: expected[2].kind.clone(), ..expected[1].clone() };
    let scanned = scan::scan(&Root::open(tree.path()).unwrap(), Xattrs::CapabilityAndUser).unwrap();
    assert_eq!(scanned, expected);
    assert_eq!(std::fs::read(tree.path().join("bin/twin")).unwrap(), b"content");
}

#[test]
fn capabilities_outlive_the_change_of_owner() {
    if !is_privileged("ownership") {
        return;
    }
    let mut entry = file("ping", "x").0;
    (entry.uid, entry.gid) = (1000, 1000);
    let capability = [&[1, 0, 0, 2, 0, 32][..], &[0; 14]].concat();
    entry.xattrs.insert(b"security.capability".to_vec(), capability.clone());
    let tree = tree(&[(entry, b"x".to_vec())]);
    let mut value = [0; 64];
    let size = rustix::fs::getxattr(tree.path().join("ping"), "security.capability", &mut value[..]).unwrap();
    assert_eq!(value[..size], capability);
}

#[test]
fn the_entry_of_the_root_changes_the_root() {
    let mut block = [0; 512];
    block[..2].copy_from_slice(b"./");
    block[100..108].copy_from_slice(b"0000711\0");
    block[136..148].copy_from_slice(b"00000000007\0");
    block[156] = b'5';
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum::<u32>() + 8 * 32;
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let tree = tempfile::tempdir().unwrap();
    let options = Options { ownership: Ownership::Current, ..OPTIONS };
    apply_bytes(tree.path(), &block, &options).unwrap();
    let metadata = tree.path().metadata().unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (0o711, 7));
}

#[test]
fn files_and_directories_replace_each_other() {
    let tree =
        tree(&[directory("d"), directory("d/e"), file("d/e/f", "1"), file("g", "2"), symlink("h", "d")]);
    apply_to(tree.path(), &[file("d", "now a file"), directory("g"), file("g/x", ""), directory("h")])
        .unwrap();
    assert_eq!(paths(tree.path()), ["d", "g", "g/x", "h"]);
    assert!(tree.path().join("h").symlink_metadata().unwrap().is_dir());
}

#[test]
fn replacing_a_name_leaves_the_other_names_alone() {
    let tree = tree(&[file("a", "old"), hardlink("b", "a")]);
    apply_to(tree.path(), &[file("a", "new")]).unwrap();
    assert_eq!(std::fs::read(tree.path().join("b")).unwrap(), b"old");
}

#[test]
fn a_directory_that_stays_loses_attributes_it_should_not_have() {
    let mut entry = directory("d").0;
    entry.xattrs.insert(b"user.a".to_vec(), b"1".to_vec());
    let tree = tree(&[(entry, Vec::new()), file("d/kept", "")]);
    apply_to(tree.path(), &[directory("d")]).unwrap();
    let entries = scan::scan(&Root::open(tree.path()).unwrap(), Xattrs::CapabilityAndUser).unwrap();
    assert!(entries[0].xattrs.is_empty());
    assert_eq!(entries.len(), 2);
}

#[test]
fn a_directory_keeps_its_time_whatever_is_made_in_it() {
    let mut entry = directory("d").0;
    entry.mtime = 12_345;
    let tree = tree(&[(entry, Vec::new()), file("d/x", ""), directory("d/sub")]);
    assert_eq!(tree.path().join("d").metadata().unwrap().mtime(), 12_345);
}

#[test]
fn unmentioned_parents_are_made() {
    let tree = tree(&[file("opt/tool/bin/x", "")]);
    assert_eq!(paths(tree.path()), ["opt", "opt/tool", "opt/tool/bin", "opt/tool/bin/x"]);
    assert_eq!(tree.path().join("opt/tool").metadata().unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn a_directory_of_lower_layers_that_is_not_mentioned_keeps_its_time() {
    let dated = |path: &str, mtime| (Entry { mtime, ..directory(path).0 }, Vec::new());
    let (d, e, f) = (dated("d", 77), dated("e", 78), dated("f", 79));
    let tree = tree(&[d, file("d/x", ""), symlink("l", "d"), e, file("e/y", ""), f, file("f/z", "")]);
    let hiding = (whiteout::hiding(b"e/y"), Vec::new());
    let mentioned = dated("f", 80);
    apply_to(tree.path(), &[file("l/new", ""), hiding, file("e/sub/new", ""), file("f/new", ""), mentioned])
        .unwrap();
    let times = ["d", "e", "e/sub", "f"].map(|path| tree.path().join(path).metadata().unwrap().mtime());
    assert_eq!(times, [77, 78, 0, 80]);
}

#[test]
fn a_link_to_a_directory_that_is_not_there_yet_is_followed() {
    let tree = tree(&[symlink("lib", "usr/lib"), file("lib/x", "")]);
    assert_eq!(paths(tree.path()), ["lib", "usr", "usr/lib", "usr/lib/x"]);
}

#[test]
fn a_file_in_place_of_a_parent_is_an_error() {
    let tree = tempfile::tempdir().unwrap();
    let error = apply_to(tree.path(), &[file("a", ""), file("a/b", "")]).unwrap_err();
    assert!(error.to_string().contains("cannot open"), "{error}");
}

#[test]
fn current_ownership_changes_no_owner() {
    let mut entry = file("f", "").0;
    (entry.uid, entry.gid) = (12_345, 12_345);
    let tree = tempfile::tempdir().unwrap();
    let options = Options { ownership: Ownership::Current, ..OPTIONS };
    apply_bytes(tree.path(), &archive(&[(entry, Vec::new())]), &options).unwrap();
    assert_eq!(tree.path().join("f").metadata().unwrap().uid(), rustix::process::geteuid().as_raw());
}

#[test]
fn gnu_tar_unpacks_the_same_tree() {
    if !is_privileged("ownership") {
        return;
    }
    let mut owned = file("usr/share/doc/x", "text").0;
    (owned.mtime, owned.uid, owned.mode) = (1_600_000_000, 33, 0o4711);
    let members = [
        directory("usr"),
        directory("usr/share"),
        directory("usr/share/doc"),
        (owned, b"text".to_vec()),
        hardlink("usr/share/y", "usr/share/doc/x"),
        symlink("usr/z", "share/y"),
    ];
    let (ours, theirs) = (tree(&members), tempfile::tempdir().unwrap());
    let mut input = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut input, &archive(&members)).unwrap();
    std::io::Seek::rewind(&mut input).unwrap();
    let status = std::process::Command::new("tar")
        .args(["--same-owner", "--numeric-owner", "-xpf", "-", "-C"])
        .arg(theirs.path())
        .stdin(input)
        .status()
        .unwrap();
    assert!(status.success());
    let scanned =
        [&ours, &theirs].map(|tree| scan::scan(&Root::open(tree.path()).unwrap(), Xattrs::None).unwrap());
    assert_eq!(scanned[0], scanned[1]);
}

/// Reads a whole archive into its members.
fn members_of(archive: &[u8]) -> Vec<Member> {
    let mut reader = Reader::new(archive);
    let mut members = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        members.push((entry, content));
    }
    members
}
