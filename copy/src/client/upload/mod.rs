//! Uploads: a blob into a repository, by the cheapest way that gets through.
//!
//! ```text
//! mount     POST uploads/?mount=<digest>&from=<repository>   201 there │ 202 a session instead
//! one go    POST uploads/ ─▶ 202 Location ─▶ PUT Location&digest=<digest> (whole body) ─▶ 201
//! chunks    POST … ─▶ PATCH Location (Content-Range: 0-99) ─▶ 202 Location ─▶ … ─▶ PUT Location&digest=
//! unknown   POST … ─▶ PATCH Location (whole body, chunked) ─▶ PUT Location&digest=
//! ```
//!
//! Whatever fits into [`MAX_HELD_BYTES`] is collected first: then every redirect, challenge and lost
//! connection can be answered by sending it again. A larger stream passes once; if something on the way
//! cannot take it in one go, the host remembers that, and the next try goes in chunks.
//!
//! Here: mount and one go. `session`: the requests of an upload; `chunks`: the other two ways.
//!
//! distribution-spec v1.1.1, spec.md#pushing-blobs

mod chunks;
mod session;

use std::io;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::{self, Stream};
use http::{Method, StatusCode};
use oxbox_layers::oci::{Descriptor, Digest};

pub use self::session::Session;
pub(super) use self::session::check_told_digest;
use super::auth::{Access, Scope};
use super::exchange::ExchangeError;
use super::payload::{Content, Payload};
use super::{ClientError, Repository};

/// Largest blob that is held whole while it is sent: every config, most layers of small images, and
/// with some tens of uploads at a time still little memory.
const MAX_HELD_BYTES: u64 = 1024 * 1024;

/// Registries that keep only the last chunk of several: a digest would never come out right.
const LOSING_CHUNKS: [&str; 1] = ["ghcr.io"];

/// What came of a mount.
#[derive(Debug)]
pub enum Mounted {
    /// The blob is there.
    Done,
    /// It is not; the registry may have opened an upload for it.
    Refused(Option<Session>),
}

impl Repository {
    /// Takes a blob over from another repository of the registry, `from`.
    ///
    /// Whatever the registry has against it, the blob can be uploaded instead: only having no answer
    /// at all is an error.
    pub async fn mount_blob(&self, digest: &Digest, from: &str) -> Result<Mounted, ClientError> {
        let mut call = self.uploads_call(Some(&format!("mount={digest}&from={from}")));
        // Both in one token: Docker Hub mounts only what the token may also read.
        call.scopes.push(Scope::repository(from, Access::Pull));
        let response = match self.host.call(&call).await {
            Ok(response) => response,
            // Some token servers refuse a token for two repositories.
            Err(ClientError::Auth(_)) => return Ok(Mounted::Refused(None)),
            Err(error) => return Err(error),
        };
        Ok(match response.status() {
            StatusCode::CREATED => Mounted::Done,
            StatusCode::ACCEPTED => Mounted::Refused(self.session(&response).ok()),
            status => {
                tracing::debug!(%digest, from, %status, "not mounted");
                Mounted::Refused(None)
            }
        })
    }

    /// Uploads a blob of known size and digest, into `session` if a mount left one.
    ///
    /// The blob is visible once this returns, and not before. The registry checks size and digest; of
    /// content that breaks off by an error the last piece is never sent.
    ///
    /// # Errors
    ///
    /// A transient one ([`ClientError::is_transient`]) means that the whole upload may be tried again,
    /// with new content: it may then go in chunks.
    pub async fn push_blob(
        &self,
        descriptor: &Descriptor,
        content: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        session: Option<Session>,
    ) -> Result<(), ClientError> {
        let content = content.boxed();
        if descriptor.size <= MAX_HELD_BYTES {
            return self.push_held(descriptor, content, session).await;
        }
        let session = self.session_or_new(session).await?;
        let in_chunks = self.host.wants_chunks();
        let result = match in_chunks {
            true => self.push_chunks(&session, descriptor, content).await,
            false => {
                let payload = Payload::stream(content, Some(descriptor.size));
                self.finish(&session.location, &descriptor.digest, payload).await
            }
        };
        let Err(error) = result else { return Ok(()) };
        self.cancel(&session).await;
        if in_chunks || !error.asks_for_chunks() || LOSING_CHUNKS.contains(&self.domain()) {
            return Err(error);
        }
        tracing::debug!(%error, registry = self.domain(), "uploads go in chunks from now on");
        self.host.remember_chunks();
        Err(ExchangeError::Spent { url: session.place() }.into())
    }

    async fn session_or_new(&self, session: Option<Session>) -> Result<Session, ClientError> {
        match session {
            Some(session) => Ok(session),
            None => self.start_upload().await,
        }
    }

    /// Uploads content that is held in memory, and so can be sent as often as it takes.
    async fn push_held(
        &self,
        descriptor: &Descriptor,
        content: Content,
        session: Option<Session>,
    ) -> Result<(), ClientError> {
        let digest = &descriptor.digest;
        let bytes = self.collect(descriptor, content).await?;
        let mut session = self.session_or_new(session).await?;
        let mut tried = 1;
        loop {
            let sent = self.finish(&session.location, digest, Payload::bytes(bytes.clone())).await;
            let Err(error) = sent else { return Ok(()) };
            // Never again into this session: the registry may keep a part of the content, or may even
            // be about to read what of it is still on its way.
            self.cancel(&session).await;
            let wait = self.host.policy.wait_after(&error, tried, &*self.host.clock);
            // A broken connection is how a body too large looks, but that of the first try may be an
            // accident.
            if error.asks_for_chunks() && (tried > 1 || wait.is_none()) {
                let session = self.start_upload().await?;
                return self.push_chunks(&session, descriptor, stream::iter([Ok(bytes)]).boxed()).await;
            }
            let Some(wait) = wait else { return Err(error) };
            self.host.clock.sleep(wait).await;
            session = self.start_upload().await?;
            tried += 1;
        }
    }

    /// Reads the whole of a small blob and checks it.
    async fn collect(&self, descriptor: &Descriptor, mut content: Content) -> Result<Bytes, ClientError> {
        let (digest, expected) = (descriptor.digest, descriptor.size);
        let url = || self.blob_call(Method::PUT, &digest).place(&self.host.domain);
        let mut bytes = BytesMut::new();
        while let Some(piece) = content.next().await {
            bytes.extend_from_slice(&piece.map_err(|source| ExchangeError::Content { url: url(), source })?);
            if bytes.len() as u64 > expected {
                break;
            }
        }
        let actual = bytes.len() as u64;
        if actual != expected {
            return Err(ClientError::WrongSize { url: url(), expected, actual });
        }
        let actual = Digest::of(digest.algorithm(), &bytes);
        match actual == digest {
            true => Ok(bytes.freeze()),
            false => Err(ClientError::WrongDigest { url: url(), expected: digest, actual }),
        }
    }
}
