//! Stacks of layers as lists from the top: what stands on another stack shares it.
//!
//! ```text
//! RUN ─▶ COPY ─▶ FROM           a stack of n layers with one more costs one layer, not n + 1:
//!         ▲                     a Dockerfile of n instructions costs n layers, not n²
//! RUN ────┘
//! ```

use std::sync::Arc;

use oxbox_layers::layer::Layer;
use oxbox_layers::oci::ChainId;

/// A stack of layers as a list from the top.
pub(super) struct Outline {
    below: Option<Arc<Self>>,
    own: Vec<Layer>,
    /// What they are together; `None` of none.
    pub(super) chain_id: Option<ChainId>,
}

impl Outline {
    /// Puts layers, bottom first, on a stack.
    pub(super) fn with(below: Option<&Arc<Self>>, own: Vec<Layer>) -> Arc<Self> {
        let chain_id = below.and_then(|below| below.chain_id);
        let chain_id = own.iter().fold(chain_id, |below, layer| Some(then(below, layer)));
        Arc::new(Self { below: below.cloned(), own, chain_id })
    }

    /// Returns all layers, bottom first.
    pub(super) fn layers(&self) -> Vec<Layer> {
        let mut layers: Vec<Layer> = Vec::new();
        let mut next = Some(self);
        while let Some(outline) = next {
            layers.extend(outline.own.iter().rev().cloned());
            next = outline.below.as_deref();
        }
        layers.reverse();
        layers
    }

    /// Returns the topmost layer of those that were put on last.
    pub(super) fn last(&self) -> Option<&Layer> {
        self.own.last()
    }
}

impl Drop for Outline {
    /// One after the other: each dropping the next would recurse through a whole Dockerfile.
    fn drop(&mut self) {
        let mut next = self.below.take();
        while let Some(mut outline) = next.and_then(Arc::into_inner) {
            next = outline.below.take();
        }
    }
}

/// Returns what a stack is with one more layer.
fn then(below: Option<ChainId>, layer: &Layer) -> ChainId {
    match below {
        Some(below) => below.then(&layer.diff_id),
        None => ChainId(layer.diff_id.0),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use oxbox_layers::layer::Layer;
    use oxbox_layers::oci::{ChainId, Descriptor, DiffId, Digest, MediaType};

    use super::Outline;

    fn layer(number: u32) -> Layer {
        let digest = Digest::sha256(&number.to_le_bytes());
        let descriptor = Descriptor::new(MediaType::OCI_LAYER, digest, 1);
        Layer { descriptor, diff_id: DiffId(digest) }
    }

    #[test]
    fn layers_come_bottom_first_and_have_the_chain_id_of_all() {
        let base = Outline::with(None, vec![layer(0), layer(1)]);
        let stack = Outline::with(Some(&Outline::with(Some(&base), Vec::new())), vec![layer(2)]);
        let layers: Vec<Layer> = (0..3).map(layer).collect();
        let diff_ids: Vec<DiffId> = layers.iter().map(|layer| layer.diff_id).collect();
        assert_eq!(stack.layers(), layers);
        assert_eq!(stack.chain_id, ChainId::of(&diff_ids));
        assert_eq!(stack.last(), Some(&layer(2)));
    }

    #[test]
    fn a_stack_of_any_height_can_be_dropped() {
        let empty = Outline::with(None, Vec::new());
        let stack = (0..1_000_000).fold(empty, |below, _| Outline::with(Some(&below), Vec::new()));
        drop(Arc::into_inner(stack).unwrap());
    }
}
