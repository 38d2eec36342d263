//! What lands where: the destination rules of COPY, ADD and WORKDIR.

use std::num::NonZero;
use std::sync::Arc;

use oxbox_layers::tar::{Entry, Kind};

use super::{
    CopyError, Input, Owner, PlaceError, Planned, Rules, plan, plan_directory, select, select_parents,
};
use crate::context::Ignore;
use crate::context::tree::FileTree;
use crate::context::tree::tests::Trial;
use crate::exec::Interrupt;
use crate::plan::mode::Mode;

fn source() -> Arc<dyn FileTree> {
    let owned = |path: &str, uid, mode| Entry { uid, gid: uid, ..Entry::new(path, Kind::Directory, mode) };
    Arc::new(
        Trial::default()
            .with(owned("dir", 7, 0o700))
            .with(owned("dir/sub", 8, 0o750))
            .file("dir/sub/deep", "deep")
            .file("dir/one", "1")
            .link("dir/link", "one")
            .file("file", "content"),
    )
}

fn base() -> Trial {
    let root = |path: &str, mode| Entry::new(path, Kind::Directory, mode);
    Trial::default()
        .directory("usr")
        .directory("usr/lib")
        .link("lib", "usr/lib")
        .with(Entry { uid: 5, gid: 5, ..root("home", 0o711) })
        .file("taken", "x")
        .link("tofile", "taken")
}

fn copied(patterns: &[&str], destination: &str, rules: Rules) -> Result<Planned, CopyError> {
    let inputs = patterns.iter().map(|pattern| {
        let tree = source();
        let selected = select(&*tree, pattern).unwrap();
        Input::Paths { tree, selected }
    });
    plan(&base(), inputs.collect(), destination, rules)
}

/// `mode uid path` of each entry, with what a link holds.
fn lines(planned: &Planned) -> Vec<String> {
    let line = |entry: &Entry| {
        let path = String::from_utf8(entry.path.clone()).unwrap();
        let end = match &entry.kind {
            Kind::Directory => "/".to_owned(),
            Kind::Symlink { target } => format!(" -> {}", String::from_utf8_lossy(target)),
            Kind::Hardlink { target } => format!(" = {}", String::from_utf8_lossy(target)),
            _ => String::new(),
        };
        format!("{:o} {} {path}{end}", entry.mode, entry.uid)
    };
    planned.entries.iter().map(|placed| line(&placed.entry)).collect()
}

fn copy(patterns: &[&str], destination: &str) -> Vec<String> {
    lines(&copied(patterns, destination, Rules::default()).unwrap())
}

#[test]
fn a_directory_gives_its_contents_and_not_itself() {
    assert_eq!(
        copy(&["dir"], "/new"),
        ["755 0 new/", "777 0 new/link -> one", "644 0 new/one", "750 8 new/sub/", "644 0 new/sub/deep"]
    );
}

#[test]
fn a_file_takes_the_name_of_the_destination_unless_that_is_a_directory() {
    assert_eq!(copy(&["file"], "/new"), ["644 0 new"]);
    assert_eq!(copy(&["file"], "/new/"), ["755 0 new/", "644 0 new/file"]);
    assert_eq!(copy(&["file"], "/new/."), ["755 0 new/", "644 0 new/file"]);
    assert_eq!(copy(&["file"], "/home"), ["711 5 home/", "644 0 home/file"]);
    assert_eq!(copy(&["file"], "/"), ["644 0 file"]);
}

#[test]
fn several_files_go_into_a_directory() {
    assert_eq!(copy(&["file", "dir/one"], "/to/"), ["755 0 to/", "644 0 to/file", "644 0 to/one"]);
    assert_eq!(copy(&["dir/[ol]*"], "/to/")[0], "755 0 to/");
}

#[test]
fn of_several_files_onto_one_name_the_last_stays() {
    assert_eq!(copy(&["file", "dir/one"], "/to"), ["644 0 to"]);
    assert_eq!(copy(&["dir/[ol]*"], "/to"), ["644 0 to"]);
    assert_eq!(copy(&["dir", "file"], "/to").last().unwrap(), "644 0 to/sub/deep");
    let error = copied(&["file", "dir"], "/to", Rules::default()).err().unwrap();
    assert!(matches!(error, CopyError::Place(PlaceError::NotADirectory { .. })), "{error}");
}

#[test]
fn links_of_the_destination_and_its_parents_are_followed() {
    assert_eq!(copy(&["file"], "/lib/"), ["755 0 usr/", "755 0 usr/lib/", "644 0 usr/lib/file"]);
    assert_eq!(copy(&["dir/sub"], "/lib/x")[2], "755 0 usr/lib/x/");
}

#[test]
fn a_link_that_is_the_destination_is_followed_to_the_file_that_is_replaced() {
    assert_eq!(copy(&["file"], "/taken"), ["644 0 taken"]);
    assert_eq!(copy(&["file"], "/tofile"), ["644 0 taken"]);
    let below = Trial::default().link("dangling", "there");
    let tree: Arc<dyn FileTree> = Arc::new(Trial::default().file("f", ""));
    let selected = select(&*tree, "f").unwrap();
    let planned = plan(&below, vec![Input::Paths { tree, selected }], "/dangling", Rules::default()).unwrap();
    assert_eq!(lines(&planned), ["644 0 there"]);
}

#[test]
fn a_link_in_the_way_of_a_file_that_goes_into_a_directory_is_replaced() {
    let below = Trial::default().directory("d").file("d/aim", "").link("d/f", "aim");
    let tree: Arc<dyn FileTree> = Arc::new(Trial::default().file("f", ""));
    let selected = select(&*tree, "f").unwrap();
    let planned = plan(&below, vec![Input::Paths { tree, selected }], "/d/", Rules::default()).unwrap();
    assert_eq!(lines(&planned), ["755 0 d/", "644 0 d/f"]);
}

#[test]
fn a_directory_does_not_replace_a_file_nor_a_file_a_directory() {
    let error = copied(&["dir"], "/taken", Rules::default()).err().unwrap();
    assert!(matches!(error, CopyError::Place(PlaceError::NotADirectory { .. })), "{error}");
    let tree: Arc<dyn FileTree> = Arc::new(Trial::default().directory("d").file("d/lib", "no"));
    let selected = select(&*tree, "d").unwrap();
    let below = Trial::default().directory("lib");
    let error = plan(&below, vec![Input::Paths { tree, selected }], "/", Rules::default()).err().unwrap();
    assert!(matches!(error, CopyError::Place(PlaceError::IsADirectory { .. })), "{error}");
}

#[test]
fn a_nested_directory_does_not_go_through_a_link_of_the_base() {
    let tree: Arc<dyn FileTree> =
        Arc::new(Trial::default().directory("d").directory("d/lib").file("d/lib/x", "x"));
    let selected = select(&*tree, "d").unwrap();
    let error = plan(&base(), vec![Input::Paths { tree, selected }], "/", Rules::default()).err().unwrap();
    assert!(matches!(error, CopyError::Place(PlaceError::NotADirectory { .. })), "{error}");
}

#[test]
fn an_existing_top_directory_keeps_its_metadata_and_a_nested_one_takes_the_sources() {
    let below = Trial::default().directory("to").directory("to/sub");
    let tree = source();
    let selected = select(&*tree, "dir").unwrap();
    let planned = plan(&below, vec![Input::Paths { tree, selected }], "/to", Rules::default()).unwrap();
    assert_eq!(lines(&planned)[0], "755 0 to/");
    assert_eq!(lines(&planned)[3], "750 8 to/sub/");
}

#[test]
fn chown_and_chmod_hold_for_made_parents_and_not_for_existing_ones() {
    let rules = Rules {
        owner: Some(Owner { uid: 3, gid: 4 }),
        mode: Some(Mode::parse("0777").unwrap()),
        ..Rules::default()
    };
    let planned = copied(&["file"], "/home/a/b/", rules).unwrap();
    assert_eq!(lines(&planned), ["711 5 home/", "777 3 home/a/", "777 3 home/a/b/", "777 3 home/a/b/file"]);
}

#[test]
fn made_parents_take_the_permissions_of_an_octal_chmod_and_nothing_of_a_symbolic_one() {
    let moded = |mode: &str| {
        let rules = Rules { mode: Some(Mode::parse(mode).unwrap()), ..Rules::default() };
        lines(&copied(&["dir"], "/new/top", rules).unwrap())
    };
    let placed = moded("4750");
    assert_eq!(placed[..2], ["750 0 new/", "750 0 new/top/"]);
    assert_eq!(placed[3..5], ["4750 0 new/top/one", "4750 8 new/top/sub/"]);
    let placed = moded("go=");
    assert_eq!(placed[..2], ["755 0 new/", "755 0 new/top/"]);
    assert_eq!(placed[3..5], ["600 0 new/top/one", "700 8 new/top/sub/"]);
}

fn excluding(patterns: &[&str]) -> Rules {
    let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
    Rules { exclude: Ignore::of_patterns(&patterns).unwrap(), ..Rules::default() }
}

fn excluded(source: &str, exclude: &[&str]) -> Vec<String> {
    lines(&copied(&[source], "/to/", excluding(exclude)).unwrap())
}

#[test]
fn exclude_is_about_paths_below_the_copied_directory() {
    assert_eq!(excluded("dir", &["one", "link"]), ["755 0 to/", "750 8 to/sub/", "644 0 to/sub/deep"]);
    assert_eq!(excluded("dir", &["dir/one", "deep"]).len(), 5, "neither is a path from there");
    assert_eq!(excluded(".", &["dir/*/*", "file"]).len(), 5);
    assert_eq!(excluded("dir", &["**/deep", "l*", "one"]), ["755 0 to/", "750 8 to/sub/"]);
}

#[test]
fn a_directory_that_is_excluded_is_left_out_with_all_in_it_unless_something_comes_back() {
    assert_eq!(excluded("dir", &["sub", "[lo]*"]), ["755 0 to/"]);
    assert_eq!(excluded("dir", &["*"]), ["755 0 to/"], "the destination is made all the same");
    let back = excluded("dir", &["*", "!sub/deep"]);
    assert_eq!(back, ["755 0 to/", "750 8 to/sub/", "644 0 to/sub/deep"]);
}

#[test]
fn exclude_does_not_hold_for_what_the_source_itself_names() {
    assert_eq!(excluded("file", &["file", "*"]), ["755 0 to/", "644 0 to/file"]);
    assert_eq!(excluded("dir/on?", &["one"]), ["755 0 to/", "644 0 to/one"]);
}

fn with_parents(pattern: &str, rules: Rules) -> Result<Vec<String>, CopyError> {
    let tree = source();
    let parents = select_parents(&*tree, pattern).unwrap();
    plan(&base(), vec![Input::Parents { tree, parents }], "/to", rules).map(|planned| lines(&planned))
}

fn parents(pattern: &str) -> Vec<String> {
    with_parents(pattern, Rules::default()).unwrap()
}

#[test]
fn parents_keep_the_path_and_their_own_metadata() {
    let deep = ["755 0 to/", "700 7 to/dir/", "750 8 to/dir/sub/", "644 0 to/dir/sub/deep"];
    assert_eq!(parents("dir/sub/deep"), deep);
    assert_eq!(parents("**/deep"), deep);
    assert_eq!(parents("dir/sub"), deep);
    assert_eq!(parents("dir/./sub/deep"), ["755 0 to/", "750 8 to/sub/", "644 0 to/sub/deep"]);
    assert_eq!(parents("file"), ["755 0 to/", "644 0 to/file"], "the destination is a directory anyway");
    assert_eq!(parents("**/none"), ["755 0 to/"]);
    assert_eq!(parents(".").len(), 7);
}

#[test]
fn parents_that_are_there_take_the_mode_and_keep_the_owner() {
    let below = Trial::default().directory("to").with(Entry {
        uid: 3,
        gid: 3,
        ..Entry::new("to/dir", Kind::Directory, 0o1777)
    });
    let tree = source();
    let parents = select_parents(&*tree, "dir/one").unwrap();
    let rules = Rules { owner: Some(Owner { uid: 9, gid: 9 }), ..Rules::default() };
    let planned = plan(&below, vec![Input::Parents { tree, parents }], "/to", rules).unwrap();
    assert_eq!(lines(&planned), ["755 0 to/", "700 3 to/dir/", "644 9 to/dir/one"]);
}

#[test]
fn a_parent_that_meets_a_file_or_a_link_is_an_error() {
    for below in [Trial::default().file("to/dir", ""), Trial::default().link("to/dir", "/to")] {
        let below = below.directory("to");
        let tree = source();
        let parents = select_parents(&*tree, "dir/one").unwrap();
        let planned = plan(&below, vec![Input::Parents { tree, parents }], "/to", Rules::default());
        assert!(matches!(planned, Err(CopyError::Place(PlaceError::NotADirectory { .. }))));
    }
}

#[test]
fn exclude_and_parents_hold_together() {
    let rules = || excluding(&["dir/sub"]);
    let kept = ["755 0 to/", "700 7 to/dir/", "777 0 to/dir/link -> one", "644 0 to/dir/one"];
    assert_eq!(with_parents("dir", rules()).unwrap(), kept);
    assert_eq!(with_parents("**/deep", rules()).unwrap(), ["755 0 to/"]);
    let error = with_parents("dir/sub/deep", rules()).err().unwrap();
    assert!(matches!(error, CopyError::Excluded { .. }), "{error}");
}

#[test]
fn names_that_mean_deletions_are_refused() {
    let tree: Arc<dyn FileTree> = Arc::new(Trial::default().directory("d").file("d/.wh.x", "x"));
    let selected = select(&*tree, "d").unwrap();
    let error = plan(&base(), vec![Input::Paths { tree, selected }], "/", Rules::default()).err().unwrap();
    assert!(matches!(error, CopyError::Place(PlaceError::WhiteoutName { .. })), "{error}");
}

#[test]
fn a_heredoc_is_a_file_of_its_delimiters_name() {
    let input = || vec![Input::Inline { name: "EOF".into(), content: "text".into() }];
    let planned = plan(&base(), input(), "/etc/", Rules::default()).unwrap();
    assert_eq!(lines(&planned), ["755 0 etc/", "644 0 etc/EOF"]);
    let planned = plan(&base(), input(), "/motd", Rules::default()).unwrap();
    assert_eq!(lines(&planned), ["644 0 motd"]);
}

/// Unpacks an archive into the base, all its directories but `implied` having entries.
fn unpacked(archive: Trial, implied: &[&str], destination: &str, rules: Rules) -> Vec<String> {
    let directories = archive.0.values().filter(|(entry, _)| entry.kind == Kind::Directory);
    let directories = directories.map(|(entry, _)| entry.path.clone());
    let directories =
        directories.filter(|path| !implied.iter().any(|name| name.as_bytes() == path)).collect();
    let input = Input::Archive { tree: Arc::new(archive), directories };
    lines(&plan(&base(), vec![input], destination, rules).unwrap())
}

#[test]
fn an_archive_is_merged_and_keeps_its_owners_and_modes() {
    let archive = || {
        let owned = Entry { uid: 7, ..Entry::new("dir", Kind::Directory, 0o700) };
        Trial::default().with(owned).file("dir/one", "1")
    };
    let rules = Rules { mode: Some(Mode::parse("111").unwrap()), ..Rules::default() };
    assert_eq!(
        unpacked(archive(), &[], "/opt", rules),
        ["755 0 opt/", "700 7 opt/dir/", "644 0 opt/dir/one"]
    );
    let rules = Rules { owner: Some(Owner { uid: 9, gid: 9 }), ..Rules::default() };
    assert_eq!(
        unpacked(archive(), &[], "/opt", rules),
        ["755 9 opt/", "700 9 opt/dir/", "644 9 opt/dir/one"]
    );
}

#[test]
fn an_archive_that_does_not_say_what_a_directory_is_leaves_it_as_it_is() {
    let archive = Trial::default().directory("home").file("home/x", "").directory("new").file("new/y", "");
    let rules = Rules { owner: Some(Owner { uid: 9, gid: 9 }), ..Rules::default() };
    assert_eq!(
        unpacked(archive, &["home", "new"], "/", rules),
        ["711 5 home/", "644 9 home/x", "755 0 new/", "644 9 new/y"]
    );
}

#[test]
fn an_archive_goes_through_links_unless_it_has_a_directory_there() {
    let archive = || Trial::default().directory("lib").file("lib/x", "");
    assert_eq!(
        unpacked(archive(), &["lib"], "/", Rules::default()),
        ["755 0 usr/", "755 0 usr/lib/", "644 0 usr/lib/x"]
    );
    assert_eq!(unpacked(archive(), &[], "/", Rules::default()), ["755 0 lib/", "644 0 lib/x"]);
}

#[test]
fn an_archive_replaces_what_is_of_another_kind() {
    let archive = Trial::default().directory("taken").file("usr", "no directory any more");
    assert_eq!(unpacked(archive, &[], "/", Rules::default()), ["755 0 taken/", "644 0 usr"]);
}

#[test]
fn a_directory_that_was_replaced_on_the_way_shows_nothing_of_the_one_below() {
    let file = || Input::Archive {
        tree: Arc::new(Trial::default().file("usr", "no directory any more")),
        directories: [].into(),
    };
    let directory = || Input::Archive {
        tree: Arc::new(Trial::default().directory("usr").file("usr/x", "")),
        directories: [b"usr".to_vec()].into(),
    };
    let placed = |inputs| lines(&plan(&base(), inputs, "/", Rules::default()).unwrap());
    assert_eq!(placed(vec![directory()]), ["755 0 usr/", "644 0 usr/x"]);
    let hiding = ["755 0 usr/", "0 0 usr/.wh..wh..opq", "644 0 usr/x"];
    assert_eq!(placed(vec![file(), directory()]), hiding);
}

#[test]
fn pipes_and_devices_of_an_archive_are_unpacked() {
    let archive = Trial::default()
        .with(Entry::new("pipe", Kind::Fifo, 0o644))
        .with(Entry::new("null", Kind::CharacterDevice { major: 1, minor: 3 }, 0o666))
        .file("f", "");
    assert_eq!(unpacked(archive, &[], "/", Rules::default()), ["644 0 f", "666 0 null", "644 0 pipe"]);
}

#[test]
fn workdir_makes_what_is_missing_as_the_user_and_leaves_the_rest() {
    let owner = Owner { uid: 9, gid: 9 };
    let planned = plan_directory(&base(), "/home/x/y", owner).unwrap();
    assert_eq!(lines(&planned), ["711 5 home/", "755 9 home/x/", "755 9 home/x/y/"]);
    assert!(plan_directory(&base(), "/home", owner).unwrap().is_empty());
    assert!(plan_directory(&base(), "/", owner).unwrap().is_empty());
    assert!(plan_directory(&base(), "/lib", owner).unwrap().is_empty());
}

#[test]
fn the_key_is_of_what_lands_and_not_of_where_it_came_from() {
    let key = |patterns: &[&str], to: &str| {
        copied(patterns, to, Rules::default())
            .unwrap()
            .key(0, NonZero::<usize>::MIN, &Interrupt::new())
            .unwrap()
    };
    assert_eq!(key(&["dir/one"], "/one"), key(&["dir/on?"], "/one"));
    assert_ne!(key(&["dir/one"], "/one"), key(&["dir/one"], "/two"));
    assert_ne!(key(&["dir/one"], "/one"), key(&["file"], "/one"));
}

#[test]
fn the_key_does_not_depend_on_who_reads_the_files() {
    let files = |mut tree: Trial, last: &str| {
        for number in 0..1000 {
            tree = tree.file(&format!("f{number}"), &number.to_string());
        }
        Arc::new(tree.file("last", last))
    };
    let key = |threads: usize, last: &str| {
        let tree: Arc<dyn FileTree> = files(Trial::default(), last);
        let selected = select(&*tree, ".").unwrap();
        let input = Input::Paths { tree, selected };
        let mut planned = plan(&Trial::default(), vec![input], "/", Rules::default()).unwrap();
        planned.key(0, NonZero::new(threads).unwrap(), &Interrupt::new()).unwrap()
    };
    assert_eq!(key(1, "a"), key(3, "a"));
    assert_ne!(key(3, "a"), key(3, "b"));
}
