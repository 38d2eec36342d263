//! Layers on their way into an image: made one, or compressed otherwise.
//!
//! What is done is remembered under a key of its own, so that the second build of the same form
//! finds it.

use std::io::Read;

use oxbox_layers::compress::Compression;
use oxbox_layers::layer::{Layer, LayerError, LayerWriter};
use oxbox_layers::oci::Kind;
use oxbox_layers::stack::{Flat, FlatError};
use oxbox_layers::tar::Entry;
use oxbox_layers::tree::ChangeSink;

use super::ExportError;
use super::form::{Form, Recompress, Squash};
use crate::solve::{Key, KeyHasher, Reuse, Workshop};

/// Layers of an image, and how many of them are its base's.
pub(super) struct Layers {
    pub(super) all: Vec<Layer>,
    pub(super) base: usize,
}

/// Gives the layers the form that is asked for. Of squashed ones there is one at most.
pub(super) fn relayer(workshop: &Workshop<'_>, layers: Layers, form: &Form) -> Result<Layers, ExportError> {
    let layers = match form.squash {
        Squash::None => layers,
        Squash::New => squash(workshop, layers, form.compression)?,
        Squash::All => squash(workshop, Layers { base: 0, ..layers }, form.compression)?,
    };
    let Layers { mut all, base } = layers;
    // What was squashed was compressed as wanted at once.
    if form.squash == Squash::None && form.compression != workshop.compression {
        for layer in &mut all[base..] {
            *layer = recompress(workshop, layer, form.compression)?;
        }
    }
    if form.recompress == Recompress::All {
        for layer in &mut all[..base] {
            // One of another level is left: its digest is worth more than that.
            if layer.descriptor.media_type.kind() != Kind::Layer(form.compression.format()) {
                *layer = recompress(workshop, layer, form.compression)?;
            }
        }
    }
    Ok(Layers { all, base })
}

fn squash(workshop: &Workshop<'_>, layers: Layers, compression: Compression) -> Result<Layers, ExportError> {
    let Layers { mut all, base } = layers;
    if all.len() <= base {
        return Ok(Layers { all, base });
    }
    let mut hasher = KeyHasher::new("squash");
    hasher.field("base", (base as u64).to_le_bytes());
    hasher.list("layers", all.iter().map(|layer| layer.diff_id.to_string()));
    let key = hasher.finish().compressed(compression);
    let layer = match recorded(workshop, &key)? {
        Some(layer) => layer,
        None => {
            let layer = flatten(workshop, &all, base, compression)?;
            workshop.cache.put(&key, &layer, workshop.now)?;
            layer
        }
    };
    all.truncate(base);
    all.push(layer);
    Ok(Layers { all, base })
}

fn flatten(
    workshop: &Workshop<'_>,
    all: &[Layer],
    base: usize,
    compression: Compression,
) -> Result<Layer, ExportError> {
    let bottom = workshop.indexes.stack(&all[..base], &*workshop.store)?;
    let top = workshop.indexes.stack(all, &*workshop.store)?;
    let writer = LayerWriter::new(&*workshop.store, compression, workshop.threads.get())?;
    let mut sink = Sink(writer.indexed());
    let flat = Flat::between(&bottom, &top);
    flat.emit(&*workshop.store, all, &workshop.spool, &mut sink).map_err(|error| match error {
        FlatError::Content(source) => ExportError::Content { source },
        FlatError::Sink(source) => ExportError::Layer(source),
    })?;
    let written = sink.0.finish_noted()?;
    if let Some(index) = written.index {
        workshop.indexes.put(written.layer.diff_id, index)?;
    }
    Ok(written.layer)
}

struct Sink(LayerWriter);

impl ChangeSink for Sink {
    type Error = LayerError;

    fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), LayerError> {
        self.0.append(entry, content)
    }
}

pub(crate) fn recompress(
    workshop: &Workshop<'_>,
    layer: &Layer,
    compression: Compression,
) -> Result<Layer, ExportError> {
    let mut hasher = KeyHasher::new("recompressed");
    hasher.field("diff_id", layer.diff_id.to_string());
    let key = hasher.finish().compressed(compression);
    if let Some(layer) = recorded(workshop, &key)? {
        return Ok(layer);
    }
    let layer = layer.recompress(&*workshop.store, compression, workshop.threads.get())?;
    workshop.cache.put(&key, &layer, workshop.now)?;
    Ok(layer)
}

fn recorded(workshop: &Workshop<'_>, key: &Key) -> Result<Option<Layer>, ExportError> {
    if workshop.reuse == Reuse::Forbidden {
        return Ok(None);
    }
    let Some(layer) = workshop.cache.get(key, workshop.now)? else { return Ok(None) };
    let is_there = workshop.store.stat(&layer.descriptor.digest)? == Some(layer.descriptor.size);
    Ok(is_there.then_some(layer))
}
