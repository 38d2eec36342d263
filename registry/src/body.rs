//! A request's body as the handlers read it: bounded in time, and never taken for whole when it is not.
//!
//! Three ends look alike on the wire of HTTP/1.1 and must not be confused: the body's true end, a
//! client that went away, and a connection that this server dropped while it stops. Only the first
//! may publish anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, EXPECT};
use http_body::Body as _;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// What is read and thrown away of a body that is refused, so that the client, busy sending, lives to
/// read the answer. Larger bodies are cut off.
const DRAIN_BYTES: u64 = 16 * 1024 * 1024;

/// How long a refused body is drained.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// How long a small body may take as a whole: a few bytes a second would do for each of them to hold
/// its memory for ever.
const COLLECT_TIME: Duration = Duration::from_secs(120);

/// Whether the connection under a request has ended. A dropped connection ends an HTTP/1.1 body just
/// as its true end does, so the connection says so before it goes (`server/connection.rs`).
#[derive(Debug, Clone, Default)]
pub struct ConnectionState(Arc<AtomicBool>);

impl ConnectionState {
    /// Says that bodies which end from now on were cut off.
    pub fn end(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn has_ended(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Why a body did not come whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection broke.
    #[error("the body was cut off after {taken} bytes")]
    Broken {
        /// Bytes that came.
        taken: u64,
    },
    /// The body ended before the declared length.
    #[error("the body ended at {taken} of {declared} bytes")]
    Short {
        /// Bytes that came.
        taken: u64,
        /// Bytes that were declared.
        declared: u64,
    },
    /// Nothing came for too long.
    #[error("the body did not go on within {} seconds", .waited.as_secs())]
    Idle {
        /// How long the server waited.
        waited: Duration,
    },
    /// More came than may.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// What may come.
        limit: u64,
    },
    /// The server is going down.
    #[error("the registry is stopping")]
    Stopping,
}

/// The body of one request.
#[derive(Debug)]
pub struct Incoming {
    stream: BodyDataStream,
    declared: Option<u64>,
    taken: u64,
    idle: Duration,
    connection: ConnectionState,
    stopping: watch::Receiver<bool>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The client waits for `100 Continue`, which the first read sends it.
    Expecting,
    Open,
    Ended,
}

impl Incoming {
    /// Wraps a request's body.
    pub fn new(
        headers: &HeaderMap,
        body: Body,
        connection: ConnectionState,
        idle: Duration,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        // HTTP/2 says so without a length.
        let declared = if body.is_end_stream() { Some(0) } else { length };
        let state = if headers.contains_key(EXPECT) { State::Expecting } else { State::Open };
        Self { stream: body.into_data_stream(), declared, taken: 0, idle, connection, stopping, state }
    }

    /// Returns how many bytes the client said it would send.
    pub fn declared(&self) -> Option<u64> {
        self.declared
    }

    /// Returns how many bytes came.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Returns the next bytes, or `None` at the body's true end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        if self.state == State::Ended {
            return Ok(None);
        }
        self.state = State::Open;
        let next = tokio::select! {
            biased;
            Ok(_) = self.stopping.wait_for(|stopping| *stopping) => return Err(BodyError::Stopping),
            next = timeout(self.idle, self.stream.next()) => next,
        };
        match next {
            Err(_) => Err(BodyError::Idle { waited: self.idle }),
            Ok(Some(Ok(bytes))) => {
                self.taken += bytes.len() as u64;
                Ok(Some(bytes))
            }
            Ok(Some(Err(_))) => {
                self.state = State::Ended;
                Err(BodyError::Broken { taken: self.taken })
            }
            Ok(None) => {
                self.state = State::Ended;
                self.check_end().map(|()| None)
            }
        }
    }

    fn check_end(&self) -> Result<(), BodyError> {
        match self.declared {
            Some(declared) if declared != self.taken => Err(BodyError::Short { taken: self.taken, declared }),
            None if self.connection.has_ended() => Err(BodyError::Broken { taken: self.taken }),
            _ => Ok(()),
        }
    }

    /// Reads a small body whole.
    pub async fn collect(&mut self, limit: usize) -> Result<Bytes, BodyError> {
        let collected = timeout(COLLECT_TIME, self.collect_patiently(limit)).await;
        collected.unwrap_or(Err(BodyError::Idle { waited: COLLECT_TIME }))
    }

    async fn collect_patiently(&mut self, limit: usize) -> Result<Bytes, BodyError> {
        let too_large = BodyError::TooLarge { limit: limit as u64 };
        if self.declared.is_some_and(|declared| declared > limit as u64) {
            return Err(too_large);
        }
        let mut whole = BytesMut::new();
        while let Some(bytes) = self.next().await? {
            if whole.len() + bytes.len() > limit {
                return Err(too_large);
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.freeze())
    }

    /// Throws away what the client is still sending, within bounds. A client that waits for
    /// `100 Continue` sends nothing, and is not asked to.
    pub async fn drain(&mut self) {
        let deadline = Instant::now() + DRAIN_TIME;
        let already = self.taken;
        if self.state == State::Expecting || self.declared.is_some_and(|declared| declared > DRAIN_BYTES) {
            return;
        }
        while self.taken - already < DRAIN_BYTES {
            match timeout_at(deadline, self.next()).await {
                Ok(Ok(Some(_))) => {}
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use bytes::Bytes;
    use futures_util::stream;
    use http::HeaderMap;
    use tokio::sync::watch;

    use super::{BodyError, ConnectionState, Incoming};

    fn incoming(declared: Option<&str>, body: Body, connection: &ConnectionState) -> Incoming {
        let mut headers = HeaderMap::new();
        if let Some(declared) = declared {
            headers.insert("content-length", declared.parse().unwrap());
        }
        Incoming::new(&headers, body, connection.clone(), Duration::from_secs(60), never_stopping())
    }

    fn never_stopping() -> watch::Receiver<bool> {
        // A sender that is gone can no longer say so: the body goes on.
        watch::channel(false).1
    }

    #[tokio::test]
    async fn a_body_that_ends_early_is_not_whole() {
        let mut body = incoming(Some("9"), Body::from("short"), &ConnectionState::default());
        assert!(matches!(body.collect(100).await, Err(BodyError::Short { taken: 5, declared: 9 })));
    }

    #[tokio::test]
    async fn a_body_of_unknown_length_that_ends_with_its_connection_is_not_whole() {
        let connection = ConnectionState::default();
        connection.end();
        let mut body = incoming(None, Body::from("perhaps"), &connection);
        assert!(matches!(body.collect(100).await, Err(BodyError::Broken { taken: 7 })));
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_is_refused_declared_or_not() {
        for declared in [Some("11"), None] {
            let mut body = incoming(declared, Body::from("eleven byte"), &ConnectionState::default());
            assert!(matches!(body.collect(10).await, Err(BodyError::TooLarge { limit: 10 })), "{declared:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_nothing_is_given_up() {
        let silent = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let mut body = incoming(None, silent, &ConnectionState::default());
        assert!(matches!(body.next().await, Err(BodyError::Idle { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_body_that_trickles_is_given_up() {
        let trickle = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        });
        let mut body = incoming(None, Body::from_stream(trickle), &ConnectionState::default());
        assert!(matches!(body.collect(1000).await, Err(BodyError::Idle { .. })));
    }

    #[tokio::test]
    async fn a_stopping_server_takes_no_more() {
        let (stop, stopping) = watch::channel(false);
        let headers = HeaderMap::new();
        let body = Body::from("more");
        let idle = Duration::from_secs(60);
        let mut body = Incoming::new(&headers, body, ConnectionState::default(), idle, stopping);
        stop.send_replace(true);
        assert!(matches!(body.next().await, Err(BodyError::Stopping)));
    }
}
