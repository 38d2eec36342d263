//! Places that images come from and go to, behind two contracts.
//!
//! ```text
//! Source       resolve ─▶ document, document, … ─▶ blob, blob, …      referrers   origin
//! Destination  has_blob? │ mount │ push_blob ─▶ push_document (children first) ─▶ publish (root, last)
//! ```
//!
//! Here: the contracts and what crosses them. One file per place: `layout` (and the local store),
//! `archive`, `docker_archive`, `directory`, `registry`. The walk between a source and a destination
//! is `transfer`'s. Dispatch is static: each place has its own types, [`AnySource`] and
//! [`AnyDestination`] are the closed sets of them.

mod any;
pub mod archive;
mod blob_stream;
mod crossing;
pub mod directory;
mod document_bytes;
mod error;
pub mod layout;
mod listing;
mod referrers;
pub mod registry;

use std::fmt;
use std::future::Future;

use bytes::Bytes;
use oxbox_layers::oci::{Descriptor, Digest, Document};

pub use any::{AnyDestination, AnySource, Places};
pub use blob_stream::{BlobStream, Fault};
pub use error::{Cause, EndpointError, FileError, Subject};

/// A place to read one image from. Shared by all tasks of a transfer.
pub trait Source: Send + Sync {
    /// Returns the descriptor of the image's root document, whose digest names exact bytes.
    ///
    /// A tag is resolved once: every call returns the same descriptor. The media type is the
    /// document's own.
    ///
    /// # Errors
    ///
    /// [`EndpointError::Absent`] if there is no such image; never for an image that may not be read.
    fn resolve(&self) -> impl Future<Output = Result<Descriptor, EndpointError>> + Send;

    /// Returns the whole bytes of a manifest or an index, verified against digest and size.
    ///
    /// At most `MAX_DOCUMENT_BYTES`. May be repeated.
    ///
    /// # Errors
    ///
    /// [`EndpointError::Absent`] if it is not here, [`EndpointError::Corrupt`] if other bytes are.
    fn document(&self, descriptor: &Descriptor) -> impl Future<Output = Result<Bytes, EndpointError>> + Send;

    /// Opens a blob from its start. May be repeated, and by several tasks at once.
    ///
    /// [`BlobStream`] verifies digest and size on the way, so a source hands on what it reads.
    fn blob(&self, descriptor: &Descriptor)
    -> impl Future<Output = Result<BlobStream, EndpointError>> + Send;

    /// Returns the manifests whose subject is `digest`, each with its artifact type and annotations.
    ///
    /// None is an empty list; not being able to tell is an error, never an empty list, because
    /// signatures hang here.
    fn referrers(
        &self,
        digest: &Digest,
    ) -> impl Future<Output = Result<Vec<Descriptor>, EndpointError>> + Send;

    /// Returns the repository that a blob could be mounted from; `None` if no registry has it.
    fn origin(&self, blob: &Descriptor) -> Option<Origin>;
}

/// A place to write one image to. Shared by all tasks of a transfer; dropped before
/// [`Destination::publish`] it leaves nothing that a reader would take for the image.
pub trait Destination: Send + Sync {
    /// Whether the blob (config, layer, artifact content) is already here under this digest.
    ///
    /// `false` is always safe; `true` must be sure, since the blob is then not sent.
    fn has_blob(&self, descriptor: &Descriptor) -> impl Future<Output = Result<bool, EndpointError>> + Send;

    /// Whether the manifest or index is already here, and with it all that it names.
    ///
    /// `true` cuts the walk off at this document, so a place that cannot promise the children
    /// answers `false`.
    fn has_document(
        &self,
        descriptor: &Descriptor,
    ) -> impl Future<Output = Result<bool, EndpointError>> + Send;

    /// Takes the blob over from another repository without moving bytes; `false` if that is not
    /// possible, which is no error whatever the reason.
    fn mount(
        &self,
        descriptor: &Descriptor,
        from: &Origin,
    ) -> impl Future<Output = Result<bool, EndpointError>> + Send;

    /// Takes a blob. It becomes visible whole and verified or not at all; may be repeated.
    fn push_blob(
        &self,
        descriptor: &Descriptor,
        content: BlobStream,
    ) -> impl Future<Output = Result<(), EndpointError>> + Send;

    /// Takes a document by its digest, once all that it names has been taken; may be repeated.
    fn push_document(&self, document: &Document) -> impl Future<Output = Result<(), EndpointError>> + Send;

    /// Takes the root document and names it: the last call, which makes the image visible.
    ///
    /// The root has not been given to [`Destination::push_document`] before. Atomic: a name points
    /// at its old image until it points at this one.
    fn publish(&self, root: &Document) -> impl Future<Output = Result<(), EndpointError>> + Send;

    /// Returns what the place can hold; anything, unless it is one file.
    fn takes(&self) -> Takes {
        Takes::Anything
    }
}

/// What a destination takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Any documents, and blobs in any order, several at once.
    Anything,
    /// Any documents, and blobs one after the other, as the documents name them: their order shows in
    /// the bytes of an archive.
    InOrder,
    /// One image for one platform, its blobs in order.
    OneImage,
}

/// A repository of a registry, from which another repository there can take blobs over.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Host and port, as [`oxbox_layers::oci::Reference::domain`] spells them.
    pub registry: String,
    /// Path within the registry.
    pub repository: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)
    }
}
