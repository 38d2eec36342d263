//! What registries answer when they refuse, read within bounds and quoted safely.
//!
//! ```json
//! { "errors": [ { "code": "MANIFEST_UNKNOWN", "message": "…", "detail": … } ] }
//! ```

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use oxbox_layers::oci::wire::{ErrorBody, ErrorEntry};
use reqwest::Response;
use url::Url;

use super::exchange::ExchangeError;

/// Most bytes of an error body that are read; what follows is of no use to anybody.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// How long an error body may take: the status has said the most of it.
const ERROR_PATIENCE: Duration = Duration::from_secs(10);
/// Most errors of one answer that are told.
const MAX_TOLD: usize = 3;
/// Most characters of one message that are told.
const MAX_MESSAGE: usize = 200;

/// The errors that a registry gave with a refusal. Prints as `: CODE "message"`, or as nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Said(pub Vec<ErrorEntry>);

impl Said {
    /// Whether one of the errors has this code.
    pub fn has(&self, code: &str) -> bool {
        self.0.iter().any(|entry| entry.code == code)
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.0.iter().take(MAX_TOLD).enumerate() {
            let before = if index == 0 { ": " } else { ", " };
            write!(f, "{before}{}", printable(&entry.code))?;
            if !entry.message.is_empty() {
                write!(f, " {:?}", cut(&entry.message))?;
            }
        }
        Ok(())
    }
}

/// An address as errors name it: without the query, which holds signatures and tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place(String);

impl Place {
    pub(crate) fn of(url: &Url) -> Self {
        let mut bare = url.clone();
        bare.set_query(None);
        bare.set_fragment(None);
        // Neither fails for an address that a request was sent to.
        let _ = bare.set_username("");
        let _ = bare.set_password(None);
        Self(bare.as_str().chars().take(300).collect())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads the errors of a refusal. One without the protocol's JSON has its text told instead.
pub(crate) async fn errors(response: Response) -> Vec<ErrorEntry> {
    let is_html = content_type(response.headers()).is_some_and(|kind| kind.contains("html"));
    let reading = tokio::time::timeout(ERROR_PATIENCE, start_of_body(response, MAX_ERROR_BYTES));
    let Ok(Ok(body)) = reading.await else { return Vec::new() };
    if let Ok(body) = serde_json::from_slice::<ErrorBody>(&body) {
        return body.errors;
    }
    let text = String::from_utf8_lossy(&body).trim().to_owned();
    // A page of markup tells nobody anything.
    if text.is_empty() || is_html || text.starts_with('<') {
        return Vec::new();
    }
    vec![ErrorEntry { code: "UNKNOWN".to_owned(), message: cut(&text), detail: None }]
}

/// Reads a whole body of at most `limit` bytes, none of which may be longer in coming than `patience`.
pub(crate) async fn body(
    mut response: Response,
    limit: usize,
    patience: Duration,
) -> Result<Bytes, ExchangeError> {
    let place = Place::of(response.url());
    let announced = response.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > limit as u64) {
        return Err(ExchangeError::TooLarge { url: place.to_string(), limit });
    }
    let mut whole = BytesMut::new();
    loop {
        let piece = match tokio::time::timeout(patience, response.chunk()).await {
            Ok(piece) => piece.map_err(|source| ExchangeError::broken(&place, source))?,
            Err(_) => return Err(ExchangeError::Stalled { url: place.to_string(), patience }),
        };
        let Some(piece) = piece else { return Ok(whole.freeze()) };
        if whole.len() + piece.len() > limit {
            return Err(ExchangeError::TooLarge { url: place.to_string(), limit });
        }
        whole.extend_from_slice(&piece);
    }
}

async fn start_of_body(mut response: Response, limit: usize) -> Result<Bytes, reqwest::Error> {
    let mut start = BytesMut::new();
    while start.len() < limit
        && let Some(piece) = response.chunk().await?
    {
        start.extend_from_slice(&piece[..piece.len().min(limit - start.len())]);
    }
    Ok(start.freeze())
}

/// Returns the content type without parameters, lowercase.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(text.split(';').next().unwrap_or(text).trim().to_ascii_lowercase())
}

fn printable(code: &str) -> String {
    code.chars().filter(char::is_ascii_graphic).take(64).collect()
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use oxbox_layers::oci::wire::ErrorEntry;

    use super::{Place, Said};

    fn entry(code: &str, message: &str) -> ErrorEntry {
        ErrorEntry { code: code.to_owned(), message: message.to_owned(), detail: None }
    }

    #[test]
    fn what_a_registry_said_is_quoted_and_cut() {
        let said =
            Said(vec![entry("DENIED", "no\u{1b}[2Jentry"), entry("X\n", ""), entry("Y", &"y".repeat(999))]);
        let text = said.to_string();
        assert!(text.starts_with(": DENIED \"no\\u{1b}[2Jentry\", X, Y \"yyy"), "{text}");
        assert!(text.len() < 300);
        assert_eq!(Said::default().to_string(), "");
    }

    #[test]
    fn an_address_is_told_without_its_secrets() {
        let url = "https://user:pw@cdn.io/blob?X-Amz-Signature=abc#f".parse().unwrap();
        assert_eq!(Place::of(&url).to_string(), "https://cdn.io/blob");
    }
}
