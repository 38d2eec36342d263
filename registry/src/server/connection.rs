//! One connection: its protocol, its patience, and its last word.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tower::ServiceExt;

use crate::body::ConnectionState;
use crate::handle::Peer;

/// What an HTTP/2 client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves a connection until it ends.
pub(super) fn serve(
    builder: &auto::Builder<TokioExecutor>,
    router: Router,
    stream: TcpStream,
    peer: SocketAddr,
    idle: Duration,
    watcher: Watcher,
) -> impl Future<Output = ()> + Send + use<> {
    // Small answers must not wait for each other; a failure only makes them wait.
    drop(stream.set_nodelay(true));
    let state = ConnectionState::default();
    let noted = state.clone();
    let service = service_fn(move |request: http::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(noted.clone());
        router.clone().oneshot(request)
    });
    let io = TokioIo::new(Patient::new(stream, idle));
    let connection = watcher.watch(builder.serve_connection(io, service).into_owned());
    async move {
        tokio::pin!(connection);
        // Last in, first dropped: bodies must learn of the end before they see theirs.
        let last = LastWord(state);
        if let Err(error) = (&mut connection).await {
            tracing::debug!(%peer, error, "connection ended");
        }
        drop(last);
    }
}

/// Says that the connection has ended, however it ends.
struct LastWord(ConnectionState);

impl Drop for LastWord {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A stream whose other side may not be silent for ever: not before it has said which protocol it
/// speaks, and not while an answer waits to be taken. In between, heads and bodies have their own
/// bounds.
struct Patient {
    stream: TcpStream,
    idle: Duration,
    /// How much of the preface has come; `None` once the protocol is known.
    preface: Option<usize>,
    greeting: Pin<Box<Sleep>>,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn new(stream: TcpStream, idle: Duration) -> Self {
        Self { stream, idle, preface: Some(0), greeting: Box::pin(sleep(idle)), stalled: None }
    }

    fn heard(&mut self, bytes: &[u8]) {
        let Some(matched) = self.preface else { return };
        let matched = matched + bytes.len();
        let is_preface = PREFACE.get(matched - bytes.len()..matched).is_some_and(|part| part == bytes);
        self.preface = (is_preface && matched < PREFACE.len()).then_some(matched);
    }

    /// Bounds how long a write may be pending.
    fn bounded<T>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let idle = self.idle;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(idle)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not take the answer")))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Ready(result) => {
                this.heard(&buffer.filled()[before..]);
                Poll::Ready(result)
            }
            Poll::Pending if this.preface.is_none() => Poll::Pending,
            Poll::Pending => {
                ready!(this.greeting.as_mut().poll(context));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client says nothing")))
            }
        }
    }
}

impl AsyncWrite for Patient {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.bounded(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, buffers);
        this.bounded(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
