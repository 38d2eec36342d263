//! What a build needs from elsewhere, brought in by the copy engine.
//!
//! ```text
//! FROM x ─ in the store, for the platform? ─▶ that one
//!        └ else docker://x ─▶ store:x          by tag: the platform's manifest gets the name
//!                                              by digest: an index stays what it is, with one platform in it
//!        └ with --push alone: its documents only, and a layer when somebody opens it
//! ```

mod depot;
mod layout;
mod leave;
pub(crate) mod web;

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;

use futures_util::StreamExt as _;
use oxbox_builder::depot::Depot;
use oxbox_builder::fetch::shown;
use oxbox_builder::plan::LayoutImage;
use oxbox_builder::{Downloaded, Fetch, FetchError, UrlRequest};
use oxbox_copy::client::{Client, CredentialsError};
use oxbox_copy::endpoint::{AnyDestination, AnySource, Places, Source as _};
use oxbox_copy::location::{Location, StoreName};
use oxbox_copy::select::{Selection, Subset};
use oxbox_copy::transfer::{Options, copy};
use oxbox_layers::image::{ImageError, read_config};
use oxbox_layers::oci::{Descriptor, Digest, Document, Kind, Platform, Reference};
use oxbox_layers::store::{BlobStore as _, Layout, ReadError, StoreError, read_document};
use tokio::runtime::Runtime;

use crate::interrupt::{Interrupt, Interrupted};
use crate::local;
use crate::progress::Building;
use crate::registries::{Login, Registry};
use crate::settings::Root;
use leave::WithoutLayers;

pub(crate) use leave::{Origins, Place};

/// Indexes within indexes on the way to a platform; nobody nests more than two.
const MAX_NESTED: usize = 8;

/// When base images are pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Pull {
    /// Before every build.
    Always,
    /// When they are not in the store.
    Missing,
    /// Never.
    Never,
}

/// What becomes of the layers of a base image that is not in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layers {
    /// They are pulled with it.
    Bring,
    /// They stay where they are until somebody needs one.
    Leave,
}

/// Brings base images into the local store.
pub(crate) struct Puller {
    pub(crate) store: Arc<Layout>,
    pub(crate) root: Root,
    pub(crate) registry: Registry,
    pub(crate) login: Login,
    pub(crate) pull: Pull,
    pub(crate) layers: Layers,
    pub(crate) origins: Arc<Origins>,
    pub(crate) progress: Arc<Building>,
    pub(crate) runtime: Runtime,
    pub(crate) interrupt: Interrupt,
}

/// Why a base image cannot be had, beside what the copy engine says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PullError {
    /// The place of credentials is unreadable.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The config in the store is broken.
    #[error(transparent)]
    Config(#[from] ImageError),
    /// Nobody has named it.
    #[error("it is of no base image and of no cache of this build")]
    NoOrigin,
    /// It cannot be written into the store.
    #[error("cannot write it into the store")]
    Write(#[source] io::Error),
    /// A layout does not have what was asked for.
    #[error("the layout has no image {digest}")]
    NotInLayout {
        /// What was asked for.
        digest: Digest,
    },
    /// What was pulled is not there.
    #[error("it was pulled, and is not in the store for {platform}")]
    Vanished {
        /// What was asked for.
        platform: Platform,
    },
    /// A document in the store is broken.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fetch for Puller {
    fn base(&self, reference: &Reference, platform: &Platform) -> Result<Descriptor, FetchError> {
        self.have(reference, platform).map_err(|error| FetchError::Image {
            reference: reference.familiar(),
            source: error.into_boxed_dyn_error(),
        })
    }

    fn depot(&self) -> Option<&dyn Depot> {
        Some(self)
    }

    fn layer(&self, layer: &Descriptor) -> Result<(), FetchError> {
        self.wait(self.bring(layer))
            .map_err(|error| FetchError::Layer { digest: layer.digest, source: error.into_boxed_dyn_error() })
    }

    fn url(&self, request: &UrlRequest<'_>, into: &mut File) -> Result<Downloaded, FetchError> {
        self.download(request, into).map_err(|error| FetchError::Url {
            url: shown(request.url),
            source: error.into_boxed_dyn_error(),
        })
    }

    fn layout(&self, image: &LayoutImage, platform: &Platform) -> Result<Descriptor, FetchError> {
        self.of_layout(image, platform).map_err(|error| FetchError::Layout {
            folder: image.folder.clone(),
            source: error.into_boxed_dyn_error(),
        })
    }
}

impl Puller {
    fn download(&self, request: &UrlRequest<'_>, into: &mut File) -> anyhow::Result<Downloaded> {
        self.wait(web::download(&self.registry.web(), request, into))
    }

    fn have(&self, reference: &Reference, platform: &Platform) -> anyhow::Result<Descriptor> {
        let found = self.find(reference, platform)?;
        if let Document::Manifest(manifest) = read_document(&*self.store, &found)? {
            self.origins.note(&Place::Registry(reference.clone()), &manifest.layers);
        }
        Ok(found)
    }

    fn find(&self, reference: &Reference, platform: &Platform) -> anyhow::Result<Descriptor> {
        if self.pull != Pull::Always
            && let Some(found) = look_up(&self.store, reference, platform)?
        {
            return Ok(found);
        }
        if self.pull == Pull::Never {
            let name = StoreName::Reference(reference.clone());
            return Err(local::missing(&self.store.entries()?, &name).into());
        }
        let root = self.wait(self.pull(reference, platform))?;
        let found = choose(&self.store, root, platform)?;
        Ok(found.ok_or_else(|| PullError::Vanished { platform: platform.clone() })?)
    }

    /// Waits for what happens elsewhere, or for a signal.
    fn wait<T>(&self, task: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        self.runtime.block_on(async {
            tokio::select! {
                done = task => done,
                () = self.interrupt.clone().happened() => Err(Interrupted.into()),
            }
        })
    }

    /// Returns the root of what was pulled.
    async fn pull(&self, reference: &Reference, platform: &Platform) -> anyhow::Result<Descriptor> {
        let progress = self.progress.transfer(&format!("pull {}", reference.familiar()));
        let from = Location::Registry(reference.clone());
        let to = Location::Store(StoreName::Reference(reference.clone()));
        let places = Places {
            registries: self.client(&from)?,
            store: self.root.store(),
            temporary: std::env::temp_dir(),
        };
        let source = Arc::new(AnySource::open(&from, &places).await?);
        let root = source.resolve().await?;
        let destination = AnyDestination::create(&to, &places).await?;
        let selection = match reference.digest {
            Some(_) if root.media_type.kind() == Kind::Index => {
                Selection::Several(vec![platform.clone()], Subset::Sparse)
            }
            _ => Selection::One(platform.clone()),
        };
        let options = Options { selection, ..Options::default() };
        let report = match self.layers {
            Layers::Bring => copy(source, Arc::new(destination), &options, progress).await?,
            Layers::Leave => copy(source, Arc::new(WithoutLayers(destination)), &options, progress).await?,
        };
        Ok(report.root)
    }

    /// Brings in one layer of a base image or of a cache elsewhere.
    async fn bring(&self, layer: &Descriptor) -> anyhow::Result<()> {
        let mut content = self.source(layer)?.blob(layer).await?;
        let mut writer = self.store.writer(layer.digest.algorithm())?;
        while let Some(piece) = content.next().await {
            writer.write_all(&piece?).map_err(PullError::Write)?;
        }
        Ok(writer.commit_as(&layer.into())?)
    }

    /// Credentials that were given on the command line are for whichever registry is asked.
    pub(crate) fn client(&self, from: &Location) -> Result<Client, PullError> {
        Ok(self.registry.client(&self.login.side(), from)?)
    }
}

/// Returns the manifest for a platform, if the store has it under this name.
pub(crate) fn look_up(
    store: &Layout,
    reference: &Reference,
    platform: &Platform,
) -> Result<Option<Descriptor>, PullError> {
    let name = StoreName::Reference(reference.clone());
    match local::find(&store.entries()?, &name) {
        Ok(found) => choose(store, found, platform),
        Err(_) => Ok(None),
    }
}

/// Returns the manifest for a platform that an image's root leads to, if the store has it.
fn choose(
    store: &Layout,
    mut found: Descriptor,
    platform: &Platform,
) -> Result<Option<Descriptor>, PullError> {
    for _ in 0..MAX_NESTED {
        match read_document(store, &found) {
            Ok(Document::Index(index)) => match index.select(platform) {
                Some(child) => found = child.clone(),
                None => return Ok(None),
            },
            Ok(Document::Manifest(manifest)) => {
                let offered = read_config(store, &manifest.config)?.platform();
                let suits = offered.os.is_empty() || platform.distance(&offered).is_some();
                return Ok(suits.then_some(found));
            }
            // Of an index, what was not copied.
            Err(ReadError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}
