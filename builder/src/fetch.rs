//! What a build needs from outside, as a trait that the binary implements with the copy engine.

use std::io;

use oxbox_layers::oci::{Descriptor, Platform, Reference};

/// Base images and files from elsewhere.
pub trait Fetch: Send + Sync {
    /// Brings a base image into the local store and returns the descriptor of its manifest there.
    ///
    /// Called once for each image of a build, before anything runs. An index is resolved to the
    /// manifest that suits `platform`.
    fn base(&self, reference: &Reference, platform: &Platform) -> Result<Descriptor, FetchError>;

    /// Downloads a URL of an `ADD` into `into`, bounded by `max_bytes`.
    fn url(&self, url: &str, into: &mut dyn io::Write, max_bytes: u64) -> Result<Fetched, FetchError>;
}

/// What a server said of a downloaded file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// `Last-Modified` in seconds since 1970, if it was said.
    pub modified: Option<i64>,
}

/// Why something could not be brought in.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no such image, neither in the store nor at its registry.
    #[error("image {reference} is not in the local store and cannot be pulled")]
    Image {
        /// Which image.
        reference: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The URL cannot be downloaded.
    #[error("cannot download {url:?}")]
    Url {
        /// Which URL, cut.
        url: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
