//! An image just built, or a cache of it, to be copied: what of its base, or of a cache elsewhere, was never
//! brought in comes from where it is.
//!
//! ```text
//! blob ─ mounted from the base's repository or the cache's, if the destination is of that registry
//!      ├ the store's
//!      └ the base's or the cache's, by way of this machine
//! ```

use std::sync::Arc;

use bytes::Bytes;
use oxbox_copy::endpoint::{AnySource, BlobStream, EndpointError, Origin, Source};
use oxbox_layers::oci::{Descriptor, Digest};

use crate::fetch::{Place, Puller};

/// An image in the store, and where the layers of its base come from.
pub(crate) struct Built {
    pub(crate) stored: AnySource,
    pub(crate) puller: Arc<Puller>,
}

impl Source for Built {
    async fn resolve(&self) -> Result<Descriptor, EndpointError> {
        self.stored.resolve().await
    }

    async fn document(&self, descriptor: &Descriptor) -> Result<Bytes, EndpointError> {
        self.stored.document(descriptor).await
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<BlobStream, EndpointError> {
        match self.stored.blob(descriptor).await {
            Err(error @ EndpointError::Absent { .. }) => match self.puller.source(descriptor) {
                Ok(base) => base.blob(descriptor).await,
                Err(_) => Err(error),
            },
            opened => opened,
        }
    }

    async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>, EndpointError> {
        self.stored.referrers(digest).await
    }

    fn origin(&self, blob: &Descriptor) -> Option<Origin> {
        let Place::Registry(base) = self.puller.origins.of(&blob.digest)? else { return None };
        Some(Origin { registry: base.domain().to_owned(), repository: base.path().to_owned() })
    }
}
