//! What a build says of itself at its end, kept for whoever asked; all the rest is passed on.

use std::sync::{Mutex, PoisonError};

use oxbox_builder::progress::{Event, Progress};
use oxbox_builder::solve::Explanation;
use oxbox_layers::oci::{Descriptor, Digest};

/// An explanation, once there is one.
pub(super) type Kept = Mutex<Option<Explanation>>;

/// Manifests of caches that are to go elsewhere, by their places.
pub(super) type Given = Mutex<Vec<(usize, Digest)>>;

/// Passes events on, and keeps the explanation and what is given away.
pub(super) struct Listening<'a> {
    pub(super) inner: &'a dyn Progress,
    pub(super) explanation: &'a Kept,
    pub(super) given: &'a Given,
}

/// Returns what was kept.
pub(super) fn kept(explanation: Kept) -> Option<Explanation> {
    explanation.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Progress for Listening<'_> {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Explained { explanation } => {
                *self.explanation.lock().unwrap_or_else(PoisonError::into_inner) = Some(explanation.clone());
            }
            Event::Given { at, manifest: Descriptor { digest, .. } } => {
                self.given.lock().unwrap_or_else(PoisonError::into_inner).push((at, *digest));
            }
            _ => {}
        }
        self.inner.event(event);
    }
}
