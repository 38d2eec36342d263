//! The distribution protocol's paths, headers and error codes, spelled once for client and server.
//!
//! ```text
//! /v2/                                      /v2/_catalog
//! /v2/<name>/manifests/<tag or digest>      /v2/<name>/tags/list
//! /v2/<name>/blobs/<digest>                 /v2/<name>/referrers/<digest>
//! /v2/<name>/blobs/uploads/                 /v2/<name>/blobs/uploads/<session>
//! ```
//!
//! Names hold slashes and may hold the words `blobs`, `manifests` or `tags`, so paths are matched from
//! the right. Only shapes are checked here; whether a digest is one is for whoever uses it.
//!
//! distribution-spec v1.1.1, spec.md#endpoints and #error-codes

use std::fmt;

use serde::{Deserialize, Serialize};

/// Header names, lowercase as HTTP/2 writes them.
pub mod header {
    /// Digest of the content that is sent or was taken.
    pub const CONTENT_DIGEST: &str = "docker-content-digest";
    /// What old clients look for in the answer to `/v2/`.
    pub const API_VERSION: &str = "docker-distribution-api-version";
    /// Which filters of a referrers request were applied.
    pub const FILTERS_APPLIED: &str = "oci-filters-applied";
    /// The subject that a pushed manifest was linked to.
    pub const SUBJECT: &str = "oci-subject";
    /// The least size of a chunk but the last.
    pub const CHUNK_MIN_LENGTH: &str = "oci-chunk-min-length";
    /// An upload session's id, as old clients expect it.
    pub const UPLOAD_UUID: &str = "docker-upload-uuid";
}

/// A path of the protocol, by its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path<'a> {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/blobs/<digest>`
    Blob {
        /// Repository.
        name: &'a str,
        /// Digest as it was spelled.
        digest: &'a str,
    },
    /// `/v2/<name>/manifests/<reference>`
    Manifest {
        /// Repository.
        name: &'a str,
        /// Tag or digest as it was spelled.
        reference: &'a str,
    },
    /// `/v2/<name>/referrers/<digest>`
    Referrers {
        /// Repository.
        name: &'a str,
        /// Digest as it was spelled.
        digest: &'a str,
    },
    /// `/v2/<name>/tags/list`
    Tags {
        /// Repository.
        name: &'a str,
    },
    /// `/v2/<name>/blobs/uploads/<session>`
    Upload {
        /// Repository.
        name: &'a str,
        /// Session id.
        session: &'a str,
    },
    /// `/v2/<name>/blobs/uploads/`
    Uploads {
        /// Repository.
        name: &'a str,
    },
}

impl<'a> Path<'a> {
    /// Reads a path, already percent-decoded; `None` is a path that the protocol does not have.
    pub fn parse(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix("/v2")?;
        if matches!(rest, "" | "/") {
            return Some(Self::Base);
        }
        let rest = rest.strip_prefix('/')?;
        if rest == "_catalog" {
            return Some(Self::Catalog);
        }
        if let Some(name) = rest.strip_suffix("/blobs/uploads").or(rest.strip_suffix("/blobs/uploads/")) {
            return Some(Self::Uploads { name });
        }
        let (before, last) = rest.rsplit_once('/')?;
        let (name, word) = before.rsplit_once('/')?;
        if name.is_empty() || last.is_empty() {
            return None;
        }
        match (word, last) {
            ("blobs", digest) => Some(Self::Blob { name, digest }),
            ("manifests", reference) => Some(Self::Manifest { name, reference }),
            ("referrers", digest) => Some(Self::Referrers { name, digest }),
            ("tags", "list") => Some(Self::Tags { name }),
            ("uploads", session) => Some(Self::Upload { name: name.strip_suffix("/blobs")?, session }),
            _ => None,
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("/v2/"),
            Self::Catalog => f.write_str("/v2/_catalog"),
            Self::Blob { name, digest } => write!(f, "/v2/{name}/blobs/{digest}"),
            Self::Manifest { name, reference } => write!(f, "/v2/{name}/manifests/{reference}"),
            Self::Referrers { name, digest } => write!(f, "/v2/{name}/referrers/{digest}"),
            Self::Tags { name } => write!(f, "/v2/{name}/tags/list"),
            Self::Upload { name, session } => write!(f, "/v2/{name}/blobs/uploads/{session}"),
            Self::Uploads { name } => write!(f, "/v2/{name}/blobs/uploads/"),
        }
    }
}

/// The spec's error codes, with those that Docker's registries add.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// code-1
    BlobUnknown,
    /// code-2
    BlobUploadInvalid,
    /// code-3
    BlobUploadUnknown,
    /// code-4
    DigestInvalid,
    /// code-5
    ManifestBlobUnknown,
    /// code-6
    ManifestInvalid,
    /// code-7
    ManifestUnknown,
    /// code-8
    NameInvalid,
    /// code-9
    NameUnknown,
    /// code-10
    SizeInvalid,
    /// code-11
    Unauthorized,
    /// code-12
    Denied,
    /// code-13
    Unsupported,
    /// code-14
    #[serde(rename = "TOOMANYREQUESTS")]
    TooManyRequests,
    /// Docker: the tag does not match the grammar.
    TagInvalid,
    /// Docker: `n` of a listing is not a number.
    PaginationNumberInvalid,
    /// Docker: a range cannot be satisfied.
    RangeInvalid,
    /// Docker: something went wrong inside.
    Unknown,
}

/// The body of an error answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// At least one.
    pub errors: Vec<ErrorEntry>,
}

/// One error of an [`ErrorBody`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorEntry {
    /// The code; text, because registries invent their own.
    pub code: String,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// For programs, unstructured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use super::{ErrorCode, Path};

    #[test]
    fn names_may_hold_the_protocols_own_words() {
        assert_eq!(
            Path::parse("/v2/a/blobs/b/manifests/latest"),
            Some(Path::Manifest { name: "a/blobs/b", reference: "latest" })
        );
        assert_eq!(Path::parse("/v2/tags/list/tags/list"), Some(Path::Tags { name: "tags/list" }));
        assert_eq!(
            Path::parse("/v2/blobs/uploads/blobs/uploads/"),
            Some(Path::Uploads { name: "blobs/uploads" })
        );
    }

    #[test]
    fn an_upload_session_is_not_a_blob() {
        assert_eq!(Path::parse("/v2/a/blobs/uploads/17"), Some(Path::Upload { name: "a", session: "17" }));
    }

    #[test]
    fn what_is_printed_parses_back() {
        for path in [
            Path::Base,
            Path::Catalog,
            Path::Blob { name: "a/b", digest: "sha256:0" },
            Path::Manifest { name: "a", reference: "v1" },
            Path::Referrers { name: "a", digest: "sha256:0" },
            Path::Tags { name: "a" },
            Path::Upload { name: "a", session: "s" },
            Path::Uploads { name: "a" },
        ] {
            assert_eq!(Path::parse(&path.to_string()), Some(path));
        }
    }

    #[test]
    fn other_paths_are_none() {
        for path in ["", "/", "/v1/", "/v2x", "/v2/a", "/v2/a/tags", "/v2//blobs/x", "/v2/a/uploads/x"] {
            assert_eq!(Path::parse(path), None, "{path}");
        }
    }

    #[test]
    fn codes_are_spelled_as_the_spec_spells_them() {
        for (code, text) in [
            (ErrorCode::BlobUnknown, "\"BLOB_UNKNOWN\""),
            (ErrorCode::TooManyRequests, "\"TOOMANYREQUESTS\""),
            (ErrorCode::ManifestBlobUnknown, "\"MANIFEST_BLOB_UNKNOWN\""),
        ] {
            assert_eq!(serde_json::to_string(&code).unwrap(), text);
        }
    }
}
