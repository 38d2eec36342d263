//! The facts that hold for every snapshotter.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;

use oxbox_layers::oci::{ChainId, DiffId, Digest};
use oxbox_layers::tar::{Entry, Kind, Reader, Writer, whiteout};
use oxbox_layers::tree::Root;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};

use super::{Case, EPOCH, base, directory, file, hide, link, paths, read, within};
use crate::snapshot::{SnapshotError, Swept};

pub(super) fn a_root_of_no_layers_is_empty(case: Case) {
    assert_eq!(case.see(&[], paths), [""; 0]);
}

pub(super) fn layers_hide_and_replace_what_is_below(mut case: Case) {
    let chain = [
        base(&mut case),
        case.store(&[
            directory("etc", 0o700),
            hide("etc/motd"),
            file("usr/lib/b", "other"),
            (whiteout::opaque(b"tmp"), b""),
        ]),
        case.store(&[hide("usr"), file("usr", "a file"), file("etc/new", "n")]),
    ];
    case.see(&chain, |root| {
        assert_eq!(paths(root), ["etc", "etc/new", "etc/passwd", "tmp", "usr"]);
        assert_eq!(read(root, "usr"), "a file");
        assert_eq!(root.join("etc").metadata().unwrap().mode() & 0o7777, 0o700);
    });
    case.see(&chain[..2], |root| assert_eq!(read(root, "usr/lib/b"), "other"));
}

pub(super) fn what_a_layer_does_not_mention_is_as_it_is_below(mut case: Case) {
    let mut private = directory("opt", 0o700);
    (private.0.uid, private.0.mtime) = (33, 7);
    let chain = [
        case.store(&[private, link("alias", "opt")]),
        case.store(&[file("alias/in", ""), file("opt/deep/file", "")]),
        case.store(&[file("opt/deep/other", "")]),
    ];
    case.see(&chain, |root| {
        assert_eq!(paths(root), ["alias", "opt", "opt/deep", "opt/deep/file", "opt/deep/other", "opt/in"]);
        let opt = root.join("opt").metadata().unwrap();
        assert_eq!((opt.mode() & 0o7777, opt.uid(), opt.mtime()), (0o700, 33, 7));
        assert_eq!(root.join("opt/deep").metadata().unwrap().mtime(), 0);
        assert!(root.join("alias").is_symlink());
    });
}

pub(super) fn what_was_written_is_there_for_the_next_step(mut case: Case) {
    let mut chain = vec![base(&mut case)];
    case.step(&mut chain, |root| {
        fs::write(root.join("etc/new"), "new").unwrap();
        fs::remove_file(root.join("etc/motd")).unwrap();
    });
    case.step(&mut chain, |root| {
        assert_eq!(read(root, "etc/new"), "new");
        assert!(!root.join("etc/motd").exists());
        fs::write(root.join("etc/new"), "newer").unwrap();
    });
    case.see(&chain, |root| assert_eq!(read(root, "etc/new"), "newer"));
}

pub(super) fn the_changes_of_a_step_are_what_it_did(mut case: Case) {
    let chain = [base(&mut case)];
    let changed = case.changed(&chain, |root| {
        fs::remove_file(root.join("etc/motd")).unwrap();
        fs::rename(root.join("etc/passwd"), root.join("etc/shadow")).unwrap();
        fs::remove_dir_all(root.join("tmp")).unwrap();
        fs::write(root.join("tmp"), "").unwrap();
        fs::remove_dir_all(root.join("usr/lib")).unwrap();
        fs::create_dir(root.join("usr/lib")).unwrap();
        fs::write(root.join("usr/lib/a"), "1").unwrap();
        fs::create_dir_all(root.join("z/deep")).unwrap();
        fs::write(root.join("z/.gone"), "").unwrap();
        fs::remove_file(root.join("z/.gone")).unwrap();
    });
    let expected = [
        "etc",
        "etc/.wh.motd",
        "etc/.wh.passwd",
        "etc/shadow",
        ".wh.tmp",
        "tmp",
        "usr",
        "usr/lib",
        "usr/lib/a",
        "usr/lib/.wh.b",
        "z",
        "z/deep",
    ];
    assert_eq!(changed, expected);
}

pub(super) fn every_kind_of_file_comes_out_as_it_was_made(mut case: Case) {
    let capability = [&[1, 0, 0, 2, 0, 32][..], &[0; 14]].concat();
    let mut chain = vec![base(&mut case)];
    let tar = case.step(&mut chain, |root| {
        fs::write(root.join("etc/f"), "content").unwrap();
        chown(root.join("etc/f"), Some(33), Some(34)).unwrap();
        fs::set_permissions(root.join("etc/f"), Permissions::from_mode(0o6755)).unwrap();
        setxattr(root.join("etc/f"), "security.capability", &capability, XattrFlags::empty()).unwrap();
        fs::hard_link(root.join("etc/f"), root.join("etc/g")).unwrap();
        symlink("f", root.join("etc/l")).unwrap();
        let device = rustix::fs::makedev(1, 3);
        mknodat(CWD, root.join("etc/n"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), device)
            .unwrap();
        mknodat(CWD, root.join("etc/p"), FileType::Fifo, Mode::from_raw_mode(0o620), 0).unwrap();
        fs::create_dir(root.join("etc/s")).unwrap();
        fs::set_permissions(root.join("etc/s"), Permissions::from_mode(0o2775)).unwrap();
    });
    let mut reader = Reader::new(&tar[..]);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        entries.push(entry);
    }
    let f = entries.iter().find(|entry| entry.path == b"etc/f").unwrap();
    assert_eq!((f.mode, f.uid, f.gid, f.mtime), (0o6755, 33, 34, EPOCH));
    assert_eq!(f.xattrs[&b"security.capability"[..]], capability);
    let kinds: Vec<_> = entries[1..].iter().map(|entry| entry.kind.clone()).collect();
    let expected = [
        Kind::File { size: 7 },
        Kind::Hardlink { target: b"etc/f".to_vec() },
        Kind::Symlink { target: b"f".to_vec() },
        Kind::CharacterDevice { major: 1, minor: 3 },
        Kind::Fifo,
        Kind::Directory,
    ];
    assert_eq!(kinds, expected);
    let [f, g] = case.see(&chain, |root| ["etc/f", "etc/g"].map(|path| root.join(path).metadata().unwrap()));
    // Other snapshots may have names of it, too.
    assert!(f.ino() == g.ino() && f.nlink() >= 2);
}

pub(super) fn what_a_step_touched_and_did_not_change_is_as_the_layer_has_it(mut case: Case) {
    let mut chain = vec![base(&mut case)];
    let times = |root: &Path| {
        ["tmp", "usr", "usr/lib", "usr/lib/a"].map(|path| root.join(path).metadata().unwrap().mtime())
    };
    case.step(&mut chain, |root| {
        for path in ["tmp/x", "usr/lib/x"] {
            fs::write(root.join(path), "").unwrap();
            fs::remove_file(root.join(path)).unwrap();
        }
        fs::write(root.join("usr/lib/a"), "1").unwrap();
        Root::open(root).unwrap().set_mtime(b"usr/lib/a", 0).unwrap();
        fs::write(root.join("etc/new"), "").unwrap();
    });
    assert_eq!(case.see(&chain, times), [0; 4]);
    // A layer has the directories above what changed, and they should be the same whoever unpacked them.
    let tar = case.step(&mut chain, |root| {
        fs::set_permissions(root.join("usr/lib/a"), Permissions::from_mode(0o600)).unwrap();
    });
    assert_eq!(dated(&tar), [("usr".to_owned(), 0), ("usr/lib".to_owned(), 0), ("usr/lib/a".to_owned(), 0)]);
}

/// A directory that changed has its own time, though something in it was as before.
pub(super) fn what_a_step_changed_keeps_its_time_beside_what_it_did_not(mut case: Case) {
    let mut chain = vec![base(&mut case)];
    let tar = case.step(&mut chain, |root| {
        fs::create_dir(root.join("usr/lib/x")).unwrap();
        fs::write(root.join("usr/lib/a"), "1").unwrap();
        fs::write(root.join("usr/lib/b"), "other").unwrap();
        let root = Root::open(root).unwrap();
        root.set_mtime(b"usr/lib/a", 0).unwrap();
        root.set_mtime(b"usr/lib", 5000).unwrap();
    });
    let entries = dated(&tar);
    assert!(entries.contains(&("usr/lib".to_owned(), 5000)), "{entries:?}");
    assert!(!entries.iter().any(|(path, _)| path == "usr/lib/a"), "{entries:?}");
    let time = |root: &Path| root.join("usr/lib").metadata().unwrap().mtime();
    assert_eq!(case.see(&chain, time), 5000);
}

/// The paths of a tar with their times.
fn dated(tar: &[u8]) -> Vec<(String, i64)> {
    let mut reader = Reader::new(tar);
    let mut dated = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        dated.push((entry.path.escape_ascii().to_string(), entry.mtime));
    }
    dated
}

pub(super) fn a_step_that_left_all_as_it_was_changed_nothing(mut case: Case) {
    let mut marked = file("etc/marked", "m");
    marked.0.xattrs.insert(b"user.mark".to_vec(), b"1".to_vec());
    let chain = [base(&mut case), case.store(&[marked])];
    assert_eq!(case.changed(&chain, |_| {}), [""; 0]);
    let changed = case.changed(&chain, |root| {
        for path in ["etc", "etc/motd", "etc/marked"] {
            let path = root.join(path);
            let metadata = path.metadata().unwrap();
            fs::set_permissions(&path, metadata.permissions()).unwrap();
            chown(&path, Some(metadata.uid()), Some(metadata.gid())).unwrap();
        }
        fs::write(root.join("tmp/x"), "").unwrap();
        fs::remove_file(root.join("tmp/x")).unwrap();
        // As it was, and at the time that it had.
        fs::write(root.join("usr/lib/a"), "1").unwrap();
        Root::open(root).unwrap().set_mtime(b"usr/lib/a", 0).unwrap();
    });
    assert_eq!(changed, [""; 0]);
    let changed = case.changed(&chain, |root| {
        fs::write(root.join("usr/lib/a"), "X").unwrap();
        Root::open(root).unwrap().set_mtime(b"usr/lib/a", 0).unwrap();
    });
    assert_eq!(changed, ["usr", "usr/lib", "usr/lib/a"]);
}

pub(super) fn a_dropped_step_leaves_no_trace(mut case: Case) {
    let mut chain = vec![base(&mut case)];
    case.step(&mut chain, |root| fs::write(root.join("kept"), "").unwrap());
    let failed = case.prepare(&chain).unwrap();
    within(&failed, |root| {
        fs::write(root.join("etc/motd"), "broken").unwrap();
        fs::remove_file(root.join("kept")).unwrap();
    });
    drop(failed);
    case.see(&chain, |root| {
        assert_eq!(read(root, "etc/motd"), "hello");
        assert!(root.join("kept").exists());
    });
}

pub(super) fn a_missing_layer_is_named_and_nothing_is_lost(mut case: Case) {
    let mut chain = vec![base(&mut case)];
    case.step(&mut chain, |root| fs::write(root.join("kept"), "").unwrap());
    let missing = DiffId(Digest::sha256(b"missing"));
    let wanted = [&chain[..], &[missing]].concat();
    match case.snapshots.prepare(&wanted) {
        Err(SnapshotError::Missing { layer }) => assert_eq!(layer, missing),
        other => panic!("{other:?}"),
    }
    // What is here is still here.
    drop(case.snapshots.prepare(&chain).unwrap());
}

pub(super) fn a_damaged_layer_is_an_error_and_leaves_nothing(mut case: Case) {
    let damaged = case.add(vec![7; 2048]);
    let chain = [base(&mut case), damaged];
    assert!(case.prepare(&chain).is_err());
    assert!(case.prepare(&chain).is_err());
    assert_eq!(case.see(&chain[..1], |root| read(root, "etc/motd")), "hello");
}

pub(super) fn steps_at_the_same_time_do_not_see_each_other(mut case: Case) {
    let mut chain = vec![base(&mut case)];
    case.step(&mut chain, |root| fs::write(root.join("below"), "").unwrap());
    let steps: Vec<_> = (0..3).map(|_| case.prepare(&chain).unwrap()).collect();
    for (number, step) in steps.iter().enumerate() {
        within(step, |root| fs::write(root.join(format!("own{number}")), "").unwrap());
    }
    for (number, step) in steps.iter().enumerate() {
        let entries = case.snapshots.changes(step).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].path, format!("own{number}").into_bytes());
    }
}

pub(super) fn threads_get_the_same_root_at_once(mut case: Case) {
    let chain: Vec<_> = [base(&mut case)]
        .into_iter()
        .chain(
            (0..6).map(|number| case.store(&[(Entry::new(format!("etc/{number}"), Kind::Fifo, 0o600), b"")])),
        )
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| assert_eq!(case.see(&chain, paths).len(), 14));
        }
    });
}

pub(super) fn what_a_step_does_to_the_root_itself_ends_with_it(mut case: Case) {
    let mut root = Vec::new();
    let mut header = Writer::new(&mut root);
    header.append(&Entry::new("x", Kind::Directory, 0o711), &mut io::empty()).unwrap();
    header.finish().unwrap();
    // An entry for the root, which the writer would refuse.
    root[..2].copy_from_slice(b"./");
    let sum: u32 = (0..512).map(|at| if (148..156).contains(&at) { 32 } else { u32::from(root[at]) }).sum();
    root[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut chain = vec![case.add(root)];
    let mode = |root: &Path| (root.metadata().unwrap().mode() & 0o7777, root.metadata().unwrap().mtime());
    let first = case.see(&chain, mode);
    assert_eq!(first.0, 0o711);
    case.step(&mut chain, |root| {
        fs::set_permissions(root, Permissions::from_mode(0o777)).unwrap();
        fs::write(root.join("x"), "").unwrap();
    });
    assert_eq!(case.see(&chain, mode), first);
}

pub(super) fn a_prune_spares_what_is_wanted_and_what_is_in_use(mut case: Case) {
    let (mut used, mut wanted, mut neither) = (Vec::new(), Vec::new(), Vec::new());
    for (chain, name) in [(&mut used, "used"), (&mut wanted, "wanted"), (&mut neither, "neither")] {
        case.step(chain, |root| fs::write(root.join(name), "").unwrap());
    }
    let active = case.snapshots.prepare(&used).unwrap();
    let keep = ChainId::of(&wanted).unwrap();
    assert_eq!(case.snapshots.prune(&mut |name| *name == keep).unwrap(), 1);
    within(&active, |root| assert!(root.join("used").exists()));
    drop(case.snapshots.prepare(&wanted).unwrap());
    assert!(matches!(case.snapshots.prepare(&neither), Err(SnapshotError::Missing { .. })));
}

pub(super) fn a_sweep_takes_nothing_that_is_whole(mut case: Case) {
    let mut chain = vec![base(&mut case)];
    case.step(&mut chain, |root| fs::write(root.join("kept"), "").unwrap());
    let active = case.prepare(&chain).unwrap();
    let (_, second) = (chain.clone(), case.store(&[file("other", "")]));
    let mut other = vec![second];
    case.step(&mut other, |root| fs::write(root.join("too"), "").unwrap());
    assert_eq!(case.snapshots.sweep().unwrap(), Swept::default());
    within(&active, |root| assert!(root.join("kept").exists()));
    drop(case.snapshots.prepare(&other).unwrap());
}

pub(super) fn a_chain_that_branches_goes_on_from_both(mut case: Case) {
    let mut left = vec![base(&mut case)];
    case.step(&mut left, |root| fs::write(root.join("shared"), "").unwrap());
    let mut right = left.clone();
    case.step(&mut left, |root| fs::write(root.join("left"), "").unwrap());
    case.step(&mut right, |root| fs::write(root.join("right"), "").unwrap());
    case.step(&mut left, |root| fs::write(root.join("lefter"), "").unwrap());
    let tops = |root: &Path| paths(root).into_iter().filter(|path| !path.contains('/')).collect::<Vec<_>>();
    assert_eq!(case.see(&left, tops), ["etc", "left", "lefter", "shared", "tmp", "usr"]);
    assert_eq!(case.see(&right, tops), ["etc", "right", "shared", "tmp", "usr"]);
}
