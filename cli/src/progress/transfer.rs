//! What is known of a copy so far: the blobs under way, and how much has moved.

use std::time::Duration;

use oxbox_copy::progress as copy;
use oxbox_layers::oci::{Descriptor, Digest};

/// An image that moves: a base image that is brought in, a result that is pushed.
#[derive(Debug, Default)]
pub(crate) struct Transfer {
    /// What people see: `pull docker.io/library/debian:12`.
    pub(crate) title: String,
    /// When it began.
    pub(crate) began: Duration,
    /// When it was over.
    pub(crate) ended: Option<Duration>,
    /// Whether it is there now.
    pub(crate) is_done: bool,
    /// Blobs that are under way, in the order in which they began.
    pub(crate) blobs: Vec<Blob>,
    /// Blobs that are looked at, and their bytes.
    pub(crate) planned: (usize, u64),
    /// Bytes that have arrived.
    pub(crate) bytes: u64,
}

/// A blob under way.
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    /// Which.
    pub(crate) descriptor: Descriptor,
    /// When it began.
    pub(crate) began: Duration,
    /// Bytes that have arrived.
    pub(crate) bytes: u64,
}

impl Transfer {
    /// Notes what became of the blobs; also used for copies that belong to no build.
    pub(crate) fn moved(&mut self, now: Duration, event: &copy::Event) {
        match event {
            copy::Event::Planned { blobs, bytes } => self.planned = (*blobs, *bytes),
            copy::Event::Started(descriptor) => {
                self.blobs.push(Blob { descriptor: descriptor.clone(), began: now, bytes: 0 });
            }
            copy::Event::Advanced { digest, bytes } => {
                self.bytes += bytes;
                self.with(digest, |blob| blob.bytes += bytes);
            }
            copy::Event::Restarted { digest, .. } => self.with(digest, |blob| blob.bytes = 0),
            copy::Event::Finished { descriptor, .. } => {
                self.blobs.retain(|blob| blob.descriptor.digest != descriptor.digest);
            }
            copy::Event::Published(_) => self.is_done = true,
        }
    }

    fn with(&mut self, digest: &Digest, change: impl FnOnce(&mut Blob)) {
        if let Some(blob) = self.blobs.iter_mut().find(|blob| blob.descriptor.digest == *digest) {
            change(blob);
        }
    }
}
