//! A destination that takes an image's documents and config and leaves its layers where they are.

use std::collections::HashMap;
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

/// Which registry has which layer of a base image.
#[derive(Debug, Default)]
pub(crate) struct Origins(Mutex<HashMap<Digest, Reference>>);

impl Origins {
    /// Notes that the layers are in the image's repository.
    pub(super) fn note(&self, reference: &Reference, layers: &[Descriptor]) {
        let mut origins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for layer in layers {
            origins.entry(layer.digest).or_insert_with(|| reference.clone());
        }
    }

    /// Returns the image that a layer is part of.
    pub(crate) fn of(&self, layer: &Digest) -> Option<Reference> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(layer).cloned()
    }
}
