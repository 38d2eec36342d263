//! How work looks while it goes on, on standard error.
//!
//! ```text
//! builder ──Event──▶ Building ──News──▶ steps     plain lines             what each kind of --progress is
//! copy ───▶ a transfer ─┘        │      board     a picture, over and over
//!                                │      rawjson   a JSON object in each line
//!                                │      quiet     the last words of what failed
//!                                └────▶ others    who keep a record: a trace, a report
//! copy ──────────Event──────────────▶ lines │ blobs │ rawjson     copies that belong to no build
//! ```
//!
//! `record` is what is known so far, with a `transfer` for each image that moves and a `tail` for each step; `spoken`
//! makes what programs write fit to be shown; `painter` is the thread that draws pictures.

mod blobs;
mod board;
mod lines;
mod painter;
mod quiet;
mod rawjson;
pub(crate) mod record;
#[cfg(test)]
pub(crate) mod script;
pub(crate) mod spoken;
mod steps;
pub(crate) mod tail;
pub(crate) mod transfer;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oxbox_builder::plan::VertexId;
use oxbox_builder::progress as build;
use oxbox_copy::progress as copy;

use crate::settings::Look;

/// Something that a build has to tell.
#[derive(Debug, Clone, Copy)]
pub(crate) enum News<'a> {
    /// Of the build itself.
    Build(build::Event<'a>),
    /// Of an image that moves: a base image that is brought in, a result that is pushed.
    Transfer {
        /// Which, from 0 on.
        transfer: usize,
        /// Its title: `pull docker.io/library/debian:12`.
        title: &'a str,
        /// What there is to tell.
        event: Moving<'a>,
    },
}

/// What becomes of an image that moves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moving<'a> {
    /// It is looked for.
    Began,
    /// Something moved.
    Moved(&'a copy::Event),
    /// It is there, unless nothing was said of its publication.
    Ended,
}

/// Someone who is told of a build, from many threads.
pub(crate) trait Listener: Send + Sync {
    /// Takes news; must not block for long.
    fn hear(&self, news: News<'_>);

    /// Says the last word: nothing follows. Called once.
    fn end(&self);
}

/// A build as those see it who listen.
pub(crate) struct Building {
    listeners: Vec<Arc<dyn Listener>>,
    transfers: AtomicUsize,
}

/// Returns what shows a copy.
pub(crate) fn of_copy(look: Look, name: &str) -> Arc<dyn copy::Progress> {
    match look {
        Look::Picture => Arc::new(blobs::Copying::new()),
        Look::Lines => Arc::new(lines::Copying),
        Look::Json => Arc::new(rawjson::Copying::new(name)),
        Look::Quiet | Look::Nothing => Arc::new(copy::Silent),
    }
}

impl Building {
    /// Starts to show a build; `others` listen too.
    pub(crate) fn new(look: Look, others: impl IntoIterator<Item = Arc<dyn Listener>>) -> Arc<Self> {
        let view: Option<Arc<dyn Listener>> = match look {
            Look::Picture => Some(Arc::new(board::Board::new())),
            Look::Lines => Some(Arc::new(steps::Steps::new())),
            Look::Json => Some(Arc::new(rawjson::Building::new())),
            Look::Quiet => Some(Arc::new(quiet::Quiet::new())),
            Look::Nothing => None,
        };
        let listeners = view.into_iter().chain(others).collect();
        Arc::new(Self { listeners, transfers: AtomicUsize::new(0) })
    }

    /// Returns what shows an image that moves for the build, until it is dropped.
    pub(crate) fn transfer(self: &Arc<Self>, title: &str) -> Arc<dyn copy::Progress> {
        let number = self.transfers.fetch_add(1, Ordering::Relaxed);
        let transfer = Transfer { building: Arc::clone(self), number, title: title.to_owned() };
        transfer.tell(Moving::Began);
        Arc::new(transfer)
    }

    /// Says that it is over, however it ended: what is written to standard error from now on stands below.
    pub(crate) fn end(&self) {
        self.listeners.iter().for_each(|listener| listener.end());
    }

    fn tell(&self, news: News<'_>) {
        self.listeners.iter().for_each(|listener| listener.hear(news));
    }
}

impl build::Progress for Building {
    fn event(&self, event: build::Event<'_>) {
        self.tell(News::Build(event));
    }
}

/// One image that moves.
struct Transfer {
    building: Arc<Building>,
    number: usize,
    title: String,
}

impl Transfer {
    fn tell(&self, event: Moving<'_>) {
        self.building.tell(News::Transfer { transfer: self.number, title: &self.title, event });
    }
}

impl copy::Progress for Transfer {
    fn report(&self, event: copy::Event) {
        self.tell(Moving::Moved(&event));
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.tell(Moving::Ended);
    }
}

/// How a vertex is called: from 1 on.
fn number(vertex: VertexId) -> String {
    format!("#{}", vertex.0 + 1)
}

/// A duration as people read it.
fn seconds(elapsed: Duration) -> String {
    format!("{:.1}s", elapsed.as_secs_f32())
}
