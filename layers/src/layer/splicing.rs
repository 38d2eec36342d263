//! A layer with chunks taken over is the layer that would have been written without, whatever was changed.

use std::io::{self, Read, Write as _};

use proptest::prelude::*;

use super::{Layer, LayerWriter, Written};
use crate::compress::{ChunkIndex, Compression};
use crate::oci::Digest;
use crate::store::{BlobStore, Layout, Memory};
use crate::tar::{Entry, Kind};

/// The fastest level of each, which have all that matters here.
const FAST: [Compression; 2] = [Compression::Gzip { level: 1 }, Compression::Zstd { level: 1 }];

/// A file that is made anew from a few numbers whenever it is needed.
#[derive(Debug, Clone, PartialEq)]
struct Item {
    path: String,
    size: usize,
    seed: u64,
    mode: u32,
}

impl Item {
    fn content(&self) -> Vec<u8> {
        let mut state = self.seed | 1;
        let mut bytes = Vec::with_capacity(self.size + 32);
        while bytes.len() < self.size {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes()[..(state >> 40) as usize % 9]);
            bytes.extend_from_slice(&b"a line of text in a file"[(state >> 50) as usize % 20..]);
        }
        bytes.truncate(self.size);
        bytes
    }
}

#[derive(Debug, Clone)]
enum Edit {
    Insert(Item),
    Delete,
    Touch { seed: u64 },
    Resize { size: usize },
    Rename { to: String },
    Mode(u32),
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0_usize..3000, 2 => 100_000_usize..700_000, 1 => 2_000_000_usize..3_000_000]
}

fn item() -> impl Strategy<Value = Item> {
    ("[a-z]{1,3}/[a-z]{1,8}", size(), any::<u64>(), prop::sample::select(&[0o644, 0o755][..]))
        .prop_map(|(path, size, seed, mode)| Item { path, size, seed, mode })
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        item().prop_map(Edit::Insert),
        Just(Edit::Delete),
        any::<u64>().prop_map(|seed| Edit::Touch { seed }),
        size().prop_map(|size| Edit::Resize { size }),
        "[a-z]{1,3}/[a-z]{1,90}".prop_map(|to| Edit::Rename { to }),
        Just(Edit::Mode(0o4711)),
    ]
}

fn apply(items: &mut Vec<Item>, place: prop::sample::Index, edit: Edit) {
    if items.is_empty() {
        return;
    }
    let at = place.index(items.len());
    match edit {
        Edit::Insert(item) => items.insert(at, item),
        Edit::Delete => drop(items.remove(at)),
        Edit::Touch { seed } => items[at].seed = seed,
        Edit::Resize { size } => items[at].size = size,
        Edit::Rename { to } => items[at].path = to,
        Edit::Mode(mode) => items[at].mode = mode,
    }
}

fn append(writer: &mut LayerWriter, items: &[Item]) {
    for item in items {
        let entry = Entry::new(item.path.as_str(), Kind::File { size: item.size as u64 }, item.mode);
        writer.append(&entry, &mut &item.content()[..]).unwrap();
    }
}

fn afresh(store: &dyn BlobStore, compression: Compression, items: &[Item]) -> Layer {
    let mut writer = LayerWriter::new(store, compression, 2).unwrap();
    append(&mut writer, items);
    writer.finish().unwrap()
}

fn splice(
    store: &dyn BlobStore,
    compression: Compression,
    threads: usize,
    previous: Option<&ChunkIndex>,
    items: &[Item],
) -> Written {
    let mut writer = LayerWriter::splicing(store, compression, threads, previous).unwrap();
    append(&mut writer, items);
    writer.finish_noted().unwrap()
}

/// Some 12 MB in files of 40 KB.
fn many() -> Vec<Item> {
    let item = |at: u64| Item { path: format!("d/{at:04}"), size: 40_000, seed: at * 7919, mode: 0o644 };
    (0..300).map(item).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn after_any_edits_a_spliced_layer_is_the_one_written_afresh(
        mut items in prop::collection::vec(item(), 1..12),
        rounds in prop::collection::vec(
            prop::collection::vec((any::<prop::sample::Index>(), edit()), 0..4), 1..3,
        ),
        compression in prop::sample::select(&FAST[..]),
        threads in 1_usize..4,
    ) {
        let store = Memory::new();
        let mut last = splice(&store, compression, threads, None, &items);
        prop_assert_eq!(last.spliced_bytes, 0);
        for edits in rounds {
            for (place, edit) in edits {
                apply(&mut items, place, edit);
            }
            let next = splice(&store, compression, threads, last.chunks.as_ref(), &items);
            let other = Memory::new();
            prop_assert_eq!(&next.layer, &afresh(&other, compression, &items));
            // What the next one splices from must not depend on how this one came about either.
            prop_assert_eq!(&next.chunks, &splice(&other, compression, 1, None, &items).chunks);
            last = next;
        }
        last.layer.open_tar(&store).unwrap().verify().unwrap();
    }
}

#[test]
fn an_edit_costs_the_chunks_around_it_and_no_more() {
    let edits = [
        Edit::Touch { seed: 1 },
        Edit::Delete,
        Edit::Rename { to: "d/renamed".to_owned() },
        Edit::Insert(Item { path: "d/new".to_owned(), size: 70_001, seed: 3, mode: 0o644 }),
        Edit::Resize { size: 1 },
    ];
    let store = Memory::new();
    let compression = Compression::Gzip { level: 1 };
    let first = splice(&store, compression, 2, None, &many());
    let unchanged = splice(&store, compression, 2, first.chunks.as_ref(), &many());
    assert_eq!(unchanged.layer, first.layer);
    assert!(unchanged.spliced_bytes > 300 * 40_000);
    for edit in edits {
        let mut items = many();
        match edit {
            Edit::Touch { seed } => items[150].seed = seed,
            Edit::Delete => drop(items.remove(150)),
            Edit::Rename { to } => items[150].path = to,
            Edit::Insert(item) => items.insert(150, item),
            Edit::Resize { size } => items[150].size = size,
            Edit::Mode(mode) => items[150].mode = mode,
        }
        let edited = splice(&store, compression, 2, first.chunks.as_ref(), &items);
        let compressed = unchanged.spliced_bytes - edited.spliced_bytes.min(unchanged.spliced_bytes);
        assert!(compressed < 6 << 20, "{compressed} bytes were compressed again");
        assert_eq!(edited.layer, afresh(&Memory::new(), compression, &items));
    }
}

#[test]
fn a_large_file_that_grew_at_its_front_keeps_most_of_its_chunks() {
    let store = Memory::new();
    let compression = Compression::Gzip { level: 1 };
    let content = Item { path: "log".to_owned(), size: 12 << 20, seed: 9, mode: 0o644 }.content();
    let write = |content: &[u8], previous: Option<&ChunkIndex>| {
        let mut writer = LayerWriter::splicing(&store, compression, 2, previous).unwrap();
        let entry = Entry::new("log", Kind::File { size: content.len() as u64 }, 0o644);
        writer.append(&entry, &mut &content[..]).unwrap();
        writer.finish_noted().unwrap()
    };
    let first = write(&content, None);
    let grown = write(&[b"one more line\n", &content[..]].concat(), first.chunks.as_ref());
    assert!(grown.spliced_bytes > 6 << 20, "{} bytes were taken over", grown.spliced_bytes);
}

#[test]
fn a_tar_gives_the_same_layer_whole_entry_by_entry_and_recompressed() {
    let store = Memory::new();
    let plain = afresh(&store, Compression::None, &many());
    for compression in FAST {
        let layer = afresh(&store, compression, &many());
        let mut tar = store.open(&plain.descriptor.digest).unwrap().unwrap();
        assert_eq!(Layer::of_tar(&store, &mut tar, compression, 3).unwrap(), layer);
        assert_eq!(plain.recompress(&store, compression, 1).unwrap(), layer);
    }
}

#[test]
fn a_damaged_blob_saves_less_and_spoils_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Layout::create(folder.path()).unwrap();
    for compression in FAST {
        let first = splice(&store, compression, 2, None, &many());
        let path = store.blob_path(&first.layer.descriptor.digest);
        let blob = std::fs::read(&path).unwrap();
        let mut spliced = Vec::new();
        for step in [blob.len() / 2, 100_000] {
            let mut damaged = blob.clone();
            damaged.iter_mut().skip(step).step_by(step).for_each(|byte| *byte ^= 0x20);
            std::fs::write(&path, damaged).unwrap();
            let again = splice(&store, compression, 2, first.chunks.as_ref(), &many()[1..]);
            assert_eq!(again.layer, afresh(&Memory::new(), compression, &many()[1..]));
            spliced.push(again.spliced_bytes);
        }
        assert_eq!(spliced[1], 0, "every chunk was damaged");
        assert!(spliced[0] > 0, "one byte in the middle was damaged: {compression}");
    }
}

#[test]
fn an_index_of_a_blob_that_is_gone_short_or_compressed_otherwise_is_of_no_use_and_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let store = Layout::create(folder.path()).unwrap();
    let [gzip, zstd] = FAST;
    let first = splice(&store, gzip, 2, None, &many());
    let chunks = first.chunks.unwrap();
    let expect_afresh = |compression| {
        let again = splice(&store, compression, 2, Some(&chunks), &many());
        assert_eq!(again.spliced_bytes, 0);
        assert_eq!(again.layer, afresh(&Memory::new(), compression, &many()));
    };
    expect_afresh(zstd);
    expect_afresh(Compression::Gzip { level: 2 });
    let path = store.blob_path(&first.layer.descriptor.digest);
    std::fs::File::options().write(true).open(&path).unwrap().set_len(100_000).unwrap();
    expect_afresh(gzip);
    store.remove(&first.layer.descriptor.digest).unwrap();
    expect_afresh(gzip);
}

#[test]
fn what_is_not_compressed_has_its_chunks_noted_and_nothing_taken_over() {
    let store = Memory::new();
    let first = splice(&store, Compression::None, 2, None, &many());
    assert_eq!(first.layer.diff_id.0, first.layer.descriptor.digest);
    let chunks = first.chunks.unwrap();
    assert_eq!(ChunkIndex::from_bytes(&chunks.to_bytes()), Ok(chunks.clone()));
    for threads in [1, 2] {
        let again = splice(&store, Compression::None, threads, Some(&chunks), &many());
        assert_eq!((again.layer, again.spliced_bytes), (first.layer.clone(), 0));
        assert_eq!(again.chunks.as_ref(), Some(&chunks));
    }
}

#[test]
fn the_formats_own_tools_read_a_spliced_layer() {
    let store = Memory::new();
    for (compression, tool) in FAST.into_iter().zip(["gzip", "zstd"]) {
        let first = splice(&store, compression, 2, None, &many());
        let second = splice(&store, compression, 2, first.chunks.as_ref(), &many()[20..]);
        assert!(second.spliced_bytes > 0);
        let mut blob = Vec::new();
        store.open(&second.layer.descriptor.digest).unwrap().unwrap().read_to_end(&mut blob).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&blob).unwrap();
        let stdin = std::fs::File::open(file.path()).unwrap();
        let Ok(output) = std::process::Command::new(tool).arg("-dc").stdin(stdin).output() else {
            eprintln!("{tool} is not installed: nothing was compared");
            continue;
        };
        io::stderr().write_all(&output.stderr).unwrap();
        assert!(output.status.success());
        assert_eq!(Digest::sha256(&output.stdout), second.layer.diff_id.0);
    }
}
