//! One request and its answer: connections, redirects, and the patience for both.
//!
//! ```text
//! request ─▶ answer
//!          └ 30x ─▶ request to Location, without credentials if the origin is another ─▶ …
//! ```
//!
//! Here is neither who we are (`auth`) nor trying again (`host`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, header};
use reqwest::{Request, Response};
use url::Url;

use super::answer::Place;
use super::hosts::Trust;
use super::payload::Payload;
use super::redirect::{self, MAX_HOPS, RedirectError};
use super::stack::{Stack, StackError};

/// How requests to one registry, and to wherever it leads, are sent.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) stack: Arc<Stack>,
    pub(crate) trust: Trust,
    /// `--cert-dir`: only for the registry itself.
    pub(crate) cert_dir: Option<(String, PathBuf)>,
    /// Longest silence, of an answer or within a body.
    pub(crate) patience: Duration,
}

/// A request as it leaves.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    /// Sent to the origin of `url` and to no other.
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) payload: Payload,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// No connection could be made.
    #[error("cannot reach {url}")]
    Unreachable {
        /// Address without its query.
        url: String,
        /// DNS, TCP or TLS.
        #[source]
        source: reqwest::Error,
    },
    /// The connection broke.
    #[error("the connection to {url} broke")]
    Broken {
        /// Address without its query.
        url: String,
        /// Where.
        #[source]
        source: reqwest::Error,
    },
    /// Nothing came and nothing went for too long.
    #[error("{url} was silent for {} s", .patience.as_secs_f32())]
    Stalled {
        /// Address without its query.
        url: String,
        /// How long was waited.
        patience: Duration,
    },
    /// A stream that was to be sent broke off by itself.
    #[error("the content for {url} broke off")]
    Content {
        /// Address without its query.
        url: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A body is larger than anything honest.
    #[error("the answer of {url} is larger than {limit} bytes")]
    TooLarge {
        /// Address without its query.
        url: String,
        /// Bytes allowed.
        limit: usize,
    },
    /// A stream was sent in part and cannot be sent again.
    #[error("the content for {url} was sent in part and cannot be sent again")]
    Spent {
        /// Address without its query.
        url: String,
    },
    /// A redirect that is not followed.
    #[error(transparent)]
    Redirect(#[from] RedirectError),
    /// Connections of this kind cannot be made at all.
    #[error(transparent)]
    Stack(#[from] StackError),
}

impl ExchangeError {
    pub(crate) fn broken(place: &Place, source: reqwest::Error) -> Self {
        Self::Broken { url: place.to_string(), source: source.without_url() }
    }

    /// Whether the same request may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => !is_certificate_error(source) && !is_no_tls(source),
            Self::Broken { .. } | Self::Stalled { .. } | Self::Spent { .. } => true,
            Self::Redirect(RedirectError::BodyGone { .. }) => true,
            Self::Content { .. } | Self::TooLarge { .. } | Self::Redirect(_) | Self::Stack(_) => false,
        }
    }
}

/// Whether a connection failed because the other side is not who it should be.
pub(crate) fn is_certificate_error(error: &(dyn std::error::Error + 'static)) -> bool {
    find_in_chain::<rustls::Error>(error).is_some_and(|error| {
        matches!(error, rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)
    })
}

/// Whether a handshake failed because the other side speaks another language: plain HTTP, mostly.
fn is_no_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    find_in_chain::<rustls::Error>(error).is_some_and(|error| {
        matches!(error, rustls::Error::InvalidMessage(_) | rustls::Error::PeerIncompatible(_))
    })
}

/// Looks for an error of type `E` below `error`, also within io errors, which hide theirs.
fn find_in_chain<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner as &(dyn std::error::Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// Sends a request and follows its redirects.
pub(crate) async fn exchange(route: &Route, outgoing: &Outgoing) -> Result<Response, ExchangeError> {
    let mut url = outgoing.url.clone();
    for _ in 0..=MAX_HOPS {
        let response = send(route, outgoing, &url).await?;
        if !redirect::is_redirect(response.status()) {
            return Ok(response);
        }
        url = next_hop(route, outgoing, &response)?;
    }
    Err(RedirectError::TooMany { from: Place::of(&url).to_string() }.into())
}

fn next_hop(route: &Route, outgoing: &Outgoing, response: &Response) -> Result<Url, RedirectError> {
    let (from, status) = (response.url(), response.status());
    let told = || Place::of(from).to_string();
    if !redirect::keeps_method(&outgoing.method, status) {
        return Err(RedirectError::NotForWrites { method: outgoing.method.clone(), from: told(), status });
    }
    let to = redirect::location(from, status, response.headers(), route.trust)?;
    if !outgoing.payload.is_fresh() {
        return Err(RedirectError::BodyGone { from: told() });
    }
    if outgoing.payload.is_secret() && to.origin() != outgoing.url.origin() {
        return Err(RedirectError::Secret { from: told(), to: Place::of(&to).to_string() });
    }
    Ok(to)
}

async fn send(route: &Route, outgoing: &Outgoing, url: &Url) -> Result<Response, ExchangeError> {
    let place = Place::of(url);
    let client = route.client(url)?;
    let request = request(outgoing, url).ok_or_else(|| ExchangeError::Spent { url: place.to_string() })?;
    tracing::debug!(method = %outgoing.method, url = %place, "request");
    let sending = client.execute(request);
    tokio::pin!(sending);
    loop {
        let sent = outgoing.payload.sent();
        match tokio::time::timeout(route.patience, &mut sending).await {
            Ok(Ok(response)) => {
                tracing::debug!(status = %response.status(), url = %place, "answer");
                return Ok(response);
            }
            Ok(Err(error)) => return Err(failed(&place, &outgoing.payload, error)),
            // A body under way is no silence.
            Err(_) if outgoing.payload.sent() != sent => {}
            Err(_) => {
                return Err(ExchangeError::Stalled { url: place.to_string(), patience: route.patience });
            }
        }
    }
}

/// Builds the request for one hop; `None` if its body was sent already.
fn request(outgoing: &Outgoing, url: &Url) -> Option<Request> {
    let mut request = Request::new(outgoing.method.clone(), url.clone());
    *request.headers_mut() = outgoing.headers.clone();
    if url.origin() == outgoing.url.origin()
        && let Some(value) = &outgoing.authorization
    {
        request.headers_mut().insert(header::AUTHORIZATION, value.clone());
    }
    if matches!(outgoing.method, Method::POST | Method::PUT | Method::PATCH) {
        // Zero too: some proxies answer 411 to a POST or PUT that does not say so.
        if let Some(size) = outgoing.payload.size() {
            request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(size));
        }
        *request.body_mut() = Some(outgoing.payload.body()?);
    }
    Some(request)
}

fn failed(place: &Place, payload: &Payload, error: reqwest::Error) -> ExchangeError {
    let url = place.to_string();
    if let Some(source) = payload.failure() {
        return ExchangeError::Content { url, source };
    }
    let source = error.without_url();
    if source.is_connect() {
        return ExchangeError::Unreachable { url, source };
    }
    ExchangeError::Broken { url, source }
}

impl Route {
    /// Returns the connections to an address.
    pub(crate) fn client(&self, url: &Url) -> Result<reqwest::Client, StackError> {
        let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let own = self.cert_dir.as_ref().filter(|(host, _)| host == authority);
        self.stack.client(url, self.trust, own.map(|(_, dir)| dir.as_path()))
    }
}
