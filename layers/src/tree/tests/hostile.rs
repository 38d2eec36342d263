//! Layers that try to leave their root, to fill the disk, or to leave traps for later.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{
    Applied, ApplyError, Devices, OPTIONS, Options, Ownership, Root, apply_bytes, apply_to, archive,
    directory, file, hardlink, own, paths, symlink,
};
use crate::tar::{Entry, Kind, Reader, TarError, whiteout};
use crate::tree::{TreeError, apply, apply::Skipped};

/// A folder with `root/`, where layers go, and `outside/`, where they must not.
fn arena() -> tempfile::TempDir {
    let arena = tempfile::tempdir().unwrap();
    std::fs::create_dir(arena.path().join("root")).unwrap();
    std::fs::create_dir(arena.path().join("outside")).unwrap();
    std::fs::write(arena.path().join("outside/kept"), b"precious").unwrap();
    arena
}

fn assert_outside_untouched(arena: &Path) {
    assert_eq!(paths(&arena.join("outside")), ["kept"]);
    assert_eq!(std::fs::read(arena.join("outside/kept")).unwrap(), b"precious");
}

/// A raw archive of one entry, with a path the writer would refuse.
fn raw(path: &[u8], flag: u8, link: &[u8]) -> Vec<u8> {
    let mut block = [0; 512];
    block[..path.len()].copy_from_slice(path);
    block[100..108].copy_from_slice(b"0000644\0");
    block[156] = flag;
    block[157..157 + link.len()].copy_from_slice(link);
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum::<u32>() + 8 * 32;
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.to_vec()
}

#[test]
fn a_file_beneath_a_planted_link_stays_inside() {
    for target in ["../outside", "/outside", "../../../../outside", "/../outside"] {
        let arena = arena();
        let root = arena.path().join("root");
        apply_to(&root, &[symlink("trap", target), file("trap/planted", "x")]).unwrap();
        assert_outside_untouched(arena.path());
        assert_eq!(paths(&root), ["outside", "outside/planted", "trap"]);
    }
}

#[test]
fn a_planted_link_is_replaced_and_not_written_through() {
    let arena = arena();
    let root = arena.path().join("root");
    apply_to(&root, &[symlink("trap", "../outside/kept"), file("trap", "mine")]).unwrap();
    assert_outside_untouched(arena.path());
    assert_eq!(std::fs::read(root.join("trap")).unwrap(), b"mine");
}

#[test]
fn a_directory_entry_does_not_change_what_a_planted_link_points_to() {
    let arena = arena();
    let mut entry = directory("trap").0;
    entry.mode = 0o700;
    entry.mtime = 7;
    let before = arena.path().join("outside").metadata().unwrap().modified().unwrap();
    apply_to(&arena.path().join("root"), &[symlink("trap", "../outside"), (entry, Vec::new())]).unwrap();
    assert_eq!(arena.path().join("outside").metadata().unwrap().modified().unwrap(), before);
    assert_outside_untouched(arena.path());
}

#[test]
fn a_directory_replaced_by_a_link_passes_on_neither_time_nor_mode() {
    let arena = arena();
    let mut entry = directory("trap").0;
    entry.mtime = 7;
    let before = arena.path().join("outside").metadata().unwrap().modified().unwrap();
    apply_to(&arena.path().join("root"), &[(entry, Vec::new()), symlink("trap", "../outside")]).unwrap();
    assert_eq!(arena.path().join("outside").metadata().unwrap().modified().unwrap(), before);
}

#[test]
fn an_absolute_path_is_taken_from_the_root() {
    let arena = arena();
    let root = arena.path().join("root");
    let options = Options { ownership: Ownership::Current, ..OPTIONS };
    apply_bytes(&root, &raw(b"/etc/planted", b'0', b""), &options).unwrap();
    assert_eq!(paths(&root), ["etc", "etc/planted"]);
}

#[test]
fn a_path_with_dot_dot_is_refused() {
    let arena = arena();
    for path in [&b"../outside/planted"[..], b"a/../../outside/planted", b".."] {
        let error = apply_bytes(&arena.path().join("root"), &raw(path, b'0', b""), &OPTIONS).unwrap_err();
        assert!(matches!(error, ApplyError::Archive(TarError::DotDot { .. })), "{error}");
    }
    assert_outside_untouched(arena.path());
}

#[test]
fn a_hard_link_to_something_outside_is_refused() {
    let arena = arena();
    let root = arena.path().join("root");
    let error = apply_bytes(&root, &raw(b"stolen", b'1', b"../outside/kept"), &OPTIONS).unwrap_err();
    assert!(matches!(error, ApplyError::Archive(TarError::DotDot { .. })), "{error}");
    let error = apply_bytes(&root, &raw(b"stolen", b'1', b"/outside/kept"), &OPTIONS).unwrap_err();
    assert!(matches!(error, ApplyError::HardlinkTarget { .. }), "{error}");
    let error =
        apply_to(&root, &[symlink("trap", "../outside"), hardlink("stolen", "trap/kept")]).unwrap_err();
    assert!(matches!(error, ApplyError::HardlinkTarget { .. }), "{error}");
    assert_eq!(paths(&root), ["trap"]);
}

#[test]
fn a_hard_link_to_a_link_is_the_link_and_not_what_it_points_to() {
    let arena = arena();
    let root = arena.path().join("root");
    apply_to(&root, &[symlink("trap", "../outside/kept"), hardlink("twin", "trap"), file("twin", "x")])
        .unwrap();
    assert_outside_untouched(arena.path());
}

#[test]
fn a_hard_link_to_itself_is_refused_and_the_file_stays() {
    let arena = arena();
    let root = arena.path().join("root");
    let error = apply_to(&root, &[file("a", "x"), hardlink("a", "a")]).unwrap_err();
    assert!(matches!(error, ApplyError::HardlinkTarget { .. }), "{error}");
    assert_eq!(paths(&root), ["a"]);
}

#[test]
fn a_whiteout_of_the_root_or_its_parent_is_refused() {
    let arena = arena();
    let root = arena.path().join("root");
    std::fs::write(root.join("lower"), b"").unwrap();
    for name in [".wh.", ".wh..", ".wh..."] {
        let error = apply_to(&root, &[file(name, "")]).unwrap_err();
        assert!(matches!(error, ApplyError::Whiteout { .. }), "{error}");
    }
    assert_eq!(paths(&root), ["lower"]);
}

#[test]
fn a_whiteout_beneath_a_planted_link_removes_nothing_outside() {
    let arena = arena();
    let root = arena.path().join("root");
    std::fs::write(root.join("lower"), b"").unwrap();
    let hiding = (whiteout::hiding(b"trap/kept"), Vec::new());
    let opaque = (whiteout::opaque(b"trap"), Vec::new());
    apply_to(&root, &[symlink("trap", "../outside"), hiding, opaque]).unwrap();
    assert_outside_untouched(arena.path());
}

#[test]
fn removing_a_directory_does_not_follow_links_in_it() {
    let arena = arena();
    let root = arena.path().join("root");
    apply_to(&root, &[directory("d"), symlink("d/trap", "../../outside")]).unwrap();
    apply_to(&root, &[file("d", "")]).unwrap();
    assert_outside_untouched(arena.path());
}

#[test]
fn something_beneath_a_whiteout_is_refused() {
    let arena = arena();
    let error = apply_to(&arena.path().join("root"), &[file(".wh.a/b", "")]).unwrap_err();
    assert!(matches!(error, ApplyError::Reserved { .. }), "{error}");
}

#[test]
fn the_kernels_own_whiteout_is_refused_as_an_entry() {
    let arena = arena();
    let entry = own(Entry::new("gone", Kind::CharacterDevice { major: 0, minor: 0 }, 0o600));
    let error = apply_to(&arena.path().join("root"), &[(entry, Vec::new())]).unwrap_err();
    assert!(matches!(error, ApplyError::Reserved { .. }), "{error}");
}

#[test]
fn overlay_and_host_attributes_are_not_obeyed() {
    let arena = arena();
    let root = arena.path().join("root");
    let mut entry = directory("d").0;
    for name in ["trusted.overlay.redirect", "user.overlay.opaque", "security.selinux", "trusted.other"] {
        entry.xattrs.insert(name.into(), b"y".to_vec());
    }
    apply_to(&root, &[(entry, Vec::new())]).unwrap();
    let size = rustix::fs::listxattr(root.join("d"), &mut [0; 0][..]).unwrap();
    assert_eq!(size, 0);
}

#[test]
fn a_layer_larger_than_allowed_stops_before_the_disk_is_full() {
    let arena = arena();
    let root = arena.path().join("root");
    let options = Options { max_bytes: 9, ..OPTIONS };
    let bytes = archive(&[file("a", "12345"), file("b", "12345")]);
    let error = apply_bytes(&root, &bytes, &options).unwrap_err();
    assert!(matches!(error, ApplyError::Limit { what: "bytes", limit: 9 }), "{error}");
    assert_eq!(paths(&root), ["a"]);
}

#[test]
fn a_layer_with_more_entries_than_allowed_stops() {
    let arena = arena();
    let options = Options { max_entries: 2, ..OPTIONS };
    let bytes = archive(&[file("a", ""), file("b", ""), file("c", "")]);
    let error = apply_bytes(&arena.path().join("root"), &bytes, &options).unwrap_err();
    assert!(matches!(error, ApplyError::Limit { what: "entries", limit: 2 }), "{error}");
    assert_eq!(paths(&arena.path().join("root")), ["a", "b"]);
}

#[test]
fn a_truncated_layer_is_an_error_with_the_place() {
    let arena = arena();
    let bytes = archive(&[file("a", &"x".repeat(2000))]);
    let error = apply_bytes(&arena.path().join("root"), &bytes[..1000], &OPTIONS).unwrap_err();
    let ApplyError::Content { source, .. } = error else { panic!("{error}") };
    assert_eq!(
        source.downcast::<TarError>().unwrap().to_string(),
        "tar archive ends at byte 1000, 1512 bytes too early"
    );
}

#[test]
fn numbers_beyond_linux_are_refused_as_owners() {
    for uid in [u64::from(u32::MAX), 1 << 32] {
        let arena = arena();
        let mut entry = file("f", "").0;
        entry.uid = uid;
        let error = apply_to(&arena.path().join("root"), &[(entry, Vec::new())]).unwrap_err();
        assert!(matches!(error, ApplyError::Owner { .. }), "{error}");
    }
}

/// Applies a layer in a thread that has given up every right of root's but to change its own user.
fn apply_unprivileged(root: &Path, bytes: &[u8], options: &Options<'_>) -> Result<Applied, ApplyError> {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let none = CapabilitySet::empty();
            let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
            set_capabilities(None, sets).unwrap();
            apply_bytes(root, bytes, options)
        });
        thread.join().unwrap()
    })
}

#[test]
fn a_device_is_left_out_or_refused_without_privilege() {
    let arena = arena();
    let root = arena.path().join("root");
    let device = own(Entry::new("null", Kind::CharacterDevice { major: 1, minor: 3 }, 0o666));
    let bytes = archive(&[(device, Vec::new()), file("z", "after")]);
    let error = apply_unprivileged(&root, &bytes, &OPTIONS).unwrap_err();
    assert!(matches!(error, ApplyError::Tree(TreeError::Io { verb: "make the device", .. })), "{error}");
    let options = Options { devices: Devices::BestEffort, ownership: Ownership::Current, ..OPTIONS };
    let applied = apply_unprivileged(&root, &bytes, &options).unwrap();
    assert_eq!(applied.skipped, [Skipped::Device { path: b"null".to_vec() }]);
    assert_eq!(paths(&root), ["z"]);
}

#[test]
fn a_capability_without_the_right_to_it_is_reported() {
    let arena = arena();
    let root = arena.path().join("root");
    let mut entry = file("ping", "").0;
    entry.xattrs.insert(b"security.capability".to_vec(), [&[1, 0, 0, 2, 0, 32][..], &[0; 14]].concat());
    let options = Options { ownership: Ownership::Current, ..OPTIONS };
    let applied = apply_unprivileged(&root, &archive(&[(entry, Vec::new())]), &options).unwrap();
    assert!(matches!(&applied.skipped[..], [Skipped::Xattr { path, .. }] if path == b"ping"));
}

/// Another process swaps a directory for a link to the outside, again and again, while layers write
/// into it. Every write must land in the tree or fail.
#[test]
fn a_directory_swapped_for_a_link_meanwhile_leads_nowhere() {
    let arena = arena();
    let root = arena.path().join("root");
    std::fs::create_dir(root.join("swapped")).unwrap();
    std::os::unix::fs::symlink("../outside", root.join("link")).unwrap();
    let members: Vec<_> = (0..40).map(|number| file(&format!("swapped/{number}"), "x")).collect();
    let bytes = archive(&members);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (one, other) = (root.join("swapped"), root.join("link"));
            while !done.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
            }
        });
        for _ in 0..300 {
            let _ = apply(&Root::open(&root).unwrap(), &mut Reader::new(&bytes[..]), &OPTIONS);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_outside_untouched(arena.path());
}

#[test]
fn a_tree_deeper_than_open_files_allow_is_removed() {
    let arena = arena();
    let root = arena.path().join("root");
    let path = vec!["d"; 1500].join("/");
    apply_to(&root, &[file(&format!("top/{path}/f"), "")]).unwrap();
    apply_to(&root, &[file("top", "flat")]).unwrap();
    assert_eq!(paths(&root), ["top"]);
}
