//! Request bodies: nothing, bytes that can be sent again, or a stream that passes once.
//!
//! ```text
//! stream ─ piece ─▶ held back ─ piece before it ─▶ socket
//! ```
//!
//! One piece is held back until the stream has said what comes after it: content that turns out to be
//! corrupt at its end is never sent whole, so that no registry can take it for complete.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt as _};
use http_body::{Body, Frame, SizeHint};

/// Content on its way to a registry. An error in it breaks the request off.
pub(crate) type Content = BoxStream<'static, io::Result<Bytes>>;

/// A request body.
#[derive(Clone)]
pub(crate) enum Payload {
    Bytes { bytes: Bytes, secret: Secrecy },
    Stream(Arc<OneShot>),
}

/// Whether the bytes may follow a redirect to another origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrecy {
    Open,
    Secret,
}

/// A stream that can be sent once, and what became of it.
pub(crate) struct OneShot {
    state: Mutex<State>,
    sent: AtomicU64,
    size: Option<u64>,
}

struct State {
    content: Content,
    held: Option<Bytes>,
    started: bool,
    failure: Option<io::Error>,
}

impl Payload {
    pub(crate) fn empty() -> Self {
        Self::bytes(Bytes::new())
    }

    pub(crate) fn bytes(bytes: Bytes) -> Self {
        Self::Bytes { bytes, secret: Secrecy::Open }
    }

    /// Bytes that hold credentials.
    pub(crate) fn secret_bytes(bytes: Bytes) -> Self {
        Self::Bytes { bytes, secret: Secrecy::Secret }
    }

    /// A stream of `size` bytes; `None` sends it chunked.
    pub(crate) fn stream(
        content: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        size: Option<u64>,
    ) -> Self {
        let state = State { content: content.boxed(), held: None, started: false, failure: None };
        Self::Stream(Arc::new(OneShot { state: Mutex::new(state), sent: AtomicU64::new(0), size }))
    }

    /// Whether it can still be sent from its start.
    pub(crate) fn is_fresh(&self) -> bool {
        match self {
            Self::Bytes { .. } => true,
            Self::Stream(stream) => !stream.lock().started,
        }
    }

    /// Whether it is content that could be sent again after a part of it went out.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self, Self::Bytes { bytes, .. } if !bytes.is_empty())
    }

    /// Whether it must not reach another origin.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self, Self::Bytes { secret: Secrecy::Secret, .. })
    }

    /// Returns the length, if it is known before sending.
    pub(crate) fn size(&self) -> Option<u64> {
        match self {
            Self::Bytes { bytes, .. } => Some(bytes.len() as u64),
            Self::Stream(stream) => stream.size,
        }
    }

    /// Returns how many bytes of a stream went out.
    pub(crate) fn sent(&self) -> u64 {
        match self {
            Self::Bytes { .. } => 0,
            Self::Stream(stream) => stream.sent.load(Ordering::Relaxed),
        }
    }

    /// Takes the error by which the stream itself broke off.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        match self {
            Self::Bytes { .. } => None,
            Self::Stream(stream) => stream.lock().failure.take(),
        }
    }

    /// Returns a body for one request; `None` if it was sent, in part or whole.
    pub(crate) fn body(&self) -> Option<reqwest::Body> {
        match self {
            Self::Bytes { bytes, .. } => Some(bytes.clone().into()),
            Self::Stream(_) if !self.is_fresh() => None,
            Self::Stream(stream) => Some(reqwest::Body::wrap(OneShotBody(stream.clone()))),
        }
    }
}

impl OneShot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The handle that a request holds. Several may exist, one after the other, while nothing was sent.
struct OneShotBody(Arc<OneShot>);

impl Body for OneShotBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut state = self.0.lock();
        state.started = true;
        let next = ready!(state.poll_held(context));
        if let Some(Ok(piece)) = &next {
            self.0.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        Poll::Ready(next.map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl State {
    fn poll_held(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match ready!(self.content.poll_next_unpin(context)) {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => {
                    if let Some(before) = self.held.replace(piece) {
                        return Poll::Ready(Some(Ok(before)));
                    }
                }
                Some(Err(error)) => {
                    self.held = None;
                    let told = io::Error::new(error.kind(), error.to_string());
                    self.failure = Some(error);
                    self.content = futures_util::stream::empty().boxed();
                    return Poll::Ready(Some(Err(told)));
                }
                None => {
                    // An ended stream must not be asked again.
                    self.content = futures_util::stream::empty().boxed();
                    return Poll::Ready(self.held.take().map(Ok));
                }
            }
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes { bytes, .. } => write!(f, "{} bytes", bytes.len()),
            Self::Stream(stream) => write!(f, "stream of {:?} bytes", stream.size),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use bytes::Bytes;
    use futures_util::stream;
    use http_body_util::BodyExt as _;

    use super::{OneShotBody, Payload};

    fn streamed(items: Vec<io::Result<Bytes>>) -> (Payload, OneShotBody) {
        let payload = Payload::stream(stream::iter(items), None);
        let Payload::Stream(shared) = &payload else { unreachable!() };
        let body = OneShotBody(shared.clone());
        (payload, body)
    }

    #[tokio::test]
    async fn the_last_piece_is_held_back_until_the_stream_ended_well() {
        let broken = vec![Ok(Bytes::from("a")), Ok(Bytes::from("b")), Err(io::Error::other("corrupt"))];
        let (payload, mut body) = streamed(broken);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(payload.sent(), 1);
        assert_eq!(payload.failure().unwrap().to_string(), "corrupt");
    }

    #[tokio::test]
    async fn a_whole_stream_is_sent_whole() {
        let (payload, body) = streamed(["a", "", "b"].map(|text| Ok(Bytes::from(text))).into());
        assert_eq!(body.collect().await.unwrap().to_bytes(), "ab");
        assert_eq!(payload.sent(), 2);
    }

    #[tokio::test]
    async fn a_stream_is_fresh_until_it_is_asked_for_its_first_byte() {
        let (payload, mut body) = streamed(vec![Ok(Bytes::from("a"))]);
        assert!(payload.is_fresh() && payload.body().is_some());
        body.frame().await;
        assert!(!payload.is_fresh() && payload.body().is_none());
    }
}
