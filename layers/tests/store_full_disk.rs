//! The layout on a disk that runs full: a clear error, nothing half-written, nothing lost.
//!
//! The disk is a tmpfs of one megabyte, which only root can mount: others skip, and say so.

// Not only the tests but also what sets them up.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use oxbox_layers::oci::{Algorithm, Descriptor, Manifest, MediaType, Raw};
use oxbox_layers::store::{BlobStore, Layout, StoreError, Sweep, Swept, read_document};

fn put(store: &dyn BlobStore, content: &[u8]) {
    let mut writer = store.writer(Algorithm::Sha256).unwrap();
    writer.write_all(content).unwrap();
    writer.commit().unwrap();
}

/// Writes an image of a config, a manifest and a layer of 200 kB.
fn put_image(store: &dyn BlobStore) -> Descriptor {
    let layer = vec![5; 200_000];
    let config = Descriptor::of(MediaType::OCI_CONFIG, b"{}");
    let manifest = Manifest::of_image(config, vec![Descriptor::of(MediaType::OCI_LAYER, &layer)]);
    let manifest = Raw::write(manifest, MediaType::OCI_MANIFEST);
    for blob in [&layer, &b"{}"[..], manifest.bytes()] {
        put(store, blob);
    }
    manifest.descriptor()
}

/// Takes whatever room is left.
fn fill(small: &Small) {
    let error = fs::write(small.directory.path().join("filler"), vec![1; 2 << 20]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

/// Holds the layout to what was written while there was room; nobody is at work in it.
fn check(root: &Path) {
    let layout = Layout::open(root).unwrap();
    let names = layout.names().unwrap();
    assert_eq!(names.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["fits"]);
    read_document(&layout, &names[0].1).unwrap();
    assert_eq!(layout.blobs().unwrap().len(), 3);
    assert_eq!(layout.sweep(Sweep::Remove).unwrap(), Swept::default());
}

/// A small filesystem of its own, unmounted when dropped; `None` without the right to mount.
struct Small {
    directory: tempfile::TempDir,
}

impl Small {
    fn mount(options: &std::ffi::CStr) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let flags = rustix::mount::MountFlags::empty();
        match rustix::mount::mount("tmpfs", directory.path(), "tmpfs", flags, options) {
            Ok(()) => Some(Self { directory }),
            Err(error) => {
                eprintln!("skipped: cannot mount a small filesystem: {error}");
                None
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.directory.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing_half_written() {
    let Some(small) = Small::mount(c"size=1m") else { return };
    let root = small.directory.path().join("store");
    let layout = Layout::create(&root).unwrap();
    let image = put_image(&layout);
    layout.tag("fits", &image).unwrap();

    let mut writer = layout.writer(Algorithm::Sha256).unwrap();
    let error = writer.write_all(&vec![7; 2 << 20]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(error.to_string().starts_with("cannot write /"), "{error}");
    // Who ignores that does not get a short blob published either.
    assert!(writer.commit().is_err());

    // Smaller than the writer's buffer: the disk refuses at the commit.
    fill(&small);
    let mut writer = layout.writer(Algorithm::Sha256).unwrap();
    writer.write_all(b"some bytes").unwrap();
    let error = writer.commit().unwrap_err();
    let StoreError::Io { verb: "write", source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    let error = layout.tag("again", &image).unwrap_err();
    assert!(matches!(&error, StoreError::Io { verb: "write", path, .. } if *path == root.join("index.json")));

    drop(layout);
    check(&root);
    fs::remove_file(small.directory.path().join("filler")).unwrap();
    Layout::create(&root).unwrap().tag("again", &image).unwrap();
}

#[test]
fn a_sweep_makes_room_on_a_full_disk() {
    let Some(small) = Small::mount(c"size=1m") else { return };
    let root = small.directory.path().join("store");
    let layout = Layout::create(&root).unwrap();
    let image = put_image(&layout);
    layout.tag("fits", &image).unwrap();
    layout.untag("fits").unwrap();
    drop(layout);
    fill(&small);
    assert_eq!(Layout::open(&root).unwrap().sweep(Sweep::Remove).unwrap().removed.len(), 3);
    put_image(&Layout::open(&root).unwrap());
}
