//! A layer made of two trees turns the one into the other.

use std::collections::BTreeMap;

use proptest::collection::btree_map;
use proptest::prelude::*;

use super::{
    Entry, Kind, Member, Root, Xattrs, apply_to, archive, directory, file, hardlink, members_of, own,
    symlink, tree,
};
use crate::tar::{Writer, whiteout};
use crate::tree::diff::{DiffError, trees};
use crate::tree::{emit, scan};

fn root(tree: &tempfile::TempDir) -> Root {
    Root::open(tree.path()).unwrap()
}

/// The layer that turns `lower` into `upper`, as an archive.
pub(super) fn layer(lower: &tempfile::TempDir, upper: &tempfile::TempDir) -> Vec<u8> {
    let entries = trees(&root(lower), &root(upper), Xattrs::CapabilityAndUser).unwrap();
    let mut writer = Writer::new(Vec::new());
    emit(&root(upper), &entries, &mut writer).unwrap();
    writer.finish().unwrap()
}

/// The paths of the layer that turns `lower` into `upper`.
fn changed(lower: &[Member], upper: &[Member]) -> Vec<String> {
    let bytes = layer(&tree(lower), &tree(upper));
    members_of(&bytes).iter().map(|(entry, _)| entry.path.escape_ascii().to_string()).collect()
}

fn at(mtime: i64, (mut entry, content): Member) -> Member {
    entry.mtime = mtime;
    (entry, content)
}

#[test]
fn equal_trees_differ_in_nothing() {
    let members = [directory("d"), file("d/f", "x"), symlink("l", "d"), file("z", "")];
    assert_eq!(changed(&members, &members), [""; 0]);
}

#[test]
fn parents_come_once_and_before_what_changed_in_them() {
    let lower = [directory("a"), directory("a/b"), file("a/b/x", "1"), file("a/b/y", "1"), directory("c")];
    let upper = [directory("a"), directory("a/b"), file("a/b/x", "2"), file("a/b/y", "2"), directory("c")];
    assert_eq!(changed(&lower, &upper), ["a", "a/b", "a/b/x", "a/b/y"]);
}

#[test]
fn whiteouts_stand_where_the_deleted_stood() {
    let lower =
        [directory("d"), file("d/a", ""), file("d/b", ""), file("d/c", ""), directory("e"), file("e/x", "")];
    let upper = [directory("d"), file("d/a", "new"), file("d/c", "new")];
    assert_eq!(changed(&lower, &upper), ["d", "d/a", "d/.wh.b", "d/c", ".wh.e"]);
}

#[test]
fn a_change_of_kind_hides_the_old_kind_first() {
    let lower = [directory("a"), file("a/x", ""), file("b", ""), file("c", "")];
    let upper = [file("a", ""), directory("b"), symlink("c", "b")];
    assert_eq!(changed(&lower, &upper), [".wh.a", "a", ".wh.b", "b", "c"]);
}

#[test]
fn the_time_alone_changes_a_file_but_no_directory() {
    let lower = [directory("d"), file("f", "x")];
    assert_eq!(changed(&lower, &[at(5, directory("d")), file("f", "x")]), [""; 0]);
    assert_eq!(changed(&lower, &[directory("d"), at(5, file("f", "x"))]), ["f"]);
}

#[test]
fn content_is_compared_where_times_have_no_fraction() {
    assert_eq!(changed(&[file("f", "one")], &[file("f", "two")]), ["f"]);
}

#[test]
fn one_changed_name_brings_the_others_along() {
    let lower = [file("a", "x"), hardlink("b", "a")];
    let upper = [file("a", "x"), hardlink("b", "a"), hardlink("c", "a")];
    let members = members_of(&layer(&tree(&lower), &tree(&upper)));
    let kinds: Vec<_> = members.into_iter().map(|(entry, _)| entry.kind).collect();
    let link = Kind::Hardlink { target: b"a".to_vec() };
    assert_eq!(kinds, [Kind::File { size: 1 }, link.clone(), link]);
}

#[test]
fn names_that_became_two_files_are_written() {
    let lower = [file("a", "x"), hardlink("b", "a")];
    assert_eq!(changed(&lower, &[file("a", "x"), file("b", "x")]), ["b"]);
    assert_eq!(changed(&[file("a", "x"), file("b", "x")], &lower), ["a", "b"]);
}

#[test]
fn a_file_named_like_a_whiteout_is_refused() {
    let upper = tempfile::tempdir().unwrap();
    std::fs::write(upper.path().join(".wh.x"), b"").unwrap();
    let result = trees(&root(&tree(&[])), &root(&upper), Xattrs::None);
    assert!(matches!(result, Err(DiffError::Reserved { path }) if path == b".wh.x"));
}

#[test]
fn a_whiteout_has_neither_owner_nor_time() {
    let members = members_of(&layer(&tree(&[file("a", "")]), &tree(&[])));
    assert_eq!(members[0].0, whiteout::hiding(b"a"));
}

/// A few paths, so that two random trees have many in common; some inside each other.
fn paths() -> impl Strategy<Value = String> {
    prop::sample::select(
        &["a", "a/b", "a/b/c", "a/b/d", "a/e", "a-b", "b", "b/a", "b/c", "c", "d/e/f", "d/e/g"][..],
    )
    .prop_map(str::to_owned)
}

fn node() -> impl Strategy<Value = Member> {
    let kind = prop_oneof![
        3 => Just(Kind::Directory),
        4 => Just(Kind::File { size: 0 }),
        1 => Just(Kind::Symlink { target: b"a/b".to_vec() }),
        1 => Just(Kind::Fifo),
        1 => Just(Kind::Hardlink { target: Vec::new() }),
    ];
    let xattrs =
        btree_map(Just(b"user.k".to_vec()), prop_oneof![Just(b"1".to_vec()), Just(b"2".to_vec())], 0..2);
    let mode = prop::sample::select(&[0o644, 0o755, 0o4755, 0o1777][..]);
    (kind, mode, 0i64..3, 0u64..3, xattrs, "[xy]{0,2}").prop_map(
        |(kind, mode, mtime, gid, xattrs, content)| {
            let mut entry = own(Entry::new("", kind, mode));
            entry.mtime = mtime;
            if rustix::process::geteuid().is_root() {
                entry.gid = gid;
            }
            match entry.kind {
                Kind::File { .. } => {
                    entry.kind = Kind::File { size: content.len() as u64 };
                    entry.xattrs = xattrs;
                    return (entry, content.into_bytes());
                }
                Kind::Directory => {
                    entry.xattrs = xattrs;
                    if !rustix::process::geteuid().is_root() {
                        // Anybody else would be shut out of the tree.
                        entry.mode |= 0o700;
                    }
                }
                // Modes of links are what the kernel says they are.
                Kind::Symlink { .. } => entry.mode = 0o777,
                _ => {}
            }
            (entry, Vec::new())
        },
    )
}

/// Turns random nodes into a tree's members: parents are directories, links have targets.
fn members(nodes: BTreeMap<String, Member>) -> Vec<Member> {
    let mut members: BTreeMap<Vec<u8>, Member> = BTreeMap::new();
    let mut files: Vec<Vec<u8>> = Vec::new();
    for (path, (mut entry, content)) in nodes {
        let parents: Vec<_> = path.match_indices('/').map(|(end, _)| &path[..end]).collect();
        let is_blocked = |parent: &&str| {
            members.get(parent.as_bytes()).is_some_and(|(above, _)| above.kind != Kind::Directory)
        };
        if parents.iter().any(is_blocked) {
            continue;
        }
        for parent in parents {
            members.entry(parent.into()).or_insert_with(|| directory(parent));
        }
        entry.path = path.into_bytes();
        match &entry.kind {
            Kind::Hardlink { .. } => match files.last() {
                Some(target) => entry.kind = Kind::Hardlink { target: target.clone() },
                None => continue,
            },
            Kind::File { .. } => files.push(entry.path.clone()),
            _ => {}
        }
        members.insert(entry.path.clone(), (entry, content));
    }
    let mut members: Vec<_> = members.into_values().collect();
    members.sort_by(|left, right| scan::compare(&left.0.path, &right.0.path));
    // A link's target has to come first.
    members.sort_by_key(|(entry, _)| matches!(entry.kind, Kind::Hardlink { .. }));
    members
}

pub(super) fn random_tree() -> impl Strategy<Value = Vec<Member>> {
    btree_map(paths(), node(), 0..10).prop_map(members)
}

/// What a tree holds, with content; times of directories only where the layer has them.
fn facts(tree: &tempfile::TempDir, layer: &[Member]) -> Vec<(Entry, Vec<u8>)> {
    let root = root(tree);
    let mut facts = Vec::new();
    for mut entry in scan::scan(&root, Xattrs::CapabilityAndUser).unwrap() {
        let mut content = Vec::new();
        if let Kind::File { .. } = entry.kind {
            std::io::Read::read_to_end(&mut root.open_file(&entry.path).unwrap(), &mut content).unwrap();
        }
        let is_written = layer.iter().any(|(written, _)| written.path == entry.path);
        if entry.kind == Kind::Directory && !is_written {
            entry.mtime = 0;
        }
        facts.push((entry, content));
    }
    facts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_difference_applied_to_the_one_gives_the_other(lower in random_tree(), upper in random_tree()) {
        let (lower, upper) = (tree(&lower), tree(&upper));
        let bytes = layer(&lower, &upper);
        let written = members_of(&bytes);
        apply_to(lower.path(), &written).unwrap();
        prop_assert_eq!(facts(&lower, &written), facts(&upper, &written));
        // And then there is nothing left to change.
        prop_assert_eq!(members_of(&layer(&lower, &upper)), Vec::new());
        prop_assert_eq!(archive(&written), bytes);
    }

    #[test]
    fn a_tree_over_nothing_is_the_whole_tree(members in random_tree()) {
        let (empty, full) = (tree(&[]), tree(&members));
        let written = members_of(&layer(&empty, &full));
        apply_to(empty.path(), &written).unwrap();
        prop_assert_eq!(facts(&empty, &written), facts(&full, &written));
    }
}
