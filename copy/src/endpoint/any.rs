//! Any of the places: what a location opens as.
//!
//! Both sets are closed, so that dispatch is a match and every place is seen here.

use std::path::PathBuf;

use bytes::Bytes;
use oxbox_layers::oci::{Descriptor, Digest, Document};

use super::archive::{ArchiveDestination, ArchiveSource, Names, open_docker_archive};
use super::crossing::run;
use super::directory::{DirectoryDestination, DirectorySource};
use super::layout::{LayoutDestination, LayoutSource};
use super::registry::{RegistryDestination, RegistrySource};
use super::{BlobStream, Destination, EndpointError, Origin, Source, Subject, Takes};
use crate::client::Client;
use crate::location::{Location, Pick};

/// Where on this machine things are, and how others are reached.
#[derive(Debug, Clone)]
pub struct Places {
    /// How registries are talked to. The two sides of a copy may do so differently, each by its own
    /// `Places`, and share connections by [`Client::with`].
    pub registries: Client,
    /// Root of oxbox's own store, an OCI image layout.
    pub store: PathBuf,
    /// For archives that must be decompressed before they can be read.
    pub temporary: PathBuf,
}

/// A source of any kind.
#[derive(Debug)]
pub enum AnySource {
    /// `oci-archive:` and `docker-archive:`
    Archive(ArchiveSource),
    /// `dir:`
    Directory(DirectorySource),
    /// `oci:` and the store
    Layout(LayoutSource),
    /// `docker://`
    Registry(RegistrySource),
}

/// A destination of any kind.
#[derive(Debug)]
pub enum AnyDestination {
    /// `oci-archive:` and `docker-archive:`
    Archive(ArchiveDestination),
    /// `dir:`
    Directory(DirectoryDestination),
    /// `oci:` and the store
    Layout(LayoutDestination),
    /// `docker://`
    Registry(RegistryDestination),
}

/// Evaluates an expression with the inner value, whichever variant it is.
macro_rules! each {
    ($any:ident, $inner:ident => $call:expr) => {
        match $any {
            Self::Archive($inner) => $call,
            Self::Directory($inner) => $call,
            Self::Layout($inner) => $call,
            Self::Registry($inner) => $call,
        }
    };
}

impl AnySource {
    /// Opens the image at a location.
    pub async fn open(location: &Location, places: &Places) -> Result<Self, EndpointError> {
        let (location, places) = (location.clone(), places.clone());
        run(move || match &location {
            Location::Directory { path } => Ok(Self::Directory(DirectorySource::open(path)?)),
            Location::DockerArchive { path, image } => {
                Ok(Self::Archive(open_docker_archive(path, image.as_ref(), &places.temporary)?))
            }
            Location::Layout { path, image } => Ok(Self::Layout(LayoutSource::open(path, image.as_ref())?)),
            Location::OciArchive { path, image } => {
                Ok(Self::Archive(ArchiveSource::open(path, image.as_ref(), &places.temporary)?))
            }
            Location::Registry(name) => Ok(Self::Registry(RegistrySource::new(&places.registries, name))),
            Location::Store(name) => Ok(Self::Layout(LayoutSource::open_store(&places.store, name)?)),
        })
        .await
    }
}

impl AnyDestination {
    /// Prepares a location to take an image; nothing that is there changes yet.
    pub async fn create(location: &Location, places: &Places) -> Result<Self, EndpointError> {
        let (location, places) = (location.clone(), places.clone());
        run(move || match &location {
            Location::Directory { path } => Ok(Self::Directory(DirectoryDestination::create(path)?)),
            Location::DockerArchive { path, image } => {
                let references = name_to_write(image.as_ref(), &location)?.into_iter().collect();
                Ok(Self::Archive(ArchiveDestination::create(path, Names::Docker(references))?))
            }
            Location::Layout { path, image } => {
                Ok(Self::Layout(LayoutDestination::create(path, image.as_ref())?))
            }
            Location::OciArchive { path, image } => {
                let name = name_to_write(image.as_ref(), &location)?;
                Ok(Self::Archive(ArchiveDestination::create(path, Names::Oci(name))?))
            }
            Location::Registry(name) => {
                Ok(Self::Registry(RegistryDestination::new(&places.registries, name)))
            }
            Location::Store(name) => Ok(Self::Layout(LayoutDestination::create_store(&places.store, name)?)),
        })
        .await
    }
}

fn name_to_write<N: Clone>(image: Option<&Pick<N>>, location: &Location) -> Result<Option<N>, EndpointError> {
    match image {
        None => Ok(None),
        Some(Pick::Named(name)) => Ok(Some(name.clone())),
        Some(Pick::Position(_)) => Err(EndpointError::Unsupported {
            subject: Subject::Image,
            place: location.to_string(),
            reason: "a position names an image to be read".to_owned(),
        }),
    }
}

impl Source for AnySource {
    async fn resolve(&self) -> Result<Descriptor, EndpointError> {
        each!(self, source => source.resolve().await)
    }

    async fn document(&self, descriptor: &Descriptor) -> Result<Bytes, EndpointError> {
        each!(self, source => source.document(descriptor).await)
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<BlobStream, EndpointError> {
        each!(self, source => source.blob(descriptor).await)
    }

    async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>, EndpointError> {
        each!(self, source => source.referrers(digest).await)
    }

    fn origin(&self, blob: &Descriptor) -> Option<Origin> {
        each!(self, source => source.origin(blob))
    }
}

impl Destination for AnyDestination {
    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, EndpointError> {
        each!(self, destination => destination.has_blob(descriptor).await)
    }

    async fn has_document(&self, descriptor: &Descriptor) -> Result<bool, EndpointError> {
        each!(self, destination => destination.has_document(descriptor).await)
    }

    async fn mount(&self, descriptor: &Descriptor, from: &Origin) -> Result<bool, EndpointError> {
        each!(self, destination => destination.mount(descriptor, from).await)
    }

    async fn push_blob(&self, descriptor: &Descriptor, content: BlobStream) -> Result<(), EndpointError> {
        each!(self, destination => destination.push_blob(descriptor, content).await)
    }

    async fn push_document(&self, document: &Document) -> Result<(), EndpointError> {
        each!(self, destination => destination.push_document(document).await)
    }

    async fn publish(&self, root: &Document) -> Result<(), EndpointError> {
        each!(self, destination => destination.publish(root).await)
    }

    fn takes(&self) -> Takes {
        each!(self, destination => destination.takes())
    }
}
