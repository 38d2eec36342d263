//! What goes wrong at an endpoint, told apart by what a caller does about it.
//!
//! ```text
//! Absent       it is not there: a fact, and often the answer
//! Ambiguous    several are there and none was named
//! Denied       it may be there: credentials decide
//! Transient    the same request may succeed later
//! Corrupt      bytes came, and they are not the promised ones
//! Unsupported  the place cannot hold, or this program cannot read, such a thing
//! Failed       everything else: the cause says what
//! ```

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use oxbox_layers::oci::Digest;
use oxbox_layers::store::StoreError;

/// The error below, of whichever place raised it.
pub type Cause = Box<dyn Error + Send + Sync>;

/// What an error is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The image as it was named.
    Image,
    /// A config, layer or other content.
    Blob(Digest),
    /// A manifest or an index.
    Document(Digest),
    /// The list of what refers to a document.
    Referrers(Digest),
}

/// Why an endpoint could not do as asked. `place` is the location as people write it.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The place answered, and the thing is not there.
    #[error("{subject} is not in {place}{}", hint(.details))]
    Absent {
        /// What is missing.
        subject: Subject,
        /// Where.
        place: String,
        /// What is there instead, empty if there is no more to say.
        details: String,
    },
    /// The place holds several images, and which one was not said.
    #[error("{place} holds {count} images; name one{}", among(.names))]
    Ambiguous {
        /// Where.
        place: String,
        /// How many there are.
        count: usize,
        /// Names of some of them; empty if they have none.
        names: String,
    },
    /// The place wants other credentials, or a file other permissions.
    #[error("{place} denies access to {subject}")]
    Denied {
        /// What was asked for.
        subject: Subject,
        /// Where.
        place: String,
        /// How it was said.
        #[source]
        source: Cause,
    },
    /// The place may answer the same request later.
    #[error("{place} could not serve {subject} for now")]
    Transient {
        /// What was asked for.
        subject: Subject,
        /// Where.
        place: String,
        /// How it failed.
        #[source]
        source: Cause,
    },
    /// The bytes are not those that were promised, or form no document.
    #[error("{subject} in {place} is corrupt")]
    Corrupt {
        /// What was read.
        subject: Subject,
        /// Where.
        place: String,
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
    /// The place cannot hold it.
    #[error("{place} cannot hold {subject}: {reason}")]
    Unsupported {
        /// What was to be stored.
        subject: Subject,
        /// Where.
        place: String,
        /// Why such a place cannot.
        reason: String,
    },
    /// Something else went wrong.
    #[error("{place} failed at {subject}")]
    Failed {
        /// What was being done.
        subject: Subject,
        /// Where.
        place: String,
        /// What happened.
        #[source]
        source: Cause,
    },
}

/// A file operation that failed: the usual cause in an [`EndpointError`].
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {path}", path = .path.display())]
pub struct FileError {
    /// What was tried.
    pub verb: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// Returns a function that completes an io error, for `map_err`.
    pub fn of(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { verb, path: path.into(), source }
    }
}

impl EndpointError {
    /// Returns the error of a file that could not be used: denied if its permissions are why.
    pub fn file(subject: Subject, place: impl Into<String>, error: FileError) -> Self {
        let place = place.into();
        match error.source.kind() {
            io::ErrorKind::PermissionDenied => Self::Denied { subject, place, source: error.into() },
            _ => Self::Failed { subject, place, source: error.into() },
        }
    }

    /// Returns the error of a blob store: corrupt if the content was not the promised one.
    pub fn store(subject: Subject, place: impl Into<String>, error: StoreError) -> Self {
        let place = place.into();
        match error {
            StoreError::Mismatch { .. } => Self::Corrupt { subject, place, source: error.into() },
            StoreError::Io { verb, path, source } => {
                Self::file(subject, place, FileError { verb, path, source })
            }
            error => Self::Failed { subject, place, source: error.into() },
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image => f.write_str("the image"),
            Self::Blob(digest) => write!(f, "blob {digest}"),
            Self::Document(digest) => write!(f, "manifest {digest}"),
            Self::Referrers(digest) => write!(f, "the referrers of {digest}"),
        }
    }
}

fn hint(details: &str) -> String {
    if details.is_empty() { String::new() } else { format!(" ({details})") }
}

fn among(names: &str) -> String {
    if names.is_empty() { ", by its position (:@0)".to_owned() } else { format!(" of {names}") }
}
