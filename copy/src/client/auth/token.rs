//! The token server: credentials go in, a short-lived token comes out.
//!
//! ```text
//! GET  realm?service=S&scope=A&scope=B[&account=user]   Authorization: Basic …, or none for anonymous
//! POST realm  grant_type=refresh_token&service=S&client_id=oxbox&scope=A+B&refresh_token=…
//!      ─▶ { "token" or "access_token": "…", "expires_in": 300 }
//! ```
//!
//! distribution/distribution, docs/spec/auth/token.md and oauth.md

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::challenge::Bearer;
use super::{AuthError, Scope, basic};
use crate::client::answer::{self, Place};
use crate::client::exchange::{Outgoing, Route, exchange};
use crate::client::hosts::is_inward;
use crate::client::payload::Payload;
use crate::client::{Credentials, Found, Secret};

/// Largest answer of a token server. Tokens of people in thousands of groups stay far below.
const MAX_TOKEN_BYTES: usize = 1024 * 1024;
/// Shortest life of a token, as the specification has it for old servers.
const LEAST_LIFE: Duration = Duration::from_secs(60);
/// A token is replaced so long before it ends: longer would make short-lived ones useless, shorter
/// would let them end on the way.
const EARLY: Duration = Duration::from_secs(10);
/// Longest life that is believed, so that arithmetic on times cannot overflow.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// A token and when to replace it.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) value: Secret,
    pub(crate) replace_at: Timestamp,
}

/// What is asked of a token server.
pub(crate) struct Request<'a> {
    pub(crate) realm: Url,
    pub(crate) bearer: &'a Bearer,
    pub(crate) scopes: &'a [Scope],
    pub(crate) found: Option<&'a Found>,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<Secret>,
    access_token: Option<Secret>,
    expires_in: Option<f64>,
}

/// Checks the address of a token server that `registry` named.
///
/// # Errors
///
/// [`AuthError::InsecureRealm`] if the registry is spoken to over HTTPS and its token server would
/// not be: the password would cross the network in the clear. [`AuthError::InwardRealm`] if a registry
/// elsewhere sends us to our own machine, or to what hands out credentials beside it.
pub(crate) fn realm_of(bearer: &Bearer, registry: &Url) -> Result<Url, AuthError> {
    let cut = || bearer.realm.chars().take(160).collect::<String>();
    let realm = registry.join(&bearer.realm).map_err(|_| AuthError::BrokenRealm { realm: cut() })?;
    let inward = |url: &Url| url.host_str().is_some_and(is_inward);
    if inward(&realm) && !inward(registry) {
        return Err(AuthError::InwardRealm { realm: cut() });
    }
    match realm.scheme() {
        "https" => Ok(realm),
        "http" if registry.scheme() == "http" => Ok(realm),
        "http" => Err(AuthError::InsecureRealm { realm: cut() }),
        _ => Err(AuthError::BrokenRealm { realm: cut() }),
    }
}

/// Fetches a token. The request is sent once; repeating is the caller's.
pub(crate) async fn fetch(route: &Route, request: &Request<'_>, now: Timestamp) -> Result<Token, AuthError> {
    let server = Place::of(&request.realm).to_string();
    let response = exchange(route, &outgoing(request))
        .await
        .map_err(|source| AuthError::TokenServer { server: server.clone(), source: Box::new(source) })?;
    let status = response.status();
    if status != StatusCode::OK {
        let errors = answer::errors(response).await;
        let origin = request.found.map(|found| found.origin.clone());
        return Err(match status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            true => AuthError::TokenServerBusy { server, status },
            false => AuthError::Refused { server, status, said: answer::Said(errors), origin },
        });
    }
    let body = answer::body(response, MAX_TOKEN_BYTES, route.patience)
        .await
        .map_err(|source| AuthError::TokenServer { server: server.clone(), source: Box::new(source) })?;
    read(&body, now).ok_or(AuthError::NoToken { server })
}

fn outgoing(request: &Request<'_>) -> Outgoing {
    match request.found.map(|found| &found.credentials) {
        Some(Credentials::IdentityToken(token)) => refresh(request, token),
        Some(Credentials::Password { username, password }) => {
            get(request, Some(username), Some(basic(username, password)))
        }
        Some(Credentials::RegistryToken(_)) | None => get(request, None, None),
    }
}

fn get(request: &Request<'_>, account: Option<&str>, authorization: Option<HeaderValue>) -> Outgoing {
    let mut url = request.realm.clone();
    {
        // What the realm's own query says is kept.
        let mut query = url.query_pairs_mut();
        if let Some(service) = &request.bearer.service {
            query.append_pair("service", service);
        }
        // Repeated, not divided by spaces: servers of the original implementation want it so.
        for scope in request.scopes {
            query.append_pair("scope", &scope.to_string());
        }
        if let Some(account) = account {
            query.append_pair("account", account);
        }
    }
    Outgoing { method: Method::GET, url, headers: HeaderMap::new(), authorization, payload: Payload::empty() }
}

fn refresh(request: &Request<'_>, token: &Secret) -> Outgoing {
    let scopes: Vec<_> = request.scopes.iter().map(ToString::to_string).collect();
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token");
    form.append_pair("service", request.bearer.service.as_deref().unwrap_or_default());
    form.append_pair("client_id", "oxbox");
    form.append_pair("scope", &scopes.join(" "));
    form.append_pair("refresh_token", token.expose());
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    Outgoing {
        method: Method::POST,
        url: request.realm.clone(),
        headers: HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]),
        authorization: None,
        payload: Payload::secret_bytes(Bytes::from(form.finish())),
    }
}

fn read(body: &[u8], now: Timestamp) -> Option<Token> {
    // The parser's own error is dropped: it could quote the token.
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let filled = |token: Option<Secret>| token.filter(|token| !token.expose().is_empty());
    let value = filled(answer.token).or_else(|| filled(answer.access_token))?;
    let life =
        answer.expires_in.unwrap_or_default().clamp(LEAST_LIFE.as_secs_f64(), LONGEST_LIFE.as_secs_f64());
    let life = Duration::from_secs_f64(life);
    // Counted from our own clock: `issued_at` is the server's, and clocks differ.
    Some(Token { value, replace_at: now.checked_add(life - EARLY).unwrap_or(now) })
}

#[cfg(test)]
mod tests {
    use super::{AuthError, Bearer, read, realm_of};

    fn bearer(realm: &str) -> Bearer {
        Bearer { realm: realm.to_owned(), service: None, scopes: Vec::new() }
    }

    #[test]
    fn a_token_under_either_name_is_taken() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        for body in [r#"{"token":"t"}"#, r#"{"access_token":"t"}"#, r#"{"token":"","access_token":"t"}"#] {
            assert_eq!(read(body.as_bytes(), now).unwrap().value.expose(), "t", "{body}");
        }
        assert!(read(b"{}", now).is_none());
        assert!(read(b"<html>", now).is_none());
    }

    #[test]
    fn a_token_lives_a_minute_at_least_and_is_replaced_early() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        for (expires_in, seconds) in [("5", 50), ("300", 290), ("-1", 50), ("1e300", 24 * 3600 - 10)] {
            let token =
                read(format!(r#"{{"token":"t","expires_in":{expires_in}}}"#).as_bytes(), now).unwrap();
            assert_eq!(token.replace_at.as_second(), seconds, "{expires_in}");
        }
    }

    #[test]
    fn a_plain_http_token_server_of_an_https_registry_is_refused() {
        let registry = "https://q.io/".parse().unwrap();
        let result = realm_of(&bearer("http://q.io/token"), &registry);
        assert!(matches!(result, Err(AuthError::InsecureRealm { .. })));
        assert!(matches!(realm_of(&bearer("ftp://q.io/"), &registry), Err(AuthError::BrokenRealm { .. })));
        assert!(realm_of(&bearer("http://localhost/t"), &"http://localhost/".parse().unwrap()).is_ok());
    }

    #[test]
    fn a_registry_elsewhere_cannot_name_a_token_server_on_our_own_machine() {
        let registry = "https://q.io/".parse().unwrap();
        for realm in ["https://127.0.0.1/t", "https://localhost./t", "https://169.254.169.254/t", "//[::1]/t"]
        {
            let result = realm_of(&bearer(realm), &registry);
            assert!(matches!(result, Err(AuthError::InwardRealm { .. })), "{realm}");
        }
        assert!(realm_of(&bearer("https://10.0.0.1/t"), &registry).is_ok());
        let own = "http://127.0.0.1:5000/".parse().unwrap();
        assert!(realm_of(&bearer("http://127.0.0.1:5001/t"), &own).is_ok());
    }
}
