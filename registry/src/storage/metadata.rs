//! The contract for truth: what is in which repository, under which name.
//!
//! ```text
//! repository ──▶ blob (link)         a blob is readable only through a repository that links it
//!            ──▶ manifest ──▶ edge   what the manifest names: config, layer, child
//!            ──▶ tag ──▶ manifest    the only thing that ever changes
//! upload session: repository, offset, running hash
//! ```
//!
//! Every method is one transaction: wholly done and durable when it returns `Ok`, or not done at all.
//! Three traits, because three kinds of handlers ask; one database keeps them all.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use oxbox_layers::oci::graph::Role;
use oxbox_layers::oci::{Algorithm, Digest, MediaType};

use crate::condition::Condition;
use crate::name::{ManifestReference, Repository, Tag};

use super::{BlobKey, StorageError, UploadId};

/// A future of a transaction.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StorageError>>;

/// All that a registry must remember.
pub trait Metadata: Links + Uploads + Manifests {}

impl<T: Links + Uploads + Manifests> Metadata for T {}

/// Which blobs a repository has.
pub trait Links: Send + Sync {
    /// Returns a blob of a repository, or `None` if the repository does not link it, whoever else may.
    fn blob(&self, repository: &Repository, digest: &Digest) -> Answer<'_, Option<BlobRecord>>;

    /// Links a published blob, and ends the upload that brought it, if any. May be repeated.
    fn link(
        &self,
        repository: &Repository,
        digest: &Digest,
        blob: BlobRecord,
        upload: Option<UploadId>,
    ) -> Answer<'_, ()>;

    /// Links a blob that another repository has; `None` from means any. `false` if there is none.
    /// The new link is its own: removing the old one leaves it.
    fn mount(&self, from: Option<&Repository>, to: &Repository, digest: &Digest) -> Answer<'_, bool>;

    /// Removes a link unless a manifest of the repository names the blob.
    fn unlink(&self, repository: &Repository, digest: &Digest) -> Answer<'_, Unlinked>;
}

/// Upload sessions.
pub trait Uploads: Send + Sync {
    /// Starts a session.
    fn begin(&self, upload: &UploadId, repository: &Repository, algorithm: Algorithm) -> Answer<'_, ()>;

    /// Returns a session of a repository, or `None` if it has none of this name.
    fn upload(&self, upload: &UploadId, repository: &Repository) -> Answer<'_, Option<UploadRecord>>;

    /// Moves a session on. `false`, and nothing moved, if it does not stand at `from` any more.
    fn advance(&self, upload: &UploadId, from: u64, to: UploadRecord) -> Answer<'_, bool>;

    /// Ends a session; `false` if there is none. May be repeated.
    fn end(&self, upload: &UploadId) -> Answer<'_, bool>;
}

/// Manifests, the names they go by, and what hangs on them.
pub trait Manifests: Send + Sync {
    /// Returns a manifest by tag or digest.
    fn manifest(&self, repository: &Repository, reference: &ManifestReference) -> Answer<'_, Found>;

    /// Stores a manifest, its edges and its tags, if all it requires is in the repository.
    fn put(&self, repository: &Repository, manifest: NewManifest) -> Answer<'_, Put>;

    /// Removes a manifest with its edges and every tag on it. `false` if there is none.
    fn delete_manifest(&self, repository: &Repository, digest: &Digest) -> Answer<'_, bool>;

    /// Removes a tag and nothing else. `false` if there is none.
    fn delete_tag(&self, repository: &Repository, tag: &Tag) -> Answer<'_, bool>;

    /// Returns tags after `after`, in byte order; `None` if the repository never held anything.
    fn tags(&self, repository: &Repository, after: &str, limit: usize) -> Answer<'_, Option<Vec<String>>>;

    /// Returns manifests with this subject, in the order of their digests. No subject, none.
    fn referrers(&self, repository: &Repository, wanted: WantedReferrers) -> Answer<'_, ReferrersPage>;

    /// Returns names of repositories that hold a manifest, after `after`, in byte order.
    fn repositories(&self, after: &str, limit: usize) -> Answer<'_, Vec<String>>;
}

/// What is known of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobRecord {
    /// How many bytes.
    pub size: u64,
    /// Where they are.
    pub key: BlobKey,
}

/// What became of a link that should go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlinked {
    /// It is gone.
    Removed,
    /// There was none.
    Missing,
    /// A manifest of the repository names the blob: the link stays.
    Referenced,
}

/// How far an upload session has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRecord {
    /// Bytes that would survive a crash.
    pub offset: u64,
    /// What they are hashed with.
    pub algorithm: Algorithm,
    /// The hash's state after them, as `Digester::save` writes it; empty at offset zero.
    pub hash: Vec<u8>,
}

/// What a manifest's name led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The manifest.
    Manifest(Box<ManifestRecord>),
    /// The repository has none of this name.
    NoManifest,
    /// The repository never held anything.
    NoRepository,
}

/// A stored manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestRecord {
    /// Digest of the bytes, as the pusher named them.
    pub digest: Digest,
    /// What it was pushed as.
    pub media_type: MediaType,
    /// How many bytes.
    pub size: u64,
    /// The bytes, unless they are too many for the database.
    pub body: Option<Bytes>,
    /// Where the bytes are in any case.
    pub key: BlobKey,
    /// What an artifact is.
    pub artifact_type: Option<String>,
    /// The manifest that this one refers to.
    pub subject: Option<Digest>,
}

/// A manifest to be stored.
#[derive(Debug, Clone)]
pub struct NewManifest {
    /// What is stored.
    pub record: ManifestRecord,
    /// Its annotations; kept only if there is a subject, for the list of referrers.
    pub annotations: Option<BTreeMap<String, String>>,
    /// What it names.
    pub edges: Vec<Edge>,
    /// The tags that will point at it.
    pub tags: Vec<Tag>,
    /// What must hold of the present tag, or of the manifest itself where no tag is set.
    pub condition: Condition,
}

/// What a manifest names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// The blob or manifest.
    pub child: Digest,
    /// Its size as the manifest promises it.
    pub size: u64,
    /// What it is to the manifest.
    pub role: Role,
    /// Whether the manifest may be stored without it.
    pub need: Need,
}

/// Whether what an edge leads to must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Refuse the manifest without it.
    Required,
    /// It may be missing: a foreign layer, or a child of a sparse index.
    Optional,
}

/// The most missing digests that a refusal names. A manifest of 4 MiB may name forty thousand, and all
/// who write wait while they are looked up. No image that runs has so many layers.
pub const MAX_MISSING: usize = 256;

/// What became of a manifest that should be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// It is there, and so are its tags.
    Done,
    /// These are not in the repository, and perhaps others beside the first [`MAX_MISSING`]; nothing was
    /// stored.
    Missing(Vec<Digest>),
    /// A blob has another size than the manifest promises; nothing was stored.
    WrongSize {
        /// Which one.
        digest: Digest,
        /// What the manifest says.
        promised: u64,
        /// What it has.
        actual: u64,
    },
    /// The condition does not hold; nothing was stored.
    ConditionFailed,
}

/// Which referrers are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedReferrers {
    /// What they refer to.
    pub subject: Digest,
    /// Only this artifact type.
    pub artifact_type: Option<String>,
    /// Only digests after this one.
    pub after: Option<Digest>,
    /// Stop when annotations and descriptors have come to so many bytes; one comes in any case.
    pub max_bytes: usize,
}

/// Some referrers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferrersPage {
    /// In the order of their digests.
    pub referrers: Vec<Referrer>,
    /// Whether there are others behind these.
    pub more: bool,
}

/// A manifest that refers to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: MediaType,
    /// Its size.
    pub size: u64,
    /// What it is.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: Option<BTreeMap<String, String>>,
}
