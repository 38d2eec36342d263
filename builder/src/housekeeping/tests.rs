//! A state folder that is emptied.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use oxbox_layers::compress::Compression;
use oxbox_layers::image::Image;
use oxbox_layers::layer::{Layer, LayerWriter};
use oxbox_layers::oci::{Config, Descriptor, MediaType, Platform, Raw, RootFs};
use oxbox_layers::store::{Layout, Sweep};
use oxbox_layers::tar::{Entry, Kind};

use super::{Amount, Bounds, Forgotten, forget, remembered, sweep_indexes, sweep_leftovers, tidy, usage};
use crate::housekeeping::usage::Part;
use crate::snapshot::{Overlay, Snapshotter as _};
use crate::solve::{Cache, Indexes, Key, KeyHasher};

fn layer(store: &Layout, name: &str) -> Layer {
    let mut writer = LayerWriter::new(store, Compression::None, 1).unwrap();
    writer.append(&Entry::new(name, Kind::Directory, 0o755), &mut std::io::empty()).unwrap();
    writer.finish().unwrap()
}

fn image(store: &Layout, layer: &Layer) -> Descriptor {
    let rootfs = RootFs { diff_ids: vec![layer.diff_id], ..RootFs::default() };
    let config = Config { rootfs, ..Config::scratch(&Platform::host()) };
    let config = Raw::write(config, MediaType::OCI_CONFIG);
    Image::assemble(config, vec![layer.clone()], BTreeMap::new()).unwrap().write(store).unwrap()
}

/// A state folder with a store, and three layers in it that have an index each.
fn state() -> (tempfile::TempDir, Layout, Vec<Layer>) {
    let state = tempfile::tempdir().unwrap();
    let store = Layout::create(state.path().join("store")).unwrap();
    let layers: Vec<Layer> = ["a", "b", "c"].map(|name| layer(&store, name)).to_vec();
    let indexes = Indexes::open(&state.path().join("indexes")).unwrap();
    for layer in &layers {
        indexes.stack(std::slice::from_ref(layer), &store).unwrap();
    }
    (state, store, layers)
}

fn key(layer: &Layer) -> Key {
    KeyHasher::new("k").field("digest", layer.descriptor.digest.to_string()).finish()
}

fn remember(state: &Path, layer: &Layer) {
    remember_at(state, layer, 7);
}

fn remember_at(state: &Path, layer: &Layer, used: i64) {
    Cache::open(&state.join("cache.db")).unwrap().put(&key(layer), layer, used).unwrap();
}

/// Room for one of the layers, and not for two.
fn tight(layer: &Layer) -> Bounds {
    Bounds { max_used: Some(Amount::Bytes(layer.descriptor.size)), ..Bounds::default() }
}

fn has_index(state: &Path, layer: &Layer) -> bool {
    state.join("indexes").join(layer.diff_id.0.hex()).exists()
}

#[test]
fn an_empty_state_remembers_nothing_and_stays_empty() {
    let state = tempfile::tempdir().unwrap();
    assert_eq!(remembered(state.path()).unwrap(), HashSet::new());
    assert_eq!(forget(state.path(), Sweep::Remove).unwrap(), Forgotten::default());
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
}

#[test]
fn a_layer_is_remembered_until_it_is_forgotten() {
    let (state, _store, layers) = state();
    remember(state.path(), &layers[0]);
    assert_eq!(remembered(state.path()).unwrap(), HashSet::from([layers[0].descriptor.digest]));
    forget(state.path(), Sweep::Remove).unwrap();
    assert_eq!(remembered(state.path()).unwrap(), HashSet::new());
}

#[test]
fn a_dry_run_tells_what_is_forgotten_next() {
    let (state, _store, layers) = state();
    remember(state.path(), &layers[0]);
    let snapshots = Overlay::open(state.path()).unwrap();
    let in_use = snapshots.prepare(&[]).unwrap();
    snapshots.commit(in_use, &layers[0].diff_id).unwrap();
    snapshots.commit(snapshots.prepare(&[]).unwrap(), &layers[1].diff_id).unwrap();
    let stands_on_it = snapshots.prepare(&[layers[0].diff_id]).unwrap();
    fs::create_dir(state.path().join("tmp")).unwrap();
    fs::write(state.path().join("tmp/left"), "").unwrap();
    let told = forget(state.path(), Sweep::DryRun).unwrap();
    assert_eq!((told.records, told.snapshots, told.indexes, told.contexts), (1, 1, 3, 0));
    assert!(told.bytes > 0);
    assert_eq!(forget(state.path(), Sweep::Remove).unwrap(), told);
    assert_eq!(forget(state.path(), Sweep::Remove).unwrap(), Forgotten::default());
    assert_eq!(fs::read_dir(state.path().join("tmp")).unwrap().count(), 0);
    drop(stands_on_it);
    assert_eq!(forget(state.path(), Sweep::Remove).unwrap().snapshots, 1);
}

#[test]
fn an_index_goes_with_the_last_that_knew_its_layer() {
    let (state, store, layers) = state();
    remember(state.path(), &layers[0]);
    let named = image(&store, &layers[1]);
    store.tag("app", &named).unwrap();
    assert_eq!(sweep_indexes(state.path(), &store, &[], &[], Sweep::DryRun).unwrap(), 1);
    assert_eq!(sweep_indexes(state.path(), &store, &[named], &[], Sweep::DryRun).unwrap(), 2);
    assert_eq!(sweep_indexes(state.path(), &store, &[], &[], Sweep::Remove).unwrap(), 1);
    let left: Vec<bool> = layers.iter().map(|layer| has_index(state.path(), layer)).collect();
    assert_eq!(left, [true, true, false]);
}

#[test]
fn an_unfinished_index_is_left_to_its_writer_for_a_while() {
    let (state, store, layers) = state();
    let old = state.path().join("indexes/.tmpOld");
    for path in [&old, &state.path().join("indexes/.tmpNew")] {
        fs::write(path, "").unwrap();
    }
    let file = fs::File::options().write(true).open(&old).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(2 * 3600)).unwrap();
    layers.iter().for_each(|layer| remember(state.path(), layer));
    assert_eq!(sweep_indexes(state.path(), &store, &[], &[], Sweep::Remove).unwrap(), 0);
    assert_eq!(sweep_leftovers(state.path(), Sweep::Remove).unwrap().files, 1);
    assert!(!old.exists());
    assert!(state.path().join("indexes/.tmpNew").exists());
}

#[test]
fn beyond_the_bound_the_least_recently_used_goes_and_images_stay_whole() {
    let (state, store, layers) = state();
    let [of_image, old, young] = &layers[..] else { unreachable!() };
    store.tag("app", &image(&store, of_image)).unwrap();
    // In the order of use: the image's own is the oldest.
    for (used, layer) in layers.iter().enumerate() {
        remember_at(state.path(), layer, i64::try_from(used).unwrap());
    }
    drop(store);
    let evicted = tidy(state.path(), &tight(young)).unwrap().unwrap();
    assert_eq!((evicted.layers, evicted.bytes), (vec![old.descriptor.digest], old.descriptor.size));
    let store = Layout::open(state.path().join("store")).unwrap();
    let is_there = |layer: &Layer| store.blob_path(&layer.descriptor.digest).exists();
    assert_eq!((is_there(of_image), is_there(old), is_there(young)), (true, false, true));
    let remembered = remembered(state.path()).unwrap();
    assert_eq!(remembered, HashSet::from([of_image.descriptor.digest, young.descriptor.digest]));
}

#[test]
fn what_nobody_knows_goes_before_the_cache_does() {
    let (state, store, layers) = state();
    let unknown = layer(&store, "unknown");
    store.tag("app", &image(&store, &layers[0])).unwrap();
    remember(state.path(), &layers[1]);
    drop(store);
    let bounds = Bounds {
        min_free: Some(Amount::Percent(100)),
        reserved: Some(Amount::Percent(100)),
        ..Bounds::default()
    };
    let evicted = tidy(state.path(), &bounds).unwrap().unwrap();
    assert_eq!(evicted, Default::default(), "all is reserved");
    fs::remove_file(state.path().join("locks/housekeeping")).unwrap();
    let bounds = Bounds { reserved: Some(Amount::Bytes(layers[1].descriptor.size - 1)), ..bounds };
    let evicted = tidy(state.path(), &bounds).unwrap().unwrap();
    let store = Layout::open(state.path().join("store")).unwrap();
    let is_there = |layer: &Layer| store.blob_path(&layer.descriptor.digest).exists();
    assert_eq!((is_there(&layers[0]), is_there(&layers[1]), is_there(&unknown)), (true, false, false));
    assert_eq!(evicted.layers, [layers[1].descriptor.digest]);
    assert!(evicted.bytes >= unknown.descriptor.size + layers[1].descriptor.size);
}

#[test]
fn it_is_tidied_once_in_a_while_by_one_at_a_time() {
    let (state, store, layers) = state();
    drop(store);
    let bounds = tight(&layers[0]);
    let tidies = || tidy(state.path(), &bounds).unwrap().is_some();
    assert!(tidies());
    assert!(!tidies(), "it was done just now");
    let stamp = state.path().join("locks/housekeeping");
    let set = |time| fs::File::options().write(true).open(&stamp).unwrap().set_modified(time).unwrap();
    set(SystemTime::now() - Duration::from_secs(3600));
    let other = fs::File::open(&stamp).unwrap();
    rustix::fs::flock(&other, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert!(!tidies(), "somebody is at it");
    drop(other);
    assert!(tidies());
    set(SystemTime::now() + Duration::from_secs(3600));
    assert!(tidies(), "the clock went back");
}

#[test]
fn a_layer_that_a_builder_found_is_there_as_long_as_it_works() {
    let (state, store, layers) = state();
    layers.iter().for_each(|layer| remember(state.path(), layer));
    drop(store);
    let path = state.path();
    let builder = || {
        let store = Layout::create(path.join("store")).unwrap();
        let cache = Cache::open(&path.join("cache.db")).unwrap();
        for _ in 0..20 {
            for layer in &layers {
                let digest = &layer.descriptor.digest;
                let found = cache.get(&key(layer), 7).unwrap();
                use oxbox_layers::store::BlobStore as _;
                if found.is_none() || store.stat(digest).unwrap().is_none() {
                    let made = self::layer(&store, std::str::from_utf8(&name_of(layer, &layers)).unwrap());
                    assert_eq!(made.descriptor.digest, *digest);
                    cache.put(&key(layer), &made, 7).unwrap();
                }
                // It was found, or made: from now on it stays.
                assert!(store.open(digest).unwrap().is_some());
            }
        }
        layers.iter().for_each(|layer| assert!(store.blob_path(&layer.descriptor.digest).exists()));
    };
    std::thread::scope(|scope| {
        let builders: Vec<_> = (0..4).map(|_| scope.spawn(builder)).collect();
        while !builders.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let _ = fs::remove_file(path.join("locks/housekeeping"));
            tidy(path, &Bounds::default()).unwrap();
        }
    });
}

fn name_of(layer: &Layer, layers: &[Layer]) -> [u8; 1] {
    let at = layers.iter().position(|other| other == layer).unwrap();
    [b'a' + u8::try_from(at).unwrap()]
}

#[test]
fn snapshots_go_by_their_last_use_and_those_in_use_stay() {
    let (state, store, layers) = state();
    drop(store);
    let snapshots = Overlay::open(state.path()).unwrap();
    for layer in &layers {
        snapshots.commit(snapshots.prepare(&[]).unwrap(), &layer.diff_id).unwrap();
    }
    // The first in use, the second of use lately, the third not.
    let in_use = snapshots.prepare(&[layers[0].diff_id]).unwrap();
    for (at, age) in [(0, 9000), (1, 10), (2, 8000)] {
        let marker = state.path().join("snapshots").join(layers[at].diff_id.0.hex()).join("unpacked");
        let used = SystemTime::now() - Duration::from_secs(age);
        fs::File::options().write(true).open(marker).unwrap().set_modified(used).unwrap();
    }
    let bounds = Bounds { unused_for: Some(Duration::from_secs(3600)), ..Bounds::default() };
    let evicted = tidy(state.path(), &bounds).unwrap().unwrap();
    assert_eq!(evicted.snapshots, 1);
    let names: HashSet<_> = snapshots.list().unwrap().into_iter().map(|kept| kept.layer.0).collect();
    assert_eq!(names, HashSet::from([layers[0].diff_id.0, layers[1].diff_id.0]));
    drop(in_use);
}

#[test]
fn no_byte_is_counted_twice() {
    let (state, store, layers) = state();
    let [of_image, of_unnamed, cached] = &layers[..] else { unreachable!() };
    store.tag("app", &image(&store, of_image)).unwrap();
    store.update(|entries| entries.add(&image(&store, of_unnamed))).unwrap();
    let unknown = layer(&store, "unknown");
    [of_image, cached].iter().for_each(|layer| remember(state.path(), layer));
    let usage = usage(state.path(), Some(&store)).unwrap();
    let one = |layer: &Layer| Part { count: 1, bytes: layer.descriptor.size };
    assert_eq!((usage.named.count, usage.unnamed.count), (3, 3), "a manifest, a config and a layer");
    assert_eq!((usage.cache_only(), usage.unknown), (one(cached), one(&unknown)));
    let shared: Vec<bool> = usage.layers.iter().map(|layer| layer.shared).collect();
    assert_eq!(shared.iter().filter(|shared| **shared).count(), 1);
    let blobs: u64 = store.blobs().unwrap().iter().map(|blob| blob.size).sum();
    assert_eq!(usage.total(), blobs + usage.indexes.bytes + usage.database);
    assert_eq!(usage.indexes.count, 3);
}
