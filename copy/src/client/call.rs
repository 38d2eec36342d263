//! A request to a registry, before it is known how to get it there.

use http::{HeaderMap, Method};
use oxbox_layers::oci::wire::Path;
use url::Url;

use super::answer;
use super::auth::Scope;
use super::payload::Payload;

/// A request to a registry.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    pub(crate) scopes: Vec<Scope>,
    /// The repository whose credentials are used; empty for the registry as a whole.
    pub(crate) repository: String,
    pub(crate) repeat: Repeat,
}

/// Where a request goes.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// Path and query at the registry.
    Path(String),
    /// Whatever address the registry gave: credentials go along only if it is its own.
    Url(Url),
}

/// Whether a request may be sent again when its answer is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Twice is as good as once.
    Free,
    /// The caller must look first.
    Never,
}

impl Call {
    /// Returns a request without headers and body, that may be repeated.
    pub(crate) fn new(method: Method, path: &Path<'_>, repository: &str, scopes: Vec<Scope>) -> Self {
        Self {
            method,
            target: Target::Path(path.to_string()),
            headers: HeaderMap::new(),
            payload: Payload::empty(),
            scopes,
            repository: repository.to_owned(),
            repeat: Repeat::Free,
        }
    }

    /// Returns the address, as errors name it before there was an answer.
    pub(crate) fn place(&self, domain: &str) -> String {
        match &self.target {
            Target::Path(path) => format!("{domain}{path}"),
            Target::Url(url) => answer::Place::of(url).to_string(),
        }
    }
}
