//! `/v2/<name>/blobs/<digest>`: blobs on their way out, and out of a repository.
//!
//! distribution-spec v1.1.1, spec.md#pulling-blobs and #deleting-blobs

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_RANGE, RANGE};
use oxbox_layers::oci::Digest;
use oxbox_layers::oci::wire::header;

use super::{Call, empty, ranges, with};
use crate::condition::{Condition, bare, etag};
use crate::error::Error;
use crate::name::Repository;
use crate::range::{self, Wanted};
use crate::storage::metadata::{BlobRecord, Unlinked};

/// What a digest names never changes.
pub(super) const FOR_EVER: &str = "max-age=31536000, immutable";

/// GET and HEAD. Only what this repository links is here: a HEAD that is answered from elsewhere
/// makes a client skip an upload that its manifest then needs.
pub(super) async fn read(call: &Call, name: &Repository, digest: &Digest) -> Result<Response, Error> {
    let blob = call.registry.metadata.blob(name, digest).await?;
    let blob = blob.ok_or(Error::BlobUnknown { digest: *digest })?;
    let mut response = if Condition::read(&call.headers).is_fresh(digest) {
        empty(StatusCode::NOT_MODIFIED)
    } else if call.is_head() {
        whole(&blob, Body::empty())
    } else {
        match wanted(call, digest, blob.size) {
            Wanted::Nothing => return Err(Error::RangeUnsatisfiable { size: blob.size }),
            Wanted::Parts(parts) => ranges::respond(&call.registry, &blob, parts).await?,
            Wanted::Whole if blob.size == 0 => whole(&blob, Body::empty()),
            Wanted::Whole => whole(&blob, ranges::body(&call.registry, &blob, 0..blob.size).await?),
        }
    };
    response = with(response, header::CONTENT_DIGEST, &digest.to_string());
    response = with(response, ETAG, &etag(digest));
    response = with(response, ACCEPT_RANGES, "bytes");
    Ok(with(response, CACHE_CONTROL, FOR_EVER))
}

/// DELETE: the link goes; the bytes stay until they are swept.
pub(super) async fn delete(call: &Call, name: &Repository, digest: &Digest) -> Result<Response, Error> {
    match call.registry.metadata.unlink(name, digest).await? {
        Unlinked::Removed => Ok(empty(StatusCode::ACCEPTED)),
        Unlinked::Missing => Err(Error::BlobUnknown { digest: *digest }),
        Unlinked::Referenced => Err(Error::BlobReferenced { digest: *digest }),
    }
}

fn whole(blob: &BlobRecord, body: Body) -> Response {
    let response = with(Response::new(body), CONTENT_TYPE, "application/octet-stream");
    with(response, CONTENT_LENGTH, &blob.size.to_string())
}

/// A range of another version of the content is no range: RFC 9110, section 13.1.5.
fn wanted(call: &Call, digest: &Digest, size: u64) -> Wanted {
    match call.header(IF_RANGE) {
        Some(tag) if bare(tag) != digest.to_string() => Wanted::Whole,
        _ => range::read(call.header(RANGE), size),
    }
}
