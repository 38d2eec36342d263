//! Whiteouts hide what lower layers put into a tree, and nothing else.

use super::{Member, apply_to, directory, file, paths, symlink, tree};
use crate::tar::whiteout;

fn hide(path: &str) -> Member {
    (whiteout::hiding(path.as_bytes()), Vec::new())
}

fn opaque(path: &str) -> Member {
    (whiteout::opaque(path.as_bytes()), Vec::new())
}

/// Applies `upper` over `lower` and returns the paths that are left.
fn over(lower: &[Member], upper: &[Member]) -> Vec<String> {
    let tree = tree(lower);
    apply_to(tree.path(), upper).unwrap();
    paths(tree.path())
}

#[test]
fn a_whiteout_removes_a_file_and_a_whole_directory() {
    let lower = [file("a", ""), directory("d"), directory("d/e"), file("d/e/f", ""), file("z", "")];
    assert_eq!(over(&lower, &[hide("a"), hide("d")]), ["z"]);
}

#[test]
fn a_whiteout_of_nothing_does_nothing() {
    assert_eq!(over(&[file("a", "")], &[hide("b"), hide("c/d"), opaque("e")]), ["a"]);
    assert_eq!(over(&[], &[hide("b"), hide("c/d"), opaque("e")]), [""; 0]);
}

#[test]
fn a_whiteout_before_its_file_keeps_the_file() {
    assert_eq!(over(&[file("a", "old")], &[hide("a"), file("a", "new")]), ["a"]);
}

#[test]
fn a_whiteout_after_its_file_keeps_the_file() {
    assert_eq!(over(&[file("a", "old")], &[file("a", "new"), hide("a")]), ["a"]);
}

#[test]
fn a_whiteout_of_a_directory_keeps_what_this_layer_put_there() {
    let lower = [directory("d"), file("d/old", ""), directory("d/sub"), file("d/sub/old", "")];
    let upper = [file("d/new", ""), file("d/sub/new", ""), hide("d")];
    assert_eq!(over(&lower, &upper), ["d", "d/new", "d/sub", "d/sub/new"]);
}

#[test]
fn an_opaque_marker_after_files_keeps_the_files() {
    let lower = [directory("d"), file("d/old", ""), directory("d/sub"), file("d/sub/old", "")];
    let upper = [directory("d"), file("d/new", ""), directory("d/sub"), file("d/sub/new", ""), opaque("d")];
    assert_eq!(over(&lower, &upper), ["d", "d/new", "d/sub", "d/sub/new"]);
}

#[test]
fn an_opaque_marker_before_files_keeps_the_files() {
    let lower = [directory("d"), file("d/old", ""), file("other", "")];
    assert_eq!(over(&lower, &[directory("d"), opaque("d"), file("d/new", "")]), ["d", "d/new", "other"]);
}

#[test]
fn an_opaque_root_hides_everything_below() {
    let lower = [directory("d"), file("d/old", ""), symlink("l", "d")];
    assert_eq!(over(&lower, &[file("new", ""), opaque("")]), ["new"]);
}

#[test]
fn a_whiteout_through_a_link_spares_what_this_layer_wrote_by_another_path() {
    let lower = [directory("usr"), directory("usr/lib"), file("usr/lib/old", ""), symlink("lib", "usr/lib")];
    let upper = [file("usr/lib/new", ""), opaque("lib")];
    assert_eq!(over(&lower, &upper), ["lib", "usr", "usr/lib", "usr/lib/new"]);
}

#[test]
fn a_link_replaced_by_a_directory_leads_nowhere_any_more() {
    let lower = [directory("real"), symlink("alias", "real")];
    let upper = [file("alias/one", ""), directory("alias"), file("alias/two", "")];
    assert_eq!(over(&lower, &upper), ["alias", "alias/two", "real", "real/one"]);
}
