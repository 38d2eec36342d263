//! The socket: accepting, serving HTTP/1.1 and HTTP/2 in clear text, and stopping in order.
//!
//! ```text
//! bind ─▶ run: accept ─▶ connection task ─▶ handle
//!             shutdown ─▶ no new connections; idle ones close; requests may finish within `drain`
//!                      ─▶ uploads end at a durable offset ─▶ what is left is cut
//! ```

mod connection;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::config::ServeConfig;
use crate::handle::handle;
use crate::registry::Registry;
use crate::storage::{Disk, Sqlite, StorageError};

/// Connections at a time; those beyond wait in the kernel's queue.
const CONNECTIONS: usize = 4096;

/// What hyper reads ahead of each HTTP/1.1 connection, and so the largest head and the largest piece
/// of a body.
const READ_BUFFER_BYTES: usize = 256 * 1024;

/// What an HTTP/2 client may send ahead. The protocol's own 64 KiB stall a push over a long wire.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Requests at a time on one HTTP/2 connection.
const STREAMS: u32 = 128;

/// How long uploads have to reach a durable offset when the server is cut off.
const SETTLE: Duration = Duration::from_secs(10);

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not: in use, or not allowed.
        #[source]
        source: io::Error,
    },
    /// The root cannot be used.
    #[error("cannot serve from {root}", root = .root.display())]
    Root {
        /// The root.
        root: std::path::PathBuf,
        /// Why not.
        #[source]
        source: StorageError,
    },
}

/// A registry that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    registry: Arc<Registry>,
    drain: Duration,
    idle: Duration,
}

impl Server {
    /// Opens the root and the address. Connections are accepted from now on, and served by
    /// [`Server::run`].
    pub async fn bind(config: ServeConfig) -> Result<Self, StartError> {
        let listening = |source| StartError::Listen { address: config.listen, source };
        // The address first: its error is the commoner one, and leaves no directories behind.
        let listener = TcpListener::bind(config.listen).await.map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;
        let root = config.root.clone();
        let opened = spawn_blocking(move || {
            let disk = Disk::open(&root)?;
            Ok((disk, Sqlite::open(&root.join("meta.db"))?))
        });
        let opened = opened.await.unwrap_or(Err(StorageError::Closed));
        let (disk, sqlite) =
            opened.map_err(|source| StartError::Root { root: config.root.clone(), source })?;
        let registry = Registry::new(Arc::new(disk), Arc::new(sqlite), config.sparse_indexes, config.idle);
        let registry = Arc::new(registry);
        Ok(Self { listener, address, registry, drain: config.drain, idle: config.idle })
    }

    /// Returns the address that it listens on, with the port that was taken for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is ready, then stops in order; all is closed when this returns.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let router = router(Arc::clone(&self.registry));
        let builder = protocols();
        let graceful = GracefulShutdown::new();
        let seats = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        tracing::info!(address = %self.address, "listening");
        tokio::pin!(shutdown);
        loop {
            let (stream, peer, seat) = tokio::select! {
                () = &mut shutdown => break,
                // Finished ones are forgotten as they go.
                Some(_) = connections.join_next() => continue,
                accepted = accept(&self.listener, &seats) => match accepted {
                    Some(accepted) => accepted,
                    None => continue,
                },
            };
            let serve =
                connection::serve(&builder, router.clone(), stream, peer, self.idle, graceful.watcher());
            connections.spawn(async move {
                serve.await;
                drop(seat);
            });
        }
        drop((self.listener, router, builder));
        stop(graceful, self.registry, connections, self.drain).await;
    }
}

/// The protocol over some storage, without a socket: what [`Server`] serves on each connection.
pub fn router(registry: Arc<Registry>) -> Router {
    let answer = |State(registry): State<Arc<Registry>>, request: Request| handle(registry, request);
    Router::new().fallback(answer).with_state(registry)
}

fn protocols() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Also how long a connection may idle between requests.
        .header_read_timeout(Duration::from_secs(60))
        .max_buf_size(READ_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    builder
}

async fn accept(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let seat = Arc::clone(seats).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, seat)),
        Err(error) => {
            // Out of file descriptors, most likely: some will be closed soon.
            tracing::warn!(%error, "cannot accept a connection");
            sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

async fn stop(
    graceful: GracefulShutdown,
    registry: Arc<Registry>,
    mut connections: JoinSet<()>,
    drain: Duration,
) {
    tracing::info!(connections = graceful.count(), "stopping");
    if timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests are still under way; uploads can be resumed");
    }
    registry.settle(SETTLE).await;
    connections.shutdown().await;
    let mut open = registry.stopping();
    drop(registry);
    // Tasks of HTTP/2 streams end on their own soon after their connection.
    let closed = async { while open.changed().await.is_ok() {} };
    if timeout(SETTLE, closed).await.is_err() {
        tracing::warn!("some requests did not end");
    }
    tracing::info!("stopped");
}
