//! `/v2/<name>/blobs/uploads/`: blobs on their way in.
//!
//! ```text
//! POST ─▶ 202 session ─ PATCH* ─▶ 202 ─ PUT?digest= ─▶ 201        POST?digest= ─▶ 201
//!                     └ GET ─▶ 204 offset   └ DELETE ─▶ 204       POST?mount=  ─▶ 201, or 202 session
//! ```
//!
//! An upload's offset is only ever what would survive a crash. A chunk that does not continue it is
//! refused with the offset, and changes nothing.
//!
//! distribution-spec v1.1.1, spec.md#pushing-blobs

use axum::response::Response;
use http::StatusCode;
use http::header::RANGE;
use oxbox_layers::oci::wire::{Path, header};
use oxbox_layers::oci::{Algorithm, Digest};

use super::receive::{self, Notes, Received, Span, receive};
use super::{Call, at, empty, with};
use crate::body::Incoming;
use crate::error::{Error, uploaded};
use crate::name::Repository;
use crate::registry::Registry;
use crate::route::{From, Start};
use crate::session::Guard;
use crate::storage::metadata::{BlobRecord, UploadRecord};
use crate::storage::{Checkpoint, Digester, StorageError, UploadId};

/// POST.
pub(super) async fn start(
    call: &Call,
    body: &mut Incoming,
    name: &Repository,
    start: Start,
) -> Result<Response, Error> {
    match start {
        Start::Session(algorithm) => begin(&call.registry, name, algorithm).await,
        Start::Whole(digest) => whole(call, body, name, &digest).await,
        Start::Mount { digest, from } => {
            let mounted = match &from {
                From::Anywhere => call.registry.metadata.mount(None, name, &digest).await?,
                From::Repository(from) => call.registry.metadata.mount(Some(from), name, &digest).await?,
                From::Nowhere => false,
            };
            match mounted {
                true => Ok(created(name, &digest)),
                false => begin(&call.registry, name, digest.algorithm()).await,
            }
        }
    }
}

/// GET: how far it is.
pub(super) async fn read(call: &Call, name: &Repository, upload: &UploadId) -> Result<Response, Error> {
    let record = find(&call.registry, name, upload).await?;
    Ok(standing(StatusCode::NO_CONTENT, name, upload, record.offset))
}

/// PATCH: more bytes. What came of a body that broke off is kept.
pub(super) async fn append(
    call: &Call,
    body: &mut Incoming,
    name: &Repository,
    upload: &UploadId,
) -> Result<Response, Error> {
    let session = enter(call, name, upload).await?;
    let received = take(call, body, name, upload, &session).await;
    let received = unless_lost(call, upload, received).await?;
    receive::note(&call.registry, upload, received.noted, &received.checkpoint).await?;
    received.end?;
    Ok(standing(StatusCode::ACCEPTED, name, upload, received.checkpoint.offset))
}

/// PUT: perhaps the last bytes, and the promise of what they all are.
pub(super) async fn finish(
    call: &Call,
    body: &mut Incoming,
    name: &Repository,
    upload: &UploadId,
    digest: &Digest,
) -> Result<Response, Error> {
    let session = enter(call, name, upload).await?;
    let received = take(call, body, name, upload, &session).await;
    let received = unless_lost(call, upload, received).await?;
    if let Err(error) = received.end {
        receive::note(&call.registry, upload, received.noted, &received.checkpoint).await?;
        return Err(error.into());
    }
    let published = publish(&call.registry, upload, received.checkpoint, digest).await;
    let published = unless_lost(call, upload, published).await;
    if let Err(Error::DigestMismatch { .. }) = published {
        // These bytes will never be what the client wants: it has to start anew.
        call.registry.metadata.end(upload).await?;
    }
    call.registry.metadata.link(name, digest, published?, Some(upload.clone())).await?;
    Ok(created(name, digest))
}

/// DELETE.
pub(super) async fn cancel(call: &Call, name: &Repository, upload: &UploadId) -> Result<Response, Error> {
    let _session = enter(call, name, upload).await?;
    call.registry.metadata.end(upload).await?;
    call.registry.blobs.discard(upload).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn begin(registry: &Registry, name: &Repository, algorithm: Algorithm) -> Result<Response, Error> {
    let upload = UploadId::draw();
    registry.metadata.begin(&upload, name, algorithm).await?;
    Ok(standing(StatusCode::ACCEPTED, name, &upload, 0))
}

/// The whole blob in one request: there is no session that could be resumed.
async fn whole(
    call: &Call,
    body: &mut Incoming,
    name: &Repository,
    digest: &Digest,
) -> Result<Response, Error> {
    let _turn = call.registry.upload_turn().await?;
    let upload = UploadId::draw();
    let start = Checkpoint { offset: 0, digester: Digester::new(digest.algorithm()) };
    let received = receive(&call.registry, &upload, start, body, Notes::None, None).await;
    let received = received.map_err(Error::from).and_then(|received| {
        received.end?;
        Ok(received.checkpoint)
    });
    let published = match received {
        Ok(checkpoint) => publish(&call.registry, &upload, checkpoint, digest).await,
        Err(error) => Err(error),
    };
    if published.is_err() {
        call.registry.blobs.discard(&upload).await?;
    }
    call.registry.metadata.link(name, digest, published?, None).await?;
    Ok(created(name, digest))
}

/// A session that this request alone writes to.
struct Session {
    record: UploadRecord,
    _guard: Guard,
}

async fn enter(call: &Call, name: &Repository, upload: &UploadId) -> Result<Session, Error> {
    // Before the wait: a session that does not exist has no other writer.
    let standing = find(&call.registry, name, upload).await?;
    let Some(guard) = call.registry.sessions.enter(upload).await else {
        return Err(refused(name, upload, standing.offset, "another request is writing to it"));
    };
    let record = find(&call.registry, name, upload).await?;
    Ok(Session { record, _guard: guard })
}

async fn find(registry: &Registry, name: &Repository, upload: &UploadId) -> Result<UploadRecord, Error> {
    registry.metadata.upload(upload, name).await?.ok_or(Error::UploadUnknown)
}

/// Takes the request's body as the next bytes of the session.
async fn take(
    call: &Call,
    body: &mut Incoming,
    name: &Repository,
    upload: &UploadId,
    session: &Session,
) -> Result<Received, Error> {
    let offset = session.record.offset;
    let span = claimed(call, body, offset).map_err(|reason| refused(name, upload, offset, reason))?;
    let _turn = call.registry.upload_turn().await?;
    let from = checkpoint(&call.registry, upload, &session.record).await?;
    let limit = span.map(Span::length);
    let received = receive(&call.registry, upload, from, body, Notes::Kept, limit).await?;
    match limit {
        // A chunk that breaks off keeps what came; one that is whole but other than it said is not one.
        Some(length) if body.taken() > length || (received.end.is_ok() && body.taken() < length) => {
            Err(refused(name, upload, received.noted, "its length is not that of its Content-Range"))
        }
        _ => Ok(received),
    }
}

/// Ends a session whose bytes are gone, as when the server died between the blob's rename and the
/// session's end. The client starts anew, which it would not after a 500.
async fn unless_lost<T>(call: &Call, upload: &UploadId, result: Result<T, Error>) -> Result<T, Error> {
    let Err(Error::Storage(error @ StorageError::Short { .. })) = result else { return result };
    tracing::warn!(%upload, %error, "an upload session lost its bytes");
    call.registry.metadata.end(upload).await?;
    call.registry.blobs.discard(upload).await?;
    Err(Error::UploadUnknown)
}

/// The span that the body claims to be, if it claims any; it must continue the upload.
fn claimed(call: &Call, body: &Incoming, offset: u64) -> Result<Option<Span>, &'static str> {
    if body.declared() == Some(0) {
        return Ok(None);
    }
    let Some(span) = receive::span(&call.headers)? else { return Ok(None) };
    if span.first != offset {
        return Err("it starts elsewhere");
    }
    match body.declared() {
        Some(declared) if declared != span.length() => Err("its Content-Range is not as long as its body"),
        _ => Ok(Some(span)),
    }
}

/// Takes up the running hash; what another version of this program saved is hashed once more.
async fn checkpoint(
    registry: &Registry,
    upload: &UploadId,
    record: &UploadRecord,
) -> Result<Checkpoint, StorageError> {
    let digester = match record.offset {
        0 => Digester::new(record.algorithm),
        offset => match Digester::load(record.algorithm, &record.hash) {
            Some(digester) => digester,
            None => registry.blobs.rehash(upload, offset, record.algorithm).await?,
        },
    };
    Ok(Checkpoint { offset: record.offset, digester })
}

/// Publishes an upload's bytes if they are what was promised, and drops them if not.
async fn publish(
    registry: &Registry,
    upload: &UploadId,
    checkpoint: Checkpoint,
    expected: &Digest,
) -> Result<BlobRecord, Error> {
    let Checkpoint { offset: size, digester } = checkpoint;
    let digester = if digester.algorithm() == expected.algorithm() {
        digester
    } else {
        registry.blobs.rehash(upload, size, expected.algorithm()).await?
    };
    let actual = digester.finish();
    if actual != *expected {
        registry.blobs.discard(upload).await?;
        return Err(Error::DigestMismatch { expected: *expected, actual });
    }
    let key = registry.blobs.publish(upload, size, expected).await?;
    Ok(BlobRecord { size, key })
}

fn created(name: &Repository, digest: &Digest) -> Response {
    let digest = digest.to_string();
    let location = Path::Blob { name: name.as_str(), digest: &digest }.to_string();
    with(at(StatusCode::CREATED, &location), header::CONTENT_DIGEST, &digest)
}

/// Where a session is and how far. A relative location: behind a proxy it still leads here.
fn standing(status: StatusCode, name: &Repository, upload: &UploadId, offset: u64) -> Response {
    let response = at(status, &location(name, upload));
    with(with(response, RANGE, &uploaded(offset)), header::UPLOAD_UUID, upload.as_str())
}

fn location(name: &Repository, upload: &UploadId) -> String {
    Path::Upload { name: name.as_str(), session: upload.as_str() }.to_string()
}

fn refused(name: &Repository, upload: &UploadId, offset: u64, reason: &'static str) -> Error {
    Error::OutOfOrder { location: location(name, upload), offset, reason }
}
