//! First contact with a registry: where it is, and whether it speaks HTTPS.
//!
//! ```text
//! HTTPS only        its address is https://host/, and nothing is asked
//! plain HTTP too    GET https://host/v2/ ─▶ any answer: HTTPS
//!                                        └▶ bad certificate: the end │ no TLS: GET http://host/v2/
//! ```
//!
//! Where plain HTTP is allowed at all is `hosts`'.

use std::sync::atomic::Ordering;

use http::{HeaderMap, Method, StatusCode};
use oxbox_layers::oci::wire::Path;
use reqwest::Response;
use url::Url;

use super::exchange::{ExchangeError, Outgoing, exchange, is_certificate_error};
use super::host::Host;
use super::hosts::{PlainHttp, api_authority};
use super::payload::Payload;
use super::{ClientError, StackError};

impl Host {
    /// Returns the address of the registry: `https://host/`, or `http://host/` where that is allowed
    /// and HTTPS is not spoken.
    pub(super) async fn base(&self) -> Result<&Url, ClientError> {
        self.base.get_or_try_init(|| self.find_base()).await
    }

    async fn find_base(&self) -> Result<Url, ClientError> {
        let at = |scheme: &str| {
            let text = format!("{scheme}://{}/", api_authority(&self.domain));
            text.parse::<Url>().map_err(|_| ClientError::NotARegistry {
                url: text,
                reason: "its name is no address".to_owned(),
            })
        };
        let https = at("https")?;
        if self.route.trust.plain_http(&self.domain) == PlainHttp::Never {
            return Ok(https);
        }
        // One ping decides, and its challenge is of use to all that follow.
        let error = match self.ping(&https).await {
            Ok(response) => {
                self.doorkeeper.learn(response.headers());
                return Ok(https);
            }
            Err(error) => error,
        };
        if !speaks_no_tls(&error) {
            return Err(error.into());
        }
        let http = at("http")?;
        match self.ping(&http).await {
            // What servers that do speak TLS answer to those who do not.
            Ok(response) if response.status() == StatusCode::BAD_REQUEST => Err(error.into()),
            Ok(response) => {
                tracing::debug!(registry = self.domain, "plain HTTP");
                self.doorkeeper.learn(response.headers());
                Ok(http)
            }
            Err(led_on @ ExchangeError::Redirect(_)) => Err(led_on.into()),
            // Nobody is there at all, or somebody who does speak TLS: what HTTPS met is the better answer.
            Err(_) => Err(error.into()),
        }
    }

    pub(super) async fn ping(&self, base: &Url) -> Result<Response, ExchangeError> {
        let url = base.join(&Path::Base.to_string()).unwrap_or_else(|_| base.clone());
        let ping = Outgoing {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            authorization: None,
            payload: Payload::empty(),
        };
        let response = exchange(&self.route, &ping).await?;
        self.pinged.store(true, Ordering::Relaxed);
        Ok(response)
    }
}

/// Whether an HTTPS ping failed because the other side does not speak TLS, or because there is no way
/// to judge it. A certificate that is there and bad is a reason to stop, not to do without.
fn speaks_no_tls(error: &ExchangeError) -> bool {
    match error {
        ExchangeError::Unreachable { source, .. } => !is_certificate_error(source),
        ExchangeError::Broken { .. } | ExchangeError::Stack(StackError::NoAuthorities { .. }) => true,
        _ => false,
    }
}
