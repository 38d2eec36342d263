//! What holds for every snapshotter, tested on each.
//!
//! A step is done by this process, beneath the root as a program of RUN would see it. Roots of layers are mounted
//! for that, which needs root; without it these tests say so and check nothing.

mod equal;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, Permissions};
use std::io::{self, Cursor, Read};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use oxbox_layers::oci::{ChainId, DiffId, Digest};
use oxbox_layers::tar::{Entry, Kind, Writer, whiteout};
use oxbox_layers::tree::{self, ChangeSink, Root};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use super::{Active, Known, Layers, Overlay, Plain, SnapshotError, Snapshotter};
use crate::exec;

/// No file of a layer is later, as in a build.
const EPOCH: i64 = 1_000_000;

/// A snapshotter, and layers for it.
struct Case {
    _state: TempDir,
    snapshots: Box<dyn Snapshotter>,
    tars: BTreeMap<DiffId, Vec<u8>>,
}

impl Case {
    fn new<S: Snapshotter + 'static>(open: impl FnOnce(&Path) -> Result<S, SnapshotError>) -> Self {
        let state = tempfile::tempdir().unwrap();
        let snapshots = Box::new(open(state.path()).unwrap());
        Self { _state: state, snapshots, tars: BTreeMap::new() }
    }

    /// Adds a layer that is in a store.
    fn store(&mut self, members: &[(Entry, &[u8])]) -> DiffId {
        let mut tar = Writer::new(Vec::new());
        for (entry, content) in members {
            tar.append(entry, &mut &content[..]).unwrap();
        }
        self.add(tar.finish().unwrap())
    }

    fn add(&mut self, tar: Vec<u8>) -> DiffId {
        let layer = DiffId(Digest::sha256(&tar));
        self.tars.insert(layer, tar);
        layer
    }

    fn prepare(&self, chain: &[DiffId]) -> Result<Active, SnapshotError> {
        self.snapshots.prepare_from(chain, &Tars { tars: &self.tars, chain })
    }

    /// Does something as a step on a chain; returns the layer's tar.
    fn step(&mut self, chain: &mut Vec<DiffId>, work: impl FnOnce(&Path)) -> Vec<u8> {
        let active = self.prepare(chain).unwrap();
        within(&active, work);
        let tar = self.written(&active);
        let layer = self.add(tar.clone());
        self.snapshots.commit(active, &layer).unwrap();
        chain.push(layer);
        tar
    }

    /// What was written, as the tar of a layer; times are cut in it and in place, as RUN does.
    fn written(&self, active: &Active) -> Vec<u8> {
        let entries = self.snapshots.changes(active).unwrap();
        let root = Root::open(active.upper()).unwrap();
        let mut tar = Dated(Writer::new(Vec::new()));
        tree::emit(&root, &entries, &mut tar).unwrap_or_else(|_| panic!("cannot write"));
        for entry in entries {
            if entry.mtime > EPOCH && !whiteout::is_reserved(entry.name()) {
                root.set_mtime(&entry.path, EPOCH).unwrap();
            }
        }
        tar.0.finish().unwrap()
    }

    /// The paths that a step changes, which is then dropped.
    fn changed(&self, chain: &[DiffId], work: impl FnOnce(&Path)) -> Vec<String> {
        let active = self.prepare(chain).unwrap();
        within(&active, work);
        let entries = self.snapshots.changes(&active).unwrap();
        entries.iter().map(|entry| entry.path.escape_ascii().to_string()).collect()
    }

    fn see<T>(&self, chain: &[DiffId], look: impl FnOnce(&Path) -> T) -> T {
        within(&self.prepare(chain).unwrap(), look)
    }
}

struct Tars<'a> {
    tars: &'a BTreeMap<DiffId, Vec<u8>>,
    chain: &'a [DiffId],
}

impl Layers for Tars<'_> {
    fn open(&self, at: usize) -> io::Result<Option<Box<dyn Read>>> {
        let tar = self.tars.get(&self.chain[at]);
        Ok(tar.map(|tar| Box::new(Cursor::new(tar.clone())) as Box<dyn Read>))
    }

    fn known(&self, _at: usize) -> Option<Known<'_>> {
        None
    }
}

struct Dated(Writer<Vec<u8>>);

impl ChangeSink for Dated {
    type Error = oxbox_layers::tar::TarError;

    fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), Self::Error> {
        self.0.append(&Entry { mtime: entry.mtime.min(EPOCH), ..entry.clone() }, content)
    }
}

/// Calls `work` with the root as a program would see it.
fn within<T>(active: &Active, work: impl FnOnce(&Path) -> T) -> T {
    let overlay = match active.root() {
        exec::Root::Directory(path) => return work(path),
        exec::Root::Overlay(overlay) => overlay,
    };
    let whole = |path: &PathBuf| overlay.directory.join(path).to_str().unwrap().to_owned();
    let lowers: Vec<_> = overlay.lowers.iter().map(whole).collect();
    let options = format!(
        "redirect_dir=off,metacopy=off,index=off,lowerdir={},upperdir={},workdir={}",
        lowers.join(":"),
        whole(&overlay.upper),
        whole(&overlay.work),
    );
    let (at, options) = (whole(&overlay.mountpoint), CString::new(options).unwrap());
    mount("overlay", &at, "overlay", MountFlags::empty(), Some(&*options)).unwrap();
    let result = work(Path::new(&at));
    unmount(&at, UnmountFlags::DETACH).unwrap();
    result
}

fn may_mount() -> bool {
    let may = rustix::process::geteuid().is_root();
    if !may {
        eprintln!("SKIPPED: mounting needs root");
    }
    may
}

/// Each fact for each snapshotter.
macro_rules! facts {
    ($($fact:ident)*) => {
        mod overlay {
            $(#[test] fn $fact() {
                if super::may_mount() {
                    super::$fact(super::Case::new(super::Overlay::open));
                }
            })*
        }
        mod plain {
            $(#[test] fn $fact() {
                if super::may_mount() {
                    super::$fact(super::Case::new(super::Plain::new));
                }
            })*
        }
    };
}

facts! {
    a_root_of_no_layers_is_empty
    layers_hide_and_replace_what_is_below
    what_a_layer_does_not_mention_is_as_it_is_below
    what_was_written_is_there_for_the_next_step
    the_changes_of_a_step_are_what_it_did
    every_kind_of_file_comes_out_as_it_was_made
    a_step_that_left_all_as_it_was_changed_nothing
    a_dropped_step_leaves_no_trace
    a_missing_layer_is_named_and_nothing_is_lost
    a_damaged_layer_is_an_error_and_leaves_nothing
    steps_at_the_same_time_do_not_see_each_other
    threads_get_the_same_root_at_once
    what_a_step_does_to_the_root_itself_ends_with_it
    a_prune_spares_what_is_wanted_and_what_is_in_use
    a_sweep_takes_nothing_that_is_whole
    a_chain_that_branches_goes_on_from_both
}

fn file(path: &str, content: &'static str) -> (Entry, &'static [u8]) {
    (Entry::new(path, Kind::File { size: content.len() as u64 }, 0o644), content.as_bytes())
}

fn directory(path: &str, mode: u32) -> (Entry, &'static [u8]) {
    (Entry::new(path, Kind::Directory, mode), b"")
}

fn link(path: &str, target: &str) -> (Entry, &'static [u8]) {
    (Entry::new(path, Kind::Symlink { target: target.into() }, 0o777), b"")
}

fn hide(path: &str) -> (Entry, &'static [u8]) {
    (whiteout::hiding(path.as_bytes()), b"")
}

fn base(case: &mut Case) -> DiffId {
    case.store(&[
        directory("etc", 0o755),
        file("etc/motd", "hello"),
        file("etc/passwd", "root"),
        directory("tmp", 0o1777),
        directory("usr", 0o755),
        directory("usr/lib", 0o755),
        file("usr/lib/a", "1"),
        file("usr/lib/b", "2"),
    ])
}

fn paths(root: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            paths.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            if path.symlink_metadata().unwrap().is_dir() {
                waiting.push(path);
            }
        }
    }
    paths.sort();
    paths
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap()
}

fn a_root_of_no_layers_is_empty(case: Case) {
    assert_eq!(case.see(&[], paths), [""; 0]);
}

fn layers_hide_and_replace_what_is_below(mut case: Case) {
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

fn what_a_layer_does_not_mention_is_as_it_is_below(mut case: Case) {
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
        assert_eq!((opt.mode() & 0o7777, opt.uid()), (0o700, 33));
        assert!(root.join("alias").is_symlink());
    });
}

fn what_was_written_is_there_for_the_next_step(mut case: Case) {
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

fn the_changes_of_a_step_are_what_it_did(mut case: Case) {
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

fn every_kind_of_file_comes_out_as_it_was_made(mut case: Case) {
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
    let mut reader = oxbox_layers::tar::Reader::new(&tar[..]);
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
    let before = case.see(&chain, |root| root.join("etc/g").metadata().unwrap().nlink());
    assert_eq!(before, 2);
}

fn a_step_that_left_all_as_it_was_changed_nothing(mut case: Case) {
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

fn a_dropped_step_leaves_no_trace(mut case: Case) {
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

fn a_missing_layer_is_named_and_nothing_is_lost(mut case: Case) {
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

fn a_damaged_layer_is_an_error_and_leaves_nothing(mut case: Case) {
    let damaged = case.add(vec![7; 2048]);
    let chain = [base(&mut case), damaged];
    assert!(case.prepare(&chain).is_err());
    assert!(case.prepare(&chain).is_err());
    assert_eq!(case.see(&chain[..1], |root| read(root, "etc/motd")), "hello");
}

fn steps_at_the_same_time_do_not_see_each_other(mut case: Case) {
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

fn threads_get_the_same_root_at_once(mut case: Case) {
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

fn what_a_step_does_to_the_root_itself_ends_with_it(mut case: Case) {
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

fn a_prune_spares_what_is_wanted_and_what_is_in_use(mut case: Case) {
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

fn a_sweep_takes_nothing_that_is_whole(mut case: Case) {
    let mut chain = vec![base(&mut case)];
    case.step(&mut chain, |root| fs::write(root.join("kept"), "").unwrap());
    let active = case.prepare(&chain).unwrap();
    let (_, second) = (chain.clone(), case.store(&[file("other", "")]));
    let mut other = vec![second];
    case.step(&mut other, |root| fs::write(root.join("too"), "").unwrap());
    assert_eq!(case.snapshots.sweep().unwrap(), super::Swept::default());
    within(&active, |root| assert!(root.join("kept").exists()));
    drop(case.snapshots.prepare(&other).unwrap());
}

fn a_chain_that_branches_goes_on_from_both(mut case: Case) {
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
