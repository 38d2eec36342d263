//! Layers as overlayfs has them: upper directories read, lower directories written.
//!
//! The mounts need root; without it these tests say so and check nothing.

use std::io::Read;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::round_trip::{layer, random_tree};
use super::{
    Member, OPTIONS, Options, Root, Whiteouts, Xattrs, apply_bytes, apply_to, archive, directory, file,
    hardlink, members_of, paths, symlink, tree,
};
use crate::tar::{Entry, Kind, Writer, whiteout};
use crate::tree::apply::{Entries, Lower};
use crate::tree::diff::DiffError;
use crate::tree::overlay::{Namespace, changes};
use crate::tree::{Stack, TreeError, emit, scan, untold};

fn stack(trees: &[&Path]) -> Stack {
    Stack::new(trees.iter().map(|tree| Root::open(tree).unwrap()).collect(), Xattrs::CapabilityAndUser)
}

fn changed(upper: &Path, lower: &[&Path]) -> Vec<String> {
    let entries =
        changes(&Root::open(upper).unwrap(), &stack(lower), Xattrs::CapabilityAndUser).unwrap().entries;
    entries.iter().map(|entry| entry.path.escape_ascii().to_string()).collect()
}

fn make_whiteout(path: &Path) {
    mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
}

fn make_opaque(path: &Path) {
    rustix::fs::setxattr(path, "user.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
}

/// Only root may set the marks that root's mounts heed.
fn namespace() -> Namespace {
    if rustix::process::geteuid().is_root() { Namespace::Trusted } else { Namespace::User }
}

/// Applies one layer to a tree of its own, to become a lower directory.
fn snapshot(members: &[Member], lower: Option<&Stack>) -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    let lower = lower.map(|lower| lower as &dyn Lower);
    let whiteouts = Whiteouts::Overlay { namespace: namespace(), lower };
    apply_bytes(tree.path(), &archive(members), &Options { whiteouts, ..OPTIONS }).unwrap();
    tree
}

fn hide(path: &str) -> Member {
    (whiteout::hiding(path.as_bytes()), Vec::new())
}

fn opaque(path: &str) -> Member {
    (whiteout::opaque(path.as_bytes()), Vec::new())
}

/// An overlay mount, gone when dropped.
struct Mount(tempfile::TempDir);

impl Mount {
    /// Mounts trees over each other, the topmost first, with an upper directory.
    fn new(lower: &[&Path]) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        for name in ["merged", "upper", "work"] {
            std::fs::create_dir(place.path().join(name)).unwrap();
        }
        let lower: Vec<_> = lower.iter().map(|path| path.to_str().unwrap()).collect();
        let at = place.path().display();
        let data = format!("lowerdir={},upperdir={at}/upper,workdir={at}/work", lower.join(":"));
        let data = std::ffi::CString::new(data).unwrap();
        match mount("overlay", place.path().join("merged"), "overlay", MountFlags::empty(), Some(&*data)) {
            Ok(()) => Some(Self(place)),
            Err(error) => {
                eprintln!("cannot mount overlay here ({error}): nothing was checked");
                None
            }
        }
    }

    fn merged(&self) -> PathBuf {
        self.0.path().join("merged")
    }

    fn upper(&self) -> PathBuf {
        self.0.path().join("upper")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        unmount(self.merged(), UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_whiteout_device_counts_only_over_something() {
    let lower = tree(&[directory("etc"), file("etc/motd", "")]);
    let upper = tree(&[directory("etc")]);
    make_whiteout(&upper.path().join("etc/motd"));
    make_whiteout(&upper.path().join("etc/never"));
    assert_eq!(changed(upper.path(), &[lower.path()]), ["etc", "etc/.wh.motd"]);
}

#[test]
fn a_whiteout_that_is_an_attribute_hides_as_a_device_does() {
    let bottom = tree(&[directory("etc"), file("etc/motd", ""), file("etc/fstab", "")]);
    let upper = tree(&[directory("etc"), file("etc/motd", ""), file("etc/fstab", "not empty")]);
    for name in ["etc/motd", "etc/fstab"] {
        let path = upper.path().join(name);
        rustix::fs::setxattr(path, "user.overlay.whiteout", b"y", XattrFlags::empty()).unwrap();
    }
    assert_eq!(changed(upper.path(), &[bottom.path()]), ["etc", "etc/fstab", "etc/.wh.motd"]);
    let stack = stack(&[upper.path(), bottom.path()]);
    assert!(stack.find(b"etc/motd").unwrap().is_none());
    assert!(stack.find(b"etc/fstab").unwrap().is_some());
}

/// Folds trees that are to lie above others.
fn folded(trees: &[&Path], lower: &[&Path]) -> tempfile::TempDir {
    let folded = tempfile::tempdir().unwrap();
    let root = Root::open(folded.path()).unwrap();
    let whiteouts = Whiteouts::Overlay { namespace: namespace(), lower: None };
    let options = Options { whiteouts, ..OPTIONS };
    let mut entries = Entries::new(&root, &options).unwrap();
    crate::tree::fold(&stack(trees), &stack(lower), &root, &mut entries).unwrap();
    entries.finish().unwrap();
    folded
}

#[test]
fn a_stack_that_is_folded_shows_the_same() {
    let bottom = tree(&[directory("etc"), file("etc/motd", "1"), file("etc/fstab", ""), directory("usr")]);
    let top = snapshot(&[hide("etc/fstab"), directory("usr"), opaque("usr"), file("usr/x", "2")], None);
    let flat = folded(&[top.path(), bottom.path()], &[]);
    assert_eq!(paths(flat.path()), ["etc", "etc/motd", "usr", "usr/x"]);
    assert_eq!(std::fs::read(flat.path().join("etc/motd")).unwrap(), b"1");
}

#[test]
fn a_fold_has_marks_in_directories_that_lie_below_and_nowhere_else() {
    let bottom = tree(&[directory("old"), file("old/gone", ""), directory("anew"), file("anew/x", "")]);
    let first = tree(&[directory("old"), file("old/own", ""), directory("new"), file("new/gone", "")]);
    let second = snapshot(
        &[
            hide("old/gone"),
            hide("old/own"),
            hide("new/gone"),
            hide("never"),
            hide("anew"),
            directory("anew"),
        ],
        None,
    );
    let folded = folded(&[second.path(), first.path()], &[bottom.path()]);
    assert_eq!(paths(folded.path()), ["anew", "never", "new", "old", "old/gone", "old/own"]);
    let below = [folded.path(), bottom.path()];
    assert_eq!(stack(&below).names(b"anew").unwrap(), [b""; 0]);
    assert_eq!(stack(&below).names(b"old").unwrap(), [b""; 0]);
    let Some(mounted) = Mount::new(&below) else { return };
    assert_eq!(paths(&mounted.merged()), ["anew", "new", "old"]);
}

#[test]
fn an_opaque_directory_hides_each_lower_name() {
    let lower = tree(&[
        directory("d"),
        file("d/a", "old"),
        file("d/b", ""),
        directory("d/sub"),
        file("d/sub/x", ""),
        file("d/z", ""),
    ]);
    let upper = tree(&[directory("d"), file("d/b", "new"), directory("d/sub"), file("d/sub/y", "")]);
    make_opaque(&upper.path().join("d"));
    let expected = ["d", "d/.wh.a", "d/b", "d/sub", "d/sub/.wh.x", "d/sub/y", "d/.wh.z"];
    assert_eq!(changed(upper.path(), &[lower.path()]), expected);
}

#[test]
fn directories_that_no_entry_speaks_of_can_have_their_times_back() {
    let dated = |path: &str, mtime| (Entry { mtime, ..directory(path).0 }, Vec::new());
    let old =
        |mtime| [dated("etc", mtime), dated("tmp", mtime + 1), dated("usr", mtime + 2), file("usr/x", "")];
    let (lower, upper) = (tree(&old(70)), tree(&old(80)));
    std::fs::write(upper.path().join("etc/new"), "").unwrap();
    make_whiteout(&upper.path().join("tmp/never"));
    let root = Root::open(upper.path()).unwrap();
    root.set_mtime(b"etc", 80).unwrap();
    let changed = changes(&root, &stack(&[lower.path()]), Xattrs::CapabilityAndUser).unwrap();
    untold::restore_times(&root, &changed.untold).unwrap();
    let times = ["etc", "tmp", "usr"].map(|path| upper.path().join(path).metadata().unwrap().mtime());
    assert_eq!(times, [80, 71, 72]);
}

#[test]
fn what_was_copied_up_and_not_changed_is_left_out() {
    let members = [directory("d"), file("d/f", "same"), symlink("d/l", "f")];
    let (lower, upper) = (tree(&members), tree(&members));
    assert_eq!(changed(upper.path(), &[lower.path()]), [""; 0]);
}

#[test]
fn a_moved_directory_without_its_content_is_refused() {
    let upper = tree(&[directory("d")]);
    rustix::fs::setxattr(upper.path().join("d"), "user.overlay.redirect", b"/e", XattrFlags::empty())
        .unwrap();
    let result = changes(&Root::open(upper.path()).unwrap(), &stack(&[]), Xattrs::None);
    assert!(matches!(result, Err(DiffError::Elsewhere { path }) if path == b"d"));
}

#[test]
fn whatever_is_done_in_a_mount_is_in_its_layer() {
    let bottom = tree(&[
        directory("etc"),
        file("etc/motd", "hello"),
        file("etc/fstab", ""),
        directory("usr"),
        directory("usr/lib"),
        file("usr/lib/old", ""),
        directory("var"),
        directory("var/log"),
        file("var/log/x", ""),
        file("name", "linked"),
        hardlink("other", "name"),
    ]);
    let top = snapshot(&[hide("etc/fstab"), directory("usr"), file("usr/new", "")], None);
    let Some(mounted) = Mount::new(&[top.path(), bottom.path()]) else { return };
    let merged = mounted.merged();
    std::fs::remove_file(merged.join("etc/motd")).unwrap();
    std::fs::remove_dir_all(merged.join("usr/lib")).unwrap();
    std::fs::create_dir(merged.join("usr/lib")).unwrap();
    std::fs::write(merged.join("usr/lib/fresh"), "fresh").unwrap();
    std::fs::remove_dir_all(merged.join("var")).unwrap();
    std::fs::write(merged.join("var"), "a file now").unwrap();
    std::fs::hard_link(merged.join("name"), merged.join("third")).unwrap();
    drop(std::fs::OpenOptions::new().append(true).open(merged.join("usr/new")).unwrap());

    let lower = stack(&[top.path(), bottom.path()]);
    let upper = Root::open(&mounted.upper()).unwrap();
    let entries = changes(&upper, &lower, Xattrs::CapabilityAndUser).unwrap().entries;
    let expected = [
        "etc",
        "etc/.wh.motd",
        "name",
        "third",
        "usr",
        "usr/lib",
        "usr/lib/fresh",
        "usr/lib/.wh.old",
        ".wh.var",
        "var",
    ];
    let written: Vec<_> = entries.iter().map(|entry| entry.path.escape_ascii().to_string()).collect();
    assert_eq!(written, expected);

    // The layer over the same layers below gives what the mount shows.
    let mut writer = Writer::new(Vec::new());
    emit(&upper, &entries, &mut writer).unwrap();
    let plain = tree(&[]);
    let below = Root::open(bottom.path()).unwrap();
    for bytes in [
        whole(&below),
        archive(&[hide("etc/fstab"), directory("usr"), file("usr/new", "")]),
        writer.finish().unwrap(),
    ] {
        apply_bytes(plain.path(), &bytes, &OPTIONS).unwrap();
    }
    assert_eq!(without_times(plain.path()), without_times(&merged));
}

/// A tree as the archive of all it holds.
fn whole(root: &Root) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    let entries = scan::scan(root, Xattrs::CapabilityAndUser).unwrap();
    emit(root, &entries, &mut writer).unwrap();
    writer.finish().unwrap()
}

/// What a tree holds; names of one file are told apart by overlayfs, and times by when tests run.
fn without_times(tree: &Path) -> Vec<(String, u32, u64)> {
    let root = Root::open(tree).unwrap();
    let entries = scan::scan(&root, Xattrs::None).unwrap();
    let fact = |entry: &Entry| {
        let size = root.open_file(&entry.path).map_or(0, |file| file.metadata().unwrap().len());
        let size = if entry.kind == Kind::Directory { 0 } else { size };
        (entry.path.escape_ascii().to_string(), entry.mode, size)
    };
    entries.iter().map(fact).collect()
}

#[test]
fn an_opaque_root_hides_every_lower_name() {
    let lower = tree(&[directory("a"), file("a/x", ""), file("b", ""), directory("c"), file("c/old", "")]);
    let members = [directory("a"), file("a/y", ""), opaque(""), directory("c"), file("c/new", "")];
    let upper = snapshot(&members, Some(&stack(&[lower.path()])));
    let Some(mounted) = Mount::new(&[upper.path(), lower.path()]) else { return };
    assert_eq!(paths(&mounted.merged()), ["a", "a/y", "c", "c/new"]);
}

#[test]
fn layers_applied_as_lower_directories_mount_to_the_same_tree() {
    let layers: [&[Member]; 3] = [
        &[
            directory("a"),
            file("a/one", "1"),
            file("a/two", "2"),
            directory("b"),
            directory("b/sub"),
            file("b/sub/x", ""),
            directory("c"),
            file("c/old", ""),
            symlink("lib", "b/sub"),
        ],
        &[
            hide("a/one"),
            directory("b"),
            opaque("b"),
            file("b/own", ""),
            hide("c"),
            directory("c"),
            file("c/new", ""),
        ],
        &[directory("a"), file("a/three", ""), file("b/later/deep", ""), hide("b/own"), hide("a/none")],
    ];
    let plain = tree(&[]);
    let mut snapshots: Vec<tempfile::TempDir> = Vec::new();
    for members in layers {
        apply_to(plain.path(), members).unwrap();
        let below: Vec<_> = snapshots.iter().rev().map(tempfile::TempDir::path).collect();
        snapshots.push(snapshot(members, Some(&stack(&below))));
    }
    let lower: Vec<_> = snapshots.iter().rev().map(tempfile::TempDir::path).collect();
    let Some(mounted) = Mount::new(&lower) else { return };
    assert_eq!(without_times(&mounted.merged()), without_times(plain.path()));
}

/// What a tree shows, whichever names belong to one file: copying up parts them.
fn shown(tree: &Path) -> Vec<(Entry, Vec<u8>)> {
    let root = Root::open(tree).unwrap();
    let fact = |found: Result<scan::Found, TreeError>| {
        let mut entry = found.unwrap().entry;
        let mut content = Vec::new();
        match entry.kind {
            Kind::File { .. } => {
                root.open_file(&entry.path).unwrap().read_to_end(&mut content).unwrap();
            }
            Kind::Directory => entry.mtime = 0,
            _ => {}
        }
        (entry, content)
    };
    scan::Walk::new(&root, Xattrs::CapabilityAndUser).unwrap().map(fact).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_upper_directory_tells_whatever_a_layer_did_in_a_mount(
        bottom in random_tree(), middle in random_tree(), top in random_tree(),
    ) {
        let (bottom, middle, top) = (tree(&bottom), tree(&middle), tree(&top));
        let below = snapshot(&members_of(&layer(&bottom, &middle)), None);
        let Some(mounted) = Mount::new(&[below.path(), bottom.path()]) else { return Ok(()) };
        apply_bytes(&mounted.merged(), &layer(&middle, &top), &OPTIONS).unwrap();
        let upper = Root::open(&mounted.upper()).unwrap();
        let stack = stack(&[below.path(), bottom.path()]);
        let entries = changes(&upper, &stack, Xattrs::CapabilityAndUser).unwrap().entries;
        let mut writer = Writer::new(Vec::new());
        emit(&upper, &entries, &mut writer).unwrap();
        apply_bytes(middle.path(), &writer.finish().unwrap(), &OPTIONS).unwrap();
        prop_assert_eq!(shown(middle.path()), shown(&mounted.merged()));
        prop_assert_eq!(shown(middle.path()), shown(top.path()));
    }

    #[test]
    fn a_chain_of_lower_directories_mounts_to_the_last_tree(
        first in random_tree(), second in random_tree(), third in random_tree(),
    ) {
        let trees = [tree(&[]), tree(&first), tree(&second), tree(&third)];
        let mut snapshots: Vec<tempfile::TempDir> = Vec::new();
        for pair in trees.windows(2) {
            let below: Vec<_> = snapshots.iter().rev().map(tempfile::TempDir::path).collect();
            snapshots.push(snapshot(&members_of(&layer(&pair[0], &pair[1])), Some(&stack(&below))));
        }
        let lower: Vec<_> = snapshots.iter().rev().map(tempfile::TempDir::path).collect();
        let Some(mounted) = Mount::new(&lower) else { return Ok(()) };
        let expected = shown(trees[3].path());
        prop_assert_eq!(shown(&mounted.merged()), expected.clone());
        for lowest in 0..3 {
            let (above, below) = lower.split_at(3 - lowest);
            let folded = folded(above, below);
            let trees: Vec<_> = [folded.path()].into_iter().chain(below.iter().copied()).collect();
            let Some(mounted) = Mount::new(&trees) else { return Ok(()) };
            prop_assert_eq!(shown(&mounted.merged()), expected.clone());
        }
    }
}

#[test]
fn unmentioned_parents_look_as_they_do_below() {
    let mut private = directory("secret").0;
    (private.mode, private.mtime) = (0o700, 77);
    let lower = tree(&[(private.clone(), Vec::new())]);
    let upper = snapshot(&[file("secret/x", "")], Some(&stack(&[lower.path()])));
    let entries = scan::scan(&Root::open(upper.path()).unwrap(), Xattrs::None).unwrap();
    assert_eq!(entries[0], private);
}

#[test]
fn a_link_below_is_followed_and_not_hidden() {
    let lower = tree(&[directory("usr"), directory("usr/lib"), symlink("lib", "/usr/lib")]);
    let upper = snapshot(&[file("lib/x", "")], Some(&stack(&[lower.path()])));
    assert_eq!(paths(upper.path()), ["usr", "usr/lib", "usr/lib/x"]);
}

#[test]
fn a_directory_over_its_own_whiteout_is_opaque() {
    let upper = snapshot(&[hide("d"), directory("d"), file("d/x", "")], None);
    let mut value = [0; 8];
    let size = rustix::fs::getxattr(upper.path().join("d"), namespace().opaque(), &mut value[..]).unwrap();
    assert_eq!(&value[..size], b"y");
}

#[test]
fn a_file_over_its_own_whiteout_is_the_file() {
    let upper = snapshot(&[hide("f"), file("f", "x"), file("g", "y"), hide("g")], None);
    assert_eq!(std::fs::read(upper.path().join("f")).unwrap(), b"x");
    assert_eq!(std::fs::read(upper.path().join("g")).unwrap(), b"y");
}
