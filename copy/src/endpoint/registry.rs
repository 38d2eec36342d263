//! `docker://`, an image in a registry.
//!
//! The protocol is `client`'s; here is which of its calls answers which question, and what its errors
//! mean to a copy.
//!
//! ```text
//! source        a digest decides what is read; a tag is resolved once
//! destination   tag and digest   the digest must be the root's, and the tag is set
//!               digest           the root is pushed by it, and no tag moves
//!               neither          the same
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use oxbox_layers::oci::{Descriptor, Digest, Document, Kind, Reference};
use tokio::sync::OnceCell;

use super::{BlobStream, Destination, EndpointError, Origin, Source, Subject};
use crate::client::{Access, Client, ClientError, Mounted, Repository, Session, TagOrDigest, Trouble};

/// An image in a registry, to be read.
#[derive(Debug)]
pub struct RegistrySource {
    repository: Repository,
    name: TagOrDigest,
    place: String,
    root: OnceCell<Descriptor>,
}

/// An image in a registry, to be written.
pub struct RegistryDestination {
    repository: Repository,
    reference: Reference,
    place: String,
    /// Uploads that refused mounts left open: each serves the push that follows.
    sessions: Mutex<HashMap<Digest, Session>>,
}

impl RegistrySource {
    /// Names an image; nothing is asked yet. Without tag and digest it is `latest`.
    pub fn new(client: &Client, reference: &Reference) -> Self {
        Self {
            repository: client.repository(reference, Access::Pull),
            name: TagOrDigest::of(reference),
            place: format!("docker://{reference}"),
            root: OnceCell::new(),
        }
    }

    fn absent(&self, subject: Subject) -> EndpointError {
        EndpointError::Absent { subject, place: self.place.clone(), details: String::new() }
    }
}

impl Source for RegistrySource {
    async fn resolve(&self) -> Result<Descriptor, EndpointError> {
        let resolving = || async {
            let failed = |error| failed(Subject::Image, &self.place, error);
            let found = self.repository.resolve(&self.name).await.map_err(failed)?;
            found.ok_or_else(|| self.absent(Subject::Image))
        };
        self.root.get_or_try_init(resolving).await.cloned()
    }

    async fn document(&self, descriptor: &Descriptor) -> Result<Bytes, EndpointError> {
        let subject = || Subject::Document(descriptor.digest);
        let name = TagOrDigest::Digest(descriptor.digest);
        let fetched = self.repository.fetch_manifest(&name).await;
        let fetched = fetched.map_err(|error| failed(subject(), &self.place, error))?;
        let bytes = fetched.ok_or_else(|| self.absent(subject()))?.bytes;
        let (expected, actual) = (descriptor.size, bytes.len() as u64);
        if expected == actual {
            return Ok(bytes);
        }
        let error = ClientError::WrongSize { url: self.place.clone(), expected, actual };
        Err(failed(subject(), &self.place, error))
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<BlobStream, EndpointError> {
        let subject = Subject::Blob(descriptor.digest);
        let opened = self.repository.open_blob(descriptor).await;
        let opened = opened.map_err(|error| failed(subject.clone(), &self.place, error))?;
        let download = opened.ok_or_else(|| self.absent(subject.clone()))?;
        let place = self.place.clone();
        let pieces = download.map_err(move |error| failed(subject.clone(), &place, error));
        Ok(BlobStream::new(descriptor, &self.place, pieces))
    }

    async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>, EndpointError> {
        let referrers = self.repository.referrers(digest).await;
        referrers.map_err(|error| failed(Subject::Referrers(*digest), &self.place, error))
    }

    fn origin(&self, _blob: &Descriptor) -> Option<Origin> {
        let (registry, repository) = (self.repository.domain().to_owned(), self.repository.path().to_owned());
        Some(Origin { registry, repository })
    }
}

impl RegistryDestination {
    /// Names an image to be written; nothing is asked yet.
    pub fn new(client: &Client, reference: &Reference) -> Self {
        Self {
            repository: client.repository(reference, Access::Push),
            reference: reference.clone(),
            place: format!("docker://{reference}"),
            sessions: Mutex::default(),
        }
    }

    async fn put(&self, document: &Document, name: &TagOrDigest) -> Result<(), EndpointError> {
        let failed = |error| failed(Subject::Document(document.digest()), &self.place, error);
        let put = self.repository.put_manifest(document, name).await.map_err(failed)?;
        if document.subject().is_some() && !put.subject_linked {
            self.repository.link_to_subject(document).await.map_err(failed)?;
        }
        Ok(())
    }

    fn take_session(&self, digest: &Digest) -> Option<Session> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(digest)
    }
}

impl Destination for RegistryDestination {
    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, EndpointError> {
        let digest = descriptor.digest;
        match self.repository.stat_blob(&digest).await {
            Ok(Some(size)) => Ok(size.is_none_or(|size| size == descriptor.size)),
            Ok(None) => Ok(false),
            // A registry that cannot be asked can still be sent to.
            Err(error) if error.trouble() == Trouble::Unsupported => Ok(false),
            Err(error) => Err(failed(Subject::Blob(digest), &self.place, error)),
        }
    }

    /// Registries take a manifest only if they have what it names. An index may be sparse, and is
    /// looked into.
    async fn has_document(&self, descriptor: &Descriptor) -> Result<bool, EndpointError> {
        if descriptor.media_type.kind() != Kind::Manifest {
            return Ok(false);
        }
        let found = self.repository.resolve(&TagOrDigest::Digest(descriptor.digest)).await;
        let failed = |error| failed(Subject::Document(descriptor.digest), &self.place, error);
        Ok(found.map_err(failed)?.is_some())
    }

    async fn mount(&self, descriptor: &Descriptor, from: &Origin) -> Result<bool, EndpointError> {
        if from.registry != self.repository.domain() || from.repository == self.repository.path() {
            return Ok(false);
        }
        let digest = descriptor.digest;
        match self.repository.mount_blob(&digest, &from.repository).await {
            Ok(Mounted::Done) => Ok(true),
            Ok(Mounted::Refused(session)) => {
                if let Some(session) = session {
                    self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, session);
                }
                Ok(false)
            }
            Err(error) => Err(failed(Subject::Blob(digest), &self.place, error)),
        }
    }

    async fn push_blob(&self, descriptor: &Descriptor, content: BlobStream) -> Result<(), EndpointError> {
        let fault = content.fault();
        let session = self.take_session(&descriptor.digest);
        let pushed = self.repository.push_blob(descriptor, content, session).await;
        pushed.map_err(|error| {
            // What the source had to say tells more than that the upload broke off.
            fault.take().unwrap_or_else(|| failed(Subject::Blob(descriptor.digest), &self.place, error))
        })
    }

    async fn push_document(&self, document: &Document) -> Result<(), EndpointError> {
        self.put(document, &TagOrDigest::Digest(document.digest())).await
    }

    async fn publish(&self, root: &Document) -> Result<(), EndpointError> {
        let digest = root.digest();
        if let Some(wanted) = self.reference.digest
            && wanted != digest
        {
            return Err(EndpointError::Unsupported {
                subject: Subject::Document(digest),
                place: self.place.clone(),
                reason: "its name there is another digest".to_owned(),
            });
        }
        let name = self.reference.tag.clone().map_or(TagOrDigest::Digest(digest), TagOrDigest::Tag);
        self.put(root, &name).await
    }
}

impl fmt::Debug for RegistryDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryDestination").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Says what a client's error means to a copy.
fn failed(subject: Subject, place: &str, error: ClientError) -> EndpointError {
    let place = place.to_owned();
    match error.trouble() {
        Trouble::Denied => EndpointError::Denied { subject, place, source: error.into() },
        Trouble::Transient => EndpointError::Transient { subject, place, source: error.into() },
        Trouble::Corrupt => EndpointError::Corrupt { subject, place, source: error.into() },
        Trouble::Unsupported | Trouble::Failed => {
            EndpointError::Failed { subject, place, source: error.into() }
        }
    }
}
