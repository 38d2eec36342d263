//! Answers a registry's challenges: Basic, and Bearer by way of its token server.
//!
//! ```text
//! request ─▶ 401 WWW-Authenticate ─▶ challenge ─▶ token server ─▶ request with Authorization
//!               learned once for each registry; the next request carries its token at once
//! ```
//!
//! Here: which challenge to meet and how. `scope`: what a token shall allow. `challenge`: the grammar.
//! `token`: the token server. `cache`: one fetch for all tasks that want the same token. Which
//! credentials there are is `credentials`' and `config`'s.
//!
//! Credentials go to the registry's own origin and to the token server that it names over HTTPS, and
//! nowhere else: `exchange` drops them at every redirect to another origin.

mod cache;
mod challenge;
mod scope;
mod token;

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use http::{HeaderMap, HeaderValue, StatusCode};
use url::Url;

use self::cache::{Key, TokenCache};
use self::challenge::{Bearer, Challenge};
pub use self::scope::Access;
pub(crate) use self::scope::Scope;
use super::answer::Said;
use super::exchange::{ExchangeError, Route};
use super::retry::Clock;
use super::{Credentials, Found, Secret};
use crate::config::auth_file::AuthFileError;

/// Why a registry's challenge could not be met.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Credentials could not be looked up.
    #[error(transparent)]
    Lookup(#[from] AuthFileError),
    /// The registry wants credentials, and there are none.
    #[error("{registry} wants credentials and none are known for it{said}")]
    NoCredentials {
        /// Registry.
        registry: String,
        /// What it said.
        said: Said,
    },
    /// The registry does not take the credentials.
    #[error("{registry} refuses {who}{said}", who = who(.origin))]
    Rejected {
        /// Registry.
        registry: String,
        /// Where the credentials came from; `None` for anonymous.
        origin: Option<String>,
        /// What it said.
        said: Said,
    },
    /// The token server does not take the credentials.
    #[error("token server {server} refuses {who} with {status}{said}", who = who(.origin))]
    Refused {
        /// Token server.
        server: String,
        /// Its answer.
        status: StatusCode,
        /// What it said.
        said: Said,
        /// Where the credentials came from; `None` for anonymous.
        origin: Option<String>,
    },
    /// The token server cannot answer now.
    #[error("token server {server} answered {status}")]
    TokenServerBusy {
        /// Token server.
        server: String,
        /// Its answer.
        status: StatusCode,
    },
    /// The token server could not be asked.
    #[error("cannot ask token server {server}")]
    TokenServer {
        /// Token server.
        server: String,
        /// Why not.
        #[source]
        source: Box<ExchangeError>,
    },
    /// The token server's answer holds no token.
    #[error("the answer of token server {server} holds no token")]
    NoToken {
        /// Token server.
        server: String,
    },
    /// A registry on HTTPS names a token server on plain HTTP.
    #[error(
        "token server {realm:?} is on plain HTTP while the registry is on HTTPS: credentials are not sent there"
    )]
    InsecureRealm {
        /// Its address, cut.
        realm: String,
    },
    /// A registry elsewhere names a token server on this machine.
    #[error("token server {realm:?} is an address of this machine, and the registry is elsewhere")]
    InwardRealm {
        /// Its address, cut.
        realm: String,
    },
    /// The token server's address is none.
    #[error("{realm:?} is not the address of a token server")]
    BrokenRealm {
        /// What was written, cut.
        realm: String,
    },
    /// The registry wants something that is neither Basic nor Bearer.
    #[error("{registry} denies access and names no way in that is known (Basic and Bearer are)")]
    NoWayIn {
        /// Registry.
        registry: String,
    },
}

impl AuthError {
    /// Whether the same may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::TokenServerBusy { .. } => true,
            Self::TokenServer { source, .. } => source.is_transient(),
            _ => false,
        }
    }
}

fn who(origin: &Option<String>) -> String {
    match origin {
        Some(origin) => format!("the credentials from {origin}"),
        None => "anonymous access".to_owned(),
    }
}

/// What one request wants to be allowed, and who asks.
pub(crate) struct Grant<'a> {
    pub(crate) scopes: &'a [Scope],
    pub(crate) found: Option<&'a Found>,
}

/// A header that meets a challenge.
#[derive(Debug, Clone)]
pub(crate) struct Authorization {
    pub(crate) header: HeaderValue,
    /// The token within, so that a rejected one can be told from its successor.
    token: Option<Secret>,
}

/// A registry's doorkeeper: what it asked for so far, and the tokens it was shown.
#[derive(Debug)]
pub(crate) struct Doorkeeper {
    registry: String,
    learned: Mutex<Option<Arc<Vec<Challenge>>>>,
    tokens: TokenCache,
}

/// What is needed to talk to the token server of a registry.
pub(crate) struct Surroundings<'a> {
    pub(crate) route: &'a Route,
    pub(crate) base: &'a Url,
    pub(crate) clock: &'a dyn Clock,
}

impl Doorkeeper {
    pub(crate) fn new(registry: &str) -> Self {
        Self { registry: registry.to_owned(), learned: Mutex::default(), tokens: TokenCache::default() }
    }

    /// Returns the header to send without being asked; `None` as long as nothing was asked for.
    pub(crate) async fn offer(
        &self,
        around: &Surroundings<'_>,
        grant: &Grant<'_>,
    ) -> Result<Option<Authorization>, Arc<AuthError>> {
        if let Some(Credentials::RegistryToken(token)) = grant.found.map(|found| &found.credentials) {
            return Ok(Some(bearer_header(token)));
        }
        let learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match learned {
            Some(challenges) => self.meet(around, &challenges, grant, None).await,
            None => Ok(None),
        }
    }

    /// Learns the challenges of an answer; `false` if it holds none.
    pub(crate) fn learn(&self, headers: &HeaderMap) -> bool {
        let challenges: Vec<_> =
            challenge::read(headers).into_iter().map(Challenge::without_scopes).collect();
        let any = !challenges.is_empty();
        if any {
            *self.learned.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(challenges));
        }
        any
    }

    /// Returns the header that meets the challenges of `headers`, after `rejected` did not.
    ///
    /// `said` is what the registry wrote beside them, for errors.
    pub(crate) async fn respond(
        &self,
        around: &Surroundings<'_>,
        headers: &HeaderMap,
        grant: &Grant<'_>,
        rejected: Option<&Authorization>,
        said: Said,
    ) -> Result<Authorization, Arc<AuthError>> {
        let challenges = challenge::read(headers);
        if challenges.is_empty() {
            return Err(Arc::new(AuthError::NoWayIn { registry: self.registry.clone() }));
        }
        if rejected.is_some_and(|rejected| rejected.token.is_none()) || sends_token_as_is(grant, rejected) {
            return Err(Arc::new(self.rejected(grant, said)));
        }
        let met = self.meet(around, &challenges, grant, rejected).await?;
        met.ok_or_else(|| Arc::new(AuthError::NoCredentials { registry: self.registry.clone(), said }))
    }

    /// Returns the error of a request that stays unauthorised whatever is shown.
    pub(crate) fn rejected(&self, grant: &Grant<'_>, said: Said) -> AuthError {
        let origin = grant.found.map(|found| found.origin.clone());
        AuthError::Rejected { registry: self.registry.clone(), origin, said }
    }

    /// Meets the first challenge that can be met. Without a password, Basic cannot.
    async fn meet(
        &self,
        around: &Surroundings<'_>,
        challenges: &[Challenge],
        grant: &Grant<'_>,
        rejected: Option<&Authorization>,
    ) -> Result<Option<Authorization>, Arc<AuthError>> {
        let credentials = grant.found.map(|found| &found.credentials);
        for challenge in challenges {
            match (challenge, credentials) {
                (Challenge::Basic, Some(Credentials::Password { username, password })) => {
                    return Ok(Some(Authorization { header: basic(username, password), token: None }));
                }
                (Challenge::Basic, _) => {}
                (Challenge::Bearer(bearer), _) => {
                    return self.token(around, bearer, grant, rejected).await.map(Some);
                }
            }
        }
        Ok(None)
    }

    async fn token(
        &self,
        around: &Surroundings<'_>,
        bearer: &Bearer,
        grant: &Grant<'_>,
        rejected: Option<&Authorization>,
    ) -> Result<Authorization, Arc<AuthError>> {
        let realm = token::realm_of(bearer, around.base)?;
        let scopes = Scope::merge(&bearer.scopes, grant.scopes);
        let key = Key::new(bearer, grant.scopes, grant.found);
        let request = token::Request { realm, bearer, scopes: &scopes, found: grant.found };
        let rejected = rejected.and_then(|rejected| rejected.token.as_ref());
        let token = self
            .tokens
            .get(key, rejected, around.clock, || token::fetch(around.route, &request, around.clock.now()));
        token.await.map(|token| bearer_header(&token))
    }
}

/// A token that the user gave cannot be replaced once it is rejected.
fn sends_token_as_is(grant: &Grant<'_>, rejected: Option<&Authorization>) -> bool {
    let given = grant.found.map(|found| &found.credentials);
    rejected.is_some() && matches!(given, Some(Credentials::RegistryToken(_)))
}

/// Returns the Basic header. RFC 7617
pub(super) fn basic(username: &str, password: &Secret) -> HeaderValue {
    let pair = format!("{username}:{}", password.expose());
    sensitive(&format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
}

fn bearer_header(token: &Secret) -> Authorization {
    Authorization { header: sensitive(&format!("Bearer {}", token.expose())), token: Some(token.clone()) }
}

/// A token with control characters makes no header; an empty one is refused like any wrong one.
pub(super) fn sensitive(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}
