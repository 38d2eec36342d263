use std::cell::Cell;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use oxbox_layers::oci::{ChainId, DiffId, Digest};
use tempfile::TempDir;

use super::super::marker::{Form, Marker, RootEntry, Size, Trust};
use super::units::Folding;
use super::{Claim, Files, Made, Overlay, SnapshotError, Snapshotter, Swept};

fn snapshots() -> (TempDir, Overlay) {
    let state = tempfile::tempdir().unwrap();
    let overlay = Overlay::open(state.path()).unwrap();
    (state, overlay)
}

fn layer(name: &str) -> DiffId {
    DiffId(Digest::sha256(name.as_bytes()))
}

/// The name of a layer that stands on none.
fn alone(name: &str) -> ChainId {
    ChainId(layer(name).0)
}

/// A lowest layer that holds one file of its own name.
fn make(overlay: &Overlay, name: &str, root: RootEntry) -> DiffId {
    let fill = &mut |claim: &Claim| {
        fs::write(claim.path().join("fs").join(name), name).unwrap();
        Ok(Made { root, form: Form::Whole, size: Size::Any })
    };
    overlay.make(&alone(name), fill).unwrap();
    layer(name)
}

fn claims(state: &TempDir) -> usize {
    fs::read_dir(state.path().join("snapshots/active")).unwrap().count()
}

#[test]
fn a_layer_is_made_once() {
    let (_state, overlay) = snapshots();
    assert_eq!(overlay.unpacked(&[layer("a")]).unwrap(), 0);
    let made = Cell::new(0);
    for _ in 0..2 {
        let fill = &mut |_: &Claim| {
            made.set(made.get() + 1);
            Ok(Made { root: RootEntry::Inherited, form: Form::Whole, size: Size::Any })
        };
        overlay.make(&alone("a"), fill).unwrap();
    }
    assert_eq!(overlay.unpacked(&[layer("a")]).unwrap(), 1);
    assert_eq!(made.get(), 1);
}

#[test]
fn threads_that_want_one_layer_get_it_made_once() {
    let (_state, overlay) = snapshots();
    let made = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let fill = &mut |_: &Claim| {
                    made.fetch_add(1, Ordering::Relaxed);
                    Ok(Made { root: RootEntry::Inherited, form: Form::Whole, size: Size::Any })
                };
                overlay.make(&alone("a"), fill).unwrap();
            });
        }
    });
    assert_eq!(made.into_inner(), 1);
}

#[test]
fn a_failed_unpacking_leaves_nothing() {
    let (state, overlay) = snapshots();
    let fill = &mut |claim: &Claim| {
        fs::write(claim.path().join("fs/half"), "").unwrap();
        Err(SnapshotError::Missing { layer: layer("a") })
    };
    assert!(overlay.make(&alone("a"), fill).is_err());
    assert_eq!(overlay.unpacked(&[layer("a")]).unwrap(), 0);
    assert_eq!(claims(&state), 0);
}

#[test]
fn a_missing_layer_is_named() {
    let (_state, overlay) = snapshots();
    let below = make(&overlay, "below", RootEntry::Inherited);
    match overlay.prepare(&[below, layer("above")]) {
        Err(SnapshotError::Missing { layer: missing }) => assert_eq!(missing, layer("above")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_written_becomes_the_layer() {
    let (_state, overlay) = snapshots();
    let active = overlay.prepare(&[]).unwrap();
    fs::write(active.upper().join("file"), "text").unwrap();
    overlay.commit(active, &layer("new")).unwrap();
    let next = overlay.prepare(&[layer("new")]).unwrap();
    assert_eq!(fs::read(next.lowers()[0].join("file")).unwrap(), b"text");
}

#[test]
fn a_dropped_step_leaves_nothing() {
    let (state, overlay) = snapshots();
    let active = overlay.prepare(&[]).unwrap();
    fs::write(active.upper().join("file"), "text").unwrap();
    drop(active);
    assert_eq!(claims(&state), 0);
}

#[test]
fn the_second_to_commit_a_layer_keeps_the_first() {
    let (state, overlay) = snapshots();
    for text in ["first", "second"] {
        let active = overlay.prepare(&[]).unwrap();
        fs::write(active.upper().join("file"), text).unwrap();
        overlay.commit(active, &layer("new")).unwrap();
    }
    assert_eq!(claims(&state), 0);
    let next = overlay.prepare(&[layer("new")]).unwrap();
    assert_eq!(fs::read(next.lowers()[0].join("file")).unwrap(), b"first");
}

#[test]
fn a_prune_takes_what_nobody_wants_or_uses() {
    let (state, overlay) = snapshots();
    let [used, wanted, neither] =
        ["used", "wanted", "neither"].map(|name| make(&overlay, name, RootEntry::Own));
    let active = overlay.prepare(&[used]).unwrap();
    let keep = &mut |layer: &ChainId| *layer == alone("wanted");
    assert_eq!(overlay.prune(keep).unwrap(), 1);
    let here = [used, wanted, neither].map(|layer| overlay.unpacked(&[layer]).unwrap());
    assert_eq!(here, [1, 1, 0]);
    drop(active);
    assert_eq!(overlay.prune(&mut |_| false).unwrap(), 2);
    assert_eq!(claims(&state), 0);
}

#[test]
fn a_layer_on_other_layers_is_another_snapshot() {
    let (_state, overlay) = snapshots();
    let [one, two] = ["one", "two"].map(|name| make(&overlay, name, RootEntry::Inherited));
    overlay.commit(overlay.prepare(&[one]).unwrap(), &layer("top")).unwrap();
    assert_eq!(overlay.unpacked(&[one, layer("top")]).unwrap(), 2);
    assert_eq!(overlay.unpacked(&[two, layer("top")]).unwrap(), 1);
}

#[test]
fn the_root_is_that_of_the_topmost_layer_that_has_one() {
    use std::os::unix::fs::PermissionsExt;
    let (_state, overlay) = snapshots();
    let own = make(&overlay, "own", RootEntry::Own);
    overlay.commit(overlay.prepare(&[own]).unwrap(), &layer("silent")).unwrap();
    fs::set_permissions(overlay.place(&alone("own")).join("fs"), fs::Permissions::from_mode(0o555)).unwrap();
    let active = overlay.prepare(&[own, layer("silent")]).unwrap();
    assert_eq!(fs::metadata(active.upper()).unwrap().permissions().mode() & 0o7777, 0o555);
}

#[test]
fn a_snapshot_of_another_boot_is_made_again() {
    let (_state, overlay) = snapshots();
    let torn = make(&overlay, "torn", RootEntry::Inherited);
    Marker::new("another boot", RootEntry::Inherited, Form::Whole)
        .write(&overlay.place(&alone("torn")))
        .unwrap();
    assert_eq!(overlay.unpacked(&[torn]).unwrap(), 0);
    assert!(matches!(overlay.prepare(&[torn]), Err(SnapshotError::Missing { .. })));
    make(&overlay, "torn", RootEntry::Inherited);
    assert_eq!(overlay.unpacked(&[torn]).unwrap(), 1);
}

#[test]
fn a_sweep_takes_the_abandoned_and_the_doubtful() {
    let (state, overlay) = snapshots();
    make(&overlay, "torn", RootEntry::Inherited);
    let kept = make(&overlay, "kept", RootEntry::Inherited);
    Marker::new("another boot", RootEntry::Inherited, Form::Whole)
        .write(&overlay.place(&alone("torn")))
        .unwrap();
    fs::create_dir_all(state.path().join("snapshots/active/1-0/fs")).unwrap();
    let living = overlay.prepare(&[kept]).unwrap();
    assert_eq!(overlay.sweep().unwrap(), Swept { abandoned: 1, doubtful: 1 });
    assert!(living.upper().exists() && !overlay.place(&alone("torn")).exists());
    assert_eq!(overlay.unpacked(&[kept]).unwrap(), 1);
}

#[test]
fn a_settled_snapshot_outlives_the_boot() {
    let (_state, overlay) = snapshots();
    make(&overlay, "old", RootEntry::Own);
    let place = fs::File::open(overlay.place(&alone("old"))).unwrap();
    place.set_times(fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH)).unwrap();
    overlay.sweep().unwrap();
    let marker = Marker::read(&overlay.place(&alone("old"))).unwrap().unwrap();
    assert_eq!(marker.trust("a later boot"), Trust::Synced);
}

/// Three small layers on each other, of which two are folded.
fn folded() -> (TempDir, Overlay, [DiffId; 3]) {
    let (state, overlay) = snapshots();
    let overlay = overlay.folding(Folding { comfortable: 1, together: 2 });
    let chain = ["one", "two", "three"].map(layer);
    for (below, name) in ["one", "two", "three"].into_iter().enumerate() {
        let active = overlay.prepare(&chain[..below]).unwrap();
        fs::write(active.upper().join(name), name).unwrap();
        overlay.changes(&active).unwrap();
        overlay.commit(active, &chain[below]).unwrap();
    }
    drop(overlay.prepare(&chain).unwrap());
    (state, overlay, chain)
}

fn is_fold(overlay: &Overlay, name: &ChainId) -> bool {
    overlay.list().unwrap().iter().any(|kept| kept.layer == *name && kept.files == Files::Linked)
}

fn folds(overlay: &Overlay) -> usize {
    overlay.list().unwrap().iter().filter(|kept| kept.files == Files::Linked).count()
}

#[test]
fn many_small_layers_are_mounted_as_few_directories() {
    let (_state, overlay, chain) = folded();
    let active = overlay.prepare(&chain).unwrap();
    assert_eq!(active.lowers().len(), 2);
    assert_eq!(fs::read(active.lowers()[1].join("two")).unwrap(), b"two");
    assert_eq!(folds(&overlay), 1);
}

#[test]
fn what_a_fold_is_made_of_does_not_go_before_it() {
    let (_state, overlay, chain) = folded();
    let three = ChainId::of(&chain).unwrap();
    let all = overlay.list().unwrap();
    let fold = all.iter().find(|kept| is_fold(&overlay, &kept.layer)).unwrap().layer;
    assert_eq!(overlay.prune(&mut |name| *name == fold).unwrap(), 1);
    assert!(!overlay.place(&three).exists());
    let in_use = overlay.prepare(&chain[..2]).unwrap();
    assert_eq!(in_use.lowers().len(), 1);
    assert_eq!(overlay.prune(&mut |_| false).unwrap(), 0);
    drop(in_use);
    assert_eq!(overlay.prune(&mut |_| false).unwrap(), 3);
}

#[test]
fn a_fold_that_went_is_made_again_and_a_layer_that_went_is_missed() {
    let (_state, overlay, chain) = folded();
    let layers: Vec<ChainId> = (1..=3).map(|count| ChainId::of(&chain[..count]).unwrap()).collect();
    assert_eq!(overlay.prune(&mut |name| layers.contains(name)).unwrap(), 1);
    assert_eq!(overlay.prepare(&chain).unwrap().lowers().len(), 2);
    assert_eq!(folds(&overlay), 1);
    overlay.prune(&mut |_| false).unwrap();
    match overlay.prepare(&chain) {
        Err(SnapshotError::Missing { layer: missing }) => assert_eq!(missing, chain[0]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_layer_that_was_made_anew_above_another_is_mounted_as_it_is_now() {
    let (_state, overlay, chain) = folded();
    let two = ChainId::of(&chain[..2]).unwrap();
    drop(overlay.prepare(&chain[..1]).unwrap());
    overlay.prune(&mut |name| *name == alone("one")).unwrap();
    let other = make(&overlay, "other", RootEntry::Own);
    let above = |_: &Claim| {
        Ok(Made { root: RootEntry::Own, form: Form::Above { base: ChainId(other.0) }, size: Size::Any })
    };
    overlay.make(&two, &mut { above }).unwrap();
    assert_eq!(overlay.prepare(&chain[..2]).unwrap().lowers().len(), 3);
    let whole = |_: &Claim| Ok(Made { root: RootEntry::Own, form: Form::Whole, size: Size::Any });
    overlay.prune(&mut |name| *name == alone("one")).unwrap();
    overlay.make(&two, &mut { whole }).unwrap();
    assert_eq!(overlay.prepare(&chain[..2]).unwrap().lowers().len(), 2);
}

#[test]
fn layers_that_cannot_be_folded_are_mounted_one_by_one() {
    let (state, overlay, chain) = folded();
    let layers: Vec<ChainId> = (1..=3).map(|count| ChainId::of(&chain[..count]).unwrap()).collect();
    let all = overlay.list().unwrap();
    let fold = all.iter().find(|kept| is_fold(&overlay, &kept.layer)).unwrap().layer;
    overlay.prune(&mut |name| layers.contains(name)).unwrap();
    // What is to be its lock is a directory.
    fs::create_dir(state.path().join("locks").join(format!("snapshot-{}", fold.0.hex()))).unwrap();
    assert_eq!(overlay.prepare(&chain).unwrap().lowers().len(), 3);
}
