//! What a build needs from elsewhere, brought in by the copy engine.
//!
//! ```text
//! FROM x ─ in the store, for the platform? ─▶ that one
//!        └ else docker://x ─▶ store:x          by tag: the platform's manifest gets the name
//!                                              by digest: an index stays what it is, with one platform in it
//! ```

use std::sync::Arc;

use oxbox_builder::{Fetch, FetchError};
use oxbox_copy::client::{Client, CredentialsError};
use oxbox_copy::endpoint::{AnyDestination, AnySource, Places, Source as _};
use oxbox_copy::location::{Location, StoreName};
use oxbox_copy::select::{Selection, Subset};
use oxbox_copy::transfer::{Options, copy};
use oxbox_layers::image::{ImageError, read_config};
use oxbox_layers::oci::{Descriptor, Document, Kind, Platform, Reference};
use oxbox_layers::store::{Layout, ReadError, StoreError, read_document};
use tokio::runtime::Runtime;

use crate::interrupt::{Interrupt, Interrupted};
use crate::local;
use crate::progress;
use crate::registries::{Login, Registry};
use crate::settings::{Look, Root};

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

/// Brings base images into the local store.
pub(crate) struct Puller<'a> {
    pub(crate) store: Arc<Layout>,
    pub(crate) root: &'a Root,
    pub(crate) registry: &'a Registry,
    pub(crate) login: &'a Login,
    pub(crate) pull: Pull,
    pub(crate) look: Look,
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

impl Fetch for Puller<'_> {
    fn base(&self, reference: &Reference, platform: &Platform) -> Result<Descriptor, FetchError> {
        self.have(reference, platform).map_err(|error| FetchError::Image {
            reference: reference.familiar(),
            source: error.into_boxed_dyn_error(),
        })
    }
}

impl Puller<'_> {
    fn have(&self, reference: &Reference, platform: &Platform) -> anyhow::Result<Descriptor> {
        if self.pull != Pull::Always
            && let Some(found) = look_up(&self.store, reference, platform)?
        {
            return Ok(found);
        }
        if self.pull == Pull::Never {
            let name = StoreName::Reference(reference.clone());
            return Err(local::missing(&self.store.entries()?, &name).into());
        }
        self.runtime.block_on(async {
            tokio::select! {
                pulled = self.pull(reference, platform) => pulled,
                () = self.interrupt.clone().happened() => Err(Interrupted.into()),
            }
        })?;
        let found = look_up(&self.store, reference, platform)?;
        Ok(found.ok_or_else(|| PullError::Vanished { platform: platform.clone() })?)
    }

    async fn pull(&self, reference: &Reference, platform: &Platform) -> anyhow::Result<()> {
        let from = Location::Registry(reference.clone());
        let to = Location::Store(StoreName::Reference(reference.clone()));
        let places = Places {
            registries: self.client(&from)?,
            store: self.root.store(),
            temporary: std::env::temp_dir(),
        };
        let source = AnySource::open(&from, &places).await?;
        let root = source.resolve().await?;
        let destination = AnyDestination::create(&to, &places).await?;
        let selection = match reference.digest {
            Some(_) if root.media_type.kind() == Kind::Index => {
                Selection::Several(vec![platform.clone()], Subset::Sparse)
            }
            _ => Selection::One(platform.clone()),
        };
        let options = Options { selection, ..Options::default() };
        copy(Arc::new(source), Arc::new(destination), &options, progress::of_copy(self.look)).await?;
        Ok(())
    }

    /// Credentials that were given on the command line are for whichever registry is asked.
    fn client(&self, from: &Location) -> Result<Client, PullError> {
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
    let Ok(mut found) = local::find(&store.entries()?, &name) else { return Ok(None) };
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
