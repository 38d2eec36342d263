//! What a merged tree owes: whiteouts, replaced types, links followed beneath the root; and the bytes.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use proptest::prelude::*;

use super::{
    Body, ContentError, Contents, Follow, Found, IndexBuilder, IndexError, LayerIndex, Stack, StackError,
    read_file,
};
use crate::compress::Compression;
use crate::layer::{Layer, LayerWriter, Written};
use crate::store::{BlobStore, Memory};
use crate::tar::{Entry, Kind, Reader, Writer, whiteout};
use crate::tree::apply::{Devices, Options, Ownership, Whiteouts};
use crate::tree::{ApplyError, Root, Xattrs, apply, scan};

/// One entry of a layer in a test, with its content.
type Item = (Entry, Vec<u8>);

fn dir(path: &str) -> Item {
    (Entry::new(path, Kind::Directory, 0o700), Vec::new())
}

fn file(path: &str, content: &str) -> Item {
    (Entry::new(path, Kind::File { size: content.len() as u64 }, 0o644), content.into())
}

fn symlink(path: &str, target: &str) -> Item {
    (Entry::new(path, Kind::Symlink { target: target.into() }, 0o777), Vec::new())
}

fn hardlink(path: &str, target: &str) -> Item {
    (Entry::new(path, Kind::Hardlink { target: target.into() }, 0o644), Vec::new())
}

fn hide(path: &str) -> Item {
    (whiteout::hiding(path.as_bytes()), Vec::new())
}

fn opaque(path: &str) -> Item {
    (whiteout::opaque(path.as_bytes()), Vec::new())
}

fn tar(items: &[Item]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, content) in items {
        writer.append(entry, &mut &content[..]).unwrap();
    }
    writer.finish().unwrap()
}

fn try_stack(layers: &[&[Item]]) -> Result<Stack, StackError> {
    Stack::of(layers.iter().map(|items| Arc::new(LayerIndex::of_tar(&tar(items)[..]).unwrap())).collect())
}

fn stack(layers: &[&[Item]]) -> Stack {
    try_stack(layers).unwrap()
}

/// The whole tree as text: paths, and in brackets the ordinal of the layer that holds a file's bytes.
fn listing(stack: &Stack) -> String {
    let line = |found: Found| {
        let path = String::from_utf8(found.entry.path).unwrap();
        match (found.entry.kind, found.content) {
            (Kind::Directory, _) => format!("{path}/"),
            (Kind::Symlink { target }, _) => format!("{path}->{}", String::from_utf8(target).unwrap()),
            (_, Some(content)) => format!("{path}[{}]", content.layer),
            _ => path,
        }
    };
    stack.walk(b"").skip(1).map(line).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_walk_goes_by_the_bytes_of_names_and_keeps_directories_together() {
    let layer = [file("a-b", ""), dir("a"), file("a/b", ""), file("a.b", ""), dir("a/c"), file("a/c/d", "")];
    let stack = stack(&[&layer]);
    assert_eq!(listing(&stack), "a/ a/b[0] a/c/ a/c/d[0] a-b[0] a.b[0]");
    let names =
        |path: &[u8]| stack.children(path).map(|found| found.entry.name().to_vec()).collect::<Vec<_>>();
    assert_eq!(names(b""), [&b"a"[..], b"a-b", b"a.b"]);
    assert_eq!(names(b"a"), [&b"b"[..], b"c"]);
    assert!(names(b"a-b").is_empty() && names(b"none").is_empty());
    assert_eq!(stack.walk(b"a/c").count(), 2);
    assert_eq!(stack.walk(b"none").count(), 0);
}

#[test]
fn the_upper_layers_entry_stands() {
    let stack = stack(&[&[dir("d"), file("d/a", "lower")], &[file("d/a", "up")], &[dir("d")]]);
    assert_eq!(listing(&stack), "d/ d/a[1]");
    assert_eq!(stack.get(b"d/a").unwrap().content.unwrap().size, 2);
}

#[test]
fn a_whiteout_hides_a_file_and_a_whole_directory() {
    let lower = [dir("d"), file("d/a", ""), dir("e"), file("e/a", ""), file("e/b", "")];
    assert_eq!(listing(&stack(&[&lower, &[hide("d"), hide("e/a")]])), "e/ e/b[0]");
}

#[test]
fn a_whiteout_keeps_what_its_own_layer_says_before_or_after_it() {
    let lower = [dir("d"), file("d/a", ""), file("f", "")];
    let before = [hide("d"), hide("f"), dir("d"), file("d/b", ""), file("f", "")];
    let after = [dir("d"), file("d/b", ""), file("f", ""), hide("d"), hide("f")];
    for upper in [before, after] {
        assert_eq!(listing(&stack(&[&lower, &upper])), "d/ d/b[1] f[1]");
    }
}

#[test]
fn a_hidden_directory_stays_above_what_its_own_layer_wrote_before() {
    let stack = stack(&[&[dir("d"), dir("d/e"), dir("d/f")], &[file("d/e/b", ""), hide("d")]]);
    assert_eq!(listing(&stack), "d/ d/e/ d/e/b[1]");
}

#[test]
fn an_opaque_directory_keeps_only_its_own_layers_files() {
    let lower = [dir("d"), file("d/a", ""), dir("d/e"), file("d/e/a", "")];
    for upper in [[dir("d"), opaque("d"), file("d/b", "")], [dir("d"), file("d/b", ""), opaque("d")]] {
        assert_eq!(listing(&stack(&[&lower, &upper])), "d/ d/b[1]");
    }
}

#[test]
fn an_opaque_root_hides_everything_below() {
    assert_eq!(listing(&stack(&[&[file("a", "")], &[opaque(""), file("b", "")]])), "b[1]");
}

#[test]
fn a_whiteout_of_nothing_is_no_error() {
    let upper = [hide("b"), hide("c/d"), opaque("e"), hide("a/b/c")];
    assert_eq!(listing(&stack(&[&[file("a", "")], &upper])), "a[0]");
}

#[test]
fn a_whiteout_that_hides_its_directory_is_refused() {
    let item = (Entry::new("d/.wh..", Kind::File { size: 0 }, 0), Vec::new());
    assert!(matches!(try_stack(&[&[item]]), Err(StackError::Whiteout { path, .. }) if path == b"d/.wh.."));
}

#[test]
fn another_type_takes_the_place_of_all_that_stood_there() {
    let lower = [dir("d"), file("d/a", ""), file("f", ""), symlink("l", "d")];
    let upper = [file("d", ""), dir("f"), file("f/a", ""), dir("l")];
    assert_eq!(listing(&stack(&[&lower, &upper])), "d[1] f/ f/a[1] l/");
}

#[test]
fn parents_that_no_layer_speaks_of_are_directories() {
    let stack = stack(&[&[file("a/b/c", "")]]);
    assert_eq!(listing(&stack), "a/ a/b/ a/b/c[0]");
    assert_eq!(stack.get(b"a/b").unwrap().entry, Entry::new("a/b", Kind::Directory, 0o755));
}

#[test]
fn a_file_as_parent_is_refused() {
    let error = try_stack(&[&[file("a", "")], &[file("a/b/c", "")]]).err().unwrap();
    assert!(matches!(error, StackError::NotADirectory { path } if path == b"a"));
}

#[test]
fn entries_and_whiteouts_go_through_a_linked_parent() {
    let lower = [symlink("lib", "/usr/lib"), dir("usr"), dir("usr/lib"), file("usr/lib/old", "")];
    let upper = [file("lib/new", ""), hide("lib/old")];
    assert_eq!(listing(&stack(&[&lower, &upper])), "lib->/usr/lib usr/ usr/lib/ usr/lib/new[1]");
}

#[test]
fn a_linked_parent_cannot_leave_the_root() {
    let stack = stack(&[&[symlink("out", "../../../etc"), file("out/passwd", "")]]);
    assert_eq!(listing(&stack), "etc/ etc/passwd[0] out->../../../etc");
}

#[test]
fn a_hard_link_is_the_same_file_even_after_its_first_name_is_gone() {
    let stack = stack(&[
        &[file("a", "content"), hardlink("b", "a")],
        &[hide("a")],
        &[file("c", ""), hardlink("d", "b")],
    ]);
    assert_eq!(listing(&stack), "b[0] c[2] d[0]");
    let (b, d) = (stack.get(b"b").unwrap(), stack.get(b"d").unwrap());
    assert_eq!(b.content, d.content);
    assert_eq!(d.entry, Entry { path: b"d".to_vec(), ..b.entry });
}

#[test]
fn a_hard_link_to_nothing_or_to_a_directory_is_refused() {
    for target in ["none", "d", "", "l"] {
        let Ok(index) = index_of(&[dir("d").0, Entry::new("l", Kind::Hardlink { target: target.into() }, 0)])
        else {
            panic!("{target}")
        };
        assert!(matches!(Stack::of(vec![index]), Err(StackError::LinkTarget { .. })), "{target:?}");
    }
}

fn index_of(entries: &[Entry]) -> Result<Arc<LayerIndex>, IndexError> {
    let mut builder = IndexBuilder::default();
    for entry in entries {
        builder.push(entry, &Body::default())?;
    }
    Ok(Arc::new(builder.finish()))
}

#[test]
fn the_root_has_the_metadata_that_a_layer_gives_it_and_stays_a_directory() {
    let mut root = Entry::new("", Kind::Directory, 0o700);
    root.uid = 7;
    let stack = Stack::of(vec![index_of(&[file("a", "").0]).unwrap(), index_of(&[root]).unwrap()]).unwrap();
    assert_eq!(stack.get(b"").unwrap().entry.uid, 7);
    assert_eq!(stack.walk(b"").count(), 2);
    assert_eq!(Stack::of(Vec::new()).unwrap().walk(b"").count(), 1);
}

#[test]
fn links_are_resolved_beneath_the_root() {
    let stack = stack(&[&[
        dir("usr"),
        dir("usr/bin"),
        file("usr/bin/tool", ""),
        symlink("bin", "usr/bin"),
        symlink("usr/bin/link", "../../bin/tool"),
        symlink("up", "/../../usr/../bin/./link"),
        symlink("dangling", "/var/none/x"),
        symlink("loop", "loop2"),
        symlink("loop2", "/loop"),
    ]]);
    let resolve = |path: &str| stack.resolve(path.as_bytes(), Follow::Last);
    for (path, resolved) in [
        ("", ""),
        ("/", ""),
        ("../..", ""),
        ("/bin/tool", "usr/bin/tool"),
        ("bin/link", "usr/bin/tool"),
        ("up", "usr/bin/tool"),
        ("bin/../x", "usr/x"),
        ("bin/new/dir/../file", "usr/bin/new/file"),
        ("dangling/y", "var/none/x/y"),
    ] {
        assert_eq!(resolve(path).unwrap(), resolved.as_bytes(), "{path}");
    }
    assert_eq!(stack.resolve(b"bin/link", Follow::Parents).unwrap(), b"usr/bin/link");
    assert_eq!(stack.resolve(b"bin/", Follow::Parents).unwrap(), b"bin");
    assert!(matches!(resolve("loop/x"), Err(StackError::TooManyLinks { limit: 40, .. })));
    assert!(
        matches!(resolve("bin/tool/x"), Err(StackError::NotADirectory { path }) if path == b"usr/bin/tool")
    );
}

#[test]
fn as_many_links_as_the_kernel_follows_are_followed() {
    let chain = |links: usize| -> Vec<Item> {
        (0..links).map(|at| symlink(&format!("l{at}"), &format!("l{}", at + 1))).collect()
    };
    assert_eq!(stack(&[&chain(40)]).resolve(b"l0", Follow::Last).unwrap(), b"l40");
    assert!(stack(&[&chain(41)]).resolve(b"l0", Follow::Last).is_err());
}

#[test]
fn a_packed_index_reads_back_with_every_kind() {
    let mut special = Entry::new("dev/null", Kind::CharacterDevice { major: 1, minor: 3 }, 0o666);
    special.mtime = -5;
    special.uid = u64::MAX;
    special.xattrs = BTreeMap::from([(b"user.a".to_vec(), vec![0, 255]), (b"user.b".to_vec(), Vec::new())]);
    let mut builder = IndexBuilder::default();
    let entries = [
        special,
        Entry::new("dev/sda", Kind::BlockDevice { major: 8, minor: u32::MAX }, 0),
        Entry::new("dev/fifo", Kind::Fifo, 0o7777),
        file("big", "").0,
        symlink("s", "t").0,
        hardlink("h", "big").0,
        dir("").0,
    ];
    for entry in &entries {
        let offset = (entry.path == b"big").then_some(0);
        builder.push(entry, &Body { offset, hash: [7; 32] }).unwrap();
    }
    let index = builder.finish();
    let read = LayerIndex::from_bytes(index.as_bytes().to_vec()).unwrap();
    assert!(read.iter().map(|indexed| indexed.entry).eq(entries.iter().cloned()));
    assert!(read.iter().map(|indexed| indexed.ordinal).eq(0..7));
    assert_eq!(read.iter().find_map(|indexed| indexed.body.offset), Some(0));
    assert!(read.iter().all(|indexed| indexed.body.hash == Body::default().hash), "nothing is empty alike");
}

#[test]
fn the_hash_of_a_file_is_that_of_its_content_in_any_layer() {
    let hash = |index: &LayerIndex, path: &[u8]| {
        index.iter().find(|indexed| indexed.entry.path == path).unwrap().body.hash
    };
    let one = LayerIndex::of_tar(&tar(&[dir("usr"), file("usr/a", "x"), file("usr/b", "y")])[..]).unwrap();
    let other = LayerIndex::of_tar(&tar(&[file("c", "y"), file("d", ""), symlink("e", "c")])[..]).unwrap();
    assert_eq!(hash(&one, b"usr/b"), hash(&other, b"c"));
    assert_eq!(hash(&one, b"usr/a"), *blake3::hash(b"x").as_bytes());
    for path in [&b"d"[..], b"e"] {
        assert_eq!(hash(&other, path), *blake3::hash(b"").as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_packed_bytes_are_refused_or_read_and_never_panic(
        cut in 0_usize..400, at in 5_usize..400, byte: u8,
    ) {
        let items = [dir("usr"), file("usr/a", "x"), symlink("usr/b", "a"), hardlink("usr/c", "usr/a"), dir("var")];
        let mut bytes = LayerIndex::of_tar(&tar(&items)[..]).unwrap().as_bytes().to_vec();
        bytes.truncate(cut.max(5));
        let length = bytes.len();
        if let Some(slot) = bytes.get_mut(at % length) {
            *slot = byte;
        }
        if let Ok(index) = LayerIndex::from_bytes(bytes) {
            let _ = index.iter().count();
            let _ = Stack::of(vec![Arc::new(index)]);
        }
    }

    #[test]
    fn a_stack_is_what_the_plain_rules_make_of_the_layers(layers in prop::collection::vec(random_layer(), 1..5)) {
        let expected = model(&layers);
        let slices: Vec<&[Item]> = layers.iter().map(Vec::as_slice).collect();
        match (try_stack(&slices), expected) {
            (Ok(stack), Some(expected)) => {
                let found: BTreeMap<Vec<u8>, String> = stack
                    .walk(b"")
                    .skip(1)
                    .map(|found| (found.entry.path.clone(), describe(&found.entry, found.content.map(|c| c.layer))))
                    .collect();
                prop_assert_eq!(found, expected);
                // A walk by children is the same walk.
                let mut walked = Vec::new();
                by_children(&stack, b"", &mut walked);
                prop_assert!(walked.into_iter().eq(stack.walk(b"").skip(1).map(|found| found.entry.path)));
            }
            (Err(_), None) => {}
            (stack, expected) => prop_assert!(false, "{:?} but {expected:?}", stack.err()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_stack_is_what_the_layers_unpack_to(
        mut layers in prop::collection::vec(random_layer(), 1..4),
        links in prop::collection::vec((0..4_usize, "[abc](/[abc])?", "(/|\\.\\./)?[abc](/[abc])?", any::<bool>()), 0..6),
    ) {
        for (layer, path, target, hard) in links {
            let count = layers.len();
            let target = if hard { target.trim_start_matches(['.', '/']) } else { &target };
            layers[layer % count].push(if hard { hardlink(&path, target) } else { symlink(&path, target) });
        }
        let folder = tempfile::tempdir().unwrap();
        let slices: Vec<&[Item]> = layers.iter().map(Vec::as_slice).collect();
        match (try_stack(&slices), unpack(folder.path(), &layers)) {
            (Ok(stack), Ok(unpacked)) => prop_assert_eq!(scanned(&stack), unpacked),
            (Err(_), Err(_)) => {}
            (stack, unpacked) => prop_assert!(false, "{:?} but {unpacked:?}", stack.err()),
        }
    }
}

/// Applies layers one after the other, and reads the tree.
fn unpack(folder: &std::path::Path, layers: &[Vec<Item>]) -> Result<Vec<(Vec<u8>, Kind, u32)>, ApplyError> {
    let root = Root::open(folder)?;
    for items in layers {
        let options = Options {
            ownership: Ownership::Current,
            devices: Devices::Required,
            whiteouts: Whiteouts::Apply,
            xattrs: Xattrs::None,
            max_bytes: 1 << 20,
            max_entries: 1000,
        };
        apply(&root, &mut Reader::new(&tar(items)[..]), &options)?;
    }
    let mut links = BTreeMap::new();
    let tell = |Entry { path, mut kind, mode, .. }: Entry| {
        // Whether two links are one file is nothing that anybody could see in a container.
        match &kind {
            Kind::Symlink { .. } => drop(links.insert(path.clone(), kind.clone())),
            Kind::Hardlink { target } => kind = links.get(target).unwrap_or(&kind).clone(),
            _ => {}
        }
        (path, kind, mode)
    };
    Ok(scan::scan(&root, Xattrs::None)?.into_iter().map(tell).collect())
}

/// The tree as a scan of the unpacked one tells it: the second name of a file is a hard link.
fn scanned(stack: &Stack) -> Vec<(Vec<u8>, Kind, u32)> {
    let mut first_names = std::collections::HashMap::new();
    let mut scanned = Vec::new();
    for Found { entry, content } in stack.walk(b"").skip(1) {
        let first =
            content.map(|content| first_names.entry(content).or_insert_with(|| entry.path.clone()).clone());
        let kind = match first {
            Some(target) if target != entry.path => Kind::Hardlink { target },
            _ => entry.kind,
        };
        scanned.push((entry.path, kind, entry.mode));
    }
    scanned
}

fn by_children(stack: &Stack, path: &[u8], walked: &mut Vec<Vec<u8>>) {
    for child in stack.children(path) {
        walked.push(child.entry.path.clone());
        by_children(stack, &child.entry.path, walked);
    }
}

fn describe(entry: &Entry, layer: Option<u32>) -> String {
    match &entry.kind {
        Kind::Directory => format!("directory {:o}", entry.mode),
        Kind::File { size } => format!("file {size} of {layer:?}"),
        other => format!("{other:?}"),
    }
}

/// A layer in sorted order, whiteouts of a directory first, as every tool writes them.
fn random_layer() -> impl Strategy<Value = Vec<Item>> {
    let path = prop::collection::vec(prop::sample::select(&["a", "b", "c"][..]), 1..4)
        .prop_map(|path| path.join("/"));
    let item = (path, 0..6_u8, 0..9_usize).prop_map(|(path, kind, size)| match kind {
        0 | 1 => dir(&path),
        2 | 3 => file(&path, &"x".repeat(size)),
        4 => hide(&path),
        _ => opaque(&path),
    });
    prop::collection::vec(item, 0..8).prop_map(|mut items| {
        items.sort_by(|a, b| a.0.path.split(|&c| c == b'/').cmp(b.0.path.split(|&c| c == b'/')));
        items.dedup_by(|a, b| a.0.path == b.0.path);
        items
    })
}

/// The rules at their plainest: all whiteouts against the layers below, then the entries one by one.
/// `None` where a file would have to be a directory.
fn model(layers: &[Vec<Item>]) -> Option<BTreeMap<Vec<u8>, String>> {
    let mut tree: BTreeMap<Vec<u8>, String> = BTreeMap::new();
    let beneath = |path: &[u8], of: &[u8]| {
        of.is_empty() && !path.is_empty()
            || path.len() > of.len() && path.starts_with(of) && path[of.len()] == b'/'
    };
    for (layer, items) in layers.iter().enumerate() {
        for (entry, _) in items {
            let parent = entry.parent().to_vec();
            match whiteout::read(entry.name()).unwrap() {
                whiteout::Name::Plain(_) => {}
                whiteout::Name::Hides(name) => {
                    let hidden =
                        if parent.is_empty() { name.to_vec() } else { [&parent, &b"/"[..], name].concat() };
                    tree.retain(|path, _| *path != hidden && !beneath(path, &hidden));
                }
                whiteout::Name::Opaque => tree.retain(|path, _| !beneath(path, &parent)),
            }
        }
        for (entry, _) in items {
            if !matches!(whiteout::read(entry.name()), Ok(whiteout::Name::Plain(_))) {
                continue;
            }
            for (end, _) in entry.path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
                let parent =
                    tree.entry(entry.path[..end].to_vec()).or_insert_with(|| "directory 755".to_owned());
                if !parent.starts_with("directory") {
                    return None;
                }
            }
            let stays = tree.get(&entry.path).is_some_and(|kind| kind.starts_with("directory"));
            if !(stays && entry.kind == Kind::Directory) {
                tree.retain(|path, _| !beneath(path, &entry.path));
            }
            tree.insert(entry.path.clone(), describe(entry, Some(layer as u32)));
        }
    }
    Some(tree)
}

fn written(store: &dyn BlobStore, compression: Compression, items: &[Item]) -> (Layer, LayerIndex) {
    let mut writer = LayerWriter::new(store, compression, 1).unwrap().indexed();
    for (entry, content) in items {
        writer.append(entry, &mut &content[..]).unwrap();
    }
    let Written { layer, index, .. } = writer.finish_noted().unwrap();
    (layer, index.unwrap())
}

#[test]
fn the_index_made_while_writing_is_the_one_read_back() {
    let store = Memory::new();
    let long = "d/".repeat(80) + "file";
    let items = [dir("d"), file(&long, "content"), file("e", ""), symlink("l", "e"), hardlink("m", "e")];
    for compression in [Compression::None, Compression::ZSTD] {
        let (layer, index) = written(&store, compression, &items);
        assert!(index == LayerIndex::of_layer(&layer, &store).unwrap());
    }
}

#[test]
fn contents_are_read_in_any_order_whatever_the_compression() {
    let store = Memory::new();
    let spool = tempfile::tempdir().unwrap();
    let big = "0123456789".repeat(1_000_000);
    let lower = [file("a", "in a"), file("b", &big), file("c", "hidden"), file("empty", "")];
    let upper = [file("c", "in c"), hardlink("d", "c")];
    for compression in [Compression::None, Compression::GZIP, Compression::ZSTD] {
        let (layers, indexes): (Vec<_>, Vec<_>) =
            [&lower[..], &upper].map(|items| written(&store, compression, items)).into_iter().unzip();
        let stack = Stack::of(indexes.into_iter().map(Arc::new).collect()).unwrap();
        let content = |path: &str| stack.get(path.as_bytes()).unwrap().content.unwrap();
        let paths = ["d", "b", "empty", "a", "c", "b"];
        let mut contents = Contents::gather(&store, &layers, paths.map(content), spool.path()).unwrap();
        for (path, expected) in paths.iter().zip(["in c", &big, "", "in a", "in c", &big]) {
            let mut read = String::new();
            contents.open(&content(path)).unwrap().read_to_string(&mut read).unwrap();
            assert!(read == expected, "{compression} {path}");
        }
    }
    assert_eq!(std::fs::read_dir(spool.path()).unwrap().count(), 0);
}

#[test]
fn a_sparse_file_is_read_with_its_holes() {
    let folder = tempfile::tempdir().unwrap();
    let (path, archive) = (folder.path().join("sparse"), folder.path().join("tar"));
    let sparse = std::fs::File::create(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", 1 << 20).unwrap();
    let made = std::process::Command::new("tar")
        .arg("-cSf")
        .arg(&archive)
        .arg("-C")
        .arg(folder.path())
        .arg("sparse")
        .status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("tar is not installed: nothing was compared");
        return;
    }
    let store = Memory::new();
    let mut tar = std::fs::File::open(&archive).unwrap();
    let layer = Layer::of_tar(&store, &mut tar, Compression::None, 1).unwrap();
    let stack = Stack::of(vec![Arc::new(LayerIndex::of_layer(&layer, &store).unwrap())]).unwrap();
    let read = read_file(&stack, &store, &[layer], b"sparse", 2 << 20).unwrap().unwrap();
    assert!(read == std::fs::read(&path).unwrap());
}

#[test]
fn a_small_file_is_read_through_links_under_a_limit() {
    let store = Memory::new();
    let items =
        [dir("etc"), symlink("etc/passwd", "/usr/passwd"), dir("usr"), file("usr/passwd", "root:x:0:0")];
    let (layer, index) = written(&store, Compression::GZIP, &items);
    let stack = Stack::of(vec![Arc::new(index)]).unwrap();
    let read = |path: &[u8], limit| read_file(&stack, &store, std::slice::from_ref(&layer), path, limit);
    assert_eq!(read(b"/etc/passwd", 100).unwrap().unwrap(), b"root:x:0:0");
    assert_eq!(read(b"/etc/group", 100).unwrap(), None);
    assert_eq!(read(b"/etc", 100).unwrap(), None);
    assert!(matches!(read(b"/etc/passwd", 9), Err(ContentError::TooLarge { size: 10, limit: 9, .. })));
}

#[test]
fn an_index_of_another_layer_is_noticed() {
    let store = Memory::new();
    let (layer, _) = written(&store, Compression::GZIP, &[file("a", "short")]);
    for other in [vec![file("a", "longer")], vec![dir("d"), file("a", "short")]] {
        let (_, index) = written(&store, Compression::GZIP, &other);
        let stack = Stack::of(vec![Arc::new(index)]).unwrap();
        let error = read_file(&stack, &store, std::slice::from_ref(&layer), b"a", 100).unwrap_err();
        assert!(matches!(error, ContentError::Stale { .. }), "{error}");
    }
}

#[test]
fn what_was_not_gathered_is_not_opened() {
    let store = Memory::new();
    let (layer, index) = written(&store, Compression::GZIP, &[file("a", "x"), file("b", "y")]);
    let stack = Stack::of(vec![Arc::new(index)]).unwrap();
    let content = |path: &[u8]| stack.get(path).unwrap().content.unwrap();
    let mut contents = Contents::gather(&store, &[layer], [content(b"a")], "/".as_ref()).unwrap();
    assert!(matches!(contents.open(&content(b"b")), Err(ContentError::NotGathered { layer: 0, ordinal: 1 })));
}
