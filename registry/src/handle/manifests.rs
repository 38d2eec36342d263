//! `/v2/<name>/manifests/<reference>`: the documents, byte for byte as they were pushed.
//!
//! `Accept` is not looked at: what is stored is served as what it is. Registries that refuse for its
//! sake leave clients with "unknown" for what they could read.
//!
//! distribution-spec v1.1.1, spec.md#pulling-manifests, #pushing-manifests and #content-management

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use oxbox_layers::oci::wire::{Path, header};

use super::{Call, at, blobs, empty, ranges, with};
use crate::accept::{MAX_MANIFEST_BYTES, accept};
use crate::body::{BodyError, Incoming};
use crate::condition::{Condition, etag};
use crate::error::Error;
use crate::name::{ManifestReference, Repository, Tag};
use crate::storage::metadata::{BlobRecord, Found, ManifestRecord, Put};

/// The header that names a tag which a push has set.
const TAG: &str = "oci-tag";

/// GET and HEAD.
pub(super) async fn read(
    call: &Call,
    name: &Repository,
    reference: &ManifestReference,
) -> Result<Response, Error> {
    let record = found(call.registry.metadata.manifest(name, reference).await?, name, reference)?;
    let mut response = if Condition::read(&call.headers).is_fresh(&record.digest) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        let response =
            with(Response::new(content(call, &record).await?), CONTENT_LENGTH, &record.size.to_string());
        with(response, CONTENT_TYPE, record.media_type.as_str())
    };
    response = with(response, header::CONTENT_DIGEST, &record.digest.to_string());
    response = with(response, ETAG, &etag(&record.digest));
    let caching = match reference {
        ManifestReference::Digest(_) => blobs::FOR_EVER,
        ManifestReference::Tag(_) => "no-cache",
    };
    Ok(with(response, CACHE_CONTROL, caching))
}

/// PUT.
pub(super) async fn write(
    call: &Call,
    body: &mut Incoming,
    name: &Repository,
    reference: &ManifestReference,
    tags: Vec<Tag>,
) -> Result<Response, Error> {
    let _turn = call.registry.document_turn().await?;
    let bytes = body.collect(MAX_MANIFEST_BYTES).await.map_err(|error| match error {
        BodyError::TooLarge { .. } => Error::ManifestTooLarge,
        error => error.into(),
    })?;
    let content_type = call.header(CONTENT_TYPE);
    let mut new = accept(bytes.clone(), content_type, reference, tags.clone(), call.registry.sparse_indexes)?;
    new.condition = Condition::read(&call.headers);
    // Bytes before names: if the transaction refuses, nobody ever sees them.
    new.record.key = call.registry.blobs.put(&new.record.digest, bytes).await?;
    let (digest, subject) = (new.record.digest.to_string(), new.record.subject);
    match call.registry.metadata.put(name, new).await? {
        Put::Done => {}
        Put::Missing(digests) => return Err(Error::ManifestBlobUnknown { digests }),
        Put::WrongSize { digest, promised, actual } => {
            return Err(Error::WrongSize { digest, promised, actual });
        }
        Put::ConditionFailed => return Err(Error::ConditionFailed),
    }
    let location = Path::Manifest { name: name.as_str(), reference: &digest }.to_string();
    let mut response = with(at(StatusCode::CREATED, &location), header::CONTENT_DIGEST, &digest);
    response = tags.iter().fold(response, |response, tag| with(response, TAG, tag.as_str()));
    Ok(match subject {
        Some(subject) => with(response, header::SUBJECT, &subject.to_string()),
        None => response,
    })
}

/// DELETE: of a tag only the tag, of a digest the manifest and all its tags.
pub(super) async fn delete(
    call: &Call,
    name: &Repository,
    reference: &ManifestReference,
) -> Result<Response, Error> {
    let metadata = &call.registry.metadata;
    let deleted = match reference {
        ManifestReference::Tag(tag) => metadata.delete_tag(name, tag).await?,
        ManifestReference::Digest(digest) => metadata.delete_manifest(name, digest).await?,
    };
    if !deleted {
        found(metadata.manifest(name, reference).await?, name, reference)?;
    }
    Ok(empty(StatusCode::ACCEPTED))
}

fn found(found: Found, name: &Repository, reference: &ManifestReference) -> Result<ManifestRecord, Error> {
    match found {
        Found::Manifest(record) => Ok(*record),
        Found::NoManifest => Err(Error::ManifestUnknown { reference: reference.to_string() }),
        Found::NoRepository => Err(Error::NameUnknown { name: name.to_string() }),
    }
}

async fn content(call: &Call, record: &ManifestRecord) -> Result<Body, Error> {
    match &record.body {
        _ if call.is_head() => Ok(Body::empty()),
        Some(bytes) => Ok(Body::from(bytes.clone())),
        None => {
            let blob = BlobRecord { size: record.size, key: record.key.clone() };
            Ok(ranges::body(&call.registry, &blob, 0..record.size).await?)
        }
    }
}
