//! What a build says of itself at its end, kept for whoever asked; all the rest is passed on.

use std::sync::{Mutex, PoisonError};

use oxbox_builder::progress::{Event, Progress};
use oxbox_builder::solve::Explanation;

/// An explanation, once there is one.
pub(super) type Kept = Mutex<Option<Explanation>>;

/// Passes events on, and keeps the explanation.
pub(super) struct Listening<'a> {
    pub(super) inner: &'a dyn Progress,
    pub(super) explanation: &'a Kept,
}

/// Returns what was kept.
pub(super) fn kept(explanation: Kept) -> Option<Explanation> {
    explanation.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Progress for Listening<'_> {
    fn event(&self, event: Event<'_>) {
        if let Event::Explained { explanation } = event {
            *self.explanation.lock().unwrap_or_else(PoisonError::into_inner) = Some(explanation.clone());
        }
        self.inner.event(event);
    }
}
