//! What a transfer tells while it runs. How it looks on a terminal is the command line's part.

use oxbox_layers::oci::{Descriptor, Digest};

use crate::transfer::Outcome;

/// Something that happened during a transfer. Events of one blob come in order; blobs interleave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The walk over the documents is done: this much is to be looked at.
    Planned {
        /// Different blobs.
        blobs: usize,
        /// Bytes of them, whether or not they will have to move.
        bytes: u64,
    },
    /// A blob's bytes begin to move.
    Started(Descriptor),
    /// More bytes of a blob have left the source.
    Advanced {
        /// The blob.
        digest: Digest,
        /// Bytes since the last such event.
        bytes: u64,
    },
    /// A blob broke off and starts again from its beginning.
    Restarted {
        /// The blob.
        digest: Digest,
        /// How often it has been tried.
        attempts: u32,
        /// Why it broke off.
        reason: String,
    },
    /// A blob is at the destination; it may never have been started.
    Finished {
        /// The blob.
        descriptor: Descriptor,
        /// How it came there.
        outcome: Outcome,
    },
    /// The root has its name, and the transfer is over.
    Published(Descriptor),
}

/// Takes events, on whatever thread they happen: it must not block.
pub trait Progress: Send + Sync {
    /// Takes one event.
    fn report(&self, event: Event);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _: Event) {}
}

impl<F: Fn(Event) + Send + Sync> Progress for F {
    fn report(&self, event: Event) {
        self(event);
    }
}
