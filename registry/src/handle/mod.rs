//! From a request to an answer: one file for each resource, and here what they share.
//!
//! ```text
//! HTTP request ─ route ─▶ Request ─▶ handle/<resource> ─▶ storage ─▶ response
//! ```
//!
//! Requests that write run as tasks of their own: a client that goes away must not stop the server
//! between the bytes and the metadata, and what came of its upload is kept.

mod blobs;
mod catalog;
mod manifests;
mod ranges;
mod receive;
mod referrers;
mod tags;
mod uploads;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, LOCATION};
use http::{HeaderValue, Method, StatusCode};
use http_body::Body as _;
use oxbox_layers::oci::wire::header;
use serde::Serialize;

use crate::body::{ConnectionState, Incoming};
use crate::error::Error;
use crate::observe::Access;
use crate::registry::Registry;
use crate::route::{Request, route};

/// A request as the handlers see it.
pub(crate) struct Call {
    registry: Arc<Registry>,
    method: Method,
    headers: HeaderMap,
}

impl Call {
    /// Whether only the head of the answer is wanted.
    fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Where a connection's peer is, as the server notes it on each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Answers a request; every refusal is an answer too.
pub(crate) async fn handle(registry: Arc<Registry>, request: http::Request<Body>) -> Response {
    let (mut parts, body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().map(|peer| peer.0);
    let access = Access::begin(&parts.method, parts.uri.path(), &parts.headers, peer);
    let connection = parts.extensions.remove::<ConnectionState>().unwrap_or_default();
    let mut body = Incoming::new(&parts.headers, body, connection, registry.idle, registry.stopping());
    let routed = route(&parts.method, parts.uri.path(), parts.uri.query());
    let is_head = parts.method == Method::HEAD;
    let writes = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE);
    let call = Call { registry, method: parts.method, headers: parts.headers };
    let run = async move {
        let turn = if writes { Some(call.registry.write_turn().await) } else { None };
        let answer = match routed {
            Ok(request) => answer(&call, &mut body, request).await,
            Err(error) => Err(error.into()),
        };
        if answer.is_err() {
            body.drain().await;
        }
        // In this order: whoever waits for the last writer may open the storage anew.
        drop(call);
        drop(turn);
        answer
    };
    let answer = if writes { tokio::spawn(run).await.unwrap_or(Err(Error::Panicked)) } else { run.await };
    let response = finished(answer.unwrap_or_else(IntoResponse::into_response), is_head);
    access.end(response.status());
    response
}

async fn answer(call: &Call, body: &mut Incoming, request: Request) -> Result<Response, Error> {
    match request {
        Request::Base => Ok(json(&serde_json::json!({}))),
        Request::Catalog(page) => catalog::list(call, &page).await,
        Request::ReadBlob(name, digest) => blobs::read(call, &name, &digest).await,
        Request::DeleteBlob(name, digest) => blobs::delete(call, &name, &digest).await,
        Request::StartUpload(name, start) => uploads::start(call, body, &name, start).await,
        Request::ReadUpload(name, upload) => uploads::read(call, &name, &upload).await,
        Request::AppendUpload(name, upload) => uploads::append(call, body, &name, &upload).await,
        Request::FinishUpload(name, upload, digest) => {
            uploads::finish(call, body, &name, &upload, &digest).await
        }
        Request::CancelUpload(name, upload) => uploads::cancel(call, &name, &upload).await,
        Request::ReadManifest(name, reference) => manifests::read(call, &name, &reference).await,
        Request::WriteManifest(name, reference, tags) => {
            manifests::write(call, body, &name, &reference, tags).await
        }
        Request::DeleteManifest(name, reference) => manifests::delete(call, &name, &reference).await,
        Request::ListTags(name, page) => tags::list(call, &name, &page).await,
        Request::ListReferrers(name, digest, query) => referrers::list(call, &name, &digest, &query).await,
    }
}

/// What every answer has; a HEAD's keeps the length of the body that it does not have.
fn finished(response: Response, is_head: bool) -> Response {
    let (mut parts, mut body) = response.into_parts();
    parts.headers.insert(header::API_VERSION, HeaderValue::from_static("registry/2.0"));
    if !parts.headers.contains_key(CONTENT_LENGTH)
        && parts.status != StatusCode::NO_CONTENT
        && parts.status != StatusCode::NOT_MODIFIED
        && let Some(length) = body.size_hint().exact()
    {
        parts.headers.insert(CONTENT_LENGTH, length.into());
    }
    if is_head {
        body = Body::empty();
    }
    Response::from_parts(parts, body)
}

/// An answer without a body.
fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// An answer without a body that says where something is.
fn at(status: StatusCode, location: &str) -> Response {
    with(empty(status), LOCATION, location)
}

fn json(value: &impl Serialize) -> Response {
    let text = serde_json::to_vec(value).expect("because answers hold only text keys");
    with(Response::new(Body::from(text)), CONTENT_TYPE, "application/json")
}

/// Adds a header. Values are names, digests and numbers; what could not be a value is left out.
fn with(mut response: Response, name: impl TryInto<HeaderName>, value: &str) -> Response {
    if let (Ok(name), Ok(value)) = (name.try_into(), HeaderValue::from_str(value)) {
        response.headers_mut().append(name, value);
    }
    response
}
