//! What a build needs from outside, as a trait that the binary implements with the copy engine.

use std::path::PathBuf;

use oxbox_layers::oci::{Descriptor, Digest, Platform, Reference};

use crate::plan::LayoutImage;

/// Base images from elsewhere.
pub trait Fetch: Send + Sync {
    /// Brings a base image into the local store and returns the descriptor of its manifest there.
    ///
    /// Called once for each image of a build, before anything runs. An index is resolved to the
    /// manifest that suits `platform`.
    ///
    /// Config and manifest are in the store afterwards; layers may be left where they are.
    fn base(&self, reference: &Reference, platform: &Platform) -> Result<Descriptor, FetchError>;

    /// Brings in a layer that [`Fetch::base`] left where it is.
    fn layer(&self, layer: &Descriptor) -> Result<(), FetchError>;

    /// Brings an image of an OCI layout into the local store, as [`base`](Self::base) does.
    ///
    /// Who has no layouts need not say so.
    fn layout(&self, image: &LayoutImage, _platform: &Platform) -> Result<Descriptor, FetchError> {
        let source = Box::from("layouts cannot be read here");
        Err(FetchError::Layout { folder: image.folder.clone(), source })
    }
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
    /// A layer of a base image cannot be had.
    #[error("layer {digest} of a base image cannot be pulled")]
    Layer {
        /// Which layer.
        digest: Digest,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no such image in the layout.
    #[error("image of the layout {} cannot be read", .folder.display())]
    Layout {
        /// The layout's folder.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
