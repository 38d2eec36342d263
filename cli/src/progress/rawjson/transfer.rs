//! Copies: a vertex that moves blobs, each with a status of its own.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use oxbox_copy::progress as copy;
use oxbox_copy::transfer::Outcome;
use oxbox_layers::oci::{Descriptor, Digest};

use super::status::{Moved, Status, Vertex};
use crate::terminal::say;

/// A vertex that moves blobs.
#[derive(Debug)]
pub(super) struct Transfer {
    vertex: Vertex,
    blobs: Vec<Moved>,
    is_done: bool,
}

/// Shows a copy as a build with one vertex.
pub(in crate::progress) struct Copying(Mutex<Transfer>);

impl Transfer {
    pub(super) fn new(name: &str, digest: Digest, now: Timestamp) -> Self {
        let vertex = Vertex { started: Some(now), ..Vertex::new(digest, name) };
        Self { vertex, blobs: Vec::new(), is_done: false }
    }

    pub(super) fn status(&self) -> Status {
        Status::of(&self.vertex)
    }

    pub(super) fn ended(&mut self, now: Timestamp) -> Status {
        self.vertex.completed = Some(now);
        if !self.is_done {
            "it did not arrive".clone_into(&mut self.vertex.error);
        }
        self.status()
    }

    pub(super) fn moved(&mut self, event: &copy::Event, now: Timestamp) -> Option<Status> {
        let moved = match event {
            copy::Event::Started(descriptor) => self.blob(descriptor, "moving", now),
            copy::Event::Advanced { digest, bytes } => {
                let blob = self.blobs.iter_mut().find(|blob| blob.id == *digest)?;
                blob.current += bytes;
                // A line for each percent is as much as anybody draws.
                if (blob.current - bytes) * 100 / blob.total.max(1) == blob.current * 100 / blob.total.max(1)
                {
                    return None;
                }
                blob
            }
            copy::Event::Restarted { digest, .. } => {
                let blob = self.blobs.iter_mut().find(|blob| blob.id == *digest)?;
                blob.current = 0;
                blob
            }
            copy::Event::Finished { descriptor, outcome } => {
                let blob = self.blob(descriptor, word(*outcome), now);
                (blob.current, blob.completed) = (blob.total, Some(now));
                blob
            }
            copy::Event::Published(_) => {
                self.is_done = true;
                return None;
            }
            copy::Event::Planned { .. } => return None,
        };
        moved.timestamp = now;
        Some(Status::of_blob(moved))
    }

    /// Returns what is known of a blob, under what is happening to it now.
    fn blob(&mut self, descriptor: &Descriptor, name: &'static str, now: Timestamp) -> &mut Moved {
        let place = self.blobs.iter().position(|blob| blob.id == descriptor.digest);
        let place = place.unwrap_or_else(|| {
            self.blobs.push(Moved {
                id: descriptor.digest,
                vertex: self.vertex.digest,
                name,
                total: descriptor.size,
                current: 0,
                timestamp: now,
                started: now,
                completed: None,
            });
            self.blobs.len() - 1
        });
        self.blobs[place].name = name;
        &mut self.blobs[place]
    }
}

impl Copying {
    pub(in crate::progress) fn new(name: &str) -> Self {
        let transfer = Transfer::new(name, Digest::sha256(name.as_bytes()), Timestamp::now());
        say(&transfer.status().line());
        Self(Mutex::new(transfer))
    }
}

impl copy::Progress for Copying {
    fn report(&self, event: copy::Event) {
        let mut transfer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let status = transfer.moved(&event, Timestamp::now());
        status.iter().for_each(|status| say(&status.line()));
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        let transfer = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        say(&transfer.ended(Timestamp::now()).line());
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Copied => "moved",
        Outcome::Present => "already there",
        Outcome::Mounted => "mounted",
        Outcome::LeftAtUrls => "left at its urls",
    }
}
