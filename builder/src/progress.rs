//! What a build tells while it works; how that looks is for whoever listens.

use std::time::Duration;

use crate::plan::VertexId;

/// A listener. Called from many threads; it must not block for long.
pub trait Progress: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event<'_>);
}

/// Something that happened.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// The plan is made: this many vertices will be looked at.
    Planned {
        /// How many.
        vertices: usize,
    },
    /// A vertex is being made.
    Started {
        /// Which.
        vertex: VertexId,
        /// Its title.
        title: &'a str,
    },
    /// A vertex was found in the cache.
    Cached {
        /// Which.
        vertex: VertexId,
        /// Its title.
        title: &'a str,
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
    },
    /// A vertex cannot be made; why is in the error of the build.
    Failed {
        /// Which.
        vertex: VertexId,
        /// Its title.
        title: &'a str,
        /// After how long.
        elapsed: Duration,
    },
    /// A vertex was given up, because another one failed or somebody asked for it.
    Cancelled {
        /// Which.
        vertex: VertexId,
        /// Its title.
        title: &'a str,
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
