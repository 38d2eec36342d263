//! Each fault is found, and none hides another.

use std::collections::BTreeMap;
use std::io::Write;

use super::{At, Problem, Report, validate};
use crate::compress::{Compression, compressor};
use crate::image::Image;
use crate::layer::{Layer, LayerWriter};
use crate::oci::graph::Role;
use crate::oci::{
    Compressed, Config, Descriptor, DiffId, Digest, History, Index, Manifest, MediaType, Platform, Raw,
    RootFs,
};
use crate::store::{BlobStore, Layout};
use crate::tar::{Entry, Kind};

/// A layout whose blobs can be damaged.
struct Shelf {
    layout: Layout,
    _folder: tempfile::TempDir,
}

impl Shelf {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { layout: Layout::create(folder.path()).unwrap(), _folder: folder }
    }

    fn put(&self, media_type: impl Into<MediaType>, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of(media_type, bytes);
        let mut writer = self.layout.writer(descriptor.digest.algorithm()).unwrap();
        writer.write_all(bytes).unwrap();
        writer.commit().unwrap();
        descriptor
    }

    fn bytes(&self, digest: &Digest) -> Vec<u8> {
        std::fs::read(self.layout.blob_path(digest)).unwrap()
    }

    fn damage(&self, digest: &Digest, bytes: &[u8]) {
        let path = self.layout.blob_path(digest);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn layer(&self, name: &str) -> Layer {
        let content = name.repeat(20_000);
        let mut writer = LayerWriter::new(&self.layout, Compression::GZIP, 1).unwrap();
        let entry = Entry::new(name, Kind::File { size: content.len() as u64 }, 0o644);
        writer.append(&entry, &mut content.as_bytes()).unwrap();
        writer.finish().unwrap()
    }

    fn image(&self, layers: &[Layer]) -> Descriptor {
        let config = Raw::write(config(layers), MediaType::OCI_CONFIG);
        Image::assemble(config, layers.to_vec(), BTreeMap::new()).unwrap().write(&self.layout).unwrap()
    }

    /// An image that [`Image::assemble`] would refuse.
    fn odd_image(&self, config: &Config, layers: &[Layer]) -> Descriptor {
        let config = self.put(MediaType::OCI_CONFIG, &serde_json::to_vec(config).unwrap());
        let layers = layers.iter().map(|layer| layer.descriptor.clone()).collect();
        let manifest = Raw::write(Manifest::of_image(config, layers), MediaType::OCI_MANIFEST);
        self.put(MediaType::OCI_MANIFEST, manifest.bytes())
    }

    fn check(&self, descriptor: &Descriptor) -> Report {
        validate(&self.layout, descriptor)
    }
}

fn config(layers: &[Layer]) -> Config {
    let mut config = Config::scratch(&Platform::new("linux", "amd64", None));
    config.rootfs =
        RootFs { diff_ids: layers.iter().map(|layer| layer.diff_id).collect(), ..RootFs::default() };
    config
}

fn only(report: Report) -> (At, Problem) {
    let [fault] = <[_; 1]>::try_from(report.faults).unwrap_or_else(|faults| panic!("{faults:#?}"));
    (fault.at, fault.problem)
}

#[test]
fn a_whole_image_is_sound_and_counted() {
    let shelf = Shelf::new();
    let (a, b) = (shelf.layer("a"), shelf.layer("b"));
    let image = shelf.image(&[a.clone(), b.clone()]);
    let index = Raw::write(Index::of(vec![image.clone(), shelf.image(&[a, b])]), MediaType::OCI_INDEX);
    let report = shelf.check(&shelf.put(MediaType::OCI_INDEX, index.bytes()));
    assert!(report.is_sound(), "{:#?}", report.faults);
    // The second entry is the first one: it is not looked at again.
    assert_eq!((report.documents, report.blobs), (2, 3));
    assert!(report.bytes > image.size);
}

#[test]
fn a_missing_blob_is_named_with_its_place() {
    let shelf = Shelf::new();
    let layers = [shelf.layer("a"), shelf.layer("b")];
    let image = shelf.image(&layers);
    shelf.layout.remove(&layers[1].descriptor.digest).unwrap();
    let report = shelf.check(&image);
    assert_eq!(
        report.faults[0].to_string(),
        format!("layer 1 of {} {}: not in the store", image.digest, layers[1].descriptor.digest)
    );
    let (at, problem) = only(report);
    assert_eq!((at.role, at.position, at.document), (Some(Role::Layer), 1, Some(image.digest)));
    assert!(matches!(problem, Problem::Missing));
}

#[test]
fn a_missing_foreign_layer_is_no_fault() {
    let shelf = Shelf::new();
    let mut layers = [shelf.layer("a")];
    shelf.layout.remove(&layers[0].descriptor.digest).unwrap();
    layers[0].descriptor.media_type = MediaType::DOCKER_FOREIGN_LAYER_GZIP.into();
    assert!(shelf.check(&shelf.image(&layers)).is_sound());
}

#[test]
fn all_faults_are_told_not_only_the_first() {
    let shelf = Shelf::new();
    let layers = ["a", "b", "c", "d"].map(|name| shelf.layer(name));
    let mut config = config(&layers);
    config.rootfs.diff_ids[0] = DiffId(Digest::sha256(b"other"));
    config.history = Some(vec![History::default()]);
    let image = shelf.odd_image(&config, &layers);
    let blob = shelf.bytes(&layers[1].descriptor.digest);
    shelf.damage(&layers[1].descriptor.digest, &blob[..blob.len() / 2]);
    shelf.layout.remove(&layers[2].descriptor.digest).unwrap();
    shelf.damage(&layers[3].descriptor.digest, b"not gzip");

    let faults = shelf.check(&image).faults;
    let told: Vec<_> =
        faults.iter().map(|fault| (fault.at.role.unwrap(), fault.at.position, &fault.problem)).collect();
    assert!(
        matches!(
            &told[..],
            [
                (Role::Config, 0, Problem::HistoryCount { history: 1, diff_ids: 4 }),
                (Role::Layer, 0, Problem::DiffId { .. }),
                (Role::Layer, 1, Problem::Size { .. }),
                (Role::Layer, 1, Problem::Digest { .. }),
                (Role::Layer, 1, Problem::Undecodable { .. }),
                (Role::Layer, 2, Problem::Missing),
                (Role::Layer, 3, Problem::Size { actual: 8, .. }),
                (Role::Layer, 3, Problem::Digest { .. }),
                (Role::Layer, 3, Problem::Format { actual: Compressed::None }),
                (Role::Layer, 3, Problem::DiffId { .. }),
                (Role::Layer, 3, Problem::Tar { .. }),
            ]
        ),
        "{told:#?}"
    );
}

#[test]
fn a_changed_byte_of_equal_size_is_found_and_the_rest_still_read() {
    let shelf = Shelf::new();
    let image = shelf.image(&[shelf.layer("a")]);
    let mut bytes = shelf.bytes(&image.digest);
    bytes.insert(1, b' ');
    let mut descriptor = image.clone();
    descriptor.size += 1;
    shelf.damage(&image.digest, &bytes);
    let report = shelf.check(&descriptor);
    assert_eq!((report.documents, report.blobs), (1, 2));
    assert!(matches!(only(report).1, Problem::Digest { actual } if actual == Digest::sha256(&bytes)));
}

#[test]
fn a_wrong_size_in_a_descriptor_is_the_only_fault() {
    let shelf = Shelf::new();
    let mut layers = [shelf.layer("a")];
    let actual = layers[0].descriptor.size;
    layers[0].descriptor.size = 1;
    let (_, problem) = only(shelf.check(&shelf.image(&layers)));
    assert!(matches!(problem, Problem::Size { expected: 1, actual: found } if found == actual));
}

#[test]
fn the_media_type_must_be_the_compression() {
    let shelf = Shelf::new();
    let mut layers = [shelf.layer("a")];
    layers[0].descriptor.media_type = MediaType::OCI_LAYER_ZSTD.into();
    let (_, problem) = only(shelf.check(&shelf.image(&layers)));
    assert!(matches!(problem, Problem::Format { actual: Compressed::Gzip }));
}

#[test]
fn a_layer_of_another_type_is_told_and_still_hashed() {
    let shelf = Shelf::new();
    let mut layers = [shelf.layer("a")];
    layers[0].descriptor.media_type = "application/vnd.example.thing".into();
    let image = shelf.odd_image(&config(&layers), &layers);
    shelf.damage(&layers[0].descriptor.digest, b"");
    let faults = shelf.check(&image).faults;
    let problems: Vec<_> = faults.iter().map(|fault| &fault.problem).collect();
    assert!(matches!(&problems[..], [Problem::NotALayer, Problem::Size { .. }, Problem::Digest { .. }]));
}

#[test]
fn a_layer_that_is_no_tar_is_told_though_its_digests_are_right() {
    let shelf = Shelf::new();
    let content = b"no tar at all".repeat(100);
    let layer = Layer::of_tar(&shelf.layout, &mut &content[..], Compression::ZSTD, 1).unwrap();
    let (_, problem) = only(shelf.check(&shelf.image(&[layer])));
    assert!(matches!(problem, Problem::Tar { .. }));
}

#[test]
fn bytes_after_the_tars_end_mark_belong_to_the_diff_id() {
    let shelf = Shelf::new();
    let mut tar = vec![0; 10_240];
    let mut gzip = compressor(Compression::GZIP, 1, Vec::new());
    gzip.write_all(&tar).unwrap();
    let descriptor = shelf.put(MediaType::OCI_LAYER_GZIP, &gzip.finish().unwrap());
    let layer = Layer { descriptor: descriptor.clone(), diff_id: DiffId(Digest::sha256(&tar)) };
    assert!(shelf.check(&shelf.image(&[layer])).is_sound());
    tar.truncate(1024);
    let layer = Layer { descriptor, diff_id: DiffId(Digest::sha256(&tar)) };
    assert!(matches!(only(shelf.check(&shelf.image(&[layer]))).1, Problem::DiffId { .. }));
}

#[test]
fn counts_that_disagree_are_told() {
    let shelf = Shelf::new();
    let layers = [shelf.layer("a"), shelf.layer("b")];
    let mut config = config(&layers[..1]);
    config.rootfs.kind = "other".into();
    let faults = shelf.check(&shelf.odd_image(&config, &layers)).faults;
    let problems: Vec<_> = faults.iter().map(|fault| &fault.problem).collect();
    assert!(matches!(
        &problems[..],
        [Problem::LayerCount { layers: 2, diff_ids: 1 }, Problem::RootFs { .. }]
    ));
}

#[test]
fn a_document_that_is_not_what_it_is_called_is_told() {
    let shelf = Shelf::new();
    let mut image = shelf.image(&[]);
    image.media_type = MediaType::OCI_INDEX.into();
    assert!(matches!(only(shelf.check(&image)).1, Problem::Document { .. }));
    let broken = shelf.put(MediaType::OCI_MANIFEST, b"{");
    assert!(matches!(only(shelf.check(&broken)).1, Problem::Document { .. }));
    let manifest = Manifest::of_image(shelf.put(MediaType::OCI_CONFIG, b"[]"), Vec::new());
    let manifest = shelf.put(MediaType::OCI_MANIFEST, Raw::write(manifest, MediaType::OCI_MANIFEST).bytes());
    assert!(matches!(only(shelf.check(&manifest)).1, Problem::Config { .. }));
}

#[test]
fn another_platform_than_the_index_says_is_told() {
    let shelf = Shelf::new();
    let mut entry = shelf.image(&[]);
    for (platform, sound) in [
        (Some(Platform::new("linux", "amd64", None)), true),
        (None, true),
        (Some(Platform::new("linux", "arm64", None)), false),
    ] {
        entry.platform = platform;
        let index = Raw::write(Index::of(vec![entry.clone()]), MediaType::OCI_INDEX);
        let report = shelf.check(&shelf.put(MediaType::OCI_INDEX, index.bytes()));
        assert_eq!(report.is_sound(), sound);
        if !sound {
            assert!(matches!(only(report).1, Problem::Platform { .. }));
        }
    }
}

#[test]
fn an_artifacts_blobs_are_hashed_and_not_unpacked() {
    let shelf = Shelf::new();
    let config = shelf.put(MediaType::OCI_EMPTY, b"{}");
    let blob = shelf.put("application/vnd.example.sbom", b"sbom");
    let manifest = Raw::write(Manifest::of_image(config, vec![blob.clone()]), MediaType::OCI_MANIFEST);
    let descriptor = shelf.put(MediaType::OCI_MANIFEST, manifest.bytes());
    assert!(shelf.check(&descriptor).is_sound());
    shelf.damage(&blob.digest, b"other");
    let report = shelf.check(&descriptor);
    assert_eq!(report.faults.len(), 2);
    assert_eq!((report.faults[0].at.role, report.faults[0].at.position), (Some(Role::Layer), 0));
}

#[test]
fn an_index_too_deep_is_told_and_a_circle_ends() {
    let shelf = Shelf::new();
    let mut descriptor = shelf.image(&[]);
    for _ in 0..10 {
        let index = Raw::write(Index::of(vec![descriptor]), MediaType::OCI_INDEX);
        descriptor = shelf.put(MediaType::OCI_INDEX, index.bytes());
    }
    assert!(matches!(only(shelf.check(&descriptor)).1, Problem::TooDeep { limit: 8 }));

    let circle = Raw::write(Index::of(vec![descriptor.clone()]), MediaType::OCI_INDEX);
    let itself = Descriptor { size: circle.size(), ..descriptor };
    let circle = Raw::write(Index::of(vec![itself.clone()]), MediaType::OCI_INDEX);
    shelf.damage(&itself.digest, circle.bytes());
    assert!(shelf.check(&itself).faults.iter().any(|fault| matches!(fault.problem, Problem::Digest { .. })));
}

#[test]
fn content_within_a_descriptor_must_be_what_it_names() {
    let shelf = Shelf::new();
    let mut blob = shelf.put("application/vnd.example.note", b"note");
    blob.data = Some("bm90ZQ==".into());
    assert!(shelf.check(&blob).is_sound());
    blob.data = Some("b3RoZXI=".into());
    assert!(matches!(only(shelf.check(&blob)).1, Problem::Inlined));
}
