//! What the entries of a layout reach: what a sweep must keep, and which entries hold nothing up.
//!
//! ```text
//! entry ─▶ index ─▶ manifest ─▶ config, layers
//!             └───────┴─ subject ─▶ manifest …
//! ```
//!
//! A manifest that is listed but missing reaches nothing: an index may have been copied for one
//! platform only. One that is here but cannot be read stops the walk, since nobody knows what it needs.

use std::collections::HashSet;

use super::names::{Entries, name_of};
use super::verify::{ReadError, read_document};
use super::{Layout, StoreError};
use crate::oci::graph::{self, Role};
use crate::oci::{Descriptor, Digest, Document, Kind, MediaType};

/// Why it cannot be told what a layout's entries need.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// A listed manifest or index is damaged.
    #[error("cannot tell which blobs {digest} needs")]
    Unreadable {
        /// The document.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: ReadError,
    },
    /// The layout itself failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A walk that has seen some of a layout's blobs.
struct Walk<'a> {
    layout: &'a Layout,
    seen: HashSet<Digest>,
    /// Documents whose parts are seen, or will be.
    followed: HashSet<Digest>,
    /// What was named how: the same blob may be somebody's layer first and a child later.
    asked: HashSet<(Digest, bool, MediaType)>,
}

impl<'a> Walk<'a> {
    fn of(layout: &'a Layout) -> Self {
        Self { layout, seen: HashSet::new(), followed: HashSet::new(), asked: HashSet::new() }
    }

    /// Marks all that one entry reaches.
    fn follow(&mut self, entry: &Descriptor) -> Result<(), ReachError> {
        let mut waiting = vec![(Role::Child, entry.clone())];
        while let Some((role, descriptor)) = waiting.pop() {
            let digest = descriptor.digest;
            self.seen.insert(digest);
            let asked = (digest, role == Role::Child, descriptor.media_type.clone());
            if self.followed.contains(&digest) || !self.asked.insert(asked) {
                continue;
            }
            let Some(document) = read(self.layout, role, &descriptor)? else { continue };
            self.followed.insert(digest);
            waiting.extend(graph::successors(&document).into_iter().map(|(role, to)| (role, to.clone())));
            waiting.extend(document.subject().map(|subject| (Role::Child, subject.clone())));
        }
        Ok(())
    }
}

/// Returns the document that a descriptor names, or `None` if it names none or is not here.
fn read(layout: &Layout, role: Role, descriptor: &Descriptor) -> Result<Option<Document>, ReachError> {
    let is_document = matches!(descriptor.media_type.kind(), Kind::Manifest | Kind::Index | Kind::Schema1);
    // A child of an unknown type is most often an artifact's blob, but some are manifests unlabelled.
    if !is_document && role != Role::Child {
        return Ok(None);
    }
    match read_document(layout, descriptor) {
        Ok(document) => Ok(Some(document)),
        Err(ReadError::Missing { .. }) => Ok(None),
        Err(ReadError::Store(error)) => Err(error.into()),
        Err(ReadError::Document { .. } | ReadError::TooLarge { .. }) if !is_document => Ok(None),
        Err(source) => Err(ReachError::Unreadable { digest: descriptor.digest, source }),
    }
}

impl Layout {
    /// Returns every digest that some entry reaches, named or not, entries included.
    ///
    /// # Errors
    ///
    /// [`ReachError::Unreadable`] if a listed document is damaged.
    pub fn reached(&self) -> Result<HashSet<Digest>, ReachError> {
        self.needed(&self.entries()?)
    }

    /// Returns every digest that a prune keeps for the sake of names.
    ///
    /// # Errors
    ///
    /// As [`Layout::reached`].
    pub fn reached_by_names(&self) -> Result<HashSet<Digest>, ReachError> {
        self.held_up(&self.entries()?)
    }

    /// Returns every digest that one entry reaches, itself included.
    ///
    /// # Errors
    ///
    /// As [`Layout::reached`].
    pub fn reached_by(&self, entry: &Descriptor) -> Result<HashSet<Digest>, ReachError> {
        let mut walk = Walk::of(self);
        walk.follow(entry)?;
        Ok(walk.seen)
    }

    /// Returns every digest that an entry reaches, itself included.
    pub(super) fn needed(&self, entries: &Entries) -> Result<HashSet<Digest>, ReachError> {
        let mut walk = Walk::of(self);
        for entry in entries.iter() {
            walk.follow(entry)?;
        }
        Ok(walk.seen)
    }

    /// Returns what is reached by names, and by entries whose subject is so reached.
    ///
    /// A signature or another referrer has no name; it stays while its subject does.
    pub(super) fn held_up(&self, entries: &Entries) -> Result<HashSet<Digest>, ReachError> {
        let mut walk = Walk::of(self);
        let mut referrers = Vec::new();
        for entry in entries.iter() {
            if name_of(entry).is_some() {
                walk.follow(entry)?;
            } else if let Some(document) = read(self, Role::Child, entry)?
                && let Some(subject) = document.subject()
            {
                referrers.push((entry, subject.digest));
            }
        }
        // Signatures of signatures: again until none more is held.
        loop {
            let (held, others): (Vec<_>, Vec<_>) =
                referrers.into_iter().partition(|(_, subject)| walk.seen.contains(subject));
            if held.is_empty() {
                return Ok(walk.seen);
            }
            for (entry, _) in held {
                walk.follow(entry)?;
            }
            referrers = others;
        }
    }
}
