//! Faults: what is wrong, with which blob, and who named it.

use std::fmt;
use std::io;

use crate::oci::graph::Role;
use crate::oci::{Compressed, Descriptor, DiffId, Digest, DocumentError, Platform, RawError};
use crate::store::StoreError;
use crate::tar::TarError;

/// One difference between what was promised and what is there.
#[derive(Debug)]
pub struct Fault {
    /// Who named the blob, and as what.
    pub at: At,
    /// The blob, as it was named.
    pub digest: Digest,
    /// What is wrong with it.
    pub problem: Problem,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.at, self.digest, self.problem)
    }
}

/// A blob's place in the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// What the blob is to the document that names it; `None` for what was asked for.
    pub role: Option<Role>,
    /// Its place among the document's blobs of that role, from 0.
    pub position: usize,
    /// The document.
    pub document: Option<Digest>,
}

impl At {
    pub(super) fn root() -> Self {
        Self { role: None, position: 0, document: None }
    }

    pub(super) fn part(role: Role, position: usize, document: &Descriptor) -> Self {
        Self { role: Some(role), position, document: Some(document.digest) }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            None => return f.write_str("root"),
            Some(Role::Config) => f.write_str("config")?,
            Some(Role::Layer) => write!(f, "layer {}", self.position)?,
            Some(Role::Child) => write!(f, "entry {}", self.position)?,
        }
        match self.document {
            Some(document) => write!(f, " of {document}"),
            None => Ok(()),
        }
    }
}

/// What is wrong with a blob.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The blob is not in the store.
    #[error("not in the store")]
    Missing,
    /// The store cannot open the blob.
    #[error("cannot be opened")]
    Store {
        /// Why not.
        #[source]
        source: StoreError,
    },
    /// The blob cannot be read to its end.
    #[error("cannot be read")]
    Unreadable {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The blob has another size.
    #[error("has {actual} bytes, not {expected}")]
    Size {
        /// What the descriptor says.
        expected: u64,
        /// What there is.
        actual: u64,
    },
    /// The blob's bytes have another digest than the name they are stored under.
    #[error("its bytes are {actual}")]
    Digest {
        /// What they are.
        actual: Digest,
    },
    /// The document is larger than documents may be.
    #[error("document of {size} bytes is larger than {limit}")]
    TooLarge {
        /// Its size.
        size: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The blob is no manifest or index, or not the one that its media type says.
    #[error("is not the document that it is called")]
    Document {
        /// What is wrong with it.
        #[source]
        source: DocumentError,
    },
    /// The blob is no image config.
    #[error("is not a config")]
    Config {
        /// What is wrong with it.
        #[source]
        source: RawError,
    },
    /// The content within the descriptor is not what the descriptor names.
    #[error("the content within its descriptor is something else")]
    Inlined,
    /// Indexes within indexes go too far.
    #[error("is nested deeper than {limit} levels")]
    TooDeep {
        /// How far they may go.
        limit: usize,
    },
    /// Manifest and config name different numbers of layers.
    #[error("has {diff_ids} diff_ids for {layers} layers")]
    LayerCount {
        /// In the manifest.
        layers: usize,
        /// In the config.
        diff_ids: usize,
    },
    /// The history tells of another number of layers.
    #[error("has {diff_ids} diff_ids but a history of {history} layers")]
    HistoryCount {
        /// Entries of the history that stand for a layer.
        history: usize,
        /// In the config.
        diff_ids: usize,
    },
    /// `rootfs.type` is not `layers`.
    #[error("has a rootfs of type {kind:?}, not \"layers\"")]
    RootFs {
        /// What it is, cut.
        kind: String,
    },
    /// The index names another platform than the config.
    #[error("is for {config} but its index says {index}")]
    Platform {
        /// What the index says.
        index: Platform,
        /// What the config says.
        config: Platform,
    },
    /// A layer of an image has a type that no layer has.
    #[error("is not of a layer's media type")]
    NotALayer,
    /// The layer is compressed in another way than its media type says.
    #[error("is compressed as {actual:?}, other than its media type says")]
    Format {
        /// How it is compressed.
        actual: Compressed,
    },
    /// The layer's tar is another one than the config names.
    #[error("its tar has diff_id {actual}, not {expected}")]
    DiffId {
        /// What the config says.
        expected: DiffId,
        /// What it has.
        actual: DiffId,
    },
    /// The layer cannot be decompressed.
    #[error("cannot be decompressed")]
    Undecodable {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The layer's content is no tar.
    #[error("its tar cannot be read")]
    Tar {
        /// Why not.
        #[source]
        source: TarError,
    },
}
