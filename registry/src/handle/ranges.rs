//! Bodies of blobs: whole, one part, or many parts.
//!
//! ```text
//! 206, one part:   Content-Range: bytes 2-4/10, and the bytes
//! 206, more:       Content-Type: multipart/byteranges; boundary=B
//!
//!     \r\n--B\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 2-4/10\r\n\r\n<bytes>
//!     \r\n--B\r\n…
//!     \r\n--B--\r\n
//! ```
//!
//! RFC 9110, section 14.6

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};

use super::with;
use crate::range::content_range;
use crate::registry::Registry;
use crate::storage::metadata::BlobRecord;
use crate::storage::{StorageError, UploadId};

/// Returns a body of some bytes of a blob. A failure on the way breaks the connection: a clean end
/// would make a short blob look whole.
pub(super) async fn body(
    registry: &Registry,
    blob: &BlobRecord,
    range: Range<u64>,
) -> Result<Body, StorageError> {
    let turn = registry.download_turn().await?;
    let bytes = registry.blobs.read(&blob.key, range).await?;
    // The turn is held as long as the body is.
    Ok(Body::from_stream(bytes.inspect_err(|error| crate::error::log(error)).map(move |piece| {
        let _held = &turn;
        piece
    })))
}

/// Answers with these parts of a blob.
pub(super) async fn respond(
    registry: &Arc<Registry>,
    blob: &BlobRecord,
    parts: Vec<Range<u64>>,
) -> Result<Response, StorageError> {
    let mut response = match <[_; 1]>::try_from(parts) {
        Ok([part]) => {
            let response = Response::new(body(registry, blob, part.clone()).await?);
            let response = with(response, CONTENT_TYPE, "application/octet-stream");
            let response = with(response, CONTENT_LENGTH, &(part.end - part.start).to_string());
            with(response, CONTENT_RANGE, &content_range(&part, blob.size))
        }
        Err(parts) => many(registry, blob, parts).await?,
    };
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    Ok(response)
}

async fn many(
    registry: &Arc<Registry>,
    blob: &BlobRecord,
    parts: Vec<Range<u64>>,
) -> Result<Response, StorageError> {
    // Random, so that no content can hold it on purpose.
    let boundary = UploadId::draw();
    let parts: Vec<(Bytes, Range<u64>)> =
        parts.into_iter().map(|part| (head(&boundary, &part, blob.size), part)).collect();
    let tail = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    let length = parts.iter().map(|(head, part)| head.len() as u64 + part.end - part.start).sum::<u64>()
        + tail.len() as u64;
    let turn = registry.download_turn().await?;
    let (blobs, key) = (Arc::clone(&registry.blobs), blob.key.clone());
    // One part after the other: only the one being sent is open.
    let content = stream::iter(parts)
        .then(move |(head, part)| {
            let (blobs, key) = (Arc::clone(&blobs), key.clone());
            async move { Ok::<_, StorageError>(stream::iter([Ok(head)]).chain(blobs.read(&key, part).await?)) }
        })
        .try_flatten()
        .chain(stream::iter([Ok(tail)]))
        .inspect_err(|error| crate::error::log(error))
        .map(move |piece| {
            let _held = &turn;
            piece
        });
    let response = Response::new(Body::from_stream(content));
    let response = with(response, CONTENT_TYPE, &format!("multipart/byteranges; boundary={boundary}"));
    Ok(with(response, CONTENT_LENGTH, &length.to_string()))
}

fn head(boundary: &UploadId, part: &Range<u64>, size: u64) -> Bytes {
    let range = content_range(part, size);
    format!("\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: {range}\r\n\r\n")
        .into()
}
