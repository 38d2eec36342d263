//! What a build gives away: the keys of its steps, their layers, and a manifest that names them.
//!
//! ```text
//! min   results ─ what they stand on ─▶ steps whose layers the images have
//! max   every step that was made or known, if its layer can be had
//! ```
//!
//! Nothing here depends on what the cache had: equal steps give equal bytes, in the order of the plan.

use std::collections::HashSet;
use std::io::Write as _;

use oxbox_layers::compress::Compression;
use oxbox_layers::image::ImageError;
use oxbox_layers::layer::Layer;
use oxbox_layers::oci::{Compressed, Descriptor, Kind, Manifest, MediaType, Raw};
use oxbox_layers::store::Committed;

use super::document::{Document, Record};
use super::{CONFIG_TYPE, Giving, Mode, Mounts, Recompress};
use crate::export::{ExportError, recompress};
use crate::op::http;
use crate::plan::graph::{Graph, Op, VertexId};
use crate::solve::downloads::Download;
use crate::solve::{Conclusion, Key, Workshop};

/// A graph that was solved, to be given away.
#[derive(Clone, Copy)]
pub(crate) struct Gift<'a> {
    pub(crate) workshop: &'a Workshop<'a>,
    pub(crate) graph: &'a Graph,
    pub(crate) conclusions: &'a [Option<Conclusion>],
}

/// Writes a cache of what came out into the store, and returns the descriptor of its manifest.
pub(crate) fn give(gift: Gift<'_>, targets: &[VertexId], giving: &Giving) -> Result<Descriptor, ExportError> {
    let chosen = match giving.mode {
        Mode::Min => stood_on(gift.graph, targets),
        Mode::Max => vec![true; gift.graph.vertices.len()],
    };
    let mut document =
        gift.document(&chosen, |layer, compression| gift.packed(layer, compression, giving))?;
    if giving.mode == Mode::Max {
        document.downloads = gift.downloads()?;
    }
    document.listings = gift.listings(&chosen, &document)?;
    if giving.mounts == Mounts::Taken {
        document.mounts = gift.mounts(giving.compression)?;
    }
    let (config, layers) = document.write();
    let config_descriptor = Descriptor::of(CONFIG_TYPE, &config);
    let listings = document.listings.iter().filter_map(|listing| listing.packed.blob().cloned());
    let layers = layers.into_iter().map(|layer| layer.descriptor).chain(listings).collect();
    let manifest = Manifest {
        artifact_type: Some(CONFIG_TYPE.to_owned()),
        ..Manifest::of_image(config_descriptor.clone(), layers)
    };
    let manifest = Raw::write(manifest, MediaType::OCI_MANIFEST);
    gift.put(&config_descriptor, &config)?;
    gift.put(&manifest.descriptor(), manifest.bytes())?;
    Ok(manifest.descriptor())
}

/// Returns what an image of these layers has in its config, so that it is a cache of itself; `compression`
/// is that of those layers that are not what the steps made.
pub(crate) fn inline(
    gift: Gift<'_>,
    target: VertexId,
    layers: &[Layer],
    compression: Compression,
) -> Result<serde_json::Value, ExportError> {
    let chosen = stood_on(gift.graph, &[target]);
    let document = gift.document(&chosen, |layer, known| {
        let there = layers.iter().find(|there| there.diff_id == layer.diff_id);
        Ok(there.map(|there| match there == layer {
            true => (there.clone(), known),
            false => (there.clone(), Some(compression)),
        }))
    })?;
    Ok(document.write_inline(layers))
}

/// Returns which vertices make the layers of the targets.
fn stood_on(graph: &Graph, targets: &[VertexId]) -> Vec<bool> {
    let mut chosen = vec![false; graph.vertices.len()];
    let mut todo = targets.to_vec();
    while let Some(vertex) = todo.pop() {
        if std::mem::replace(&mut chosen[vertex.0], true) {
            continue;
        }
        let op = &graph.vertices[vertex.0].op;
        todo.extend(op.below());
        if let Op::Merge(merge) = op {
            todo.push(merge.above);
        }
    }
    chosen
}

/// A layer, and how it is compressed if that is known exactly.
type Packed = (Layer, Option<Compression>);

impl Gift<'_> {
    /// Lists the chosen steps; `pack` says as what a layer is given away, if it is.
    fn document(
        &self,
        chosen: &[bool],
        pack: impl Fn(&Layer, Option<Compression>) -> Result<Option<Packed>, ExportError>,
    ) -> Result<Document, ExportError> {
        let mut document = Document::default();
        let (mut keys, mut definitions) = (HashSet::new(), HashSet::new());
        for (conclusion, _) in self.conclusions.iter().zip(chosen).filter(|(_, chosen)| **chosen) {
            let Some(Conclusion { definition, derivation, content, layer, .. }) = conclusion else {
                continue;
            };
            if let (Some(key), Some(layer)) = (content, layer) {
                let known = self.compression(key, layer)?;
                let Some((layer, compression)) = pack(layer, known)? else { continue };
                document.add_record(Record { key: *key, layer, compression }, &mut keys);
            }
            if let (Some(definition), Some(derivation)) = (definition, derivation)
                && definitions.insert(*definition)
            {
                document.derivations.push((*definition, derivation.clone()));
            }
        }
        Ok(document)
    }

    /// Lists what came from web servers, so that they need not send it to others again.
    fn downloads(&self) -> Result<Vec<(Key, Download)>, ExportError> {
        let mut downloads: Vec<(Key, Download)> = Vec::new();
        for vertex in &self.graph.vertices {
            let Op::Http(http) = &vertex.op else { continue };
            let checksum = http.checksum.as_ref().map(http::source_of_checksum);
            for source in checksum.into_iter().chain([http::source_of_url(http)]) {
                let here = self.workshop.cache.download(&source)?;
                let download = here.or_else(|| self.workshop.stocks.download(&source).cloned());
                if !downloads.iter().any(|(known, _)| *known == source) {
                    downloads.extend(download.map(|download| (source, download)));
                }
            }
        }
        Ok(downloads)
    }

    /// Returns how a layer is compressed, if it is just what oxbox makes of it.
    fn compression(&self, key: &Key, layer: &Layer) -> Result<Option<Compression>, ExportError> {
        let workshop = self.workshop;
        if layer.descriptor.media_type.kind() == Kind::Layer(Compressed::None) {
            return Ok(Some(Compression::None));
        }
        for compression in [workshop.compression, Compression::GZIP, Compression::ZSTD] {
            let known = workshop.cache.get(&key.compressed(compression), workshop.now)?;
            if known.is_some_and(|known| known.descriptor.digest == layer.descriptor.digest) {
                return Ok(Some(compression));
            }
        }
        if let Some(stocked) = workshop.stocks.record(key)?
            && stocked.layer.descriptor.digest == layer.descriptor.digest
            && stocked.compression.is_some()
        {
            return Ok(stocked.compression);
        }
        Ok(None)
    }

    /// Returns a layer as it is given away; nothing if it cannot be had any more.
    fn packed(
        &self,
        layer: &Layer,
        known: Option<Compression>,
        giving: &Giving,
    ) -> Result<Option<Packed>, ExportError> {
        if !self.workshop.is_there(layer).map_err(Box::new)? {
            return Ok(None);
        }
        let (now, wanted) = (layer.descriptor.media_type.kind(), Kind::Layer(giving.compression.format()));
        let is_plain = now == Kind::Layer(Compressed::None);
        if now == wanted || !(is_plain || giving.recompress == Recompress::All) {
            return Ok(Some((layer.clone(), known)));
        }
        let layer = recompress(self.workshop, layer, giving.compression)?;
        Ok(Some((layer, Some(giving.compression))))
    }

    pub(super) fn put(&self, descriptor: &Descriptor, bytes: &[u8]) -> Result<(), ExportError> {
        let digest = descriptor.digest;
        let mut writer = self.workshop.store.writer(digest.algorithm())?;
        writer.write_all(bytes).map_err(|source| ImageError::Write { digest, source })?;
        writer.commit_as(&Committed { digest, size: descriptor.size })?;
        Ok(())
    }
}
