//! Progress of copies as lines: one for each thing that happens.
//!
//! ```text
//! copying 3 blobs, 12.30 MB
//! 0a1b2c3d4e5f   12.00 MB   copied
//! 5e4d3c2b1a0f   300 B      already there
//! ```

use oxbox_copy::progress::{Event, Progress};
use oxbox_copy::transfer::Outcome;

use crate::output::clean;
use crate::table::{count, size};
use crate::terminal::say;

/// Shows a copy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Copying;

impl Progress for Copying {
    fn report(&self, event: Event) {
        if let Some(line) = line(&event) {
            say(&line);
        }
    }
}

/// Returns the line of an event, if it is worth one.
pub(super) fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::Planned { blobs, bytes } => format!("copying {}, {}", count(*blobs, "blob"), size(*bytes)),
        Event::Restarted { digest, attempts, reason } => {
            format!("{}   attempt {attempts} broke off: {}", digest.short(), clean(reason))
        }
        Event::Finished { descriptor, outcome } => {
            format!("{}   {:<9}   {}", descriptor.digest.short(), size(descriptor.size), word(*outcome))
        }
        Event::Published(root) => format!("{}   published", root.digest.short()),
        Event::Started(_) | Event::Advanced { .. } => return None,
    })
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Copied => "copied",
        Outcome::Present => "already there",
        Outcome::Mounted => "mounted",
        Outcome::LeftAtUrls => "left at its urls",
    }
}
