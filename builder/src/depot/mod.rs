//! Caches elsewhere: what builds on other machines led to, taken over and given away.
//!
//! ```text
//! --cache-from   Depot ─root, read▶ documents ─▶ Stock ─┐
//!                                                       ├▶ Stocks, asked where this machine knows nothing
//!                image with records in its config ──────┘      layers stay where they are until opened
//!
//! --cache-to     graph, as it was solved ─▶ Document + layers ─▶ manifest in the store ─▶ whoever copies it
//! ```
//!
//! | room | holds |
//! |---|---|
//! | `carry` | cache mounts, given and taken |
//! | `document` | the document that names keys and layers |
//! | `listing` | what is in layers, given and taken |
//! | `stock` | what one cache has, read through a [`Depot`] |
//! | `stocks` | all of them, as a solver asks them |
//! | `secure` | whether what was taken over can still be had at the end |
//! | `give` | which steps a build gives away, and the manifest of them |
//! | `share` | all that is done for caches once a build is done |
//!
//! How caches are reached is not known here: [`Depot`] is implemented by whoever knows registries.

mod carry;
pub mod document;
mod give;
pub mod listing;
mod secure;
mod share;
mod stock;
mod stocks;

use std::fmt;
use std::path::PathBuf;

use oxbox_layers::compress::Compression;
use oxbox_layers::oci::{Descriptor, Digest, Reference};

use crate::fetch::FetchError;

pub use document::{Document, DocumentError, INLINE};
pub(crate) use give::{Gift, inline};
pub(crate) use share::share;
pub use stock::{Stock, StockError};
pub(crate) use stocks::Stocked;
pub use stocks::Stocks;

/// Type of the config of a manifest that is a cache, and so the manifest's artifact type.
pub const CONFIG_TYPE: &str = "application/vnd.oxbox.cache.config.v1+json";

/// Where caches are kept, as whoever builds reaches them. Called from many threads.
pub trait Depot: Send + Sync {
    /// Returns the document that a source names, verified; `None` if there is none.
    fn root(&self, source: &Source) -> Result<Option<oxbox_layers::oci::Document>, FetchError>;

    /// Returns a document or a config of a source, verified. The size was found to be bearable.
    fn read(&self, source: &Source, descriptor: &Descriptor) -> Result<Vec<u8>, FetchError>;

    /// Notes that a source has these layers: from now on [`Fetch::layer`](crate::Fetch::layer) may be
    /// asked for them, and whoever delivers images. Nothing is moved.
    fn offer(&self, source: &Source, layers: &[Descriptor]);

    /// Whether a layer that was offered can be had, without moving it.
    fn has(&self, layer: &Descriptor) -> Result<bool, FetchError>;
}

/// One cache, or an image that has its cache in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// In a registry.
    Registry(Reference),
    /// In an OCI layout.
    Folder {
        /// Where the layout is.
        path: PathBuf,
        /// Which of what it lists.
        pick: Pick,
    },
}

/// Which of the documents that a layout lists.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pick {
    /// The one of that name.
    Tag(String),
    /// The one of that digest.
    Digest(Digest),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => f.write_str(&reference.familiar()),
            Self::Folder { path, pick: Pick::Tag(tag) } => write!(f, "{}:{tag}", path.display()),
            Self::Folder { path, pick: Pick::Digest(digest) } => write!(f, "{}@{digest}", path.display()),
        }
    }
}

/// Which caches elsewhere a build asks, and which it makes.
#[derive(Debug, Clone, Default)]
pub struct Caches {
    /// Whom it asks, in this order; the first one that knows a step counts.
    pub from: Vec<Asking>,
    /// What it gives away: one manifest each.
    pub to: Vec<Giving>,
    /// What becomes of layers that were taken over and that nobody opened.
    pub unopened: Unopened,
}

/// A cache that is asked, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// Which.
    pub source: Source,
    /// Whether cache mounts that are not here begin as what it has.
    pub mounts: Mounts,
}

/// Whether cache mounts travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mounts {
    /// They stay where they are.
    #[default]
    Left,
    /// Those of the build's RUNs do.
    Taken,
}

/// What of a build is given away, and in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Giving {
    /// Which steps.
    pub mode: Mode,
    /// How layers are compressed that are not, because no image has them.
    pub compression: Compression,
    /// Which layers are made to be compressed so.
    pub recompress: Recompress,
    /// Whether the cache mounts of its RUNs go with it.
    pub mounts: Mounts,
    /// Whether a failure is only warned of.
    pub failure: Failure,
}

/// Which steps of a build are given away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Those whose layers the results have.
    #[default]
    Min,
    /// All that is known.
    Max,
}

/// Which layers are compressed anew on their way into a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recompress {
    /// All that are compressed otherwise.
    All,
    /// Those that are not compressed at all.
    #[default]
    Plain,
}

/// What a cache that cannot be made does to a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Failure {
    /// The build has failed.
    #[default]
    Fails,
    /// There is a warning.
    Warns,
}

/// Whether an image has the records of its own layers in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Inline {
    /// It does not.
    #[default]
    No,
    /// In its config, under [`INLINE`].
    Yes,
}

/// What becomes of layers of a result that nobody had to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unopened {
    /// They are brought in: the image is to be whole here.
    #[default]
    Bring,
    /// They stay where they are, and are only looked for.
    Leave,
}
