//! What one cache has: its documents read through a [`Depot`], and looked up by key.
//!
//! ```text
//! root ─ manifest ─ config of ours ─▶ records of the manifest's layers
//!      │          └ image config   ─▶ records of the image's layers, if it has any
//!      └ index ─ image, image, …   ─▶ the same of each, one for each platform
//! ```
//!
//! BuildKit's caches are told by their types and not read: docs/formats.md says why.

use std::collections::HashMap;

use oxbox_layers::image::ImageError;
use oxbox_layers::layer::Layer;
use oxbox_layers::oci::raw::MAX_DOCUMENT_BYTES;
use oxbox_layers::oci::{
    Config, Descriptor, DiffId, Document as Root, DocumentError as RootError, Index, Kind, Manifest, Raw,
    RawError,
};

use super::document::{Document, DocumentError, INLINE, MAX_BYTES, MountRecord, Record};
use super::listing::{Listing, Packed};
use super::{CONFIG_TYPE, Depot, Source};
use crate::fetch::FetchError;
use crate::solve::Key;
use crate::solve::cache::Derivation;
use crate::solve::downloads::Download;

/// Type of what BuildKit keeps its cache's keys in.
const BUILDKIT_TYPE: &str = "application/vnd.buildkit.cacheconfig.v0";
/// Field of an image's config where BuildKit keeps them.
pub(super) const BUILDKIT_INLINE: &str = "moby.buildkit.cache.v0";

/// Images of one index whose records are read: more platforms than anybody builds for.
const MAX_IMAGES: usize = 32;

/// What one cache has.
#[derive(Debug, Default)]
pub struct Stock {
    records: HashMap<Key, Record>,
    derivations: HashMap<Key, Derivation>,
    downloads: HashMap<Key, Download>,
    mounts: Vec<MountRecord>,
    listings: HashMap<DiffId, Packed>,
}

/// Why a cache is of no use.
#[derive(Debug, thiserror::Error)]
pub enum StockError {
    /// There is none.
    #[error("there is none yet")]
    Missing,
    /// It cannot be reached or read.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It is BuildKit's.
    #[error("it is BuildKit's, whose keys are of another kind: only oxbox's own caches can be used")]
    BuildKit,
    /// It is an image without records.
    #[error("it is an image that was built without --cache-to type=inline")]
    NoRecords,
    /// It is something else.
    #[error("it is no cache and no image, but {artifact_type:?}")]
    Other {
        /// What it says that it is, cut.
        artifact_type: String,
    },
    /// A config is larger than any.
    #[error("config {descriptor} takes {size} bytes, where {limit} are allowed")]
    TooLarge {
        /// Its digest.
        descriptor: String,
        /// How large it is.
        size: u64,
        /// How large it may be.
        limit: u64,
    },
    /// A manifest that an index names is none.
    #[error(transparent)]
    Root(#[from] RootError),
    /// An image's config cannot be read.
    #[error(transparent)]
    Config(#[from] RawError),
    /// An image's manifest and config do not agree.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The records cannot be understood.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

impl Stock {
    /// Reads a cache.
    pub fn read(depot: &dyn Depot, source: &Source) -> Result<Self, StockError> {
        let mut stock = Self::default();
        match depot.root(source)?.ok_or(StockError::Missing)? {
            Root::Manifest(manifest) => stock.add_manifest(depot, source, &manifest)?,
            Root::Index(index) => stock.add_index(depot, source, &index)?,
        }
        Ok(stock)
    }

    /// Takes the records of a document; what is known already stays.
    pub fn add(&mut self, document: Document) {
        for record in document.records {
            self.records.entry(record.key).or_insert(record);
        }
        for (definition, derivation) in document.derivations {
            self.derivations.entry(definition).or_insert(derivation);
        }
        for (source, download) in document.downloads {
            self.downloads.entry(source).or_insert(download);
        }
        self.mounts.extend(document.mounts);
        for Listing { layer, packed } in document.listings {
            self.listings.entry(layer).or_insert(packed);
        }
    }

    /// Returns what it says is in a layer.
    pub(super) fn listing(&self, layer: &DiffId) -> Option<&Packed> {
        self.listings.get(layer)
    }

    /// Returns the listings that are blobs.
    pub(super) fn listing_blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.listings.values().filter_map(Packed::blob)
    }

    /// Returns what a content key led to.
    pub fn record(&self, key: &Key) -> Option<&Record> {
        self.records.get(key)
    }

    /// Returns what a definition led to.
    pub fn derivation(&self, definition: &Key) -> Option<&Derivation> {
        self.derivations.get(definition)
    }

    /// Returns what came from a source of files.
    pub fn download(&self, source: &Key) -> Option<&Download> {
        self.downloads.get(source)
    }

    /// Returns what was in cache mounts.
    pub fn mounts(&self) -> impl Iterator<Item = &MountRecord> {
        self.mounts.iter()
    }

    /// Returns the layers of all steps, perhaps some more than once.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.records.values().map(|record| &record.layer)
    }

    fn add_index(&mut self, depot: &dyn Depot, source: &Source, index: &Index) -> Result<(), StockError> {
        // BuildKit's older form: an index of layers, with its keys among them.
        if index.manifests.iter().any(|child| child.media_type == BUILDKIT_TYPE) {
            return Err(StockError::BuildKit);
        }
        let images = index.manifests.iter().filter(|child| child.media_type.kind() == Kind::Manifest);
        let mut last = Err(StockError::NoRecords);
        for child in images.take(MAX_IMAGES) {
            let bytes = read(depot, source, child, MAX_DOCUMENT_BYTES as u64)?;
            let read = Root::parse_with(bytes, Some(&child.media_type), child.digest.algorithm())?;
            let Root::Manifest(manifest) = read else { continue };
            match self.add_manifest(depot, source, &manifest) {
                Ok(()) => last = Ok(()),
                // An attestation, or a platform that was built by somebody else.
                Err(StockError::NoRecords | StockError::Other { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        last
    }

    fn add_manifest(
        &mut self,
        depot: &dyn Depot,
        source: &Source,
        manifest: &Raw<Manifest>,
    ) -> Result<(), StockError> {
        let config = &manifest.config;
        match config.media_type.as_str() {
            CONFIG_TYPE => {
                let bytes = read(depot, source, config, MAX_BYTES)?;
                self.add(Document::read(&bytes, &manifest.layers)?);
                Ok(())
            }
            BUILDKIT_TYPE => Err(StockError::BuildKit),
            _ if manifest.is_image() => self.add_image(depot, source, manifest),
            _ => Err(StockError::Other {
                artifact_type: manifest.effective_artifact_type().chars().take(160).collect(),
            }),
        }
    }

    fn add_image(
        &mut self,
        depot: &dyn Depot,
        source: &Source,
        manifest: &Raw<Manifest>,
    ) -> Result<(), StockError> {
        let config = &manifest.config;
        let bytes = read(depot, source, config, MAX_DOCUMENT_BYTES as u64)?;
        let (media_type, algorithm) = (config.media_type.clone(), config.digest.algorithm());
        let config: Raw<Config> = Raw::parse_with(bytes, media_type, algorithm)?;
        match (config.other.get(INLINE), config.other.contains_key(BUILDKIT_INLINE)) {
            (Some(records), _) => {
                let layers = layers(manifest, &config)?;
                self.add(Document::read_inline(records, &layers)?);
                Ok(())
            }
            (None, true) => Err(StockError::BuildKit),
            (None, false) => Err(StockError::NoRecords),
        }
    }
}

fn read(
    depot: &dyn Depot,
    source: &Source,
    descriptor: &Descriptor,
    limit: u64,
) -> Result<Vec<u8>, StockError> {
    let size = descriptor.size;
    if size > limit {
        return Err(StockError::TooLarge { descriptor: descriptor.digest.to_string(), size, limit });
    }
    Ok(depot.read(source, descriptor)?)
}

/// Returns an image's layers.
fn layers(manifest: &Manifest, config: &Config) -> Result<Vec<Layer>, StockError> {
    let (layers, diff_ids) = (&manifest.layers, &config.rootfs.diff_ids);
    if layers.len() != diff_ids.len() {
        let (layers, diff_ids) = (layers.len(), diff_ids.len());
        return Err(DocumentError::LayerCount { layers, diff_ids }.into());
    }
    let layer = |(descriptor, diff_id): (&Descriptor, &DiffId)| Layer {
        descriptor: descriptor.clone(),
        diff_id: *diff_id,
    };
    Ok(layers.iter().zip(diff_ids).map(layer).collect())
}
