//! A snapshot made above another one shows what the layer unpacked whole would show, in the kernel's eyes.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::fs;
use std::io::Cursor;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oxbox_layers::compress::Compression;
use oxbox_layers::layer::{Layer, LayerWriter};
use oxbox_layers::oci::DiffId;
use oxbox_layers::stack::{Delta, delta};
use oxbox_layers::store::Memory;
use oxbox_layers::tar::{Entry, Kind, whiteout};
use proptest::prelude::*;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use super::super::{Overlay, Snapshotter as _};
use super::{Known, contents, differ, is_possible, make, unpack};

/// What a path of a random layer is.
#[derive(Debug, Clone, PartialEq)]
enum Thing {
    Directory,
    File {
        content: u8,
    },
    Symlink {
        to: u8,
    },
    Pipe,
    /// Another name of the layer's file so many before it, if there is one.
    Link {
        back: usize,
    },
    Gone,
    Opaque,
}

#[derive(Debug, Clone, PartialEq)]
struct Spec {
    thing: Thing,
    mode: u32,
    owner: u64,
    mtime: i64,
    xattr: Option<u8>,
}

/// By path, slashes made NUL.
type Tree = BTreeMap<Vec<u8>, Spec>;

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        6 => Just(Thing::Directory),
        8 => (0_u8..3).prop_map(|content| Thing::File { content }),
        2 => (0_u8..2).prop_map(|to| Thing::Symlink { to }),
        1 => Just(Thing::Pipe),
        4 => (0_usize..3).prop_map(|back| Thing::Link { back }),
        1 => Just(Thing::Gone),
        1 => Just(Thing::Opaque),
    ]
}

fn spec() -> impl Strategy<Value = Spec> {
    let modes = prop::sample::select(&[0o755, 0o700, 0o4750, 0o1777][..]);
    let xattr = prop_oneof![4 => Just(None), 1 => (0_u8..2).prop_map(Some)];
    (thing(), modes, 0_u64..2, prop::sample::select(&[0_i64, 1_000_000][..]), xattr)
        .prop_map(|(thing, mode, owner, mtime, xattr)| Spec { thing, mode, owner, mtime, xattr })
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    "[abc](\0[abc]){0,2}".prop_map(String::into_bytes)
}

fn random_tree(most: usize) -> impl Strategy<Value = Tree> {
    prop::collection::btree_map(path(), spec(), 0..most)
}

#[derive(Debug, Clone)]
enum Edit {
    Put(Vec<u8>, Spec),
    Remove,
    Content(u8),
    Mode,
    Time,
    Xattr,
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        3 => (path(), spec()).prop_map(|(path, spec)| Edit::Put(path, spec)),
        2 => Just(Edit::Remove),
        2 => (0_u8..3).prop_map(Edit::Content),
        1 => Just(Edit::Mode),
        1 => Just(Edit::Time),
        1 => Just(Edit::Xattr),
    ]
}

fn apply(tree: &mut Tree, place: prop::sample::Index, edit: Edit) {
    if let Edit::Put(path, spec) = edit {
        tree.insert(path, spec);
        return;
    }
    if tree.is_empty() {
        return;
    }
    let path = tree.keys().nth(place.index(tree.len())).unwrap().clone();
    let spec = tree.get_mut(&path).unwrap();
    match edit {
        Edit::Remove => drop(tree.remove(&path)),
        Edit::Content(content) => spec.thing = Thing::File { content },
        Edit::Mode => spec.mode ^= 0o055,
        Edit::Time => spec.mtime += 1,
        Edit::Xattr => spec.xattr = Some(1),
        Edit::Put(..) => unreachable!("because it was done above"),
    }
}

fn content(of: u8) -> Vec<u8> {
    // The first is empty; the others are of one size.
    (0..usize::from(of.min(1)) * 700).map(|at| (at as u8).wrapping_mul(of)).collect()
}

/// The tree with a plain directory wherever one is missing on the way.
fn with_parents(tree: &Tree) -> Tree {
    let plain = Spec { thing: Thing::Directory, mode: 0o755, owner: 0, mtime: 0, xattr: None };
    let ends = |key: &[u8]| (0..key.len()).filter(|&at| key[at] == 0).collect::<Vec<_>>();
    let above = tree.keys().flat_map(|key| ends(key).into_iter().map(|end| key[..end].to_vec()));
    above.map(|key| (key, plain.clone())).chain(tree.clone()).collect()
}

/// The entries of a layer that holds the tree, as COPY and RUN would write it.
fn entries(tree: &Tree) -> Vec<(Entry, Vec<u8>)> {
    let mut entries: Vec<(Entry, Vec<u8>)> = Vec::new();
    let mut directories = vec![Vec::new()];
    let mut files: Vec<Vec<u8>> = Vec::new();
    for (key, spec) in &with_parents(tree) {
        let path: Vec<u8> = key.iter().map(|&byte| if byte == 0 { b'/' } else { byte }).collect();
        let parent = path.iter().rposition(|&byte| byte == b'/').map_or(&b""[..], |end| &path[..end]);
        if !directories.iter().any(|directory| directory == parent) {
            continue;
        }
        let mut bytes = Vec::new();
        let kind = match spec.thing {
            Thing::Directory | Thing::Opaque => Kind::Directory,
            Thing::File { content: of } => {
                bytes = content(of);
                Kind::File { size: bytes.len() as u64 }
            }
            Thing::Symlink { to } => Kind::Symlink { target: vec![b'a' + to] },
            Thing::Pipe => Kind::Fifo,
            Thing::Link { back } => match files.iter().rev().nth(back) {
                Some(target) => Kind::Hardlink { target: target.clone() },
                None => continue,
            },
            Thing::Gone => {
                entries.push((whiteout::hiding(&path), Vec::new()));
                continue;
            }
        };
        match kind {
            Kind::Directory => directories.push(path.clone()),
            Kind::File { .. } => files.push(path.clone()),
            _ => {}
        }
        let mut entry = Entry::new(path.clone(), kind, spec.mode);
        (entry.uid, entry.gid, entry.mtime) = (spec.owner, spec.owner, spec.mtime);
        if let (Some(value), Kind::File { .. } | Kind::Directory) = (spec.xattr, &entry.kind) {
            entry.xattrs.insert(b"user.test".to_vec(), vec![value]);
        }
        entries.push((entry, bytes));
        if spec.thing == Thing::Opaque {
            entries.push((whiteout::opaque(&path), Vec::new()));
        }
    }
    entries
}

/// A layer, its bytes and what was noted of it.
struct Written {
    layer: Layer,
    tar: Vec<u8>,
    known: Known<'static>,
}

fn write(store: &'static Memory, entries: &[(Entry, Vec<u8>)]) -> Written {
    let compression = Compression::Gzip { level: 1 };
    let mut writer = LayerWriter::splicing(store, compression, 1, None).unwrap().indexed();
    for (entry, content) in entries {
        writer.append(entry, &mut &content[..]).unwrap();
    }
    let written = writer.finish_noted().unwrap();
    let mut tar = Vec::new();
    std::io::Read::read_to_end(&mut written.layer.open_tar(store).unwrap(), &mut tar).unwrap();
    let (index, chunks) = (Arc::new(written.index.unwrap()), Arc::new(written.chunks.unwrap()));
    Written { layer: written.layer, tar, known: Known { index, chunks, store } }
}

fn unpacked(written: &Written, below: &[PathBuf]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let below = unpack::stack(below).unwrap();
    unpack::unpack(directory.path(), Some(&below), &mut &written.tar[..]).unwrap();
    directory
}

fn compared(old: &Written, new: &Written) -> Option<Delta> {
    let same = |old_at, new_at, size| {
        let bytes = |tar: &[u8], at: u64| tar[at as usize..(at + size) as usize].to_vec();
        bytes(&old.tar, old_at) == bytes(&new.tar, new_at)
    };
    delta::between(&old.known.index, &new.known.index, &same)
}

/// What a program can tell of a tree: for each path its attributes, content and other names.
fn seen(lowers: &[&Path]) -> BTreeMap<PathBuf, String> {
    let place = tempfile::tempdir().unwrap();
    let names: Vec<_> = lowers.iter().map(|path| path.to_str().unwrap()).collect();
    // The kernel wants two if there is no upper one.
    let empty = tempfile::tempdir().unwrap();
    let options = CString::new(format!("lowerdir={}:{}", names.join(":"), empty.path().display())).unwrap();
    mount("overlay", place.path(), "overlay", MountFlags::RDONLY, Some(&*options)).unwrap();
    let mut seen = BTreeMap::new();
    let mut names = HashMap::new();
    look(place.path(), place.path(), &mut names, &mut seen);
    unmount(place.path(), UnmountFlags::DETACH).unwrap();
    seen
}

fn look(
    root: &Path,
    directory: &Path,
    names: &mut HashMap<u64, PathBuf>,
    seen: &mut BTreeMap<PathBuf, String>,
) {
    let mut children: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    children.sort();
    for path in children {
        let name = path.strip_prefix(root).unwrap().to_owned();
        // A whiteout over nothing, in a directory of one layer, is listed and cannot be found.
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let mut xattr = [0; 64];
        let xattr =
            rustix::fs::lgetxattr(&path, "user.test", &mut xattr).map(|length| xattr[..length].to_vec());
        let held = match meta.file_type() {
            kind if kind.is_file() => fs::read(&path).unwrap(),
            kind if kind.is_symlink() => fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec(),
            _ => Vec::new(),
        };
        let file = (!meta.is_dir()).then(|| (meta.nlink(), names.entry(meta.ino()).or_insert(name.clone())));
        let what = format!(
            "{:o} {}:{} {} {xattr:?} {file:?} {:x}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            DiffId(oxbox_layers::oci::Digest::sha256(&held))
                .0
                .hash()
                .iter()
                .fold(0_u64, |sum, &byte| sum.rotate_left(8) ^ u64::from(byte)),
        );
        seen.insert(name, what);
        if meta.is_dir() {
            look(root, &path, names, seen);
        }
    }
}

fn store() -> &'static Memory {
    Box::leak(Box::new(Memory::new()))
}

fn may_mount() -> bool {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: mounting needs root");
        return false;
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_made_above_another_layer_is_what_unpacking_makes(
        bottom in random_tree(8),
        old in random_tree(14),
        edits in prop::collection::vec((any::<prop::sample::Index>(), edit()), 1..5),
    ) {
        if !may_mount() {
            return Ok(());
        }
        let mut new = old.clone();
        edits.into_iter().for_each(|(place, edit)| apply(&mut new, place, edit));
        let store = store();
        let bottom = unpacked(&write(store, &entries(&bottom)), &[]);
        let below = [bottom.path().to_owned()];
        let (old, new) = (write(store, &entries(&old)), write(store, &entries(&new)));
        let Some(delta) = compared(&old, &new) else { return Ok(()) };
        prop_assert!(old.layer != new.layer || delta.write.is_empty());
        if !is_possible(&delta, &unpack::stack(&below).unwrap()).unwrap() {
            return Ok(());
        }
        // What the base stood on when it was unpacked does not matter.
        let base = unpacked(&old, &[]);
        let above = tempfile::tempdir().unwrap();
        let root = make(above.path(), &delta, &new.known).unwrap().unwrap();
        let whole = unpacked(&new, &below);
        let made = seen(&[above.path(), base.path(), bottom.path()]);
        prop_assert_eq!(made, seen(&[whole.path(), bottom.path()]), "{:?} {:?}", delta, root);
    }
}

/// A tree of files that do not compress, large enough for a dozen chunks.
fn sources(count: u64, change: &dyn Fn(u64) -> Option<u64>) -> Vec<(Entry, Vec<u8>)> {
    let file = |number: u64| {
        let mut state = change(number)?.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        let content: Vec<u8> = (0..40_000).map(next).collect();
        let kind = Kind::File { size: content.len() as u64 };
        Some((Entry::new(format!("src/{number:04}"), kind, 0o644), content))
    };
    let directory = (Entry::new("src", Kind::Directory, 0o755), Vec::new());
    std::iter::once(directory).chain((0..count).filter_map(file)).collect()
}

fn unpack_into(overlay: &Overlay, chain: &[DiffId], written: &Written) -> Vec<PathBuf> {
    let mut open =
        || -> std::io::Result<Box<dyn std::io::Read>> { Ok(Box::new(Cursor::new(written.tar.clone()))) };
    overlay.unpack(chain, &mut open, Some(&written.known)).unwrap();
    overlay.prepare(chain).unwrap().lowers().to_vec()
}

#[test]
fn a_small_change_is_made_above_and_a_large_one_is_unpacked() {
    if !may_mount() {
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let overlay = Overlay::open(state.path()).unwrap();
    let store = store();
    let layers = [
        write(store, &sources(400, &|number| Some(number))),
        write(store, &sources(400, &|number| Some(number + u64::from(number == 200) * 1000))),
        write(store, &sources(400, &|number| (number != 300).then_some(number))),
        write(store, &sources(400, &|number| Some(number + 1000))),
    ];
    let made: Vec<_> = layers.iter().map(|one| unpack_into(&overlay, &[one.layer.diff_id], one)).collect();
    assert_eq!(made.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 2, 1]);
    assert_eq!(made[1][1], made[0][0], "above the first");
    assert_eq!(made[2][1], made[0][0], "and not above the second");
    let count = |path: &Path| fs::read_dir(path.join("src")).unwrap().count();
    assert!((1..120).contains(&count(&made[1][0])), "{} files for one", count(&made[1][0]));
    for (written, lowers) in layers.iter().zip(&made) {
        let whole = unpacked(written, &[]);
        let lowers: Vec<&Path> = lowers.iter().map(PathBuf::as_path).collect();
        assert_eq!(seen(&lowers), seen(&[whole.path()]));
    }
}

#[test]
fn a_layer_on_others_takes_what_was_unpacked_of_it_before() {
    let state = tempfile::tempdir().unwrap();
    let overlay = Overlay::open(state.path()).unwrap();
    let (store, other) = (store(), DiffId(oxbox_layers::oci::Digest::sha256(b"other")));
    let written = write(store, &sources(200, &Some));
    overlay.commit(overlay.prepare(&[]).unwrap(), &other).unwrap();
    let first = unpack_into(&overlay, &[written.layer.diff_id], &written);
    let chain = [other, written.layer.diff_id];
    let mut open = || Err(std::io::Error::other("there is no need to read it"));
    // Nor to know anything of it.
    overlay.unpack(&chain, &mut open, None).unwrap();
    let second = overlay.prepare(&chain).unwrap().lowers().to_vec();
    assert_eq!(second.len(), 3);
    assert_eq!(second[1], first[0]);
    assert_eq!(fs::read_dir(&second[0]).unwrap().count(), 0);
}

#[test]
fn what_others_are_made_above_is_not_pruned_before_them() {
    let state = tempfile::tempdir().unwrap();
    let overlay = Overlay::open(state.path()).unwrap();
    let store = store();
    let base = write(store, &sources(200, &Some));
    let next = write(store, &sources(201, &Some));
    unpack_into(&overlay, &[base.layer.diff_id], &base);
    assert_eq!(unpack_into(&overlay, &[next.layer.diff_id], &next).len(), 2);
    let name = oxbox_layers::oci::ChainId(next.layer.diff_id.0);
    assert_eq!(overlay.prune(&mut |layer| *layer == name).unwrap(), 0);
    let in_use = overlay.prepare(&[next.layer.diff_id]).unwrap();
    assert_eq!(overlay.prune(&mut |_| false).unwrap(), 0);
    drop(in_use);
    assert_eq!(overlay.prune(&mut |_| false).unwrap(), 2);
}

#[test]
fn without_its_base_a_layer_is_made_again() {
    let state = tempfile::tempdir().unwrap();
    let overlay = Overlay::open(state.path()).unwrap();
    let store = store();
    let base = write(store, &sources(200, &Some));
    let next = write(store, &sources(201, &Some));
    let base_place = unpack_into(&overlay, &[base.layer.diff_id], &base).remove(0);
    let chain = [next.layer.diff_id];
    assert_eq!(unpack_into(&overlay, &chain, &next).len(), 2);
    fs::remove_dir_all(base_place.parent().unwrap()).unwrap();
    assert_eq!(overlay.unpacked(&chain).unwrap(), 0);
    assert_eq!(unpack_into(&overlay, &chain, &next).len(), 1);
}

#[test]
fn a_damaged_note_or_blob_means_unpacking_the_whole() {
    let state = tempfile::tempdir().unwrap();
    let overlay = Overlay::open(state.path()).unwrap();
    let base = write(store(), &sources(200, &Some));
    let place = unpack_into(&overlay, &[base.layer.diff_id], &base).remove(0);
    // A store that has lost the blob.
    let next = write(store(), &sources(201, &Some));
    let known = Known {
        store: store(),
        index: Arc::clone(&next.known.index),
        chunks: Arc::clone(&next.known.chunks),
    };
    let lost = Written { layer: next.layer.clone(), tar: next.tar.clone(), known };
    assert_eq!(unpack_into(&overlay, &[lost.layer.diff_id], &lost).len(), 1);
    overlay.prune(&mut |layer| *layer == oxbox_layers::oci::ChainId(base.layer.diff_id.0)).unwrap();
    let note = place.parent().unwrap().join("contents");
    let mut bytes = fs::read(&note).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&note, bytes).unwrap();
    assert!(contents::read(place.parent().unwrap()).unwrap().is_none());
    assert_eq!(unpack_into(&overlay, &[next.layer.diff_id], &next).len(), 1);
}

#[test]
fn a_file_that_would_uncover_one_below_is_not_taken_away_above() {
    let state = tempfile::tempdir().unwrap();
    let overlay = Overlay::open(state.path()).unwrap();
    let store = store();
    let bottom = write(store, &sources(3, &|number| (number != 1).then_some(number + 7)));
    let base = write(store, &sources(200, &Some));
    unpack_into(&overlay, &[bottom.layer.diff_id], &bottom);
    unpack_into(&overlay, &[bottom.layer.diff_id, base.layer.diff_id], &base);
    for (gone, directories) in [(1, 2 + 1), (2, 1 + 1)] {
        let next = write(store, &sources(200, &|number| (number != gone).then_some(number)));
        let lowers = unpack_into(&overlay, &[bottom.layer.diff_id, next.layer.diff_id], &next);
        assert_eq!(lowers.len(), directories, "without {gone}");
    }
}

#[test]
fn chunks_tell_which_files_are_the_same() {
    let store = store();
    let old = write(store, &sources(400, &Some));
    let new = write(store, &sources(400, &|number| Some(number + u64::from(number == 200) * 1000)));
    let directory = tempfile::tempdir().unwrap();
    contents::write(directory.path(), &old.known.index, &old.known.chunks).unwrap();
    let noted = contents::read(directory.path()).unwrap().unwrap();
    let delta = differ(&noted, &new.known).unwrap();
    let exact = compared(&old, &new).unwrap();
    assert_eq!(
        exact.write.iter().map(|one| &one.entry.path[..]).collect::<Vec<_>>(),
        [&b"src"[..], b"src/0200"]
    );
    let written: Vec<_> = delta.write.iter().map(|one| &one.entry.path).collect();
    assert!(exact.write.iter().all(|one| written.contains(&&one.entry.path)));
    assert!(written.len() < 120, "{} of 400", written.len());
}
