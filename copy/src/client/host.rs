//! One registry: what was learned of it, and the loop that every request to it goes through.
//!
//! ```text
//!        ┌──────────────── 429, 5xx, broken connection: wait ───────────────┐
//! call ──┴▶ gate ▶ authorization ▶ exchange ▶ answer ──────────────────────▶│▶ caller
//!                        ▲                      │ 401: meet the challenge   │
//!                        └──────────────────────┘
//! ```
//!
//! Learned and kept: HTTPS or plain HTTP (`contact`), the challenge, tokens, credentials by repository,
//! how uploads are best sent, and until when the registry wants to be left alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use reqwest::Response;
use tokio::sync::OnceCell;
use url::Url;

use super::answer::{self, Said};
use super::auth::{AuthError, Authorization, Doorkeeper, Grant, Surroundings};
use super::call::{Call, Repeat, Target};
use super::exchange::{ExchangeError, Outgoing, Route, exchange};
use super::retry::{Clock, Policy, Verdict};
use super::{Choice, ClientError, Found};
use crate::config::auth_file::Keychain;

/// Most times that one request answers a challenge: once for what it did not know, once more if the
/// cached token turned out to be stale.
const MAX_CHALLENGES: u32 = 2;

/// A registry.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) domain: String,
    pub(crate) route: Route,
    pub(crate) policy: Policy,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) choice: Choice,
    pub(crate) keychain: Arc<Keychain>,
    pub(super) doorkeeper: Doorkeeper,
    pub(super) base: OnceCell<Url>,
    credentials: Mutex<HashMap<String, Arc<OnceCell<Option<Found>>>>>,
    not_before: Mutex<Option<Timestamp>>,
    wants_chunks: AtomicBool,
    /// Whether a ping was answered, and so told whether there is a challenge.
    pub(super) pinged: AtomicBool,
}

/// What a registry is made of before anything is learned.
pub(crate) struct HostParts {
    pub(crate) domain: String,
    pub(crate) route: Route,
    pub(crate) policy: Policy,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) choice: Choice,
    pub(crate) keychain: Arc<Keychain>,
}

impl Host {
    pub(crate) fn new(parts: HostParts) -> Self {
        let HostParts { domain, route, policy, clock, choice, keychain } = parts;
        Self {
            doorkeeper: Doorkeeper::new(&domain),
            domain,
            route,
            policy,
            clock,
            choice,
            keychain,
            base: OnceCell::new(),
            credentials: Mutex::default(),
            not_before: Mutex::default(),
            wants_chunks: AtomicBool::new(false),
            pinged: AtomicBool::new(false),
        }
    }

    /// Sends a request, with whatever waits, tokens and repetitions it takes, and returns the answer.
    ///
    /// Any answer but 401 is returned as it is, refusals too.
    pub(crate) async fn call(&self, call: &Call) -> Result<Response, ClientError> {
        let base = self.base().await?;
        let found = self.credentials(&call.repository).await?;
        let grant = Grant { scopes: &call.scopes, found: found.as_ref() };
        let mut tried = 0;
        loop {
            tried += 1;
            self.wait_at_gate().await;
            let again = match self.call_once(call, base, &grant).await {
                Ok(response) => match self.judge(call, &response, tried) {
                    Verdict::Keep => return Ok(response),
                    Verdict::Again(wait) => {
                        self.close_gate(response.status(), wait);
                        wait
                    }
                },
                Err(error) if self.may_repeat(call, &error, tried) => {
                    tracing::debug!(%error, tried, "again");
                    self.policy.backoff(tried, &*self.clock)
                }
                Err(error) => return Err(error),
            };
            self.clock.sleep(again).await;
        }
    }

    /// Whether uploads are better sent in chunks here.
    pub(crate) fn wants_chunks(&self) -> bool {
        self.wants_chunks.load(Ordering::Relaxed)
    }

    /// Remembers that an upload in one request does not get through.
    pub(crate) fn remember_chunks(&self) {
        self.wants_chunks.store(true, Ordering::Relaxed);
    }

    async fn credentials(&self, repository: &str) -> Result<Option<Found>, ClientError> {
        let cell = {
            let mut credentials = self.credentials.lock().unwrap_or_else(PoisonError::into_inner);
            credentials.entry(repository.to_owned()).or_default().clone()
        };
        let looking = || async {
            let found = self.choice.find(&self.keychain, &self.domain, repository).await;
            found.map_err(|error| Arc::new(AuthError::Lookup(error)))
        };
        Ok(cell.get_or_try_init(looking).await?.clone())
    }

    /// Sends a request once for every challenge it meets.
    async fn call_once(&self, call: &Call, base: &Url, grant: &Grant<'_>) -> Result<Response, ClientError> {
        let url = Self::address(call, base);
        let own = url.origin() == base.origin();
        let around = Surroundings { route: &self.route, base, clock: &*self.clock };
        let mut shown = if own { self.doorkeeper.offer(&around, grant).await? } else { None };
        let mut challenges = 0;
        loop {
            let response = exchange(&self.route, &outgoing(call, &url, shown.as_ref())).await?;
            if !own || response.url().origin() != base.origin() {
                return Ok(response);
            }
            match response.status() {
                StatusCode::UNAUTHORIZED => {}
                StatusCode::NOT_FOUND if shown.is_none() && self.may_be_hiding(base, grant).await? => {
                    shown = self.doorkeeper.offer(&around, grant).await?;
                    match shown {
                        Some(_) => continue,
                        None => return Ok(response),
                    }
                }
                _ => return Ok(response),
            }
            challenges += 1;
            shown = Some(self.answer_challenge(&around, response, grant, shown.as_ref(), challenges).await?);
            if !call.payload.is_fresh() {
                return Err(ExchangeError::Spent { url: answer::Place::of(&url).to_string() }.into());
            }
        }
    }

    /// Whether a registry may say "not found" to strangers only: we have credentials, and it has a
    /// challenge for those who ping it.
    async fn may_be_hiding(&self, base: &Url, grant: &Grant<'_>) -> Result<bool, ClientError> {
        if grant.found.is_none() || self.pinged.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let response = self.ping(base).await?;
        Ok(self.doorkeeper.learn(response.headers()))
    }

    async fn answer_challenge(
        &self,
        around: &Surroundings<'_>,
        response: Response,
        grant: &Grant<'_>,
        shown: Option<&Authorization>,
        challenges: u32,
    ) -> Result<Authorization, ClientError> {
        let mut headers = response.headers().clone();
        let said = Said(answer::errors(response).await);
        if challenges > MAX_CHALLENGES {
            return Err(Arc::new(self.doorkeeper.rejected(grant, said)).into());
        }
        if !self.doorkeeper.learn(&headers) {
            // Some registries name the way in only when they are pinged.
            headers = self.ping(around.base).await?.headers().clone();
            self.doorkeeper.learn(&headers);
        }
        Ok(self.doorkeeper.respond(around, &headers, grant, shown, said).await?)
    }

    fn address(call: &Call, base: &Url) -> Url {
        match &call.target {
            Target::Url(url) => url.clone(),
            Target::Path(path) => {
                // Put in, not joined: a path that begins with two slashes would lead to another host.
                let (path, query) = path.split_once('?').map_or((path.as_str(), None), |(p, q)| (p, Some(q)));
                let mut url = base.clone();
                url.set_path(path);
                url.set_query(query);
                url
            }
        }
    }

    fn judge(&self, call: &Call, response: &Response, tried: u32) -> Verdict {
        if call.repeat == Repeat::Never || !call.payload.is_fresh() {
            return Verdict::Keep;
        }
        self.policy.judge(response.status(), response.headers(), tried, &*self.clock)
    }

    fn may_repeat(&self, call: &Call, error: &ClientError, tried: u32) -> bool {
        call.repeat == Repeat::Free
            && tried < self.policy.tries
            && call.payload.is_fresh()
            && error.is_transient()
    }

    /// A registry that says "too many" means all of us, not only the task that it told.
    fn close_gate(&self, status: StatusCode, wait: Duration) {
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            let until = self.clock.now().checked_add(wait).ok();
            let mut not_before = self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
            *not_before = (*not_before).max(until);
        }
    }

    async fn wait_at_gate(&self) {
        let until = *self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = until else { return };
        if let Ok(wait) = Duration::try_from(until.duration_since(self.clock.now()))
            && !wait.is_zero()
        {
            self.clock.sleep(wait.min(self.policy.longest_wait)).await;
        }
    }
}

fn outgoing(call: &Call, url: &Url, shown: Option<&Authorization>) -> Outgoing {
    Outgoing {
        method: call.method.clone(),
        url: url.clone(),
        headers: call.headers.clone(),
        authorization: shown.map(|shown| shown.header.clone()),
        payload: call.payload.clone(),
    }
}
