//! Who gets which cache mount, and what goes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::{Held, Mounts, MountsError, Removal, Sharing, Wanted};
use crate::dockerfile::mount::FileOwner;
use crate::solve::KeyHasher;

/// A state folder; each [`Mounts`] stands for a process of its own, since each opens files anew.
fn state() -> (TempDir, Mounts) {
    let state = tempfile::tempdir().unwrap();
    let mounts = Mounts::new(state.path());
    (state, mounts)
}

fn wanted(id: &str, sharing: Sharing) -> Wanted {
    Wanted { id: id.to_owned(), filled: None, owner: FileOwner::default(), sharing }
}

fn nothing(_: &Path) -> Result<(), MountsError> {
    Ok(())
}

fn take(mounts: &Mounts, sharing: Sharing) -> Option<Held> {
    mounts.take(&wanted("/c", sharing), nothing).unwrap()
}

#[test]
fn what_is_put_into_a_cache_is_there_the_next_time() {
    let (_state, mounts) = state();
    for sharing in [Sharing::Shared, Sharing::Private, Sharing::Locked] {
        let held = take(&mounts, sharing).unwrap();
        let file = held.files().join("file");
        assert_eq!(file.exists(), sharing != Sharing::Shared, "it began empty");
        fs::write(file, "").unwrap();
    }
    assert_eq!(mounts.list().unwrap().len(), 1);
}

#[test]
fn shared_caches_are_one() {
    let (_state, mounts) = state();
    let (one, two) = (take(&mounts, Sharing::Shared).unwrap(), take(&mounts, Sharing::Shared).unwrap());
    assert_eq!(one.files(), two.files());
}

#[test]
fn private_caches_are_two_and_both_are_used_again() {
    let (_state, mounts) = state();
    for _ in 0..2 {
        let one = take(&mounts, Sharing::Private).unwrap();
        let two = take(&mounts, Sharing::Private).unwrap();
        assert_ne!(one.files(), two.files());
    }
    assert_eq!(mounts.list().unwrap().len(), 2);
}

#[test]
fn a_locked_cache_is_waited_for() {
    let (_state, mounts) = state();
    let held = take(&mounts, Sharing::Locked).unwrap();
    assert!(take(&mounts, Sharing::Locked).is_none());
    assert!(!mounts.are_free(&[wanted("/c", Sharing::Locked)]).unwrap());
    assert!(mounts.are_free(&[wanted("/other", Sharing::Locked)]).unwrap());
    drop(held);
    assert!(mounts.are_free(&[wanted("/c", Sharing::Locked)]).unwrap());
    assert!(take(&mounts, Sharing::Locked).is_some());
    assert_eq!(mounts.list().unwrap().len(), 1);
}

#[test]
fn who_locks_waits_for_those_who_share() {
    let (_state, mounts) = state();
    let shared = take(&mounts, Sharing::Shared);
    assert!(take(&mounts, Sharing::Locked).is_none());
    drop(shared);
    assert!(take(&mounts, Sharing::Locked).is_some());
}

#[test]
fn who_shares_takes_what_others_share_and_not_what_is_nearer_and_free() {
    let (_state, mounts) = state();
    let alone = take(&mounts, Sharing::Private).unwrap();
    let first = take(&mounts, Sharing::Shared).unwrap();
    assert_ne!(first.files(), alone.files(), "as in BuildKit, it waits for nobody");
    drop(alone);
    assert_eq!(take(&mounts, Sharing::Shared).unwrap().files(), first.files());
}

#[test]
fn id_owner_and_filling_make_another_cache_and_sharing_does_not() {
    let one = wanted("/c", Sharing::Shared);
    assert_eq!(wanted("/c", Sharing::Locked).name(), one.name());
    let owner = FileOwner { uid: Some(7), ..FileOwner::default() };
    let filled = Some(KeyHasher::new("stage").finish());
    for other in
        [wanted("/d", Sharing::Shared), Wanted { owner, ..one.clone() }, Wanted { filled, ..one.clone() }]
    {
        assert_ne!(other.name(), one.name(), "{other:?}");
    }
}

#[test]
fn a_new_cache_is_filled_once_and_nobody_sees_half_of_it() {
    let (state, mounts) = state();
    let wanted = Wanted {
        filled: Some(KeyHasher::new("stage").finish()),
        owner: FileOwner { mode: Some(0o700), ..FileOwner::default() },
        ..wanted("/c", Sharing::Shared)
    };
    let broken = mounts.take(&wanted, |files| {
        fs::write(files.join("half"), "").unwrap();
        Err(MountsError::Io { verb: "fill", path: files.to_owned(), source: std::io::Error::other("no") })
    });
    assert!(broken.is_err());
    assert_eq!(mounts.list().unwrap(), []);
    assert_eq!(fs::read_dir(state.path().join("mounts/making")).unwrap().count(), 0);
    let filled = AtomicUsize::new(0);
    for _ in 0..2 {
        let held = mounts.take(&wanted, |files| {
            filled.fetch_add(1, Ordering::Relaxed);
            fs::set_permissions(files, fs::Permissions::from_mode(0o777)).unwrap();
            fs::write(files.join("whole"), "").unwrap();
            Ok::<_, MountsError>(())
        });
        let files = held.unwrap().unwrap().files();
        assert!(files.join("whole").exists() && !files.join("half").exists());
        assert_eq!(fs::metadata(files).unwrap().permissions().mode() & 0o7777, 0o700);
    }
    assert_eq!(filled.into_inner(), 1);
}

#[test]
fn a_mount_in_use_is_not_removed() {
    let (state, mounts) = state();
    let held = take(&mounts, Sharing::Shared).unwrap();
    fs::write(held.files().join("file"), "").unwrap();
    let name = mounts.list().unwrap()[0].name.clone();
    assert_eq!(mounts.remove(&name).unwrap(), Removal::InUse);
    assert!(mounts.is_in_use(&name).unwrap());
    assert!(mounts.lock(&name).unwrap().is_none());
    drop(held);
    assert!(mounts.lock(&name).unwrap().is_some());
    assert_eq!(mounts.remove(&name).unwrap(), Removal::Gone);
    assert_eq!(mounts.remove(&name).unwrap(), Removal::Gone, "it may be repeated");
    assert_eq!(mounts.list().unwrap(), []);
    assert_eq!(fs::read_dir(state.path().join("mounts/making")).unwrap().count(), 0);
}

#[test]
fn a_size_is_taken_again_only_after_a_use() {
    let (_state, mounts) = state();
    let measured = AtomicUsize::new(0);
    let bytes = || {
        let kept = &mounts.list().unwrap()[0];
        let measure = |_: &Path| measured.fetch_add(1, Ordering::Relaxed) as u64 + 10;
        mounts.bytes(kept, measure).unwrap()
    };
    let held = take(&mounts, Sharing::Shared).unwrap();
    assert_eq!((bytes(), bytes()), (10, 11), "while it is in use");
    drop(held);
    assert_eq!((bytes(), bytes()), (12, 12));
    drop(take(&mounts, Sharing::Shared));
    assert_eq!(bytes(), 13);
}

#[test]
fn a_mount_of_another_machine_is_restored_once_and_found_by_its_id() {
    let (_state, mounts) = state();
    drop(take(&mounts, Sharing::Shared));
    let about = mounts.list().unwrap()[0].about.clone();
    assert_eq!(about.id, "/c");
    let (_elsewhere, others) = state();
    let fill = |files: &Path| {
        fs::write(files.join("carried"), "").unwrap();
        Ok::<_, MountsError>(())
    };
    assert!(others.restore(&about, fill).unwrap());
    assert!(!others.restore(&about, fill).unwrap());
    assert!(take(&others, Sharing::Locked).unwrap().files().join("carried").exists());
}

#[test]
fn what_killed_processes_left_is_swept() {
    let (state, mounts) = state();
    assert_eq!(mounts.sweep().unwrap(), 0);
    fs::create_dir_all(state.path().join("mounts/making/1-0/files")).unwrap();
    assert_eq!(mounts.sweep().unwrap(), 1);
}

#[test]
fn many_who_lock_are_never_two_at_once() {
    let (state, _) = state();
    let (inside, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mounts = Mounts::new(state.path());
                while taken.load(Ordering::SeqCst) < 100 {
                    let Some(held) = take(&mounts, Sharing::Locked) else { continue };
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    taken.fetch_add(1, Ordering::SeqCst);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(held);
                }
            });
        }
    });
}
