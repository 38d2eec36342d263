//! What a build tells while it works; how that looks is for whoever listens.

use std::error::Error;
use std::time::Duration;

use oxbox_layers::layer::Layer;
use oxbox_layers::oci::Descriptor;

use crate::plan::{Graph, VertexId};
use crate::solve::Explanation;

/// A listener. Called from many threads; it must not block for long.
pub trait Progress: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event<'_>);
}

/// Something that happened.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// The plan is made: all of this will be looked at.
    Planned {
        /// Titles, lines and inputs of all that is to be made.
        graph: &'a Graph,
    },
    /// A vertex has its turn: all that it names is made, and what it reads is being looked at.
    Looking {
        /// Which.
        vertex: VertexId,
        /// Its title.
        title: &'a str,
    },
    /// A vertex is being made, since the cache does not have it.
    Started {
        /// Which.
        vertex: VertexId,
        /// Its title.
        title: &'a str,
        /// Why the cache does not have it, where that is known: one sentence or more, without markup.
        why: Option<&'a str>,
    },
    /// A vertex was found in the cache.
    Cached {
        /// Which.
        vertex: VertexId,
        /// Its title.
        title: &'a str,
        /// Its own layer, if it has one.
        layer: Option<&'a Layer>,
    },
    /// A running command wrote a line.
    Output {
        /// Which vertex runs it.
        vertex: VertexId,
        /// The line without its end, perhaps cut.
        line: &'a [u8],
    },
    /// A vertex is made, or is what a stage stands on; the latter is never started.
    Done {
        /// Which.
        vertex: VertexId,
        /// Its title.
        title: &'a str,
        /// How long it took.
        elapsed: Duration,
        /// Its own layer, if it has one.
        layer: Option<&'a Layer>,
    },
    /// A vertex cannot be made; the error of the build has the same cause.
    Failed {
        /// Which.
        vertex: VertexId,
        /// Its title.
        title: &'a str,
        /// After how long.
        elapsed: Duration,
        /// Why not.
        error: &'a (dyn Error + 'static),
    },
    /// A vertex was given up, because another one failed or somebody asked for it.
    Cancelled {
        /// Which.
        vertex: VertexId,
        /// Its title.
        title: &'a str,
    },
    /// The build is done, and this is why it did what it did.
    Explained {
        /// Step by step.
        explanation: &'a Explanation,
    },
    /// What the build gives away is in the store.
    Given {
        /// Which of those that were asked for.
        at: usize,
        /// The manifest.
        manifest: &'a Descriptor,
    },
    /// Something that deserves a look and stops nothing.
    Warning {
        /// What, without a full stop.
        message: &'a str,
    },
}

/// Nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _event: Event<'_>) {}
}
