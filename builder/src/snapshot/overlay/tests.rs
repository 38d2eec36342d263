use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use oxbox_layers::oci::{DiffId, Digest};
use tempfile::TempDir;

use super::super::marker::{Marker, RootEntry, Trust};
use super::{Overlay, SnapshotError, Snapshotter, Swept};

fn snapshots() -> (TempDir, Overlay) {
    let state = tempfile::tempdir().unwrap();
    let overlay = Overlay::open(state.path()).unwrap();
    (state, overlay)
}

fn layer(name: &str) -> DiffId {
    DiffId(Digest::sha256(name.as_bytes()))
}

/// A layer that holds one file of its own name.
fn make(overlay: &Overlay, name: &str, root: RootEntry) -> DiffId {
    let fill = &mut |directory: &Path| {
        fs::write(directory.join(name), name).unwrap();
        Ok(root)
    };
    overlay.make(&layer(name), fill).unwrap();
    layer(name)
}

fn claims(state: &TempDir) -> usize {
    fs::read_dir(state.path().join("snapshots/active")).unwrap().count()
}

#[test]
fn a_layer_is_made_once() {
    let (_state, overlay) = snapshots();
    assert!(!overlay.contains(&layer("a")).unwrap());
    let made = Cell::new(0);
    for _ in 0..2 {
        let fill = &mut |_: &Path| {
            made.set(made.get() + 1);
            Ok(RootEntry::Inherited)
        };
        overlay.make(&layer("a"), fill).unwrap();
    }
    assert!(overlay.contains(&layer("a")).unwrap());
    assert_eq!(made.get(), 1);
}

#[test]
fn threads_that_want_one_layer_get_it_made_once() {
    let (_state, overlay) = snapshots();
    let made = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let fill = &mut |_: &Path| {
                    made.fetch_add(1, Ordering::Relaxed);
                    Ok(RootEntry::Inherited)
                };
                overlay.make(&layer("a"), fill).unwrap();
            });
        }
    });
    assert_eq!(made.into_inner(), 1);
}

#[test]
fn a_failed_unpacking_leaves_nothing() {
    let (state, overlay) = snapshots();
    let fill = &mut |directory: &Path| {
        fs::write(directory.join("half"), "").unwrap();
        Err(SnapshotError::Missing { layer: layer("a") })
    };
    assert!(overlay.make(&layer("a"), fill).is_err());
    assert!(!overlay.contains(&layer("a")).unwrap());
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
fn a_layer_in_use_is_not_removed() {
    let (_state, overlay) = snapshots();
    let below = make(&overlay, "below", RootEntry::Inherited);
    let active = overlay.prepare(&[below]).unwrap();
    assert!(matches!(overlay.remove(&below), Err(SnapshotError::InUse { .. })));
    drop(active);
    assert!(overlay.remove(&below).unwrap());
    assert!(!overlay.remove(&below).unwrap());
    assert!(!overlay.contains(&below).unwrap());
}

#[test]
fn the_root_is_that_of_the_topmost_layer_that_has_one() {
    use std::os::unix::fs::PermissionsExt;
    let (_state, overlay) = snapshots();
    let own = make(&overlay, "own", RootEntry::Own);
    let silent = make(&overlay, "silent", RootEntry::Inherited);
    fs::set_permissions(overlay.place(&own).join("fs"), fs::Permissions::from_mode(0o555)).unwrap();
    let active = overlay.prepare(&[own, silent]).unwrap();
    assert_eq!(fs::metadata(active.upper()).unwrap().permissions().mode() & 0o7777, 0o555);
}

#[test]
fn a_snapshot_of_another_boot_is_made_again() {
    let (_state, overlay) = snapshots();
    let torn = make(&overlay, "torn", RootEntry::Inherited);
    Marker::new("another boot", RootEntry::Inherited).write(&overlay.place(&torn)).unwrap();
    assert!(!overlay.contains(&torn).unwrap());
    assert!(matches!(overlay.prepare(&[torn]), Err(SnapshotError::Missing { .. })));
    make(&overlay, "torn", RootEntry::Inherited);
    assert!(overlay.contains(&torn).unwrap());
}

#[test]
fn a_sweep_takes_the_abandoned_and_the_doubtful() {
    let (state, overlay) = snapshots();
    let torn = make(&overlay, "torn", RootEntry::Inherited);
    let kept = make(&overlay, "kept", RootEntry::Inherited);
    Marker::new("another boot", RootEntry::Inherited).write(&overlay.place(&torn)).unwrap();
    fs::create_dir_all(state.path().join("snapshots/active/1-0/fs")).unwrap();
    let living = overlay.prepare(&[kept]).unwrap();
    assert_eq!(overlay.sweep().unwrap(), Swept { abandoned: 1, doubtful: 1 });
    assert!(living.upper().exists() && overlay.contains(&kept).unwrap() && !overlay.place(&torn).exists());
}

#[test]
fn a_settled_snapshot_outlives_the_boot() {
    let (_state, overlay) = snapshots();
    let old = make(&overlay, "old", RootEntry::Own);
    let place = fs::File::open(overlay.place(&old)).unwrap();
    place.set_times(fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH)).unwrap();
    overlay.sweep().unwrap();
    let marker = Marker::read(&overlay.place(&old)).unwrap().unwrap();
    assert_eq!(marker.trust("a later boot"), Trust::Synced);
}
