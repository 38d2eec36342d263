//! The content of a blob as a stream that survives lost connections.
//!
//! ```text
//! GET ─▶ 200 ─ bytes ─ bytes ─ ✂                       lost at `offset`
//! GET Range: bytes=<offset>- ─▶ 206 Content-Range: bytes <offset>-<last>/<size> ─ bytes ─▶ end
//!                            └▶ 200                     the registry knows no ranges: skip what we have
//! ```
//!
//! The address is asked anew at the registry each time, since signed addresses expire. Resuming is
//! bounded: each [`PROGRESS`] of content earns another [`MAX_LOSSES`] tries.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt as _};
use http::{HeaderValue, Method, StatusCode, header};
use oxbox_layers::oci::{Descriptor, Digest, Hasher};
use reqwest::Response;

use super::answer::Place;
use super::blob::{content_length, place};
use super::exchange::ExchangeError;
use super::{ClientError, Repository};

/// Most losses in a row without [`PROGRESS`] between them.
const MAX_LOSSES: u32 = 5;
/// As much content as proves that a connection is worth its price.
const PROGRESS: u64 = 1024 * 1024;

/// A blob's content, as many bytes as its descriptor says or an error. The digest is not checked.
pub struct Download {
    pieces: BoxStream<'static, Result<Bytes, ClientError>>,
    digest: Digest,
    size: u64,
    url: String,
}

/// Where a download is.
struct Position {
    repository: Repository,
    digest: Digest,
    size: u64,
    offset: u64,
    body: Option<Response>,
    /// Bytes of the current answer that we have already.
    skip: u64,
    losses: u32,
    since_loss: u64,
}

impl Download {
    /// Opens a blob, `None` if it is not there.
    pub(super) async fn open(
        repository: Repository,
        descriptor: &Descriptor,
    ) -> Result<Option<Self>, ClientError> {
        let (digest, size) = (descriptor.digest, descriptor.size);
        let call = repository.blob_call(Method::GET, &digest);
        let response = repository.host.call(&call).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(ClientError::refused(Method::GET, response).await),
        }
        let url = place(&response);
        if let Some(actual) = content_length(&response)
            && actual != size
        {
            return Err(ClientError::WrongSize { url, expected: size, actual });
        }
        let body = Some(response);
        let position =
            Position { repository, digest, size, offset: 0, body, skip: 0, losses: 0, since_loss: 0 };
        let pieces = stream::try_unfold(position, |mut position| async move {
            Ok(position.next().await?.map(|piece| (piece, position)))
        });
        Ok(Some(Self { pieces: pieces.boxed(), digest, size, url }))
    }

    /// Returns how many bytes will come.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the content, checked: the last piece comes only if the digest is the promised one, so
    /// that nobody ever has a wrong blob whole.
    pub fn verified(self) -> impl Stream<Item = Result<Bytes, ClientError>> + Send {
        Verified { hasher: Some(Hasher::new(self.digest.algorithm())), passed: 0, download: self }
    }
}

impl Stream for Download {
    type Item = Result<Bytes, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.pieces.poll_next_unpin(context)
    }
}

impl Position {
    /// Returns the next piece, `None` at the end of the content.
    async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            if self.body.is_none() && self.offset == self.size {
                return Ok(None);
            }
            if self.body.is_none() {
                self.reopen().await?;
            }
            match self.piece().await {
                Ok(Some(piece)) => {
                    if let Some(fresh) = self.take(piece)? {
                        return Ok(Some(fresh));
                    }
                }
                // The end, or the loss of a connection that had nothing more to say.
                Ok(None) | Err(_) if self.offset == self.size => self.body = None,
                Ok(None) => self.lost(None).await?,
                Err(error) => self.lost(Some(error)).await?,
            }
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, ExchangeError> {
        let Some(body) = &mut self.body else { return Ok(None) };
        let url = Place::of(body.url());
        let patience = self.repository.host.route.patience;
        match tokio::time::timeout(patience, body.chunk()).await {
            Ok(piece) => piece.map_err(|source| ExchangeError::broken(&url, source)),
            Err(_) => Err(ExchangeError::Stalled { url: url.to_string(), patience }),
        }
    }

    /// Takes what is new in a piece.
    fn take(&mut self, mut piece: Bytes) -> Result<Option<Bytes>, ClientError> {
        let known = self.skip.min(piece.len() as u64);
        self.skip -= known;
        let fresh = piece.split_off(usize::try_from(known).unwrap_or(piece.len()));
        if fresh.is_empty() {
            return Ok(None);
        }
        self.offset += fresh.len() as u64;
        self.since_loss += fresh.len() as u64;
        if self.offset > self.size {
            let url = self.url();
            return Err(ClientError::WrongSize { url, expected: self.size, actual: self.offset });
        }
        Ok(Some(fresh))
    }

    async fn lost(&mut self, source: Option<ExchangeError>) -> Result<(), ClientError> {
        if self.since_loss >= PROGRESS {
            self.losses = 0;
        }
        self.since_loss = 0;
        self.losses += 1;
        if self.losses >= MAX_LOSSES {
            let (url, losses) = (self.url(), self.losses);
            let source = source.map(Box::new);
            return Err(ClientError::Interrupted {
                url,
                losses,
                offset: self.offset,
                size: self.size,
                source,
            });
        }
        tracing::debug!(digest = %self.digest, offset = self.offset, losses = self.losses, "download lost");
        self.body = None;
        let host = &self.repository.host;
        host.clock.sleep(host.policy.backoff(self.losses, &*host.clock)).await;
        Ok(())
    }

    /// Asks for the rest.
    async fn reopen(&mut self) -> Result<(), ClientError> {
        let mut call = self.repository.blob_call(Method::GET, &self.digest);
        if self.offset > 0 {
            let range = format!("bytes={}-", self.offset);
            let range = HeaderValue::from_str(&range).expect("because a number is printable");
            call.headers.insert(header::RANGE, range);
        }
        let response = self.repository.host.call(&call).await?;
        self.skip = match response.status() {
            StatusCode::OK => self.offset,
            StatusCode::PARTIAL_CONTENT if self.offset > 0 => self.check_range(&response).map(|()| 0)?,
            _ => return Err(ClientError::refused(Method::GET, response).await),
        };
        self.body = Some(response);
        Ok(())
    }

    fn check_range(&self, response: &Response) -> Result<(), ClientError> {
        let got = response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let right = got.and_then(parse_content_range).is_some_and(|(first, whole)| {
            first == self.offset && whole.is_none_or(|whole| whole == self.size)
        });
        if right {
            return Ok(());
        }
        let got = got.unwrap_or_default().chars().take(80).collect();
        let url = place(response);
        Err(ClientError::WrongRange { url, offset: self.offset, size: self.size, got })
    }

    fn url(&self) -> String {
        let call = self.repository.blob_call(Method::GET, &self.digest);
        self.body.as_ref().map_or_else(|| call.place(&self.repository.host.domain), place)
    }
}

/// Reads `bytes <first>-<last>/<whole>`, the whole of which may be `*`.
fn parse_content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, whole) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    let whole = if whole == "*" { None } else { Some(whole.parse().ok()?) };
    Some((first.trim().parse().ok()?, whole))
}

/// A download whose digest is checked before its last piece is let go.
struct Verified {
    download: Download,
    hasher: Option<Hasher>,
    passed: u64,
}

impl Verified {
    fn check(&mut self) -> Result<(), ClientError> {
        match self.hasher.take().map(Hasher::finish) {
            Some(actual) if actual != self.download.digest => Err(ClientError::WrongDigest {
                url: self.download.url.clone(),
                expected: self.download.digest,
                actual,
            }),
            _ => Ok(()),
        }
    }
}

impl Stream for Verified {
    type Item = Result<Bytes, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = match ready!(self.download.poll_next_unpin(context)) {
            Some(Ok(piece)) => piece,
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            // Only an empty blob comes here unchecked.
            None => return Poll::Ready(self.check().err().map(Err)),
        };
        self.passed += piece.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&piece);
        }
        let checked = if self.passed == self.download.size { self.check() } else { Ok(()) };
        Poll::Ready(Some(checked.map(|()| piece)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::parse_content_range;

    #[test]
    fn content_ranges_are_read_with_and_without_a_whole() {
        assert_eq!(parse_content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse_content_range("bytes 5-9/*"), Some((5, None)));
        for text in ["5-9/10", "bytes */10", "bytes 5-9", "bytes x-9/10", "bytes 5-9/-1"] {
            assert_eq!(parse_content_range(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_content_range_is_read_or_refused(text in "(bytes ?)?[0-9 -]{0,24}/?[0-9*]{0,24}[ -~]{0,3}") {
            if let Some((first, whole)) = parse_content_range(&text) {
                prop_assert!(text.contains(&first.to_string()) || text.contains("+"));
                prop_assert!(whole.is_some() || text.contains('*'));
            }
        }
    }
}
