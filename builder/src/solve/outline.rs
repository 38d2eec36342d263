//! Stacks of layers as lists from the top: what stands on another stack shares it.
//!
//! ```text
//! RUN ─▶ COPY ─▶ FROM           a stack of n layers with one more costs one layer, not n + 1:
//!         ▲                     a Dockerfile of n instructions costs n layers, not n²
//! RUN ────┘
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oxbox_layers::layer::Layer;
use oxbox_layers::oci::{ChainId, DiffId};
use oxbox_layers::stack::{LayerIndex, Stack, StackError};

/// A stack of layers as a list from the top.
pub(super) struct Outline {
    below: Option<Arc<Self>>,
    own: Vec<Layer>,
    /// What they are together; `None` of none.
    pub(super) chain_id: Option<ChainId>,
    /// The merged trees of all, one by each source, if it is the one that was asked for last of those above the
    /// same base.
    stacks: [Mutex<Option<Arc<Stack>>>; 2],
}

/// Who says what is in the layers of a tree. The two never mix: contents are read by what is so alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The layers themselves.
    Layers,
    /// Caches elsewhere, of those that are not here.
    Sayings,
}

impl Outline {
    /// Puts layers, bottom first, on a stack.
    pub(super) fn with(below: Option<&Arc<Self>>, own: Vec<Layer>) -> Arc<Self> {
        let chain_id = below.and_then(|below| below.chain_id);
        let chain_id = own.iter().fold(chain_id, |below, layer| Some(then(below, layer)));
        Arc::new(Self { below: below.cloned(), own, chain_id, stacks: Default::default() })
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

    /// Returns the diff_ids of all layers, bottom first.
    pub(super) fn diff_ids(&self) -> Vec<DiffId> {
        let mut diff_ids: Vec<DiffId> = Vec::new();
        let mut next = Some(self);
        while let Some(outline) = next {
            diff_ids.extend(outline.own.iter().rev().map(|layer| layer.diff_id));
            next = outline.below.as_deref();
        }
        diff_ids.reverse();
        diff_ids
    }

    /// Returns the merged tree of all layers: that of what lies below, taken from there, and what is above put
    /// on it. So a step costs what its layer does, however many are below. Whoever goes on from there another
    /// time begins with the base again, whose tree stays.
    pub(super) fn stack<E: From<StackError>>(
        &self,
        source: Source,
        index: &dyn Fn(&Layer) -> Result<Arc<LayerIndex>, E>,
    ) -> Result<Arc<Stack>, E> {
        // Held meanwhile: who wants the same one waits for it. Locks are taken from the top down.
        let mut slot = self.slot(source);
        if let Some(stack) = &*slot {
            return Ok(Arc::clone(stack));
        }
        let (mut above, mut stack, mut next) = (vec![self], None, self.below.as_deref());
        while let (None, Some(below)) = (&stack, next) {
            stack = below.take_stack(source);
            if stack.is_none() {
                above.push(below);
            }
            next = below.below.as_deref();
        }
        let mut stack = stack.map_or_else(Stack::empty, Arc::unwrap_or_clone);
        for layer in above.into_iter().rev().flat_map(|outline| &outline.own) {
            stack = stack.with(index(layer)?)?;
        }
        let stack = Arc::new(stack);
        *slot = Some(Arc::clone(&stack));
        Ok(stack)
    }

    /// Takes the tree away; a base keeps it, for other stages.
    fn take_stack(&self, source: Source) -> Option<Arc<Stack>> {
        let mut slot = self.slot(source);
        match self.below {
            Some(_) => slot.take(),
            None => slot.clone(),
        }
    }

    /// A tree that is there is whole, though a thread panicked.
    fn slot(&self, source: Source) -> MutexGuard<'_, Option<Arc<Stack>>> {
        self.stacks[source as usize].lock().unwrap_or_else(PoisonError::into_inner)
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
    use std::cell::Cell;
    use std::sync::Arc;

    use oxbox_layers::layer::Layer;
    use oxbox_layers::oci::{ChainId, Descriptor, DiffId, Digest, MediaType};
    use oxbox_layers::stack::{Body, IndexBuilder, StackError};
    use oxbox_layers::tar::{Entry, Kind};

    use super::{Outline, Source};

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
        assert_eq!(stack.diff_ids(), diff_ids);
        assert_eq!(stack.chain_id, ChainId::of(&diff_ids));
        assert_eq!(stack.last(), Some(&layer(2)));
    }

    #[test]
    fn what_is_put_on_a_tree_is_merged_alone_and_a_base_keeps_its_tree() {
        let asked = Cell::new(0);
        let index = |_: &Layer| {
            asked.set(asked.get() + 1);
            let mut index = IndexBuilder::default();
            let entry = Entry::new(format!("file-{}", asked.get()), Kind::Fifo, 0o644);
            index.push(&entry, &Body::default()).unwrap();
            Ok::<_, StackError>(Arc::new(index.finish()))
        };
        let asked_for = |outline: &Outline| {
            asked.set(0);
            let depth = outline.stack(Source::Layers, &index).unwrap().depth();
            (depth, asked.get())
        };
        let base = Outline::with(None, vec![layer(0), layer(1)]);
        let first = Outline::with(Some(&base), vec![layer(2)]);
        let second = Outline::with(Some(&first), vec![layer(3)]);
        let other = Outline::with(Some(&first), vec![layer(4)]);
        assert_eq!(asked_for(&base), (2, 2));
        assert_eq!(asked_for(&first), (3, 1));
        assert_eq!(asked_for(&second), (4, 1));
        // The first one's tree became that of the second.
        assert_eq!(asked_for(&other), (4, 2));
        assert_eq!((asked_for(&base), asked_for(&second)), ((2, 0), (4, 0)));
    }

    #[test]
    fn a_tree_that_somebody_looks_at_stays_as_it_is() {
        let index = |layer: &Layer| {
            let mut index = IndexBuilder::default();
            let entry = Entry::new(layer.diff_id.0.hex(), Kind::Fifo, 0o644);
            index.push(&entry, &Body::default()).unwrap();
            Ok::<_, StackError>(Arc::new(index.finish()))
        };
        let base = Outline::with(None, vec![layer(0)]);
        let (first, second) = (Outline::with(Some(&base), vec![layer(1)]), layer(2));
        let top = Outline::with(Some(&first), vec![second.clone()]);
        let looked_at = first.stack(Source::Layers, &index).unwrap();
        let above = top.stack(Source::Layers, &index).unwrap();
        let path = second.diff_id.0.hex();
        assert!(looked_at.get(path.as_bytes()).is_none() && above.get(path.as_bytes()).is_some());
    }

    #[test]
    fn a_stack_of_any_height_can_be_dropped() {
        let empty = Outline::with(None, Vec::new());
        let stack = (0..1_000_000).fold(empty, |below, _| Outline::with(Some(&below), Vec::new()));
        drop(Arc::into_inner(stack).unwrap());
    }

    #[test]
    fn what_caches_say_of_a_layer_is_in_no_tree_of_what_is_so() {
        let index = |name: &'static str| {
            move |_: &Layer| {
                let mut index = IndexBuilder::default();
                index.push(&Entry::new(name, Kind::Fifo, 0o644), &Body::default()).unwrap();
                Ok::<_, StackError>(Arc::new(index.finish()))
            }
        };
        let base = Outline::with(None, vec![layer(0)]);
        let top = Outline::with(Some(&base), vec![layer(1)]);
        for outline in [&base, &top] {
            let said = outline.stack(Source::Sayings, &index("said")).unwrap();
            let known = outline.stack(Source::Layers, &index("known")).unwrap();
            assert!(said.get(b"said").is_some() && said.get(b"known").is_none());
            assert!(known.get(b"known").is_some() && known.get(b"said").is_none());
        }
    }
}
