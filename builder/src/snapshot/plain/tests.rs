//! What holds of whole roots alone; `contract.rs` has the rest.

use std::fs;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use oxbox_layers::oci::{ChainId, DiffId, Digest};
use oxbox_layers::tar::{Entry, Kind, Writer};
use tempfile::TempDir;

use super::super::{Active, Known, Layers, SnapshotError, Snapshotter as _, Swept};
use super::{MAX_FREE, Plain, Stands};

fn plain() -> (TempDir, Plain) {
    let state = tempfile::tempdir().unwrap();
    let plain = Plain::new(state.path()).unwrap();
    (state, plain)
}

fn layer(name: &str) -> DiffId {
    DiffId(Digest::sha256(name.as_bytes()))
}

/// Leaves a root that holds some files, as `chain` with the layer of that name.
fn leave(plain: &Plain, chain: &[DiffId], name: &str, files: usize) -> Vec<DiffId> {
    let active = plain.prepare(chain).unwrap();
    for number in 0..files {
        fs::write(active.upper().join(format!("{name}{number}")), name).unwrap();
    }
    plain.commit(active, &layer(name)).unwrap();
    [chain, &[layer(name)]].concat()
}

fn roots(state: &TempDir) -> Vec<PathBuf> {
    super::claim::directories(&state.path().join("roots")).unwrap()
}

/// Passes so much time that no change goes unseen.
fn let_it_settle(active: &mut Active) {
    let before = active.before.as_mut().unwrap();
    while before.since == super::Moment::now() {}
    let later = std::time::Instant::now();
    while later.elapsed() < std::time::Duration::from_millis(25) {
        std::thread::yield_now();
    }
    before.since = super::Moment::now();
}

fn looked_at(active: &Active) -> usize {
    active.before.as_ref().unwrap().after.lock().unwrap().as_ref().unwrap().others()
}

#[test]
fn a_step_that_changes_nothing_reads_no_file() {
    let (_state, plain) = plain();
    let chain = leave(&plain, &[], "f", 500);
    let mut active = plain.prepare(&chain).unwrap();
    let_it_settle(&mut active);
    assert!(plain.changes(&active).unwrap().is_empty());
    assert_eq!(looked_at(&active), 0);
}

#[test]
fn the_next_step_goes_on_in_the_same_root() {
    let (state, plain) = plain();
    let mut chain = leave(&plain, &[], "first", 1);
    let first = roots(&state);
    for name in ["second", "third"] {
        chain = leave(&plain, &chain, name, 1);
    }
    assert_eq!(roots(&state), first);
}

#[test]
fn a_root_that_somebody_was_killed_over_is_never_used_again() {
    let (state, plain) = plain();
    let chain = leave(&plain, &[], "base", 1);
    let root = roots(&state).remove(0);
    // As a kill leaves it: nobody holds the lock, and nothing says what stands there.
    Stands::remove(&root).unwrap();
    assert!(matches!(plain.prepare(&chain), Err(SnapshotError::Missing { .. })));
    assert_eq!(plain.sweep().unwrap(), Swept { abandoned: 1, doubtful: 0 });
    assert!(roots(&state).is_empty());
}

#[test]
fn while_a_step_works_nothing_says_what_stands_there() {
    let (state, plain) = plain();
    let chain = leave(&plain, &[], "base", 1);
    let root = roots(&state).remove(0);
    assert!(Stands::read(&root).unwrap().is_some());
    let active = plain.prepare(&chain).unwrap();
    assert_eq!(Stands::read(&root).unwrap(), None);
    assert_eq!(plain.sweep().unwrap(), Swept::default());
    drop(active);
    assert!(roots(&state).is_empty());
}

#[test]
fn a_root_of_another_boot_is_not_trusted() {
    let (state, plain) = plain();
    let chain = leave(&plain, &[], "base", 1);
    let root = roots(&state).remove(0);
    Stands { boot: "another".to_owned(), chain: chain.clone() }.write(&root).unwrap();
    assert!(matches!(plain.prepare(&chain), Err(SnapshotError::Missing { .. })));
    assert_eq!(plain.sweep().unwrap(), Swept { abandoned: 0, doubtful: 1 });
}

#[test]
fn a_damaged_listing_is_not_trusted() {
    let (state, plain) = plain();
    let chain = leave(&plain, &[], "base", 1);
    let listing = roots(&state)[0].join("listing");
    let mut bytes = fs::read(&listing).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&listing, bytes).unwrap();
    assert!(matches!(plain.prepare(&chain), Err(SnapshotError::Missing { .. })));
    assert!(roots(&state).is_empty());
}

#[test]
fn two_steps_never_share_a_root() {
    let (state, plain) = plain();
    let chain = leave(&plain, &[], "base", 1);
    let first = plain.prepare(&chain).unwrap();
    assert!(matches!(plain.prepare(&chain), Err(SnapshotError::Missing { .. })));
    // Another process would open the same state.
    let other = Plain::new(state.path()).unwrap();
    assert!(matches!(other.prepare(&chain), Err(SnapshotError::Missing { .. })));
    drop(first);
}

/// Layers of which each holds a file called by its place; counts how many were opened.
struct Counted {
    opened: std::sync::atomic::AtomicUsize,
}

impl Layers for Counted {
    fn open(&self, at: usize) -> io::Result<Option<Box<dyn Read>>> {
        self.opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut tar = Writer::new(Vec::new());
        let entry = Entry::new(at.to_string(), Kind::File { size: 0 }, 0o644);
        tar.append(&entry, &mut io::empty()).unwrap();
        Ok(Some(Box::new(Cursor::new(tar.finish().unwrap()))))
    }

    fn known(&self, _at: usize) -> Option<Known<'_>> {
        None
    }
}

#[test]
fn only_the_layers_that_a_root_lacks_are_put_on_it() {
    let (state, plain) = plain();
    let chain = ["0", "1", "2", "3"].map(layer);
    let layers = Counted { opened: Default::default() };
    plain.commit(plain.prepare_from(&chain[..1], &layers).unwrap(), &chain[1]).unwrap();
    assert_eq!(layers.opened.swap(0, std::sync::atomic::Ordering::Relaxed), 1);
    let active = plain.prepare_from(&chain, &layers).unwrap();
    assert_eq!(layers.opened.load(std::sync::atomic::Ordering::Relaxed), 2);
    let names = |path: &Path| fs::read_dir(path).unwrap().count();
    assert_eq!((names(active.upper()), roots(&state).len()), (3, 1));
    assert!(plain.changes(&active).unwrap().is_empty());
}

#[test]
fn few_roots_are_kept_and_the_last_ones() {
    let (state, plain) = plain();
    let chains: Vec<_> =
        (0..MAX_FREE + 2).map(|number| leave(&plain, &[], &format!("n{number}"), 1)).collect();
    assert_eq!(roots(&state).len(), MAX_FREE);
    drop(plain.prepare(chains.last().unwrap()).unwrap());
    assert!(plain.prepare(&chains[0]).is_err());
}

#[test]
fn roots_are_listed_by_what_stands_in_them() {
    let (state, plain) = plain();
    let chain = leave(&plain, &[], "base", 1);
    let kept = plain.list().unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].layer, &kept[0].path), (ChainId::of(&chain).unwrap(), &roots(&state)[0]));
    let active = plain.prepare(&chain).unwrap();
    assert!(plain.list().unwrap().is_empty());
    drop(active);
}

#[test]
fn a_step_that_failed_and_only_added_leaves_its_root_to_the_next() {
    let (state, plain) = plain();
    let chain = leave(&plain, &[], "base", 3);
    let first = roots(&state);
    let active = plain.prepare(&chain).unwrap();
    fs::write(active.upper().join("half"), "").unwrap();
    active.give_up();
    assert_eq!(roots(&state), first);
    let mut again = plain.prepare(&chain).unwrap();
    assert!(!again.upper().join("half").exists());
    let_it_settle(&mut again);
    assert!(plain.changes(&again).unwrap().is_empty());
    assert_eq!(looked_at(&again), 0);
}

#[test]
fn a_step_that_failed_and_changed_what_was_there_costs_its_root() {
    let (state, plain) = plain();
    let chain = leave(&plain, &[], "base", 3);
    let active = plain.prepare(&chain).unwrap();
    fs::write(active.upper().join("base1"), "other").unwrap();
    active.give_up();
    assert!(roots(&state).is_empty());
    assert!(matches!(plain.prepare(&chain), Err(SnapshotError::Missing { .. })));
}
