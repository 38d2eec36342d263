//! Names that a request may hold: repositories, tags, and what follows `manifests/`.
//!
//! ```text
//! /v2/<repository>/manifests/<tag or digest>
//! ```
//!
//! Parsed at the edge; behind it nobody looks at the text again. The grammars are those of
//! `oxbox_layers::oci::reference`; the registry's own host is no part of a name here.
//!
//! distribution-spec v1.1.1, spec.md#pulling-manifests

use std::fmt;

use oxbox_layers::oci::reference::{MAX_NAME, is_path, is_tag};
use oxbox_layers::oci::{Digest, DigestError};

/// A repository: `library/busybox`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository(String);

/// A tag: `1.36`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

/// What follows `manifests/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestReference {
    /// A name that may move.
    Tag(Tag),
    /// The one manifest of this digest.
    Digest(Digest),
}

/// Why a text is not the name that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The repository does not match the grammar.
    #[error("{text:?} is not a repository name")]
    Repository {
        /// What was read, cut.
        text: String,
    },
    /// The tag does not match the grammar.
    #[error("{text:?} is not a tag")]
    Tag {
        /// What was read, cut.
        text: String,
    },
    /// The text holds a colon, as only digests do, and is none.
    #[error("{text:?} is not a digest")]
    Digest {
        /// What was read, cut.
        text: String,
        /// What is wrong with it.
        #[source]
        source: DigestError,
    },
}

impl Repository {
    /// Reads a repository name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_NAME || !is_path(text) {
            return Err(NameError::Repository { text: cut(text) });
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Tag {
    /// Reads a tag.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if !is_tag(text) {
            return Err(NameError::Tag { text: cut(text) });
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ManifestReference {
    /// Reads what follows `manifests/`. Tags hold no colon, so a colon means a digest.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.contains(':') {
            return digest(text).map(Self::Digest);
        }
        Tag::parse(text).map(Self::Tag)
    }
}

/// Reads a digest.
pub fn digest(text: &str) -> Result<Digest, NameError> {
    text.parse().map_err(|source| NameError::Digest { text: cut(text), source })
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ManifestReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// Text from outside, short enough for an error line.
fn cut(text: &str) -> String {
    text.chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::{ManifestReference, NameError, Repository, Tag};

    #[test]
    fn a_name_of_255_characters_is_the_longest() {
        assert!(Repository::parse(&"a".repeat(255)).is_ok());
        assert!(Repository::parse(&"a".repeat(256)).is_err());
    }

    #[test]
    fn names_that_climb_out_are_refused() {
        for text in ["", "..", "a/../b", "/a", "a/", "a//b", ".a", "A", "a\0b", "a/./b"] {
            assert!(Repository::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_colon_makes_it_a_digest() {
        assert!(matches!(ManifestReference::parse("sha256:abc"), Err(NameError::Digest { .. })));
        assert_eq!(ManifestReference::parse("v1"), Ok(ManifestReference::Tag(Tag::parse("v1").unwrap())));
    }

    #[test]
    fn a_tag_is_matched_whole() {
        for text in ["", ".a", "-a", "a/b", "a b", "a\n", &"a".repeat(129)] {
            assert!(Tag::parse(text).is_err(), "{text:?}");
        }
    }
}
