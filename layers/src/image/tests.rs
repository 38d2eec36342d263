//! What images owe when they are made and when they are read.

use std::collections::BTreeMap;
use std::io::Write;

use super::{Image, ImageError};
use crate::compress::Compression;
use crate::layer::{Layer, LayerWriter};
use crate::oci::{
    Algorithm, ChainId, Config, Descriptor, DiffId, Digest, History, Index, Manifest, MediaType, Platform,
    Raw, RootFs,
};
use crate::store::{BlobStore, Memory, ReadError};
use crate::tar::{Entry, Kind};

fn layers(store: &dyn BlobStore) -> Vec<Layer> {
    [("a", Compression::GZIP), ("b", Compression::ZSTD)]
        .map(|(name, compression)| {
            let mut writer = LayerWriter::new(store, compression, 1).unwrap();
            writer.append(&Entry::new(name, Kind::Directory, 0o755), &mut &b""[..]).unwrap();
            writer.finish().unwrap()
        })
        .to_vec()
}

fn config(layers: &[Layer], history: Option<usize>) -> Config {
    let platform = Platform::new("linux", "amd64", None);
    let mut config = Config::scratch(&platform);
    config.rootfs =
        RootFs { diff_ids: layers.iter().map(|layer| layer.diff_id).collect(), ..RootFs::default() };
    config.history = history.map(|count| {
        let mut history = vec![History { created_by: Some("COPY".into()), ..History::default() }; count];
        history.push(History { empty_layer: Some(true), ..History::default() });
        history
    });
    config
}

fn raw(config: Config) -> Raw<Config> {
    Raw::write(config, MediaType::OCI_CONFIG)
}

fn put(store: &dyn BlobStore, media_type: &str, bytes: &[u8]) -> Descriptor {
    let mut writer = store.writer(Algorithm::Sha256).unwrap();
    writer.write_all(bytes).unwrap();
    writer.commit().unwrap();
    Descriptor::of(media_type, bytes)
}

fn put_manifest(store: &dyn BlobStore, config: Config, layers: Vec<Descriptor>) -> Descriptor {
    let config = put(store, MediaType::OCI_CONFIG, raw(config).bytes());
    let manifest = Raw::write(Manifest::of_image(config, layers), MediaType::OCI_MANIFEST);
    put(store, MediaType::OCI_MANIFEST, manifest.bytes())
}

fn descriptors(layers: &[Layer]) -> Vec<Descriptor> {
    layers.iter().map(|layer| layer.descriptor.clone()).collect()
}

#[test]
fn what_was_written_is_loaded_with_every_byte() {
    let store = Memory::new();
    let layers = layers(&store);
    let annotations = BTreeMap::from([("org.example".to_owned(), "value".to_owned())]);
    let image = Image::assemble(raw(config(&layers, Some(2))), layers, annotations).unwrap();
    let descriptor = image.write(&store).unwrap();
    assert_eq!(descriptor.platform, Some(image.config.platform()));
    assert_eq!(Image::load(&store, &descriptor).unwrap(), image);
}

#[test]
fn the_same_image_has_the_same_bytes() {
    let digest = || {
        let store = Memory::new();
        let layers = layers(&store);
        Image::assemble(raw(config(&layers, Some(2))), layers, BTreeMap::new()).unwrap().manifest.digest()
    };
    assert_eq!(digest(), digest());
}

#[test]
fn another_implementation_reads_manifest_and_config() {
    let store = Memory::new();
    let layers = layers(&store);
    let image = Image::assemble(raw(config(&layers, Some(2))), layers.clone(), BTreeMap::new()).unwrap();
    let manifest = oci_spec::image::ImageManifest::from_reader(&image.manifest.bytes()[..]).unwrap();
    assert_eq!(manifest.config().digest().to_string(), image.config.digest().to_string());
    assert_eq!(manifest.layers()[1].media_type().to_string(), MediaType::OCI_LAYER_ZSTD);
    assert_eq!(manifest.layers()[1].size(), layers[1].descriptor.size);
    let config = oci_spec::image::ImageConfiguration::from_reader(&image.config.bytes()[..]).unwrap();
    let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    assert_eq!(config.rootfs().diff_ids(), &diff_ids);
}

#[test]
fn the_chain_id_is_of_all_layers() {
    let store = Memory::new();
    let layers = layers(&store);
    let ids = [layers[0].diff_id, layers[1].diff_id];
    let image = Image::assemble(raw(config(&layers, None)), layers, BTreeMap::new()).unwrap();
    assert_eq!(image.chain_id(), ChainId::of(&ids));
}

#[test]
fn the_config_decides_whose_media_types_the_manifest_uses() {
    let store = Memory::new();
    let layers = layers(&store);
    let docker = Raw::write(config(&layers, None), MediaType::DOCKER_CONFIG);
    let image = Image::assemble(docker, layers.clone(), BTreeMap::new()).unwrap();
    assert_eq!(image.manifest.media_type(), &MediaType::DOCKER_MANIFEST);
    assert_eq!(image.layers[0].descriptor.media_type, MediaType::DOCKER_LAYER_GZIP);
    // And back, as for a base image out of Docker's own registry.
    let oci = Image::assemble(raw(config(&layers, None)), image.layers, BTreeMap::new()).unwrap();
    assert_eq!(oci.manifest.layers, descriptors(&layers));
}

#[test]
fn a_foreign_layer_keeps_its_type() {
    let store = Memory::new();
    let mut layers = layers(&store);
    layers[0].descriptor.media_type = MediaType::DOCKER_FOREIGN_LAYER_GZIP.into();
    layers[0].descriptor.urls = Some(vec!["https://example.com/layer".into()]);
    let image = Image::assemble(raw(config(&layers, None)), layers.clone(), BTreeMap::new()).unwrap();
    assert_eq!(image.manifest.layers[0], layers[0].descriptor);
}

#[test]
fn a_config_of_other_layers_is_refused() {
    let store = Memory::new();
    let layers = layers(&store);
    let fewer = Image::assemble(raw(config(&layers[..1], None)), layers.clone(), BTreeMap::new());
    assert!(matches!(fewer, Err(ImageError::LayerCount { layers: 2, diff_ids: 1 })));
    let mut other = layers.clone();
    other[1].diff_id = DiffId(Digest::sha256(b"other"));
    let other = Image::assemble(raw(config(&other, None)), layers.clone(), BTreeMap::new());
    assert!(matches!(other, Err(ImageError::DiffId { .. })));
    for history in [1, 3] {
        let image = Image::assemble(raw(config(&layers, Some(history))), layers.clone(), BTreeMap::new());
        assert!(matches!(image, Err(ImageError::HistoryCount { layers: 2, .. })));
    }
}

#[test]
fn a_manifest_with_other_layers_than_its_config_is_not_loaded() {
    let store = Memory::new();
    let layers = layers(&store);
    let descriptor = put_manifest(&store, config(&layers, None), descriptors(&layers[..1]));
    assert!(matches!(
        Image::load(&store, &descriptor),
        Err(ImageError::LayerCount { layers: 1, diff_ids: 2 })
    ));
}

#[test]
fn a_history_of_too_many_layers_is_refused_and_one_of_too_few_is_not() {
    let store = Memory::new();
    let layers = layers(&store);
    let many = put_manifest(&store, config(&layers, Some(3)), descriptors(&layers));
    assert!(matches!(Image::load(&store, &many), Err(ImageError::HistoryCount { history: 3, layers: 2 })));
    let few = put_manifest(&store, config(&layers, Some(1)), descriptors(&layers));
    assert_eq!(Image::load(&store, &few).unwrap().layers, layers);
}

#[test]
fn what_is_no_image_is_refused_by_name() {
    let store = Memory::new();
    let layers = layers(&store);
    let index = put(&store, MediaType::OCI_INDEX, br#"{"schemaVersion":2,"manifests":[]}"#);
    assert!(matches!(Image::load(&store, &index), Err(ImageError::Index { .. })));

    let empty = put(&store, MediaType::OCI_EMPTY, b"{}");
    let artifact = Raw::write(Manifest::of_image(empty, descriptors(&layers)), MediaType::OCI_MANIFEST);
    let artifact = put(&store, MediaType::OCI_MANIFEST, artifact.bytes());
    let refused = Image::load(&store, &artifact).unwrap_err();
    assert!(matches!(refused, ImageError::Artifact { config, .. } if config == MediaType::OCI_EMPTY));

    let mut odd = descriptors(&layers);
    odd[1].media_type = "application/vnd.example.thing".into();
    let odd = put_manifest(&store, config(&layers, None), odd);
    assert!(matches!(Image::load(&store, &odd), Err(ImageError::NotALayer { .. })));
}

#[test]
fn a_missing_or_broken_config_is_named() {
    let store = Memory::new();
    let missing = Descriptor::of(MediaType::OCI_CONFIG, b"{}");
    let broken = put(&store, MediaType::OCI_CONFIG, b"not json");
    for config in [&missing, &broken] {
        let manifest = Raw::write(Manifest::of_image(config.clone(), Vec::new()), MediaType::OCI_MANIFEST);
        let descriptor = put(&store, MediaType::OCI_MANIFEST, manifest.bytes());
        let named = match Image::load(&store, &descriptor).unwrap_err() {
            ImageError::Read(ReadError::Missing { digest }) | ImageError::Config { digest, .. } => digest,
            other => panic!("{other}"),
        };
        assert_eq!(named, config.digest);
    }
}

#[test]
fn unknown_fields_of_a_config_survive() {
    let store = Memory::new();
    let bytes = br#"{"architecture":"amd64","os":"linux","x-vendor":{"b":1,"a":2},"rootfs":{"type":"layers","diff_ids":[]}}"#;
    let config = Raw::parse(&bytes[..], MediaType::OCI_CONFIG.into()).unwrap();
    let descriptor = Image::assemble(config, Vec::new(), BTreeMap::new()).unwrap().write(&store).unwrap();
    assert_eq!(&Image::load(&store, &descriptor).unwrap().config.bytes()[..], bytes);
}

#[test]
fn an_index_of_images_can_be_written_with_what_write_returns() {
    let store = Memory::new();
    let layers = layers(&store);
    let descriptor =
        Image::assemble(raw(config(&layers, None)), layers, BTreeMap::new()).unwrap().write(&store).unwrap();
    let index = Raw::write(Index::of(vec![descriptor.clone()]), MediaType::OCI_INDEX);
    let read = oci_spec::image::ImageIndex::from_reader(&index.bytes()[..]).unwrap();
    assert_eq!(read.manifests()[0].digest().to_string(), descriptor.digest.to_string());
    assert_eq!(read.manifests()[0].platform().as_ref().unwrap().os().to_string(), "linux");
}
