//! What is in layers, given along with a cache: a COPY is made without what it stands on.
//!
//! ```text
//! give    layers that a cache has, and bases that a COPY looks into ─ what is noted of them here ─zstd▶ listing
//!                                                                     └ nothing: what a cache said goes on
//! take    a COPY looks below ─ a layer that is not here ─▶ listing ─▶ LayerIndex, for this build alone
//! ```
//!
//! A COPY asks of the layers below it where its destination's links lead, which directories are there and
//! who `--chown` means: a listing answers for a thousandth of the bytes. It is believed as records are, and
//! for no more than that: contents are never read by it, and it is never noted as what is in a layer.

use std::collections::HashSet;
use std::io::{self, Read as _, Write as _};

use oxbox_layers::compress::{self, Compression, Decoder};
use oxbox_layers::image::Image;
use oxbox_layers::layer::Layer;
use oxbox_layers::oci::{Descriptor, DiffId};
use oxbox_layers::stack::LayerIndex;
use oxbox_layers::store::BlobStore as _;
use serde::{Deserialize, Serialize};

use super::document::Document;
use super::give::Gift;
use super::{Source, Stocks};
use crate::export::ExportError;
use crate::plan::graph::{Graph, Op, VertexId};

/// Type of a listing that is a blob of its own.
pub const LISTING_TYPE: &str = "application/vnd.oxbox.layer.index.v1+zstd";

/// Largest listing that is read: that of several million files.
const MAX_BYTES: u64 = 64 << 20;

/// The same unpacked.
const MAX_UNPACKED_BYTES: u64 = 256 << 20;

/// Smaller ones stand in the document: a blob of its own costs more than so much text.
const MAX_INLINE_BYTES: usize = 1024;

/// What is in a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// In which.
    pub layer: DiffId,
    /// A packed index, and where it is.
    pub packed: Packed,
}

/// A [`LayerIndex`], compressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Packed {
    /// In the document itself.
    #[serde(with = "text")]
    Data(Vec<u8>),
    /// Beside it.
    Blob(Box<Descriptor>),
}

impl Packed {
    /// Returns the blob, if it is one.
    pub fn blob(&self) -> Option<&Descriptor> {
        match self {
            Self::Blob(descriptor) => Some(descriptor),
            Self::Data(_) => None,
        }
    }
}

fn pack(index: &LayerIndex) -> io::Result<Vec<u8>> {
    let mut writer = compress::compressor(Compression::ZSTD, 1, Vec::new());
    writer.write_all(index.as_bytes())?;
    writer.finish()
}

/// Unpacks a listing; nothing if it is none.
fn unpack(packed: &[u8]) -> Option<LayerIndex> {
    let mut bytes = Vec::new();
    let decoder = Decoder::new(packed).ok()?.limit(MAX_UNPACKED_BYTES);
    decoder.take(MAX_UNPACKED_BYTES + 1).read_to_end(&mut bytes).ok()?;
    LayerIndex::from_elsewhere(bytes).ok()
}

impl Gift<'_> {
    /// Lists what is in the layers of a document, and in the bases that chosen steps look into, as far as it
    /// is known.
    pub(super) fn listings(&self, chosen: &[bool], document: &Document) -> Result<Vec<Listing>, ExportError> {
        let mut listings = Vec::new();
        let mut seen = HashSet::new();
        let of_steps = document.records.iter().map(|record| record.layer.diff_id);
        for layer in self.bases(chosen)?.into_iter().chain(of_steps) {
            if seen.insert(layer)
                && let Some(packed) = self.listing(layer)?
            {
                listings.push(Listing { layer, packed });
            }
        }
        Ok(listings)
    }

    fn listing(&self, layer: DiffId) -> Result<Option<Packed>, ExportError> {
        let workshop = self.workshop;
        let Some(index) = workshop.indexes.at_hand(layer).map_err(|error| Box::new(error.into()))? else {
            let said = workshop.stocks.listing(&layer).map(|(_, packed)| packed.clone());
            return Ok(said.filter(|packed| packed.blob().is_none_or(|blob| workshop.stocks.has(blob))));
        };
        let packed = pack(&index).map_err(|source| ExportError::Listing { layer, source })?;
        if packed.len() <= MAX_INLINE_BYTES {
            return Ok(Some(Packed::Data(packed)));
        }
        let descriptor = Descriptor::of(LISTING_TYPE, &packed);
        self.put(&descriptor, &packed)?;
        Ok(Some(Packed::Blob(Box::new(descriptor))))
    }

    /// Returns the layers of base images that a chosen COPY, ADD or WORKDIR stands on.
    fn bases(&self, chosen: &[bool]) -> Result<Vec<DiffId>, ExportError> {
        let mut layers = Vec::new();
        for vertex in looked_into(self.graph, chosen) {
            let Op::Image(image) = &self.graph.vertices[vertex.0].op else { continue };
            let image = Image::load(&*self.workshop.store, &image.manifest)?;
            layers.extend(image.layers.iter().map(|layer| layer.diff_id));
        }
        Ok(layers)
    }
}

/// Returns what chosen steps that look below stand on in the end, in the order of the plan.
fn looked_into(graph: &Graph, chosen: &[bool]) -> Vec<VertexId> {
    let mut looked_into = vec![false; graph.vertices.len()];
    for (vertex, _) in graph.vertices.iter().zip(chosen).filter(|(_, chosen)| **chosen) {
        if !matches!(vertex.op, Op::Copy(_) | Op::Workdir(_)) {
            continue;
        }
        let mut below = vertex.op.below();
        while let Some(vertex) = below.filter(|vertex| !looked_into[vertex.0]) {
            looked_into[vertex.0] = true;
            below = graph.vertices[vertex.0].op.below();
        }
    }
    let places = looked_into.iter().enumerate().filter(|(_, is_looked_into)| **is_looked_into);
    places.map(|(at, _)| VertexId(at)).collect()
}

impl Stocks<'_> {
    /// Returns what a cache says is in a layer, if one says something that can be read.
    pub(crate) fn index(&self, layer: &Layer) -> Option<LayerIndex> {
        let (from, packed) = self.listing(&layer.diff_id)?;
        let bytes = match packed {
            Packed::Data(bytes) => bytes.clone(),
            Packed::Blob(blob) if blob.size > MAX_BYTES => return None,
            // Without it the layer is looked into, which costs more and nothing else.
            Packed::Blob(blob) => self.read_blob(&self.sources[from].source, blob)?,
        };
        unpack(&bytes)
    }

    /// Returns what the first cache that knows says is in a layer.
    fn listing(&self, layer: &DiffId) -> Option<(usize, &Packed)> {
        self.stocks().find_map(|(from, stock)| Some((from, stock.listing(layer)?)))
    }

    fn read_blob(&self, source: &Source, blob: &Descriptor) -> Option<Vec<u8>> {
        let read = self.depot?.read(source, blob);
        read.inspect_err(|error| tracing::debug!(%error, blob = %blob.digest, "cannot read a listing")).ok()
    }

    /// Whether a blob that may not be here can be given to others.
    pub(super) fn has(&self, blob: &Descriptor) -> bool {
        let is_here = || self.lazy.stat(&blob.digest).is_ok_and(|size| size.is_some());
        is_here() || self.depot.is_some_and(|depot| depot.has(blob).unwrap_or(false))
    }
}

/// Bytes as base64.
mod text {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        BASE64.decode(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
