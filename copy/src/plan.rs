//! What a transfer will look at: every document below the root, and every blob they name, once.
//!
//! ```text
//!            root                     height 2     published
//!          ┌──┴───┐
//!        index    │                   height 1     pushed second
//!       ┌──┴──┐   │
//!  manifest manifest                  height 0     pushed first
//!   └config  └layers, …               blobs        before all documents
//! ```
//!
//! Documents are fetched level by level, several at once, and kept in memory: they are small, and the
//! sum of them is bounded.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use oxbox_layers::oci::graph::{Role, successors};
use oxbox_layers::oci::raw::MAX_DOCUMENT_BYTES;
use oxbox_layers::oci::{Config, Descriptor, Digest, Document, DocumentError, Manifest, Raw, RawError};

use crate::endpoint::{Destination, EndpointError, Source};
use crate::select::Selected;
use crate::transfer::Referrers;

/// Documents asked for at the same time: enough to hide the way to a registry and back.
const FETCHES_AT_ONCE: usize = 8;
/// Indexes within indexes; nobody nests more than two.
const MAX_DEPTH: usize = 16;
/// Bytes of all documents of one transfer. A thousand manifests of usual size are 2 MB.
const MAX_TOTAL_BYTES: u64 = 256 * 1024 * 1024;

/// Everything below one root.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) root: Document,
    /// Documents to push before the root, by height, leaves first.
    pub(crate) documents: Vec<Vec<Document>>,
    /// Blobs to move before the documents, in the order in which the documents name them.
    pub(crate) blobs: Vec<Descriptor>,
}

/// Why a plan could not be drawn.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A document could not be had.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A document's bytes are those that were promised, and are no document.
    #[error("cannot read manifest {digest}")]
    Malformed {
        /// The document.
        digest: Digest,
        /// What is wrong.
        #[source]
        source: DocumentError,
    },
    /// A config's bytes are those that were promised, and are no config.
    #[error("cannot read config {digest}")]
    MalformedConfig {
        /// The config.
        digest: Digest,
        /// What is wrong.
        #[source]
        source: RawError,
    },
    /// Indexes are nested too deep.
    #[error("more than {limit} indexes within each other")]
    TooDeep {
        /// How many are followed.
        limit: usize,
    },
    /// All documents together are too large.
    #[error("the image's manifests together are larger than {limit} bytes")]
    TooLarge {
        /// Bytes that are taken.
        limit: u64,
    },
}

/// The documents found so far.
struct Walk<'a, S, D> {
    source: &'a S,
    destination: &'a D,
    referrers: Referrers,
    found: HashMap<Digest, Document>,
    bytes: u64,
}

/// Walks from the root down. Documents that the destination has, with all below them, are left out.
pub(crate) async fn draw<S: Source, D: Destination>(
    source: &S,
    destination: &D,
    selected: Selected,
    referrers: Referrers,
) -> Result<Plan, PlanError> {
    let Selected { root, children } = selected;
    let mut walk = Walk { source, destination, referrers, found: HashMap::new(), bytes: 0 };
    let mut tops = vec![root.digest()];
    if !walk.is_there(&root.descriptor()).await? {
        let mut below = child_documents(&root);
        below.retain(|child| children.as_ref().is_none_or(|kept| kept.contains(&child.digest)));
        walk.found.insert(root.digest(), root.clone());
        walk.descend(below).await?;
    }
    if referrers == Referrers::Follow {
        tops.extend(walk.follow_referrers(root.digest()).await?);
    }
    let mut documents = arrange(&walk.found, &tops);
    let blobs = blobs_of(&documents);
    for level in &mut documents {
        level.retain(|document| document.digest() != root.digest());
    }
    Ok(Plan { root, documents, blobs })
}

impl<S: Source, D: Destination> Walk<'_, S, D> {
    /// Fetches these documents and all below them.
    async fn descend(&mut self, from: Vec<Descriptor>) -> Result<(), PlanError> {
        let mut level = from;
        for _ in 0..MAX_DEPTH {
            let mut asked = HashSet::new();
            level.retain(|child| !self.found.contains_key(&child.digest) && asked.insert(child.digest));
            if level.is_empty() {
                return Ok(());
            }
            let walk = &*self;
            // Each future owns its descriptor: of futures that borrow it the compiler does not believe
            // that they may be sent to another thread.
            let documents: Vec<Option<Document>> = stream::iter(std::mem::take(&mut level))
                .map(|child| async move { walk.fetch(&child).await })
                .buffered(FETCHES_AT_ONCE)
                .try_collect()
                .await?;
            for document in documents.into_iter().flatten() {
                self.bytes += document.bytes().len() as u64;
                if self.bytes > MAX_TOTAL_BYTES {
                    return Err(PlanError::TooLarge { limit: MAX_TOTAL_BYTES });
                }
                level.extend(child_documents(&document));
                self.found.insert(document.digest(), document);
            }
        }
        Err(PlanError::TooDeep { limit: MAX_DEPTH })
    }

    async fn fetch(&self, child: &Descriptor) -> Result<Option<Document>, PlanError> {
        if self.is_there(child).await? {
            return Ok(None);
        }
        Ok(Some(fetch_document(self.source, child).await?))
    }

    /// Whether nothing needs to be done for a document. What refers to it may be newer than itself,
    /// so that following referrers means to look at every document.
    async fn is_there(&self, document: &Descriptor) -> Result<bool, PlanError> {
        Ok(self.referrers == Referrers::Leave && self.destination.has_document(document).await?)
    }

    /// Fetches what refers to any document found, and what refers to that; returns their digests.
    async fn follow_referrers(&mut self, root: Digest) -> Result<Vec<Digest>, PlanError> {
        let mut followed = Vec::new();
        let mut asked: HashSet<Digest> = HashSet::new();
        let mut subjects: Vec<Digest> = self.found.keys().copied().chain([root]).collect();
        for _ in 0..MAX_DEPTH {
            subjects.retain(|subject| asked.insert(*subject));
            if subjects.is_empty() {
                return Ok(followed);
            }
            let source = self.source;
            let referrers: Vec<Vec<Descriptor>> = stream::iter(subjects.clone())
                .map(|subject| async move { source.referrers(&subject).await })
                .buffered(FETCHES_AT_ONCE)
                .try_collect()
                .await?;
            let referrers: Vec<Descriptor> = referrers.into_iter().flatten().collect();
            followed.extend(referrers.iter().map(|referrer| referrer.digest));
            self.descend(referrers).await?;
            subjects = self.found.keys().copied().collect();
        }
        Err(PlanError::TooDeep { limit: MAX_DEPTH })
    }
}

/// Fetches and parses one document; inlined content saves the way.
pub(crate) async fn fetch_document<S: Source>(
    source: &S,
    descriptor: &Descriptor,
) -> Result<Document, PlanError> {
    let bytes = match descriptor.inlined() {
        Some(bytes) => bytes.into(),
        None => source.document(descriptor).await?,
    };
    let (label, algorithm) = (&descriptor.media_type, descriptor.digest.algorithm());
    Document::parse_with(bytes, Some(label), algorithm)
        .map_err(|source| PlanError::Malformed { digest: descriptor.digest, source })
}

/// Fetches and parses an image's config.
pub(crate) async fn fetch_config<S: Source>(
    source: &S,
    manifest: &Manifest,
) -> Result<Raw<Config>, PlanError> {
    let descriptor = &manifest.config;
    let digest = descriptor.digest;
    if descriptor.size > MAX_DOCUMENT_BYTES as u64 {
        let size = usize::try_from(descriptor.size).unwrap_or(usize::MAX);
        let source = RawError::TooLarge { size, limit: MAX_DOCUMENT_BYTES };
        return Err(PlanError::MalformedConfig { digest, source });
    }
    let stream = source.blob(descriptor).await?;
    let bytes = stream.collect_bytes().await?;
    Raw::parse_with(bytes, descriptor.media_type.clone(), digest.algorithm())
        .map_err(|source| PlanError::MalformedConfig { digest, source })
}

fn child_documents(document: &Document) -> Vec<Descriptor> {
    let children = successors(document).into_iter().filter(|(role, _)| *role == Role::Child);
    children.map(|(_, child)| child.clone()).collect()
}

/// Sorts documents by their height above the leaves; within one height, by the order of naming.
fn arrange(found: &HashMap<Digest, Document>, tops: &[Digest]) -> Vec<Vec<Document>> {
    let mut heights = HashMap::new();
    let mut levels = Vec::new();
    for top in tops {
        place(found, top, &mut heights, &mut levels);
    }
    levels
}

/// Places a document above all that it names and returns its height; `None` if it is not to be moved.
/// The depth of recursion is bounded, since the walk was.
fn place(
    found: &HashMap<Digest, Document>,
    digest: &Digest,
    heights: &mut HashMap<Digest, usize>,
    levels: &mut Vec<Vec<Document>>,
) -> Option<usize> {
    if let Some(height) = heights.get(digest) {
        return Some(*height);
    }
    let document = found.get(digest)?;
    let below = child_documents(document);
    let tallest = below.iter().filter_map(|child| place(found, &child.digest, heights, levels)).max();
    let height = tallest.map_or(0, |tallest| tallest + 1);
    heights.insert(*digest, height);
    if levels.len() <= height {
        levels.resize_with(height + 1, Vec::new);
    }
    levels[height].push(document.clone());
    Some(height)
}

/// Every blob once, in the order of naming.
fn blobs_of(documents: &[Vec<Document>]) -> Vec<Descriptor> {
    let mut seen = HashSet::new();
    let named = documents.iter().flatten().flat_map(successors);
    named
        .filter(|(role, blob)| *role != Role::Child && seen.insert(blob.digest))
        .map(|(_, blob)| blob.clone())
        .collect()
}
