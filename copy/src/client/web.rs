//! A file of any web server: no registry, no protocol but HTTP.
//!
//! ```text
//! GET ─▶ 200 ─ bytes ─ ✂ ─ GET Range, If-Range: the strong ETag ─▶ 206 ─ bytes ─▶ end
//!     └▶ 304                                                             of a body that was had before
//! ```
//!
//! Credentials within an address go to its own origin and to no other, and no error shows them. Where
//! redirects may lead is `redirect`'s: not from HTTPS to HTTP, and not from elsewhere to this machine.

use std::num::NonZero;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use percent_encoding::percent_decode_str;
use reqwest::Response;
use url::Url;

use super::answer::Place;
use super::auth::{basic, sensitive};
use super::blob::content_length;
use super::exchange::{ExchangeError, Outgoing, Route, exchange};
use super::payload::Payload;
use super::retry::Verdict;
use super::{Client, ClientError, Secret};

/// Most times that one request is sent: whoever waits for a build wants to know soon.
const TRIES: NonZero<u32> = NonZero::new(3).expect("because three is not zero");
/// Most losses of one body.
const MAX_LOSSES: u32 = 5;
/// Longest validator that is sent back or noted.
const MAX_VALIDATOR: usize = 1024;

/// A file that is wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Where: `http` or `https`, perhaps with credentials.
    pub url: String,
    /// What the server said of a body that is still at hand.
    pub validators: Validators,
    /// Value of `Authorization` for the address's own origin, in place of credentials within it.
    pub authorization: Option<Secret>,
}

/// What a server says by which a body is known again. RFC 9110, section 8.8
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Validators {
    /// `ETag`, quotes and all.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

/// What came of it.
pub enum WebAnswer {
    /// The body is the one that was at hand.
    Unchanged,
    /// There is a body.
    Body(Box<WebBody>),
}

/// A body on its way.
pub struct WebBody {
    client: Client,
    route: Route,
    request: Outgoing,
    validators: Validators,
    response: Option<Response>,
    offset: u64,
    size: Option<u64>,
    losses: u32,
}

impl Client {
    /// Asks for a file. Repeats what may pass, follows redirects.
    ///
    /// # Errors
    ///
    /// [`ClientError::Address`] if it is no address of HTTP, [`ClientError::NoFile`] if the server has none.
    pub async fn file(&self, wanted: &Wanted) -> Result<WebAnswer, ClientError> {
        let (url, own) = address(&wanted.url)?;
        let authorization = match &wanted.authorization {
            Some(secret) => Some(sensitive(secret.expose())),
            None => own,
        };
        let mut request = Outgoing {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            authorization,
            payload: Payload::empty(),
        };
        // Without one, some servers answer with what they think a browser wants.
        request.headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        let at_hand = &wanted.validators;
        add(&mut request.headers, header::IF_NONE_MATCH, at_hand.etag.as_deref());
        if at_hand.etag.is_none() {
            add(&mut request.headers, header::IF_MODIFIED_SINCE, at_hand.last_modified.as_deref());
        }
        let route = self.web_route();
        let response = self.ask(&route, &request).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if *at_hand != Validators::default() => return Ok(WebAnswer::Unchanged),
            status => {
                let url = Place::of(response.url()).to_string();
                return Err(ClientError::NoFile { url, status });
            }
        }
        for name in [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE] {
            request.headers.remove(name);
        }
        let size = content_length(&response);
        Ok(WebAnswer::Body(Box::new(WebBody {
            client: self.clone(),
            route,
            request,
            validators: Validators::of(response.headers()),
            response: Some(response),
            offset: 0,
            size,
            losses: 0,
        })))
    }

    fn web_route(&self) -> Route {
        let settings = &self.settings;
        Route {
            stack: self.stack.clone(),
            trust: settings.trust,
            cert_dir: None,
            patience: settings.patience,
        }
    }

    async fn ask(&self, route: &Route, request: &Outgoing) -> Result<Response, ClientError> {
        let (policy, clock) = (&self.settings.policy, &*self.settings.clock);
        let mut tried = 0;
        loop {
            tried += 1;
            let last = tried >= TRIES.get().min(policy.tries);
            let wait = match exchange(route, request).await {
                Ok(response) => match policy.judge(response.status(), response.headers(), tried, clock) {
                    Verdict::Again(wait) if !last => wait,
                    _ => return Ok(response),
                },
                Err(error) if error.is_transient() && !last => policy.backoff(tried, clock),
                Err(error) => return Err(error.into()),
            };
            clock.sleep(wait).await;
        }
    }
}

impl WebBody {
    /// Returns what the server said of the body.
    pub fn validators(&self) -> &Validators {
        &self.validators
    }

    /// Returns how many bytes will come, if that was said.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Returns the next piece, `None` at the end. A body that breaks off is gone on with where it broke,
    /// if the server can tell that it still is the same.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let Some(response) = &mut self.response else { return Ok(None) };
            let place = Place::of(response.url());
            let patience = self.route.patience;
            let error = match tokio::time::timeout(patience, response.chunk()).await {
                Ok(Ok(Some(piece))) if piece.is_empty() => continue,
                Ok(Ok(Some(piece))) => {
                    self.offset += piece.len() as u64;
                    return Ok(Some(piece));
                }
                Ok(Ok(None)) => {
                    self.response = None;
                    return Ok(None);
                }
                Ok(Err(source)) => ExchangeError::broken(&place, source),
                Err(_) => ExchangeError::Stalled { url: place.to_string(), patience },
            };
            self.resume(error).await?;
        }
    }

    async fn resume(&mut self, error: ExchangeError) -> Result<(), ClientError> {
        self.losses += 1;
        let etag = self.validators.etag.as_deref().filter(|etag| !etag.starts_with("W/"));
        let (Some(etag), true) = (etag, self.losses < MAX_LOSSES) else { return Err(error.into()) };
        tracing::debug!(offset = self.offset, losses = self.losses, %error, "download lost");
        let mut request = self.request.clone();
        add(&mut request.headers, header::RANGE, Some(&format!("bytes={}-", self.offset)));
        add(&mut request.headers, header::IF_RANGE, Some(etag));
        let settings = &self.client.settings;
        settings.clock.sleep(settings.policy.backoff(self.losses, &*settings.clock)).await;
        let response = self.client.ask(&self.route, &request).await?;
        let begins = response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let expected = format!("bytes {}-", self.offset);
        if response.status() != StatusCode::PARTIAL_CONTENT
            || !begins.is_some_and(|range| range.starts_with(&expected))
        {
            // Another body by now, or a server without ranges: only all of it is of use.
            return Err(error.into());
        }
        self.response = Some(response);
        Ok(())
    }
}

impl Validators {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| {
            let value = headers.get(name)?.to_str().ok()?;
            (!value.is_empty() && value.len() <= MAX_VALIDATOR).then(|| value.to_owned())
        };
        Self { etag: text(header::ETAG), last_modified: text(header::LAST_MODIFIED) }
    }
}

/// Reads an address, and cuts its credentials off: they become a header.
fn address(text: &str) -> Result<(Url, Option<HeaderValue>), ClientError> {
    let odd = || ClientError::Address { url: shown(text) };
    let mut url: Url = text.parse().map_err(|_| odd())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(odd());
    }
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (user, password) = (decoded(url.username()), url.password().map(decoded));
    let authorization = (!user.is_empty() || password.is_some())
        .then(|| basic(&user, &Secret::new(password.unwrap_or_default())));
    url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| odd())?;
    url.set_fragment(None);
    Ok((url, authorization))
}

/// Returns a text that should be an address without what may be a secret in it.
fn shown(text: &str) -> String {
    let bare = text.split(['?', '#']).next().unwrap_or_default();
    let bare = match bare.split_once("//") {
        Some((scheme, rest)) => {
            let authority = rest.find('/').unwrap_or(rest.len());
            let host = rest[..authority].rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}//{}", &rest[host..])
        }
        None => bare.to_owned(),
    };
    bare.chars().take(300).collect()
}

fn add(headers: &mut HeaderMap, name: HeaderName, value: Option<&str>) {
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientError, address, shown};

    #[test]
    fn credentials_in_an_address_become_a_header() {
        let (url, authorization) = address("https://us%40er:p%3Aw@q.io/file?sig=1#part").unwrap();
        assert_eq!(url.as_str(), "https://q.io/file?sig=1");
        // us@er:p:w
        assert_eq!(authorization.unwrap(), "Basic dXNAZXI6cDp3");
        assert_eq!(address("http://q.io/").unwrap().1, None);
    }

    #[test]
    fn an_address_that_is_none_is_told_without_its_secrets() {
        for (text, told) in [
            ("https://user:pw@/x?token=1", "https:///x"),
            ("ftp://user:pw@q.io/x", "ftp://q.io/x"),
            ("https://us er:pw@q io/x", "https://q io/x"),
            ("nonsense", "nonsense"),
        ] {
            let error = address(text).unwrap_err();
            assert!(matches!(&error, ClientError::Address { url } if url == told), "{text}: {error}");
        }
        assert_eq!(shown("https://q.io"), "https://q.io");
    }
}
