//! The document of a cache: which key led to which layer, and which definition to which key.
//!
//! ```text
//! manifest   artifactType, config.mediaType = application/vnd.oxbox.cache.config.v1+json
//! ├─ config  { "version": 1,
//! │            "records":     [ { "key": KEY, "layer": 0, "compression": "gzip:4" }, … ],
//! │            "derivations": [ { "definition": KEY, "led": "KEY|- CHAIN|. CHAIN|. CHAIN|.|? …" }, … ],
//! │            "downloads":   [ { "source": KEY, "digest": DIGEST, "etag": "…" }, … ],     not there if none are
//! │            "mounts":      [ { "id": "/root/.cache", "layer": 1 }, … ],     not there if there are none
//! │            "listings":    [ { "layer": DIFF_ID, "data": BASE64 }, { "layer": DIFF_ID, "blob": DESCRIPTOR }, … ],
//! │            "diffIds":     [ DIGEST, … ] }                        one for each of the first of the manifest's layers
//! └─ layers, and then the listings that are blobs
//!
//! image config   "oxbox.cache.v1": the same without diffIds; layer counts the image's own
//! ```
//!
//! A KEY has 64 hexadecimal digits. `led` is what [`Derivation::pack`] writes. A `compression` says that the
//! layer is, byte for byte, what oxbox makes at that level; without it only the tar is known.
//!
//! The document comes from outside: all of it is bounded, and what a record claims of a layer's tar is
//! verified when the layer is opened.

use std::collections::HashSet;

use oxbox_layers::compress::Compression;
use oxbox_layers::layer::Layer;
use oxbox_layers::oci::{Compressed, Descriptor, DiffId, Digest, Kind, MediaType};
use serde::{Deserialize, Serialize};

use super::listing::{LISTING_TYPE, Listing, Packed};
use crate::fetch::Validators;
use crate::mounts::About;
use crate::solve::Key;
use crate::solve::cache::Derivation;
use crate::solve::downloads::Download;

/// Field of an image's config that has the records of its layers.
pub const INLINE: &str = "oxbox.cache.v1";

/// Largest document that is read: some tens of thousands of steps.
pub const MAX_BYTES: u64 = 16 << 20;

/// Records, and derivations, of one document. Nobody has a Dockerfile of that many instructions, and each
/// is an entry of a table in memory.
pub const MAX_ENTRIES: usize = 50_000;

/// Ids of cache mounts, paths as a rule, are written into notes here, and what servers said goes to servers.
const MAX_TEXT_BYTES: usize = 4096;

/// The only version that there is.
const VERSION: u32 = 1;

/// What a cache knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// What keys led to.
    pub records: Vec<Record>,
    /// What definitions led to.
    pub derivations: Vec<(Key, Derivation)>,
    /// What came from web servers, by what leads there.
    pub downloads: Vec<(Key, Download)>,
    /// What was in cache mounts.
    pub mounts: Vec<MountRecord>,
    /// What is in layers.
    pub listings: Vec<Listing>,
}

/// What was in a cache mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountRecord {
    /// Which.
    pub about: About,
    /// Its files.
    pub layer: Layer,
}

/// What a content key led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Of what went in.
    pub key: Key,
    /// What came out.
    pub layer: Layer,
    /// How it was compressed, if that is known exactly.
    pub compression: Option<Compression>,
}

/// Why bytes are no document of a cache.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is larger than anybody's.
    #[error("the records take {size} bytes, where {MAX_BYTES} are allowed")]
    TooLarge {
        /// How large it is.
        size: u64,
    },
    /// It does not parse.
    #[error("the records cannot be read")]
    Malformed {
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A later oxbox wrote it.
    #[error("the records are of version {version}, and this oxbox knows version {VERSION}")]
    Version {
        /// What it says.
        version: u32,
    },
    /// There are more records or derivations than anybody has.
    #[error("there are {count} {what}, where {MAX_ENTRIES} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
    },
    /// Manifest and document do not agree.
    #[error("there are {layers} layers and {diff_ids} diff_ids")]
    LayerCount {
        /// In the manifest.
        layers: usize,
        /// In the document.
        diff_ids: usize,
    },
    /// A record names a layer that is not there.
    #[error("a record names layer {layer} of {layers}")]
    NoLayer {
        /// Which, from 0.
        layer: usize,
        /// How many there are.
        layers: usize,
    },
    /// A layer is of a type that holds no files.
    #[error("layer {layer} is of a type that is no layer's")]
    NotALayer {
        /// Which, from 0.
        layer: usize,
    },
    /// The id of a cache mount, or what a server said, is longer than anybody's.
    #[error("a text takes more than {MAX_TEXT_BYTES} bytes")]
    Text,
    /// A derivation is no derivation.
    #[error("derivation {at} cannot be read")]
    Derivation {
        /// Which, from 0.
        at: usize,
    },
}

/// The document as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    version: u32,
    #[serde(default)]
    records: Vec<WireRecord>,
    #[serde(default)]
    derivations: Vec<WireDerivation>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    downloads: Vec<WireDownload>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<WireMount>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    listings: Vec<WireListing>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    diff_ids: Option<Vec<DiffId>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireListing {
    layer: DiffId,
    #[serde(flatten)]
    packed: Packed,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDownload {
    source: Key,
    digest: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireMount {
    #[serde(flatten)]
    about: About,
    layer: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireRecord {
    key: Key,
    layer: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compression: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireDerivation {
    definition: Key,
    led: String,
}

/// The version alone: whatever else another one says.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Document {
    /// Reads the config of a cache's manifest; `layers` are the manifest's.
    pub fn read(bytes: &[u8], layers: &[Descriptor]) -> Result<Self, DocumentError> {
        let wire = parse(bytes)?;
        let diff_ids = wire.diff_ids.clone().unwrap_or_default();
        pair(wire, layers, &diff_ids)
    }

    /// Reads what an image's config has under [`INLINE`]; `layers` are the image's.
    pub fn read_inline(value: &serde_json::Value, layers: &[Layer]) -> Result<Self, DocumentError> {
        let bytes = serde_json::to_vec(value).map_err(|source| DocumentError::Malformed { source })?;
        let descriptors: Vec<Descriptor> = layers.iter().map(|layer| layer.descriptor.clone()).collect();
        let diff_ids: Vec<DiffId> = layers.iter().map(|layer| layer.diff_id).collect();
        pair(parse(&bytes)?, &descriptors, &diff_ids)
    }

    /// Writes the config of a manifest, and returns it with the layers that the manifest has: each once, in
    /// the order in which records name them. Equal documents give equal bytes.
    pub fn write(&self) -> (Vec<u8>, Vec<Layer>) {
        let mut layers: Vec<Layer> = Vec::new();
        let of_steps = self.records.iter().map(|record| &record.layer);
        for layer in of_steps.chain(self.mounts.iter().map(|mount| &mount.layer)) {
            if !layers.contains(layer) {
                layers.push(layer.clone());
            }
        }
        let diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
        let wire = Wire { diff_ids: Some(diff_ids), ..self.wire(&layers) };
        let bytes = serde_json::to_vec(&wire).expect("because all keys are text");
        (bytes, layers)
    }

    /// Returns what an image of these layers has in its config.
    pub fn write_inline(&self, layers: &[Layer]) -> serde_json::Value {
        serde_json::to_value(self.wire(layers)).expect("because all keys are text")
    }

    /// Says what the layers are by their places; a record of a layer that is not among them goes.
    fn wire(&self, layers: &[Layer]) -> Wire {
        let place = |layer: &Layer| layers.iter().position(|known| known == layer);
        let mount =
            |mount: &MountRecord| Some(WireMount { about: mount.about.clone(), layer: place(&mount.layer)? });
        let record = |record: &Record| {
            let layer = place(&record.layer)?;
            let compression = record.compression.map(spell);
            Some(WireRecord { key: record.key, layer, compression })
        };
        let derivation = |(definition, derivation): &(Key, Derivation)| WireDerivation {
            definition: *definition,
            led: derivation.pack(),
        };
        let download = |(source, download): &(Key, Download)| {
            let Download { digest, validators: Validators { etag, last_modified } } = download.clone();
            WireDownload { source: *source, digest, etag, last_modified }
        };
        let listing =
            |Listing { layer, packed }: &Listing| WireListing { layer: *layer, packed: packed.clone() };
        Wire {
            version: VERSION,
            records: self.records.iter().filter_map(record).collect(),
            derivations: self.derivations.iter().map(derivation).collect(),
            downloads: self.downloads.iter().map(download).collect(),
            mounts: self.mounts.iter().filter_map(mount).collect(),
            listings: self.listings.iter().map(listing).collect(),
            diff_ids: None,
        }
    }

    /// Adds a record, unless one of that key is there.
    pub(super) fn add_record(&mut self, record: Record, seen: &mut HashSet<Key>) {
        if seen.insert(record.key) {
            self.records.push(record);
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Wire, DocumentError> {
    let size = bytes.len() as u64;
    if size > MAX_BYTES {
        return Err(DocumentError::TooLarge { size });
    }
    let malformed = |source| DocumentError::Malformed { source };
    let Versioned { version } = serde_json::from_slice(bytes).map_err(malformed)?;
    if version != VERSION {
        return Err(DocumentError::Version { version });
    }
    let wire: Wire = serde_json::from_slice(bytes).map_err(malformed)?;
    let counts = [
        ("records", wire.records.len()),
        ("derivations", wire.derivations.len()),
        ("downloads", wire.downloads.len()),
        ("mounts", wire.mounts.len()),
        ("listings", wire.listings.len()),
    ];
    for (what, count) in counts {
        if count > MAX_ENTRIES {
            return Err(DocumentError::TooMany { what, count });
        }
    }
    Ok(wire)
}

fn pair(wire: Wire, layers: &[Descriptor], diff_ids: &[DiffId]) -> Result<Document, DocumentError> {
    // Listings come after them.
    let is_layer = |one: &&Descriptor| one.media_type.as_str() != LISTING_TYPE;
    let layers: Vec<&Descriptor> = layers.iter().filter(is_layer).collect();
    if layers.len() != diff_ids.len() {
        return Err(DocumentError::LayerCount { layers: layers.len(), diff_ids: diff_ids.len() });
    }
    let layer = |at: usize| {
        let no_layer = DocumentError::NoLayer { layer: at, layers: layers.len() };
        let (descriptor, diff_id) = layers.get(at).zip(diff_ids.get(at)).ok_or(no_layer)?;
        let Kind::Layer(format) = descriptor.media_type.kind() else {
            return Err(DocumentError::NotALayer { layer: at });
        };
        // What else a descriptor from elsewhere says goes into no image that is made here.
        let media_type = MediaType::oci_layer(format);
        let descriptor = Descriptor::new(media_type, descriptor.digest, descriptor.size);
        Ok((Layer { descriptor, diff_id: *diff_id }, format))
    };
    let record = |WireRecord { key, layer: at, compression }: &WireRecord| {
        let (layer, format) = layer(*at)?;
        let compression = compression.as_deref().and_then(|text| understand(text, format));
        Ok(Record { key: *key, layer, compression })
    };
    let mount = |WireMount { about, layer: at }: &WireMount| {
        if about.id.len() > MAX_TEXT_BYTES {
            return Err(DocumentError::Text);
        }
        Ok(MountRecord { about: about.clone(), layer: layer(*at)?.0 })
    };
    let derivation = |(at, WireDerivation { definition, led }): (usize, &WireDerivation)| {
        let derivation = Derivation::parse(led).ok_or(DocumentError::Derivation { at })?;
        Ok((*definition, derivation))
    };
    let download = |WireDownload { source, digest, etag, last_modified }: &WireDownload| {
        let validators = Validators { etag: etag.clone(), last_modified: last_modified.clone() };
        let is_long = |text: &Option<String>| text.as_ref().is_some_and(|text| text.len() > MAX_TEXT_BYTES);
        match is_long(etag) || is_long(last_modified) {
            true => Err(DocumentError::Text),
            false => Ok((*source, Download { digest: *digest, validators })),
        }
    };
    let listing = |WireListing { layer, packed }| match packed {
        Packed::Blob(blob) => {
            let blob = Descriptor::new(LISTING_TYPE, blob.digest, blob.size);
            Listing { layer, packed: Packed::Blob(Box::new(blob)) }
        }
        Packed::Data(_) => Listing { layer, packed },
    };
    Ok(Document {
        records: wire.records.iter().map(record).collect::<Result<_, _>>()?,
        derivations: wire.derivations.iter().enumerate().map(derivation).collect::<Result<_, _>>()?,
        downloads: wire.downloads.iter().map(download).collect::<Result<_, _>>()?,
        mounts: wire.mounts.iter().map(mount).collect::<Result<_, _>>()?,
        listings: wire.listings.into_iter().map(listing).collect(),
    })
}

fn spell(compression: Compression) -> String {
    match compression {
        Compression::None => "none".to_owned(),
        Compression::Gzip { level } => format!("gzip:{level}"),
        Compression::Zstd { level } => format!("zstd:{level}"),
    }
}

/// Reads what [`spell`] wrote of a layer of that type; nothing if it is something else, which a later
/// oxbox may know.
fn understand(text: &str, format: Compressed) -> Option<Compression> {
    let (name, level) = match text.split_once(':') {
        Some((name, level)) => (name, Some(level.parse().ok()?)),
        None => (text, None),
    };
    let compression = match name {
        "none" => Compression::new(Compressed::None, level),
        "gzip" => Compression::new(Compressed::Gzip, Some(level?)),
        "zstd" => Compression::new(Compressed::Zstd, Some(level?)),
        _ => return None,
    };
    compression.ok().filter(|compression| compression.format() == format)
}

#[cfg(test)]
mod tests;
