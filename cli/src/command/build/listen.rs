//! What a build says of itself at its end, kept for whoever asked; all the rest is passed on.

use std::sync::{Arc, Mutex, PoisonError};

use oxbox_builder::progress::{Event, Progress};
use oxbox_builder::solve::Explanation;

use crate::progress::Building;

/// Passes events on, and keeps the explanation.
pub(super) struct Listening {
    pub(super) building: Arc<Building>,
    explanation: Mutex<Option<Explanation>>,
}

impl Listening {
    pub(super) fn new(building: Arc<Building>) -> Self {
        Self { building, explanation: Mutex::default() }
    }

    /// Returns what was kept.
    pub(super) fn explanation(self) -> Option<Explanation> {
        self.explanation.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Listening {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Explained { explanation } => {
                let mut kept = self.explanation.lock().unwrap_or_else(PoisonError::into_inner);
                *kept = Some(explanation.clone());
            }
            event => self.building.event(event),
        }
    }
}
