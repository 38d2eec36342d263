//! Small answers, read whole.
//!
//! A body that breaks off is asked for again like an answer that never came: what is read here is small,
//! and asking costs less than to tell everybody above about it. Large bodies are `download`'s.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use reqwest::Response;
use url::Url;

use super::ClientError;
use super::answer::{self, Place};
use super::call::{Call, Repeat};
use super::host::Host;

/// What came of a request.
pub(crate) enum Read {
    /// 200, with the whole body.
    Whole(Whole),
    /// Something else, unread.
    Other(Response),
}

/// A whole answer.
pub(crate) struct Whole {
    /// Who answered, after redirects.
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Whole {
    /// Returns the address, as errors name it.
    pub(crate) fn place(&self) -> String {
        Place::of(&self.url).to_string()
    }
}

impl Host {
    /// Sends a request and reads the answer if it is a 200 of at most `limit` bytes.
    pub(crate) async fn read(&self, call: &Call, limit: usize) -> Result<Read, ClientError> {
        let mut tried = 0;
        loop {
            tried += 1;
            let response = self.call(call).await?;
            if response.status() != StatusCode::OK {
                return Ok(Read::Other(response));
            }
            let (url, headers) = (response.url().clone(), response.headers().clone());
            let error = match answer::body(response, limit, self.route.patience).await {
                Ok(body) => return Ok(Read::Whole(Whole { url, headers, body })),
                Err(error) => error,
            };
            if !error.is_transient() || call.repeat == Repeat::Never || tried >= self.policy.tries {
                return Err(error.into());
            }
            self.clock.sleep(self.policy.backoff(tried, &*self.clock)).await;
        }
    }
}
