//! What is broken is refused with a clear error, and what was there before stays as it was.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Barrier, Once};

use crate::place::{Place, chain};
use oxbox_copy::endpoint::{EndpointError, Subject};
use oxbox_copy::progress::Event;
use oxbox_copy::transfer::TransferError;
use oxbox_layers::oci::{Algorithm, Hasher};
use oxbox_testdata::image::{Blobs, Family, Hash, Layer, tar_entry};
use serde_json::Value;

const DESTINATIONS: [&str; 5] = [
    "oci:{}/to:new",
    "oci-archive:{}/to.tar:new",
    "docker-archive:{}/to.docker:new",
    "dir:{}/to.dir",
    "store:new",
];

/// A layout `good` and a layout `bad` whose layer has one byte changed.
fn prepare(place: &Place) -> (Blobs, Value) {
    let mut blobs = Blobs::default();
    let image = blobs.image(Family::Oci, "amd64", &[Layer::of_file(1, 900_000), Layer::of_file(2, 10)]);
    blobs.write_layout(&place.join("good"), &[(Some("new"), image.clone())]);
    let manifest: Value = serde_json::from_slice(&blobs.0[image["digest"].as_str().unwrap()]).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    let mut bad = blobs.clone();
    let bytes = bad.0.get_mut(&layer).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    bad.write_layout(&place.join("bad"), &[(Some("new"), image)]);
    (blobs, layer.into())
}

/// Every file below a folder with its content; what only says that somebody was at work is left out.
fn files(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut waiting = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        if path.ends_with(".oxbox") {
            continue;
        }
        match fs::read_dir(&path) {
            Ok(entries) => waiting.extend(entries.map(|entry| entry.unwrap().path())),
            Err(_) => found.push((path.display().to_string(), fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_corrupt_layer_is_refused_and_nothing_is_named() {
    for destination in DESTINATIONS {
        let place = Place::new();
        let (_, layer) = prepare(&place);
        let error = place.copy("oci:{}/bad", destination).await.unwrap_err();
        let TransferError::Blob { digest, source: EndpointError::Corrupt { subject, .. }, .. } = &error
        else {
            panic!("{destination}: {error:?}")
        };
        assert_eq!(digest.to_string(), layer, "{destination}");
        assert_eq!(*subject, Subject::Blob(*digest));
        assert!(place.copy(destination, "oci:{}/again").await.is_err(), "{destination}");
    }
}

#[tokio::test]
async fn a_copy_that_fails_leaves_the_old_image() {
    for destination in DESTINATIONS {
        let place = Place::new();
        prepare(&place);
        let mut old = Blobs::default();
        let image = old.image(Family::Docker, "amd64", &[Layer::of_file(9, 5)]);
        old.write_layout(&place.join("old"), &[(None, image.clone())]);
        place.copy("oci:{}/old", destination).await.unwrap();
        place.copy("oci:{}/bad", destination).await.unwrap_err();
        let report = place.copy(destination, "oci:{}/again").await.unwrap();
        assert_eq!(report.root.digest.to_string(), image["digest"], "{destination}");
        assert_eq!(Blobs::read_layout(&place.join("again")), old, "{destination}");
    }
}

#[test]
fn a_copy_that_fails_leaves_no_litter() {
    for destination in ["oci-archive:{}/out/to.tar:new", "docker-archive:{}/out/x.tar:a", "dir:{}/out/dir"] {
        let place = Place::new();
        prepare(&place);
        fs::create_dir(place.join("out")).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(place.copy("oci:{}/bad", destination)).unwrap_err();
        // Blobs that were under way are discarded by their own threads; this waits for them.
        drop(runtime);
        assert!(files(&place.join("out")).is_empty(), "{destination}");
    }
}

#[tokio::test]
async fn a_missing_layer_is_absent_and_named() {
    let place = Place::new();
    let (_, layer) = prepare(&place);
    let path = place.join("good/blobs").join(layer.as_str().unwrap().replace(':', "/"));
    fs::remove_file(path).unwrap();
    let error = place.copy("oci:{}/good", "dir:{}/to").await.unwrap_err();
    assert!(chain(&error).contains(layer.as_str().unwrap()), "{}", chain(&error));
    assert!(matches!(error, TransferError::Blob { source: EndpointError::Absent { .. }, .. }));
}

#[tokio::test]
async fn a_truncated_archive_says_so() {
    for archive in ["oci-archive:{}/x.tar", "docker-archive:{}/x.tar"] {
        let place = Place::new();
        prepare(&place);
        place.copy("oci:{}/good", &archive.replace(".tar", ".tar:new")).await.unwrap();
        let file = fs::File::options().write(true).open(place.join("x.tar")).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        let error = place.copy(archive, "dir:{}/to").await.unwrap_err();
        assert!(matches!(error, TransferError::Endpoint(EndpointError::Corrupt { .. })), "{error:?}");
        assert!(chain(&error).contains("too early"), "{}", chain(&error));
    }
}

#[tokio::test]
async fn a_manifest_that_is_another_one_is_corrupt() {
    let place = Place::new();
    let (blobs, _) = prepare(&place);
    place.copy("oci:{}/good", "dir:{}/dir").await.unwrap();
    let index = blobs.clone().index(Family::Oci, &[]);
    let mut wrong = blobs.clone();
    let digest = index["digest"].as_str().unwrap().to_owned();
    wrong.0.insert(digest, br#"{"schemaVersion":2,"manifests":[],"a":1}"#.to_vec());
    wrong.write_layout(&place.join("wrong"), &[(None, index)]);
    let error = place.copy("oci:{}/wrong", "dir:{}/dir").await.unwrap_err();
    assert!(chain(&error).contains("corrupt"), "{}", chain(&error));
}

#[tokio::test]
async fn a_layer_outside_the_archive_is_refused() {
    let place = Place::new();
    fs::write(place.join("secret"), b"secret").unwrap();
    let manifest = br#"[{"Config":"c.json","RepoTags":null,"Layers":["l/layer.tar"]}]"#;
    let config = br#"{"rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}"#;
    for target in ["../../secret", &place.join("secret").display().to_string()] {
        let archive = [
            tar_entry("manifest.json", b'0', manifest, ""),
            tar_entry("c.json", b'0', config, ""),
            tar_entry("l/layer.tar", b'2', b"", target),
            vec![0; 1024],
        ];
        fs::write(place.join("x.tar"), archive.concat()).unwrap();
        let error = place.copy("docker-archive:{}/x.tar", "dir:{}/to").await.unwrap_err();
        assert!(chain(&error).contains("l/layer.tar"), "{}", chain(&error));
    }
}

#[tokio::test]
async fn a_directory_that_is_no_image_is_never_replaced() {
    let place = Place::new();
    prepare(&place);
    fs::create_dir(place.join("home")).unwrap();
    fs::write(place.join("home/letters"), b"dear").unwrap();
    let error = place.copy("oci:{}/good", "dir:{}/home").await.unwrap_err();
    assert!(matches!(error, TransferError::Endpoint(EndpointError::Unsupported { .. })), "{error:?}");
    assert_eq!(fs::read(place.join("home/letters")).unwrap(), b"dear");
}

/// A file system of a few pages. Needs root, as the other tests of peers do.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(path: &'a Path) -> Self {
        fs::create_dir(path).unwrap();
        let mut mount = Command::new("mount");
        let status = mount.args(["-t", "tmpfs", "-o", "size=256k", "oxbox"]).arg(path).status().unwrap();
        assert!(status.success(), "this test mounts a tmpfs, as root");
        Self(path)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_leaves_the_old_image() {
    for destination in ["oci:{}/disk/to:new", "oci-archive:{}/disk/to.tar:new", "dir:{}/disk/to"] {
        let place = Place::new();
        let path = place.join("disk");
        let _disk = SmallDisk::mount(&path);
        let mut blobs = Blobs::default();
        let small = blobs.image(Family::Oci, "amd64", &[Layer::of_file(1, 10)]);
        blobs.write_layout(&place.join("small"), &[(None, small.clone())]);
        // Bytes that gzip cannot shrink, so that they do not fit.
        let noise: Vec<u8> =
            (0..40_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).rotate_left(i).to_le_bytes()).collect();
        let noise = [noise.clone(), noise.iter().rev().map(|byte| byte.wrapping_mul(7)).collect()].concat();
        let layer =
            Layer { tar: oxbox_testdata::image::tar_of_file("noise", &noise), ..Layer::of_file(0, 0) };
        let large = blobs.image(Family::Oci, "amd64", &[layer]);
        blobs.write_layout(&place.join("large"), &[(None, large)]);

        place.copy("oci:{}/small", destination).await.unwrap();
        let error = place.copy("oci:{}/large", destination).await.unwrap_err();
        assert!(chain(&error).contains("No space left on device"), "{destination}: {}", chain(&error));
        let report = place.copy(destination, "oci:{}/again").await.unwrap();
        assert_eq!(report.root.digest.to_string(), small["digest"], "{destination}");
    }
}

#[test]
fn a_copy_that_is_cancelled_leaves_the_old_image() {
    for destination in DESTINATIONS {
        let place = Place::new();
        prepare(&place);
        let mut old = Blobs::default();
        let image = old.image(Family::Docker, "amd64", &[Layer::of_file(9, 5)]);
        old.write_layout(&place.join("old"), &[(None, image.clone())]);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(place.copy("oci:{}/old", destination)).unwrap();
        let begun = Arc::new(tokio::sync::Notify::new());
        let cancelled = Arc::new(Barrier::new(2));
        let (notify, wait, once) = (Arc::clone(&begun), Arc::clone(&cancelled), Once::new());
        // The first bytes go no further until the copy has been given up.
        let progress = Arc::new(move |event| {
            if matches!(event, Event::Advanced { .. }) {
                once.call_once(|| {
                    notify.notify_one();
                    wait.wait();
                });
            }
        });
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = begun.notified() => {}
                copied = place.copy_telling("oci:{}/good", destination, progress) => { copied.unwrap(); }
            }
        });
        cancelled.wait();
        // As a process that was told to stop does.
        drop(runtime);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let report = runtime.block_on(place.copy(destination, "oci:{}/again")).unwrap();
        // Cancelled at its first byte, it cannot have come to its end.
        assert_eq!(report.root.digest.to_string(), image["digest"], "{destination}");
    }
}

/// The most memory this process has used, in KiB.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_large_blob_takes_little_memory() {
    const SIZE: u64 = 512 << 20;
    let place = Place::new();
    let mut blobs = Blobs::default();
    blobs.write_layout(&place.join("layout"), &[]);
    fs::create_dir_all(place.join("layout/blobs/sha256")).unwrap();
    // A file of holes: its content is zeros, which nobody has to keep.
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let piece = vec![0; 1 << 20];
    (0..SIZE >> 20).for_each(|_| hasher.update(&piece));
    let digest = hasher.finish();
    let path = place.join("layout/blobs/sha256").join(digest.hex());
    fs::File::create(path).unwrap().set_len(SIZE).unwrap();
    let config = blobs.keep("application/vnd.oci.empty.v1+json", b"{}", Hash::Sha256);
    let layer = serde_json::json!({ "mediaType": "a/b", "digest": digest.to_string(), "size": SIZE });
    let manifest = serde_json::json!({ "schemaVersion": 2, "config": config, "layers": [layer] }).to_string();
    let manifest =
        blobs.keep("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes(), Hash::Sha256);
    blobs.write_layout(&place.join("layout"), &[(None, manifest)]);
    let before = peak_memory();
    place.copy("oci:{}/layout", "oci-archive:{}/x.tar").await.unwrap();
    place.copy("oci-archive:{}/x.tar", "dir:{}/to").await.unwrap();
    let grown = peak_memory() - before;
    assert!(grown < 32 << 10, "{grown} KiB more than before");
}

#[tokio::test]
async fn files_that_came_into_a_directory_during_the_copy_are_not_lost() {
    let place = Place::new();
    prepare(&place);
    let notes = place.join("to/notes.txt");
    let path = notes.clone();
    let progress = Arc::new(move |event| {
        if let Event::Planned { .. } = event {
            fs::write(&path, "mine").unwrap();
        }
    });
    let error = place.copy_telling("oci:{}/good", "dir:{}/to", progress).await.unwrap_err();
    assert!(chain(&error).contains("not empty"), "{}", chain(&error));
    assert_eq!(fs::read(notes).unwrap(), b"mine");
}
