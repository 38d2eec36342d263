//! A blob on its way from a source to a destination: checked against its descriptor while it passes.
//!
//! ```text
//! source ─ Result<Bytes, EndpointError> ─▶ BlobStream ─ io::Result<Bytes> ─▶ destination
//!                                           │  size: at the first byte too many, or at the end
//!                                           │  digest: at the end
//!                                           └─▶ Fault: what the source or the check had to say
//! ```
//!
//! A destination that hears an error discards what it has; the true reason waits in the [`Fault`],
//! since HTTP clients bury an error that comes from a body.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt as _, TryStreamExt as _};
use oxbox_layers::oci::{Descriptor, Digest, Hasher};

use super::{EndpointError, Subject};

/// The bytes of one blob: a stream that ends well only if they are what the descriptor promised.
pub struct BlobStream {
    stream: BoxStream<'static, Result<Bytes, EndpointError>>,
    place: String,
    digest: Digest,
    size: u64,
    passed: u64,
    hasher: Option<Hasher>,
    meter: Option<Box<dyn FnMut(u64) + Send>>,
    fault: Fault,
    ended: bool,
}

/// Where a [`BlobStream`] leaves the reason why it broke off.
#[derive(Clone, Default)]
pub struct Fault(Arc<Mutex<Option<EndpointError>>>);

/// How content differs from its descriptor.
#[derive(Debug, thiserror::Error)]
enum Mismatch {
    #[error("content ended at {actual} of {expected} bytes")]
    Short { expected: u64, actual: u64 },
    #[error("content is longer than the {expected} bytes promised")]
    Long { expected: u64 },
    #[error("content is {actual} but {expected} was promised")]
    Digest { expected: Digest, actual: Digest },
}

impl BlobStream {
    /// Wraps what a source reads at `place` (the location as people write it).
    pub fn new(
        descriptor: &Descriptor,
        place: impl Into<String>,
        stream: impl Stream<Item = Result<Bytes, EndpointError>> + Send + 'static,
    ) -> Self {
        Self {
            stream: stream.boxed(),
            place: place.into(),
            digest: descriptor.digest,
            size: descriptor.size,
            passed: 0,
            hasher: Some(Hasher::new(descriptor.digest.algorithm())),
            meter: None,
            fault: Fault::default(),
            ended: false,
        }
    }

    /// Wraps bytes that are at hand.
    pub fn of_bytes(descriptor: &Descriptor, place: impl Into<String>, bytes: Bytes) -> Self {
        Self::new(descriptor, place, stream::iter([Ok(bytes)]))
    }

    /// Returns how many bytes will come.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns where the reason will be if the stream breaks off.
    pub fn fault(&self) -> Fault {
        self.fault.clone()
    }

    /// Leaves the digest to the destination: only for one that hashes what it writes, and refuses to
    /// publish anything but the promised digest. The size is still checked.
    #[must_use]
    pub fn hashed_by_destination(mut self) -> Self {
        self.hasher = None;
        self
    }

    /// Calls `meter` with the length of every piece that passes.
    #[must_use]
    pub fn metered(mut self, meter: impl FnMut(u64) + Send + 'static) -> Self {
        self.meter = Some(Box::new(meter));
        self
    }

    /// Gathers all bytes: for configs, whose size the caller has bounded.
    pub(crate) async fn collect_bytes(self) -> Result<Bytes, EndpointError> {
        let (fault, digest, place) = (self.fault(), self.digest, self.place.clone());
        let pieces: Result<Vec<Bytes>, io::Error> = self.try_collect().await;
        match pieces {
            Ok(pieces) => Ok(pieces.concat().into()),
            Err(error) => Err(fault.take().unwrap_or_else(|| EndpointError::Failed {
                subject: Subject::Blob(digest),
                place,
                source: error.into(),
            })),
        }
    }

    fn take_piece(&mut self, piece: &Bytes) -> Result<(), Mismatch> {
        self.passed = self.passed.saturating_add(piece.len() as u64);
        if self.passed > self.size {
            return Err(Mismatch::Long { expected: self.size });
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(piece);
        }
        if let Some(meter) = &mut self.meter {
            meter(piece.len() as u64);
        }
        Ok(())
    }

    fn check_end(&mut self) -> Result<(), Mismatch> {
        if self.passed < self.size {
            return Err(Mismatch::Short { expected: self.size, actual: self.passed });
        }
        match self.hasher.take().map(Hasher::finish) {
            Some(actual) if actual != self.digest => Err(Mismatch::Digest { expected: self.digest, actual }),
            _ => Ok(()),
        }
    }

    fn break_off(&mut self, error: EndpointError) -> Poll<Option<io::Result<Bytes>>> {
        self.ended = true;
        let message = error.to_string();
        self.fault.set(error);
        Poll::Ready(Some(Err(io::Error::other(message))))
    }

    fn corrupt(&self, mismatch: Mismatch) -> EndpointError {
        EndpointError::Corrupt {
            subject: Subject::Blob(self.digest),
            place: self.place.clone(),
            source: mismatch.into(),
        }
    }
}

impl Stream for BlobStream {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let checked = match ready!(self.stream.poll_next_unpin(context)) {
            Some(Err(error)) => return self.break_off(error),
            Some(Ok(piece)) => self.take_piece(&piece).map(|()| Some(Ok(piece))),
            None => {
                self.ended = true;
                self.check_end().map(|()| None)
            }
        };
        match checked {
            Ok(item) => Poll::Ready(item),
            Err(mismatch) => {
                let error = self.corrupt(mismatch);
                self.break_off(error)
            }
        }
    }
}

impl Fault {
    /// Takes the reason out, if the stream broke off.
    pub fn take(&self) -> Option<EndpointError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: EndpointError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;
    use futures_util::{StreamExt as _, TryStreamExt as _};
    use oxbox_layers::oci::{Descriptor, MediaType};

    use super::BlobStream;
    use crate::endpoint::EndpointError;

    fn promised() -> Descriptor {
        Descriptor::of(MediaType::OCI_LAYER, b"whole content")
    }

    fn pieces(texts: &'static [&'static str]) -> BlobStream {
        let pieces = texts.iter().map(|text| Ok(Bytes::from_static(text.as_bytes())));
        BlobStream::new(&promised(), "test:", stream::iter(pieces))
    }

    async fn collect(stream: BlobStream) -> Result<Vec<u8>, String> {
        let fault = stream.fault();
        let result: Result<Vec<Bytes>, _> = stream.try_collect().await;
        match (result, fault.take()) {
            (Ok(pieces), None) => Ok(pieces.concat()),
            (Err(_), Some(EndpointError::Corrupt { source, .. })) => Err(source.to_string()),
            other => panic!("stream and fault disagree: {other:?}"),
        }
    }

    #[tokio::test]
    async fn what_was_promised_passes() {
        assert_eq!(collect(pieces(&["whole ", "content"])).await, Ok(b"whole content".to_vec()));
    }

    #[tokio::test]
    async fn a_short_blob_says_both_sizes() {
        let error = collect(pieces(&["whole "])).await.unwrap_err();
        assert_eq!(error, "content ended at 6 of 13 bytes");
    }

    #[tokio::test]
    async fn a_long_blob_breaks_off_before_the_piece_too_many() {
        let mut stream = pieces(&["whole content", "!"]);
        assert!(stream.next().await.is_some_and(|item| item.is_ok()));
        assert!(stream.next().await.is_some_and(|item| item.is_err()));
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn other_content_of_the_same_size_is_corrupt() {
        let error = collect(pieces(&["whole CONTENT"])).await.unwrap_err();
        assert!(error.contains("was promised"), "{error}");
    }

    #[tokio::test]
    async fn an_unhashed_stream_still_checks_the_size() {
        assert!(collect(pieces(&["whole CONTENT"]).hashed_by_destination()).await.is_ok());
        assert!(collect(pieces(&["whole"]).hashed_by_destination()).await.is_err());
    }
}
