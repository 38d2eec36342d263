//! Caches elsewhere: `--cache-from`, in registries and in layouts.
//!
//! What is read here is bounded and verified; what it says is the builder's to judge.

use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use futures_util::StreamExt as _;
use oxbox_builder::FetchError;
use oxbox_builder::depot::{Depot, Pick, Source};
use oxbox_copy::client::Access;
use oxbox_copy::endpoint::registry::RegistrySource;
use oxbox_copy::endpoint::{AnySource, BlobStream, EndpointError, Places, Source as _, layout};
use oxbox_copy::location::{self, Location};
use oxbox_layers::oci::{Descriptor, Document, Kind};
use oxbox_layers::store::{BlobStore as _, Layout};

use super::leave::Place;
use super::{PullError, Puller};

/// Something that has a layer which is not in the store.
pub(crate) enum Elsewhere {
    /// A repository.
    Registry(Box<RegistrySource>),
    /// A layout.
    Folder(Arc<Layout>),
}

impl Elsewhere {
    /// Opens a layer.
    pub(crate) async fn blob(&self, layer: &Descriptor) -> Result<BlobStream, EndpointError> {
        match self {
            Self::Registry(source) => source.blob(layer).await,
            Self::Folder(folder) => {
                layout::open_blob(folder, &folder.root().display().to_string(), layer).await
            }
        }
    }
}

impl Depot for Puller {
    fn root(&self, source: &Source) -> Result<Option<Document>, FetchError> {
        self.wait(self.cache_root(source)).map_err(failed)
    }

    fn read(&self, source: &Source, descriptor: &Descriptor) -> Result<Vec<u8>, FetchError> {
        self.wait(self.read_cache(source, descriptor)).map_err(failed)
    }

    fn offer(&self, source: &Source, layers: &[Descriptor]) {
        self.origins.note(&place(source), layers);
    }

    fn has(&self, layer: &Descriptor) -> Result<bool, FetchError> {
        self.wait(self.has_layer(layer)).map_err(failed)
    }
}

fn failed(error: anyhow::Error) -> FetchError {
    FetchError::Cache { source: error.into_boxed_dyn_error() }
}

fn place(source: &Source) -> Place {
    match source {
        Source::Registry(reference) => Place::Registry(reference.clone()),
        Source::Folder { path, .. } => Place::Folder(path.clone()),
    }
}

impl Puller {
    async fn cache_root(&self, source: &Source) -> anyhow::Result<Option<Document>> {
        let found = async {
            let source = self.open_cache(source).await?;
            let root = source.resolve().await?;
            let bytes = source.document(&root).await?;
            Ok::<_, anyhow::Error>((root, bytes))
        };
        match found.await {
            Ok((root, bytes)) => {
                Ok(Some(Document::parse_with(bytes, Some(&root.media_type), root.digest.algorithm())?))
            }
            Err(error) => match error.downcast_ref() {
                Some(EndpointError::Absent { .. }) => Ok(None),
                _ => Err(error),
            },
        }
    }

    async fn read_cache(&self, source: &Source, descriptor: &Descriptor) -> anyhow::Result<Vec<u8>> {
        let source = self.open_cache(source).await?;
        if matches!(descriptor.media_type.kind(), Kind::Manifest | Kind::Index) {
            return Ok(source.document(descriptor).await?.to_vec());
        }
        // It ends at the size that the builder found bearable, and with an error if it is something else.
        let (mut pieces, mut content) = (source.blob(descriptor).await?, BytesMut::new());
        while let Some(piece) = pieces.next().await {
            content.extend_from_slice(&piece?);
        }
        Ok(content.to_vec())
    }

    async fn open_cache(&self, source: &Source) -> anyhow::Result<AnySource> {
        let location = match source {
            Source::Registry(reference) => Location::Registry(reference.clone()),
            Source::Folder { path, pick } => {
                let name = match pick {
                    Pick::Tag(tag) => tag.clone(),
                    Pick::Digest(digest) => digest.to_string(),
                };
                Location::Layout { path: path.clone(), image: Some(location::Pick::Named(name)) }
            }
        };
        let places = Places {
            registries: self.client(&location)?,
            store: self.root.store(),
            temporary: std::env::temp_dir(),
        };
        Ok(AnySource::open(&location, &places).await?)
    }

    async fn has_layer(&self, layer: &Descriptor) -> anyhow::Result<bool> {
        match self.origins.of(&layer.digest).ok_or(PullError::NoOrigin)? {
            Place::Registry(reference) => {
                let client = self.client(&Location::Registry(reference.clone()))?;
                let found = client.repository(&reference, Access::Pull).stat_blob(&layer.digest).await?;
                Ok(found.is_some_and(|size| size.is_none_or(|size| size == layer.size)))
            }
            Place::Folder(path) => Ok(open(&path)?.stat(&layer.digest)? == Some(layer.size)),
        }
    }

    /// Returns where a layer can be had that is not in the store.
    pub(crate) fn source(&self, layer: &Descriptor) -> Result<Elsewhere, PullError> {
        match self.origins.of(&layer.digest).ok_or(PullError::NoOrigin)? {
            Place::Registry(reference) => {
                let client = self.client(&Location::Registry(reference.clone()))?;
                Ok(Elsewhere::Registry(Box::new(RegistrySource::new(&client, &reference))))
            }
            Place::Folder(path) => Ok(Elsewhere::Folder(Arc::new(open(&path)?))),
        }
    }
}

fn open(path: &Path) -> Result<Layout, PullError> {
    Ok(Layout::open(path)?)
}
