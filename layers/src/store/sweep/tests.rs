use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use super::{Sweep, Swept};
use crate::oci::{Algorithm, Descriptor, Index, Manifest, MediaType, Raw};
use crate::store::reach::ReachError;
use crate::store::{BlobStore as _, Layout};

/// A layout with nobody at work in it.
pub(in crate::store) struct Idle {
    pub(in crate::store) directory: tempfile::TempDir,
}

impl Idle {
    pub(in crate::store) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        drop(Layout::create(directory.path()).unwrap());
        Self { directory }
    }

    pub(in crate::store) fn open(&self) -> Layout {
        Layout::open(self.directory.path()).unwrap()
    }

    /// Writes a blob in a session of its own.
    pub(in crate::store) fn put(&self, media_type: &str, content: &[u8]) -> Descriptor {
        let layout = self.open();
        let mut writer = layout.writer(Algorithm::Sha256).unwrap();
        writer.write_all(content).unwrap();
        writer.commit().unwrap();
        Descriptor::of(media_type, content)
    }

    pub(in crate::store) fn image(&self, layer: &[u8], subject: Option<&Descriptor>) -> Descriptor {
        let config = self.put(MediaType::OCI_CONFIG, b"{}");
        let layer = self.put(MediaType::OCI_LAYER, layer);
        let mut manifest = Manifest::of_image(config, vec![layer]);
        manifest.subject = subject.cloned();
        self.put(MediaType::OCI_MANIFEST, Raw::write(manifest, MediaType::OCI_MANIFEST).bytes())
    }

    pub(in crate::store) fn holds(&self, content: &[u8]) -> bool {
        self.open().stat(&crate::oci::Digest::sha256(content)).unwrap().is_some()
    }

    fn age(&self, descriptor: &Descriptor) {
        let file = File::open(self.open().blob_path(&descriptor.digest)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(2 * 3600)).unwrap();
    }
}

#[test]
fn what_a_name_reaches_stays_and_the_rest_goes() {
    let idle = Idle::new();
    let image = idle.image(b"kept layer", None);
    let other = idle.image(b"other layer", None);
    let index = Raw::write(Index::of(vec![image]), MediaType::OCI_INDEX);
    idle.put(MediaType::OCI_INDEX, index.bytes());
    idle.open().tag("app", &index.descriptor()).unwrap();
    let swept = idle.open().sweep(Sweep::Remove).unwrap();
    let mut removed: Vec<u64> = swept.removed.iter().map(|blob| blob.size).collect();
    removed.sort_unstable();
    assert_eq!(removed, [11, other.size]);
    assert_eq!(swept.bytes, 11 + other.size);
    assert!(idle.holds(b"kept layer") && idle.holds(b"{}") && !idle.holds(b"other layer"));
    assert_eq!(idle.open().sweep(Sweep::Remove).unwrap(), Swept::default());
}

#[test]
fn a_manifest_that_is_also_somebodys_layer_keeps_its_own_layers() {
    for manifest_first in [true, false] {
        let idle = Idle::new();
        let image = idle.image(b"kept layer", None);
        let as_layer = Descriptor { media_type: "application/octet-stream".into(), ..image.clone() };
        let config = idle.put(MediaType::OCI_EMPTY, b"{}");
        let raw = Raw::write(Manifest::of_image(config, vec![as_layer]), MediaType::OCI_MANIFEST);
        let holder = idle.put(MediaType::OCI_MANIFEST, raw.bytes());
        let children = if manifest_first { vec![image, holder] } else { vec![holder, image] };
        let index = Raw::write(Index::of(children), MediaType::OCI_INDEX);
        idle.put(MediaType::OCI_INDEX, index.bytes());
        idle.open().tag("app", &index.descriptor()).unwrap();
        idle.open().sweep(Sweep::Remove).unwrap();
        assert!(idle.holds(b"kept layer"), "manifest first: {manifest_first}");
    }
}

#[test]
fn a_dry_run_removes_nothing_and_tells_the_same() {
    let idle = Idle::new();
    idle.put(MediaType::OCI_LAYER, b"spare");
    std::fs::write(idle.directory.path().join(".oxbox/writing/1-1"), b"left").unwrap();
    let told = idle.open().sweep(Sweep::DryRun).unwrap();
    assert!(idle.holds(b"spare"));
    assert_eq!((told.bytes, told.leftovers), (9, 1));
    assert_eq!(idle.open().sweep(Sweep::Remove).unwrap(), told);
    assert!(!idle.holds(b"spare"));
}

#[test]
fn an_unfinished_blob_of_the_living_stays() {
    let idle = Idle::new();
    let layout = idle.open();
    let mut writer = layout.writer(Algorithm::Sha256).unwrap();
    writer.write_all(b"content").unwrap();
    assert_eq!(idle.open().sweep(Sweep::Remove).unwrap().leftovers, 0);
    writer.commit().unwrap();
    assert!(idle.holds(b"content"));
}

#[test]
fn what_a_session_wrote_or_found_is_kept_until_it_ends() {
    let idle = Idle::new();
    let found = idle.put(MediaType::OCI_LAYER, b"found");
    let opened = idle.put(MediaType::OCI_LAYER, b"opened");
    let rewritten = idle.put(MediaType::OCI_LAYER, b"rewritten");
    let unused = idle.put(MediaType::OCI_LAYER, b"unused");
    for blob in [&found, &opened, &rewritten, &unused] {
        idle.age(blob);
    }
    let layout = Layout::create(idle.directory.path()).unwrap();
    layout.stat(&found.digest).unwrap().unwrap();
    layout.open(&opened.digest).unwrap().unwrap();
    for content in [&b"rewritten"[..], b"written"] {
        let mut writer = layout.writer(Algorithm::Sha256).unwrap();
        writer.write_all(content).unwrap();
        writer.commit().unwrap();
    }
    let swept = idle.open().sweep(Sweep::Remove).unwrap();
    assert_eq!(swept.kept_busy, 4);
    assert_eq!(swept.removed.iter().map(|blob| blob.digest).collect::<Vec<_>>(), [unused.digest]);
    drop(layout);
    assert_eq!(idle.open().sweep(Sweep::Remove).unwrap().removed.len(), 4);
}

#[test]
fn what_is_unfinished_goes_alone_and_not_what_somebody_writes() {
    let idle = Idle::new();
    let spare = idle.put(MediaType::OCI_LAYER, b"nobody needs this");
    let layout = idle.open();
    let mut writer = layout.writer(Algorithm::Sha256).unwrap();
    writer.write_all(b"under way").unwrap();
    std::fs::write(idle.directory.path().join(".oxbox/writing/1-0"), "of the dead").unwrap();
    let swept = layout.sweep_leftovers().unwrap();
    assert_eq!((swept.leftovers, swept.bytes, swept.removed.len()), (1, 11, 0));
    writer.commit().unwrap();
    assert!(idle.holds(b"under way") && layout.stat(&spare.digest).unwrap().is_some());
}

#[test]
fn a_killed_process_does_not_keep_anything() {
    let idle = Idle::new();
    idle.put(MediaType::OCI_LAYER, b"spare");
    let session = idle.directory.path().join(".oxbox/sessions/1-1");
    std::fs::write(&session, b"").unwrap();
    assert_eq!(idle.open().sweep(Sweep::Remove).unwrap().removed.len(), 1);
    assert!(!session.exists());
}

#[test]
fn a_damaged_document_stops_the_sweep() {
    let idle = Idle::new();
    let image = idle.image(b"layer", None);
    idle.put(MediaType::OCI_LAYER, b"spare");
    idle.open().tag("app", &image).unwrap();
    std::fs::write(idle.open().blob_path(&image.digest), b"{}").unwrap();
    let result = idle.open().sweep(Sweep::Remove);
    assert!(matches!(result, Err(ReachError::Unreadable { digest, .. }) if digest == image.digest));
    assert!(idle.holds(b"spare") && idle.holds(b"layer"));
}

#[test]
fn an_index_copied_for_one_platform_can_be_swept() {
    let idle = Idle::new();
    let here = idle.image(b"layer", None);
    let elsewhere = Descriptor::of(MediaType::OCI_MANIFEST, b"not copied");
    let index = Raw::write(Index::of(vec![elsewhere, here]), MediaType::OCI_INDEX);
    idle.put(MediaType::OCI_INDEX, index.bytes());
    idle.open().tag("app", &index.descriptor()).unwrap();
    assert_eq!(idle.open().sweep(Sweep::Remove).unwrap(), Swept::default());
    assert!(idle.holds(b"layer"));
}

#[test]
fn files_that_are_no_blobs_are_left_alone() {
    let idle = Idle::new();
    let foreign = idle.directory.path().join("blobs/sha256/.nfs0001");
    std::fs::write(&foreign, b"").unwrap();
    idle.open().sweep(Sweep::Remove).unwrap();
    assert!(foreign.exists());
}

#[test]
fn a_sweep_of_some_takes_those_and_no_others_and_none_that_is_needed() {
    let idle = Idle::new();
    let image = idle.image(b"kept layer", None);
    idle.open().tag("app", &image).unwrap();
    let (spare, other) = (idle.put(MediaType::OCI_LAYER, b"spare"), idle.put(MediaType::OCI_LAYER, b"other"));
    let gone = Descriptor::of(MediaType::OCI_LAYER, b"never was here");
    let asked = [image.digest, crate::oci::Digest::sha256(b"kept layer"), spare.digest, gone.digest];
    let told = idle.open().sweep_only(&asked, Sweep::DryRun).unwrap();
    assert_eq!((told.removed.len(), told.bytes), (1, 5));
    assert_eq!(idle.open().sweep_only(&asked, Sweep::Remove).unwrap(), told);
    assert!(idle.holds(b"kept layer") && idle.holds(b"other") && !idle.holds(b"spare"));
    assert_eq!(other.size, 5);
}

#[test]
fn a_sweep_of_some_spares_what_somebody_at_work_found() {
    let idle = Idle::new();
    let (found, spare) = (idle.put(MediaType::OCI_LAYER, b"found"), idle.put(MediaType::OCI_LAYER, b"spare"));
    [&found, &spare].iter().for_each(|blob| idle.age(blob));
    let at_work = Layout::create(idle.directory.path()).unwrap();
    assert_eq!(at_work.stat(&found.digest).unwrap(), Some(5));
    let swept = idle.open().sweep_only(&[found.digest, spare.digest], Sweep::Remove).unwrap();
    assert_eq!((swept.bytes, swept.kept_busy), (5, 1));
    assert!(idle.holds(b"found") && !idle.holds(b"spare"));
}

#[test]
fn what_names_reach_is_told_from_what_entries_reach() {
    let idle = Idle::new();
    let (named, unnamed) = (idle.image(b"named layer", None), idle.image(b"unnamed layer", None));
    idle.open().tag("app", &named).unwrap();
    idle.open().update(|entries| entries.add(&unnamed)).unwrap();
    let layout = idle.open();
    let layer = |content: &[u8]| crate::oci::Digest::sha256(content);
    assert!(layout.reached().unwrap().contains(&layer(b"unnamed layer")));
    assert!(!layout.reached_by_names().unwrap().contains(&layer(b"unnamed layer")));
    let one = layout.reached_by(&named).unwrap();
    assert_eq!((one.len(), one.contains(&layer(b"named layer"))), (3, true));
}
