//! Images made by hand: real layers, a config that says something, an index of several.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use oxbox_layers::compress::Compression;
use oxbox_layers::image::Image;
use oxbox_layers::layer::LayerWriter;
use oxbox_layers::oci::config::{Config, ContainerConfig, History, RootFs};
use oxbox_layers::oci::{Algorithm, Descriptor, Digest, Index, MediaType, Platform, Raw};
use oxbox_layers::store::{BlobStore, Layout};
use oxbox_layers::tar::{Entry, Kind, Reader};
use oxbox_layers::validate::validate;

use super::Oxbox;

/// An image to be made: each layer holds one file or link.
pub(crate) struct Picture {
    layers: Vec<(Entry, Vec<u8>)>,
    platform: Platform,
    user: &'static str,
}

impl Picture {
    /// An image of one layer with one file, of the platform that tests run on.
    pub(crate) fn of(path: &str, content: &[u8]) -> Self {
        Self { layers: Vec::new(), platform: Platform::host(), user: "1000" }.layer(path, content)
    }

    pub(crate) fn layer(mut self, path: &str, content: &[u8]) -> Self {
        let kind = Kind::File { size: content.len() as u64 };
        self.layers.push((Entry::new(path.as_bytes(), kind, 0o755), content.to_owned()));
        self
    }

    pub(crate) fn link(mut self, path: &str, target: &str) -> Self {
        let kind = Kind::Symlink { target: target.as_bytes().to_owned() };
        self.layers.push((Entry::new(path.as_bytes(), kind, 0o777), Vec::new()));
        self
    }

    pub(crate) fn platform(mut self, platform: &str) -> Self {
        self.platform = platform.parse().unwrap();
        self
    }

    pub(crate) fn user(mut self, user: &'static str) -> Self {
        self.user = user;
        self
    }

    /// Writes the image, unnamed and unlisted.
    pub(crate) fn store(&self, layout: &Layout) -> Descriptor {
        let mut layers = Vec::new();
        for (entry, content) in &self.layers {
            let mut writer = LayerWriter::new(layout, Compression::Gzip { level: 6 }, 1).unwrap();
            writer.append(entry, &mut content.as_slice()).unwrap();
            layers.push(writer.finish().unwrap());
        }
        let line = |number: usize| History {
            created_by: Some(format!("COPY layer {number}")),
            ..History::default()
        };
        let config = Config {
            created: Some("2026-01-02T03:04:05Z".to_owned()),
            config: Some(ContainerConfig {
                user: Some(self.user.to_owned()),
                env: Some(vec!["PATH=/bin".to_owned(), "COLOUR=blue".to_owned()]),
                entrypoint: Some(vec!["/bin/hello".to_owned()]),
                cmd: Some(vec!["--loud".to_owned()]),
                working_dir: Some("/work".to_owned()),
                labels: Some(BTreeMap::from([("maintainer".to_owned(), "nobody".to_owned())])),
                exposed_ports: Some(BTreeMap::from([("80/tcp".to_owned(), serde_json::Map::new())])),
                ..ContainerConfig::default()
            }),
            rootfs: RootFs {
                diff_ids: layers.iter().map(|layer| layer.diff_id).collect(),
                ..RootFs::default()
            },
            history: Some((0..layers.len()).map(line).collect()),
            ..Config::scratch(&self.platform)
        };
        let config = Raw::write(config, MediaType::OCI_CONFIG);
        Image::assemble(config, layers, BTreeMap::new()).unwrap().write(layout).unwrap()
    }
}

/// Writes an index of images, unnamed and unlisted.
pub(crate) fn index(layout: &Layout, pictures: &[Picture]) -> Descriptor {
    let manifests = pictures.iter().map(|picture| picture.store(layout)).collect();
    let index = Raw::write(Index::of(manifests), MediaType::OCI_INDEX);
    blob(layout, index.bytes());
    index.descriptor()
}

/// Writes a blob.
pub(crate) fn blob(layout: &Layout, content: &[u8]) {
    let mut writer = layout.writer(Algorithm::Sha256).unwrap();
    writer.write_all(content).unwrap();
    writer.commit().unwrap();
}

/// Returns an image of the local store, after a look at its digests.
pub(crate) fn image(oxbox: &Oxbox, digest: &Digest) -> Image {
    let store = oxbox.store();
    let size = store.stat(digest).unwrap().unwrap();
    let descriptor = Descriptor::new(MediaType::new(MediaType::OCI_MANIFEST), *digest, size);
    let faults = validate(&store, &descriptor).faults;
    assert!(faults.is_empty(), "{faults:?}");
    Image::load(&store, &descriptor).unwrap()
}

/// Returns all files of an image by path.
pub(crate) fn files(oxbox: &Oxbox, digest: &Digest) -> BTreeMap<String, String> {
    let (store, mut files) = (oxbox.store(), BTreeMap::new());
    for layer in image(oxbox, digest).layers {
        let mut reader = Reader::new(layer.open_tar(&store).unwrap());
        while let Some(entry) = reader.next().unwrap() {
            let mut content = Vec::new();
            reader.read_to_end(&mut content).unwrap();
            let content = String::from_utf8_lossy(&content).into_owned();
            files.insert(String::from_utf8(entry.path).unwrap(), content);
        }
    }
    files
}
