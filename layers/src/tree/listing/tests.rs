use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::super::apply::Contents;
use super::super::tests::{directory, file, hardlink, tree};
use super::{Listing, Moment, Root};
use crate::tar::Entry;

/// A tree, and what it held at first. As if that had been long ago.
struct Case {
    tree: TempDir,
    listing: Listing,
}

fn case() -> Case {
    let tree = tree(&[
        directory("etc"),
        file("etc/motd", "hello"),
        file("etc/passwd", "root"),
        directory("usr"),
        directory("usr/lib"),
        file("usr/lib/a", "same"),
        hardlink("usr/lib/b", "usr/lib/a"),
        file("z", "last"),
    ]);
    let listing = listed(tree.path());
    Case { tree, listing }
}

/// Lists a tree whose contents are all known.
fn listed(tree: &Path) -> Listing {
    let root = Root::open(tree).unwrap();
    let mut listing = Listing::of(&root, None, &Contents::new()).unwrap();
    for record in listing.records.iter_mut().filter(|record| record.is_file()) {
        let content = super::hash(&root, &record.entry.path).unwrap();
        Arc::make_mut(record).content = Some(content);
    }
    listing
}

/// From then on every change must show.
fn later() -> Moment {
    Moment(Moment::now().0 + 10_000_000_000)
}

impl Case {
    fn changes(&self, since: Moment) -> (Vec<Entry>, usize) {
        let (entries, looked) = self.listing.changes(&Root::open(self.tree.path()).unwrap(), since).unwrap();
        (entries, looked.others())
    }

    fn changed(&self) -> Vec<String> {
        let entries = self.changes(later()).0;
        entries.iter().map(|entry| entry.path.escape_ascii().to_string()).collect()
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.tree.path().join(path)
    }

    /// Gives a file the time that it had.
    fn reset_time(&self, path: &str) {
        Root::open(self.tree.path()).unwrap().set_mtime(path.as_bytes(), 0).unwrap();
    }
}

#[test]
fn of_what_did_not_change_only_the_state_is_looked_at() {
    assert_eq!(case().changes(later()), (Vec::new(), 0));
}

#[test]
fn what_changed_too_lately_to_show_is_read() {
    let case = case();
    let (entries, others) = case.changes(Moment(0));
    assert_eq!((entries.len(), others), (0, 8));
}

#[test]
fn a_change_that_shows_in_no_time_is_found_by_the_content() {
    let case = case();
    fs::write(case.path("etc/motd"), "HELLO").unwrap();
    case.reset_time("etc/motd");
    assert_eq!(case.changed(), ["etc", "etc/motd"]);
}

#[test]
fn a_file_written_as_it_was_is_no_change() {
    let case = case();
    fs::write(case.path("etc/motd"), "hello").unwrap();
    case.reset_time("etc/motd");
    fs::set_permissions(case.path("etc/passwd"), Permissions::from_mode(0o644)).unwrap();
    fs::write(case.path("etc/new"), "").unwrap();
    fs::remove_file(case.path("etc/new")).unwrap();
    let (entries, others) = case.changes(later());
    assert_eq!((entries.len(), others), (0, 3));
}

#[test]
fn deletions_and_replacements_are_told_once() {
    let case = case();
    fs::remove_dir_all(case.path("usr")).unwrap();
    symlink("etc", case.path("usr")).unwrap();
    fs::remove_file(case.path("z")).unwrap();
    fs::create_dir(case.path("z")).unwrap();
    fs::write(case.path("z/x"), "").unwrap();
    fs::remove_dir_all(case.path("etc")).unwrap();
    assert_eq!(case.changed(), [".wh.etc", ".wh.usr", "usr", ".wh.z", "z", "z/x"]);
}

#[test]
fn all_names_of_a_changed_file_are_told() {
    let case = case();
    fs::write(case.path("usr/lib/b"), "other").unwrap();
    assert_eq!(case.changed(), ["usr", "usr/lib", "usr/lib/a", "usr/lib/b"]);
    let kinds: Vec<_> = case.changes(later()).0.into_iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds[3], crate::tar::Kind::Hardlink { target: b"usr/lib/a".to_vec() });
}

#[test]
fn a_name_that_went_leaves_the_others_unchanged() {
    let case = case();
    fs::remove_file(case.path("usr/lib/a")).unwrap();
    assert_eq!(case.changed(), ["usr", "usr/lib", "usr/lib/.wh.a"]);
}

#[test]
fn reserved_names_are_refused() {
    let case = case();
    fs::write(case.path(".wh.x"), "").unwrap();
    let root = Root::open(case.tree.path()).unwrap();
    assert!(case.listing.changes(&root, later()).is_err());
}

#[test]
fn a_listing_that_is_carried_on_is_that_of_the_tree() {
    let case = case();
    fs::write(case.path("etc/motd"), "HELLO").unwrap();
    fs::remove_file(case.path("z")).unwrap();
    fs::hard_link(case.path("etc/passwd"), case.path("etc/group")).unwrap();
    let root = Root::open(case.tree.path()).unwrap();
    let (entries, looked) = case.listing.changes(&root, later()).unwrap();
    for entry in &entries {
        if !crate::tar::whiteout::is_reserved(entry.name()) {
            root.set_mtime(&entry.path, 7).unwrap();
        }
    }
    let carried = looked.finish(&root).unwrap();
    let states = |listing: &Listing| -> BTreeMap<Vec<u8>, _> {
        let files = listing.records.iter().filter(|record| record.is_file());
        files.map(|record| (record.entry.path.clone(), record.clone())).collect()
    };
    assert_eq!(states(&carried), states(&listed(case.tree.path())));
    assert!(carried.changes(&root, later()).unwrap().0.is_empty());
}

#[test]
fn a_tree_that_was_written_to_keeps_what_is_known_of_the_rest() {
    let case = case();
    fs::write(case.path("etc/fresh"), "new").unwrap();
    fs::hard_link(case.path("z"), case.path("etc/z")).unwrap();
    let root = Root::open(case.tree.path()).unwrap();
    let made = fs::metadata(case.path("etc/fresh")).unwrap();
    use std::os::unix::fs::MetadataExt as _;
    let contents = Contents::from([((made.dev(), made.ino()), *blake3::hash(b"new").as_bytes())]);
    let listing = Listing::of(&root, Some(&case.listing), &contents).unwrap();
    assert_eq!(listing, listed(case.tree.path()));
}

#[test]
fn a_listing_reads_back_and_a_damaged_one_does_not() {
    let case = case();
    let odd = OsStr::from_bytes(b"\xff\n");
    symlink("target", case.tree.path().join(odd)).unwrap();
    let listing = listed(case.tree.path());
    let bytes = listing.to_bytes();
    assert_eq!(Listing::from_bytes(&bytes).unwrap(), listing);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(Listing::from_bytes(&damaged).is_err(), "bit {at}");
        assert!(Listing::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn the_root_gets_back_what_it_had() {
    let case = case();
    let before = case.tree.path().metadata().unwrap();
    fs::set_permissions(case.tree.path(), Permissions::from_mode(0o711)).unwrap();
    fs::write(case.path("new"), "").unwrap();
    case.listing.restore_root(&Root::open(case.tree.path()).unwrap()).unwrap();
    let after = case.tree.path().metadata().unwrap();
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!((before.mode(), before.mtime()), (after.mode(), after.mtime()));
}

impl Case {
    fn restored(&self, since: Moment) -> Option<Listing> {
        self.listing.restore(&Root::open(self.tree.path()).unwrap(), since).unwrap()
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.tree.path().join(path)
    }
}

/// What a listing says that stays when it is made anew.
fn said(listing: &Listing) -> Vec<(Entry, u64, u64, Option<[u8; 32]>)> {
    let said = |record: &Arc<super::Record>| {
        (record.entry.clone(), record.nanoseconds, record.inode, record.content)
    };
    listing.records.iter().map(said).collect()
}

#[test]
fn what_was_only_added_is_taken_back() {
    let case = case();
    fs::create_dir_all(case.at("etc/new/deep")).unwrap();
    fs::write(case.at("etc/new/deep/file"), "").unwrap();
    fs::write(case.at("top"), "").unwrap();
    symlink("/", case.at("usr/lib/link")).unwrap();
    let _sockets = ["usr/socket", "etc/new/socket"]
        .map(|path| std::os::unix::net::UnixListener::bind(case.at(path)).unwrap());
    fs::write(case.at("usr/gone"), "").unwrap();
    fs::remove_file(case.at("usr/gone")).unwrap();
    let again = case.restored(later()).unwrap();
    assert_eq!(said(&again), said(&case.listing));
    let names = |path: &str| fs::read_dir(case.at(path)).unwrap().count();
    assert_eq!([names(""), names("etc"), names("usr"), names("usr/lib")], [3, 2, 1, 2]);
    assert_eq!(again.root, case.listing.root);
    assert!(again.changes(&Root::open(case.tree.path()).unwrap(), later()).unwrap().0.is_empty());
}

#[test]
fn files_that_were_made_the_moment_before_are_looked_into() {
    let case = case();
    fs::write(case.at("new"), "").unwrap();
    // Of none of the files can be told by its times that it did not change.
    assert!(case.restored(Moment(0)).is_some());
    fs::write(case.at("z"), "LAST").unwrap();
    assert!(case.restored(Moment(0)).is_none());
}

#[test]
fn a_tree_of_which_something_changed_is_not_taken_back() {
    let changes: [&dyn Fn(&Case); 8] = [
        &|case| fs::write(case.at("etc/motd"), "other").unwrap(),
        &|case| fs::remove_file(case.at("z")).unwrap(),
        &|case| fs::rename(case.at("usr"), case.at("moved")).unwrap(),
        &|case| fs::set_permissions(case.at("etc"), Permissions::from_mode(0o700)).unwrap(),
        &|case| fs::set_permissions(case.at("z"), Permissions::from_mode(0o600)).unwrap(),
        &|case| fs::hard_link(case.at("z"), case.at("link")).unwrap(),
        &|case| {
            fs::remove_dir_all(case.at("etc")).unwrap();
            fs::write(case.at("etc"), "").unwrap();
        },
        &|case| {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(case.at("etc"), "user.mark", b"1", flags).unwrap();
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        let case = case();
        change(&case);
        assert!(case.restored(later()).is_none(), "change {number}");
    }
}
