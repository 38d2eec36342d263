//! The requests of an upload: open, send, ask how far it got, close, give up.
//!
//! Each answer's `Location` is where the next request goes. It may be relative, on another host (which
//! gets no credentials), and its query is the registry's own: nothing in it is written anew.

use http::{HeaderValue, Method, StatusCode, header};
use oxbox_layers::oci::Digest;
use oxbox_layers::oci::wire::{self, Path};
use reqwest::Response;
use url::Url;

use crate::client::answer::Place;
use crate::client::blob::place;
use crate::client::call::{Call, Repeat, Target};
use crate::client::exchange::ExchangeError;
use crate::client::payload::Payload;
use crate::client::{ClientError, Repository, redirect};

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// An upload that a registry opened.
#[derive(Debug, Clone)]
pub struct Session {
    pub(super) location: Url,
    /// Least size of a chunk, 0 if the registry asks for none.
    pub(super) min_chunk: u64,
}

impl Session {
    /// Returns the address, as errors name it.
    pub(super) fn place(&self) -> String {
        Place::of(&self.location).to_string()
    }
}

impl Repository {
    pub(super) async fn start_upload(&self) -> Result<Session, ClientError> {
        let response = self.host.call(&self.uploads_call(None)).await?;
        match response.status() {
            StatusCode::ACCEPTED => self.session(&response),
            _ => Err(ClientError::refused(Method::POST, response).await),
        }
    }

    pub(super) fn session(&self, response: &Response) -> Result<Session, ClientError> {
        let min_chunk = response.headers().get(wire::header::CHUNK_MIN_LENGTH);
        let min_chunk = min_chunk.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
        Ok(Session { location: self.location(response)?, min_chunk })
    }

    /// Sends content to an upload and returns where to go on. Sent once: whoever gets no answer asks
    /// [`Repository::upload_offset`].
    pub(super) async fn patch(
        &self,
        location: &Url,
        payload: Payload,
        range: Option<&str>,
    ) -> Result<Url, ClientError> {
        let mut call = self.upload_call(Method::PATCH, location);
        call.payload = payload;
        call.repeat = Repeat::Never;
        call.headers.insert(header::CONTENT_TYPE, OCTETS);
        if let Some(range) = range.and_then(|range| HeaderValue::from_str(range).ok()) {
            // The protocol's own form, without `bytes` and without the whole.
            call.headers.insert(header::CONTENT_RANGE, range);
        }
        let response = self.host.call(&call).await?;
        match response.status() {
            // Amazon's registry answers 201, others 204; some leave the Location out, and mean the same one.
            StatusCode::ACCEPTED | StatusCode::CREATED | StatusCode::NO_CONTENT => {
                Ok(self.location(&response).unwrap_or_else(|_| location.clone()))
            }
            _ => Err(ClientError::refused(Method::PATCH, response).await),
        }
    }

    /// Asks a session how many bytes it has, and where to go on.
    pub(super) async fn upload_offset(&self, location: &Url) -> Result<(u64, Url), ClientError> {
        let response = self.host.call(&self.upload_call(Method::GET, location)).await?;
        if !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::OK | StatusCode::ACCEPTED) {
            return Err(ClientError::refused(Method::GET, response).await);
        }
        let range = response.headers().get(header::RANGE).and_then(|value| value.to_str().ok());
        let next = self.location(&response).unwrap_or_else(|_| location.clone());
        Ok((range.map_or(0, held_bytes), next))
    }

    /// Closes an upload under its digest, with the whole content or after all of it was sent.
    ///
    /// Content goes into a session once: registries keep what came of a body that broke off, and would
    /// append a second one to it. Whoever has the bytes still starts another session.
    pub(super) async fn finish(
        &self,
        location: &Url,
        digest: &Digest,
        payload: Payload,
    ) -> Result<(), ClientError> {
        let mut call = self.upload_call(Method::PUT, &with_digest(location, digest));
        if payload.is_held() {
            call.repeat = Repeat::Never;
        }
        call.payload = payload;
        call.headers.insert(header::CONTENT_TYPE, OCTETS);
        let response = self.host.call(&call).await?;
        match response.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::ACCEPTED => {
                check_told_digest(&response, digest)
            }
            // The first try may have succeeded, and only its answer been lost.
            StatusCode::NOT_FOUND => {
                let error = ClientError::refused(Method::PUT, response).await;
                self.stat_blob(digest).await?.map(drop).ok_or(error)
            }
            _ => Err(ClientError::refused(Method::PUT, response).await),
        }
    }

    /// Gives an upload up. Registries that do not allow it forget it after a while.
    pub(super) async fn cancel(&self, session: &Session) {
        let mut call = self.upload_call(Method::DELETE, &session.location);
        call.repeat = Repeat::Never;
        if let Err(error) = self.host.call(&call).await {
            tracing::debug!(%error, "upload not cancelled");
        }
    }

    pub(super) fn uploads_call(&self, query: Option<&str>) -> Call {
        let path = Path::Uploads { name: &self.path };
        let mut call = Call::new(Method::POST, &path, &self.path, self.scopes());
        if let (Some(query), Target::Path(path)) = (query, &mut call.target) {
            path.push('?');
            path.push_str(query);
        }
        call
    }

    fn upload_call(&self, method: Method, location: &Url) -> Call {
        let path = Path::Uploads { name: &self.path };
        let call = Call::new(method, &path, &self.path, self.scopes());
        Call { target: Target::Url(location.clone()), ..call }
    }

    fn location(&self, response: &Response) -> Result<Url, ClientError> {
        let (from, status) = (response.url(), response.status());
        let to = redirect::location(from, status, response.headers(), self.host.route.trust);
        to.map_err(|error| ExchangeError::Redirect(error).into())
    }
}

/// Appends the digest to what a registry gave, byte for byte: its query may hold a signed state.
fn with_digest(location: &Url, digest: &Digest) -> Url {
    let mut url = location.clone();
    let pair = format!("digest={}%3A{}", digest.algorithm().name(), digest.hex());
    let query = match location.query() {
        None | Some("") => pair,
        Some(query) => format!("{query}&{pair}"),
    };
    url.set_query(Some(&query));
    url
}

/// Checks the digest that a registry says it has stored, if it says so.
pub(in crate::client) fn check_told_digest(
    response: &Response,
    expected: &Digest,
) -> Result<(), ClientError> {
    let told = response.headers().get(wire::header::CONTENT_DIGEST);
    let told = told.and_then(|value| value.to_str().ok()?.parse::<Digest>().ok());
    match told {
        Some(actual) if actual.algorithm() == expected.algorithm() && actual != *expected => {
            Err(ClientError::WrongDigest { url: place(response), expected: *expected, actual })
        }
        _ => Ok(()),
    }
}

/// Reads `0-<last>` as a count. `0-0` is what registries write for nothing, and for one byte.
fn held_bytes(range: &str) -> u64 {
    let range = range.trim().trim_start_matches("bytes=");
    let last = range.split_once('-').and_then(|(_, last)| last.parse().ok());
    match last {
        None | Some(0) => 0,
        Some(last) => u64::saturating_add(last, 1),
    }
}

#[cfg(test)]
mod tests {
    use oxbox_layers::oci::Digest;

    use super::{held_bytes, with_digest};

    #[test]
    fn the_registrys_own_query_is_kept_byte_for_byte() {
        let digest = Digest::sha256(b"");
        let hex = digest.hex();
        for (location, expected) in [
            ("https://q.io/u/1", format!("https://q.io/u/1?digest=sha256%3A{hex}")),
            ("https://q.io/u/1?", format!("https://q.io/u/1?digest=sha256%3A{hex}")),
            (
                "https://q.io/u/1?_state=a+b%2F%3D",
                format!("https://q.io/u/1?_state=a+b%2F%3D&digest=sha256%3A{hex}"),
            ),
        ] {
            assert_eq!(with_digest(&location.parse().unwrap(), &digest).as_str(), expected);
        }
    }

    #[test]
    fn a_sessions_range_is_read_as_a_count() {
        for (range, held) in [("0-9", 10), ("bytes=0-9", 10), ("0-0", 0), ("", 0), ("x", 0)] {
            assert_eq!(held_bytes(range), held, "{range:?}");
        }
    }
}
