//! A destination that takes an image's documents and config and leaves its layers where they are.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use oxbox_copy::endpoint::{BlobStream, Destination, EndpointError, Origin};
use oxbox_layers::oci::{Descriptor, Digest, Document, Kind, Reference};

/// Takes all but layers, and names nothing: an image without its layers is none.
pub(super) struct WithoutLayers<D>(pub(super) D);

impl<D: Destination> Destination for WithoutLayers<D> {
    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, EndpointError> {
        match descriptor.media_type.kind() {
            Kind::Layer(_) => Ok(true),
            _ => self.0.has_blob(descriptor).await,
        }
    }

    async fn has_document(&self, _descriptor: &Descriptor) -> Result<bool, EndpointError> {
        // That of the inner one means that the layers are there too, which is not asked for.
        Ok(false)
    }

    async fn mount(&self, descriptor: &Descriptor, from: &Origin) -> Result<bool, EndpointError> {
        self.0.mount(descriptor, from).await
    }

    async fn push_blob(&self, descriptor: &Descriptor, content: BlobStream) -> Result<(), EndpointError> {
        self.0.push_blob(descriptor, content).await
    }

    async fn push_document(&self, document: &Document) -> Result<(), EndpointError> {
        self.0.push_document(document).await
    }

    async fn publish(&self, root: &Document) -> Result<(), EndpointError> {
        self.0.push_document(root).await
    }
}

/// Somewhere that has layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The repository of an image or a cache.
    Registry(Reference),
    /// An OCI layout.
    Folder(PathBuf),
}

/// Who has which layer: of a base image, of a cache elsewhere, of an image that was pushed.
#[derive(Debug, Default)]
pub(crate) struct Origins(Mutex<HashMap<Digest, Place>>);

impl Origins {
    /// Notes that the layers are there; whoever was known before stays.
    pub(crate) fn note(&self, place: &Place, layers: &[Descriptor]) {
        let mut origins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for layer in layers {
            origins.entry(layer.digest).or_insert_with(|| place.clone());
        }
    }

    /// Returns where a layer is.
    pub(crate) fn of(&self, layer: &Digest) -> Option<Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(layer).cloned()
    }
}
