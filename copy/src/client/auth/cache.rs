//! Tokens at hand: each is fetched once, however many tasks want it at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::challenge::Bearer;
use super::token::Token;
use super::{AuthError, Scope};
use crate::client::retry::Clock;
use crate::client::{Found, Secret};

/// Most tokens that are kept. A run over a whole registry meets more repositories than that, and none
/// of them again.
const MAX_TOKENS: usize = 4096;

/// What a token is for. The scopes are those that the request wants, without those that a challenge
/// added: the next request knows only the former.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    realm: String,
    service: Option<String>,
    scopes: Vec<Scope>,
    found: Option<Found>,
}

/// Tokens of one registry.
#[derive(Debug, Default)]
pub(super) struct TokenCache {
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
}

/// Locked while the token is fetched, so that others wait for it instead of fetching another.
type Slot = tokio::sync::Mutex<Option<Result<Token, Arc<AuthError>>>>;

impl Key {
    pub(super) fn new(bearer: &Bearer, scopes: &[Scope], found: Option<&Found>) -> Self {
        let mut scopes = scopes.to_vec();
        scopes.sort();
        Self { realm: bearer.realm.clone(), service: bearer.service.clone(), scopes, found: found.cloned() }
    }
}

impl TokenCache {
    /// Returns the token for `key`, fetching it if there is none, it is old, or it is the rejected one.
    ///
    /// A refusal is remembered: sixteen tasks with a wrong password try it once, or accounts get locked.
    pub(super) async fn get<F>(
        &self,
        key: Key,
        rejected: Option<&Secret>,
        clock: &dyn Clock,
        fetch: impl FnOnce() -> F,
    ) -> Result<Secret, Arc<AuthError>>
    where
        F: Future<Output = Result<Token, AuthError>>,
    {
        let slot = self.slot(key);
        let mut held = slot.lock().await;
        match &*held {
            Some(Ok(token)) if clock.now() < token.replace_at && Some(&token.value) != rejected => {
                return Ok(token.value.clone());
            }
            Some(Err(error)) => return Err(error.clone()),
            _ => {}
        }
        let fetched = fetch().await.map_err(Arc::new);
        let keep = fetched.as_ref().map_or_else(|error| !error.is_transient(), |_| true);
        *held = keep.then(|| fetched.clone());
        fetched.map(|token| token.value)
    }

    fn slot(&self, key: Key) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MAX_TOKENS && !slots.contains_key(&key) {
            slots.clear();
        }
        slots.entry(key).or_default().clone()
    }
}
