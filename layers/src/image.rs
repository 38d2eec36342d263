//! Images: a manifest, the config it names, and the layers that both of them name.
//!
//! ```text
//! manifest ─┬─ config ── rootfs.diff_ids[i] ─┐
//!           └─ layers[i] ────────────────────┴─▶ Layer { descriptor, diff_id }
//!                      history: one entry without empty_layer for each of them
//! ```
//!
//! An image that is read keeps its bytes. One that is made has the same bytes wherever it is made:
//! compact JSON, keys in the order of the spec. What the digests hide is for `validate.rs`.
//!
//! image-spec v1.1.1, manifest.md and config.md

use std::collections::BTreeMap;
use std::io::Write;

use crate::layer::{Family, Layer};
use crate::oci::raw::MAX_DOCUMENT_BYTES;
use crate::oci::{
    ChainId, Compressed, Config, Descriptor, DiffId, Digest, Document, Kind, Manifest, MediaType, Raw,
    RawError,
};
use crate::store::{BlobStore, Committed, ReadError, StoreError, read_document, read_small};

/// One image for one platform.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// The manifest.
    pub manifest: Raw<Manifest>,
    /// The config.
    pub config: Raw<Config>,
    /// The layers, bottom first.
    pub layers: Vec<Layer>,
}

/// Why an image cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The descriptor names an index: a platform has to be chosen first.
    #[error("{digest} is an index of several images, not an image")]
    Index {
        /// What was named.
        digest: Digest,
    },
    /// The manifest is an artifact's.
    #[error("{digest} is an artifact with a config of type {config}, not an image")]
    Artifact {
        /// What was named.
        digest: Digest,
        /// Type of its config.
        config: MediaType,
    },
    /// A layer's type is none that has a filesystem in it.
    #[error("layer {digest} is of type {media_type}, which is no filesystem layer")]
    NotALayer {
        /// The layer.
        digest: Digest,
        /// Its type.
        media_type: MediaType,
    },
    /// Manifest and config do not agree on the layers.
    #[error("manifest has {layers} layers but the config has {diff_ids} diff_ids")]
    LayerCount {
        /// In the manifest.
        layers: usize,
        /// In the config.
        diff_ids: usize,
    },
    /// The history does not tell of the same layers.
    #[error("history tells of {history} layers but there are {layers}")]
    HistoryCount {
        /// Entries of the history that stand for a layer.
        history: usize,
        /// Layers.
        layers: usize,
    },
    /// The config of a new image names another tar than the layer has.
    #[error("config has diff_id {config} where the layer has {layer}")]
    DiffId {
        /// In the config.
        config: DiffId,
        /// Of the layer.
        layer: DiffId,
    },
    /// The config is no config.
    #[error("config {digest} cannot be read")]
    Config {
        /// The config.
        digest: Digest,
        /// What is wrong.
        #[source]
        source: RawError,
    },
    /// A document's blob cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A document cannot be written into the store.
    #[error("cannot write document {digest}")]
    Write {
        /// The document.
        digest: Digest,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The store could not do as asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Image {
    /// Reads the image that a manifest's descriptor names. Its layers are not looked at.
    ///
    /// A history that tells of fewer layers than there are is accepted: tools that append to images
    /// without history write such. One that tells of more is refused, as Docker refuses it.
    ///
    /// # Errors
    ///
    /// [`ImageError::Index`] and [`ImageError::Artifact`] for what is no image.
    pub fn load(store: &dyn BlobStore, descriptor: &Descriptor) -> Result<Self, ImageError> {
        let manifest = match read_document(store, descriptor)? {
            Document::Manifest(manifest) => manifest,
            Document::Index(index) => return Err(ImageError::Index { digest: index.digest() }),
        };
        if !manifest.is_image() {
            let config = manifest.config.media_type.clone();
            return Err(ImageError::Artifact { digest: manifest.digest(), config });
        }
        let config = read_config(store, &manifest.config)?;
        let layers = pair(&manifest, &config)?;
        match config.history_layers() {
            Some(history) if history > layers.len() => {
                Err(ImageError::HistoryCount { history, layers: layers.len() })
            }
            _ => Ok(Self { manifest, config, layers }),
        }
    }

    /// Makes an image of a config and the layers that it names. Nothing is written yet.
    ///
    /// The manifest is of the config's family: with Docker's config type it is Docker's manifest with
    /// Docker's layer types, else OCI's with OCI's. Types of foreign layers stay as they are, and so
    /// does everything else that the layers' descriptors say.
    ///
    /// # Errors
    ///
    /// [`ImageError::LayerCount`], [`ImageError::DiffId`] or [`ImageError::HistoryCount`] if the
    /// config tells of other layers; a history is not asked for, but must tell of all if it is there.
    pub fn assemble(
        config: Raw<Config>,
        layers: Vec<Layer>,
        annotations: BTreeMap<String, String>,
    ) -> Result<Self, ImageError> {
        check_layers(&config, &layers)?;
        let family = Family::of(config.media_type());
        let layers =
            layers.into_iter().map(|layer| in_family(layer, family)).collect::<Result<Vec<_>, _>>()?;
        let descriptors = layers.iter().map(|layer| layer.descriptor.clone()).collect();
        let mut manifest = Manifest::of_image(config.descriptor(), descriptors);
        manifest.media_type = Some(family.manifest());
        manifest.annotations = (!annotations.is_empty()).then_some(annotations);
        Ok(Self { manifest: Raw::write(manifest, family.manifest()), config, layers })
    }

    /// Writes config and manifest into a store, in this order, and returns the manifest's descriptor.
    ///
    /// The layers are expected to be there: a manifest must not be visible before what it names.
    pub fn write(&self, store: &dyn BlobStore) -> Result<Descriptor, ImageError> {
        put(store, self.config.digest(), self.config.bytes())?;
        put(store, self.manifest.digest(), self.manifest.bytes())?;
        let mut descriptor = self.manifest.descriptor();
        descriptor.platform = Some(self.config.platform());
        Ok(descriptor)
    }

    /// Returns the chain_id of all layers; `None` for an image without layers.
    pub fn chain_id(&self) -> Option<ChainId> {
        ChainId::of(&self.config.rootfs.diff_ids)
    }
}

/// Reads and verifies an image's config.
pub fn read_config(store: &dyn BlobStore, descriptor: &Descriptor) -> Result<Raw<Config>, ImageError> {
    let bytes = read_small(store, descriptor, MAX_DOCUMENT_BYTES as u64)?;
    let digest = descriptor.digest;
    Raw::parse_with(bytes, descriptor.media_type.clone(), digest.algorithm())
        .map_err(|source| ImageError::Config { digest, source })
}

fn pair(manifest: &Manifest, config: &Config) -> Result<Vec<Layer>, ImageError> {
    let diff_ids = &config.rootfs.diff_ids;
    if manifest.layers.len() != diff_ids.len() {
        return Err(ImageError::LayerCount { layers: manifest.layers.len(), diff_ids: diff_ids.len() });
    }
    manifest.layers.iter().zip(diff_ids).map(|(descriptor, &diff_id)| layer(descriptor, diff_id)).collect()
}

fn layer(descriptor: &Descriptor, diff_id: DiffId) -> Result<Layer, ImageError> {
    format(descriptor)?;
    Ok(Layer { descriptor: descriptor.clone(), diff_id })
}

fn format(descriptor: &Descriptor) -> Result<Compressed, ImageError> {
    match descriptor.media_type.kind() {
        Kind::Layer(format) => Ok(format),
        _ => Err(ImageError::NotALayer {
            digest: descriptor.digest,
            media_type: descriptor.media_type.clone(),
        }),
    }
}

fn check_layers(config: &Config, layers: &[Layer]) -> Result<(), ImageError> {
    let diff_ids = &config.rootfs.diff_ids;
    if layers.len() != diff_ids.len() {
        return Err(ImageError::LayerCount { layers: layers.len(), diff_ids: diff_ids.len() });
    }
    for (layer, &config) in layers.iter().zip(diff_ids) {
        if layer.diff_id != config {
            return Err(ImageError::DiffId { config, layer: layer.diff_id });
        }
    }
    match config.history_layers() {
        Some(history) if history != layers.len() => {
            Err(ImageError::HistoryCount { history, layers: layers.len() })
        }
        _ => Ok(()),
    }
}

fn in_family(mut layer: Layer, family: Family) -> Result<Layer, ImageError> {
    let format = format(&layer.descriptor)?;
    let media_type = &layer.descriptor.media_type;
    if !media_type.is_nondistributable() && Family::of(media_type) != family {
        layer.descriptor.media_type = family.layer(format);
    }
    Ok(layer)
}

fn put(store: &dyn BlobStore, digest: Digest, bytes: &[u8]) -> Result<(), ImageError> {
    let mut writer = store.writer(digest.algorithm())?;
    writer.write_all(bytes).map_err(|source| ImageError::Write { digest, source })?;
    Ok(writer.commit_as(&Committed { digest, size: bytes.len() as u64 })?)
}

#[cfg(test)]
mod tests;
