//! What the registry says of itself: one line for each request, through `tracing`.
//!
//! ```text
//! INFO oxbox_registry::access: method=GET path=/v2/a/manifests/v1 status=200 milliseconds=1 peer=… agent=…
//! ```
//!
//! Written when the head of the answer is ready. The query is left out: it may carry credentials of
//! a storage behind a redirect one day, and today carries only what the path and status tell.

use std::net::SocketAddr;
use std::time::Instant;

use http::header::USER_AGENT;
use http::{HeaderMap, Method, StatusCode};

/// The longest part of a client's name that is logged.
const AGENT_CHARACTERS: usize = 120;

/// The longest part of a path that is logged: the longest name, with the longest digest, percent-encoded
/// here and there. A request line may hold a quarter of a megabyte.
const PATH_CHARACTERS: usize = 512;

/// A request being answered.
#[derive(Debug)]
pub(crate) struct Access {
    method: Method,
    path: String,
    agent: String,
    peer: Option<SocketAddr>,
    started: Instant,
}

impl Access {
    /// Notes what is asked.
    pub(crate) fn begin(method: &Method, path: &str, headers: &HeaderMap, peer: Option<SocketAddr>) -> Self {
        let agent = headers.get(USER_AGENT).map_or(String::new(), |agent| {
            String::from_utf8_lossy(agent.as_bytes()).chars().take(AGENT_CHARACTERS).collect()
        });
        Self {
            method: method.clone(),
            path: path.chars().take(PATH_CHARACTERS).collect(),
            agent,
            peer,
            started: Instant::now(),
        }
    }

    /// Writes the line.
    pub(crate) fn end(self, status: StatusCode) {
        let milliseconds = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let peer = self.peer.map(tracing::field::display);
        tracing::info!(
            target: "oxbox_registry::access",
            method = %self.method,
            path = ?self.path,
            status = status.as_u16(),
            milliseconds,
            peer,
            agent = ?self.agent,
        );
    }
}
