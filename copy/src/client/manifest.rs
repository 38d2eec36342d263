//! Manifests and indexes: by tag or digest, exact bytes in both directions.
//!
//! ```text
//! HEAD, GET /v2/<name>/manifests/<tag or digest>   Accept: every type that is understood
//! PUT       /v2/<name>/manifests/<tag or digest>   201, OCI-Subject if the subject was linked
//! ```
//!
//! distribution-spec v1.1.1, spec.md#pulling-manifests and #pushing-manifests

use std::fmt;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use oxbox_layers::oci::raw::MAX_DOCUMENT_BYTES;
use oxbox_layers::oci::wire::{self, Path};
use oxbox_layers::oci::{Algorithm, Descriptor, Digest, Document, Kind, MediaType, Reference};
use reqwest::Response;

use super::answer;
use super::blob::content_length;
use super::call::Call;
use super::payload::Payload;
use super::read::{Read, Whole};
use super::upload::check_told_digest;
use super::{ClientError, Repository};

/// What manifests go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagOrDigest {
    /// A name that may move.
    Tag(String),
    /// The digest of the bytes.
    Digest(Digest),
}

/// A manifest's exact bytes, hashed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The bytes.
    pub bytes: Bytes,
    /// What the registry labelled them, without parameters.
    pub label: Option<MediaType>,
    /// Their digest, of the algorithm that was asked for.
    pub digest: Digest,
    /// Who sent them, for errors.
    url: String,
}

/// What a registry did with a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put {
    /// Whether it linked the manifest to its subject. If not, and there is one, the client must.
    pub subject_linked: bool,
}

/// Every type that is understood. Not schema 1: some registries would convert to it.
const ACCEPT: HeaderValue = HeaderValue::from_static(concat!(
    "application/vnd.oci.image.manifest.v1+json, ",
    "application/vnd.oci.image.index.v1+json, ",
    "application/vnd.docker.distribution.manifest.v2+json, ",
    "application/vnd.docker.distribution.manifest.list.v2+json"
));

impl Repository {
    /// Returns the descriptor of a manifest, `None` if it is not here.
    ///
    /// By HEAD, which counts as no pull; by GET where the registry's answer to that lacks something.
    pub async fn resolve(&self, name: &TagOrDigest) -> Result<Option<Descriptor>, ClientError> {
        let mut call = self.manifest_call(Method::HEAD, name);
        call.headers.insert(header::ACCEPT, ACCEPT);
        let response = self.host.call(&call).await?;
        // 404 too is final: registries that cannot HEAD say 405.
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if let Some(descriptor) = described(&response, name) {
            return Ok(Some(descriptor));
        }
        let Some(fetched) = self.fetch_manifest(name).await? else { return Ok(None) };
        let digest = fetched.digest;
        let document = fetched.document()?;
        let (media_type, size) = (document.media_type().clone(), document.bytes().len() as u64);
        Ok(Some(Descriptor::new(media_type, digest, size)))
    }

    /// Returns a manifest's bytes, `None` if it is not here.
    ///
    /// # Errors
    ///
    /// [`ClientError::WrongDigest`] if they are not what a digest names, or what the registry says a
    /// tag names.
    pub async fn fetch_manifest(&self, name: &TagOrDigest) -> Result<Option<Fetched>, ClientError> {
        let mut call = self.manifest_call(Method::GET, name);
        call.headers.insert(header::ACCEPT, ACCEPT);
        match self.host.read(&call, MAX_DOCUMENT_BYTES).await? {
            Read::Whole(whole) => check(whole, name).map(Some),
            Read::Other(response) if response.status() == StatusCode::NOT_FOUND => Ok(None),
            Read::Other(response) => Err(ClientError::refused(Method::GET, response).await),
        }
    }

    /// Takes a manifest under a tag or its digest. Atomic: a tag points at what it did before, or at
    /// this one.
    pub async fn put_manifest(&self, document: &Document, name: &TagOrDigest) -> Result<Put, ClientError> {
        self.put_bytes(document.bytes().clone(), document.media_type(), name, None).await
    }

    /// Takes a manifest's bytes; with `if_match` only if the name still has that ETag.
    pub(super) async fn put_bytes(
        &self,
        bytes: Bytes,
        media_type: &MediaType,
        name: &TagOrDigest,
        if_match: Option<&HeaderValue>,
    ) -> Result<Put, ClientError> {
        let mut call = self.manifest_call(Method::PUT, name);
        if let Ok(media_type) = HeaderValue::from_str(media_type.as_str()) {
            call.headers.insert(header::CONTENT_TYPE, media_type);
        }
        if let Some(etag) = if_match {
            call.headers.insert(header::IF_MATCH, etag.clone());
        }
        let digest = Digest::of(name.algorithm(), &bytes);
        call.payload = Payload::bytes(bytes);
        let response = self.host.call(&call).await?;
        match response.status() {
            StatusCode::CREATED | StatusCode::ACCEPTED | StatusCode::NO_CONTENT => {}
            // Old registries say 200; a web page does too.
            StatusCode::OK if response.headers().contains_key(wire::header::CONTENT_DIGEST) => {}
            _ => return Err(ClientError::refused(Method::PUT, response).await),
        }
        check_told_digest(&response, &digest)?;
        Ok(Put { subject_linked: response.headers().contains_key(wire::header::SUBJECT) })
    }

    pub(super) fn manifest_call(&self, method: Method, name: &TagOrDigest) -> Call {
        let reference = name.to_string();
        let path = Path::Manifest { name: &self.path, reference: &reference };
        Call::new(method, &path, &self.path, self.scopes())
    }
}

impl TagOrDigest {
    /// Returns what a reference names: its digest if it has one, else its tag, else `latest`.
    pub fn of(reference: &Reference) -> Self {
        match (&reference.digest, &reference.tag) {
            (Some(digest), _) => Self::Digest(*digest),
            (None, Some(tag)) => Self::Tag(tag.clone()),
            (None, None) => Self::Tag("latest".to_owned()),
        }
    }

    /// Returns the algorithm that manifests under this name are hashed with.
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Digest(digest) => digest.algorithm(),
            Self::Tag(_) => Algorithm::Sha256,
        }
    }
}

impl fmt::Display for TagOrDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl Fetched {
    /// Parses the bytes.
    pub fn document(self) -> Result<Document, ClientError> {
        let Self { bytes, label, digest, url } = self;
        Document::parse_with(bytes, label.as_ref(), digest.algorithm())
            .map_err(|source| ClientError::Document { url, source })
    }
}

/// Returns what the answer to HEAD describes, if it says all.
fn described(response: &Response, name: &TagOrDigest) -> Option<Descriptor> {
    if response.status() != StatusCode::OK {
        return None;
    }
    let media_type = MediaType::new(answer::content_type(response.headers())?);
    if !matches!(media_type.kind(), Kind::Manifest | Kind::Index) {
        return None;
    }
    let told = response.headers().get(wire::header::CONTENT_DIGEST)?.to_str().ok()?.parse().ok()?;
    let size = content_length(response).filter(|size| *size > 0)?;
    match name {
        // What was asked for is what will be compared with.
        TagOrDigest::Digest(digest) if *digest != told => None,
        _ => Some(Descriptor::new(media_type, told, size)),
    }
}

/// Hashes a manifest and compares it with what was asked for.
fn check(whole: Whole, name: &TagOrDigest) -> Result<Fetched, ClientError> {
    let url = whole.place();
    let label = answer::content_type(&whole.headers);
    if label.as_deref().is_some_and(|label| label.contains("html")) {
        return Err(ClientError::NotARegistry { url, reason: "it sent a web page as a manifest".to_owned() });
    }
    let told = whole.headers.get(wire::header::CONTENT_DIGEST);
    let told = told.and_then(|value| value.to_str().ok()?.parse::<Digest>().ok());
    let bytes = whole.body;
    let expected = match name {
        TagOrDigest::Digest(digest) => Some(*digest),
        TagOrDigest::Tag(_) => told,
    };
    let algorithm = expected.map_or(Algorithm::Sha256, |expected| expected.algorithm());
    let digest = Digest::of(algorithm, &bytes);
    match expected {
        Some(expected) if expected != digest => {
            Err(ClientError::WrongDigest { url, expected, actual: digest })
        }
        _ => Ok(Fetched { bytes, label: label.map(MediaType::new), digest, url }),
    }
}
