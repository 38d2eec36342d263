//! A registry as a whole: whether it is one, and what repositories it has.
//!
//! ```text
//! GET /v2/                     200
//! GET /v2/_catalog?n=1000      { "repositories": ["a", "b/c"] }        many registries do not have it
//! ```

use std::sync::Arc;

use http::{Method, StatusCode};
use oxbox_layers::oci::wire::Path;
use serde::Deserialize;

use super::ClientError;
use super::auth::Scope;
use super::call::Call;
use super::host::Host;
use super::page::{Answered, Pages};
use super::tags::{by_pages, parse};

/// A registry.
#[derive(Debug, Clone)]
pub struct Registry {
    host: Arc<Host>,
}

#[derive(Deserialize)]
struct Catalog {
    repositories: Option<Vec<String>>,
}

impl Registry {
    pub(super) fn new(host: Arc<Host>) -> Self {
        Self { host }
    }

    /// Returns if the registry answers and takes our credentials: what a login asks.
    pub async fn ping(&self) -> Result<(), ClientError> {
        let response = self.host.call(&Call::new(Method::GET, &Path::Base, "", Vec::new())).await?;
        match response.status() {
            StatusCode::OK => Ok(()),
            _ => Err(ClientError::refused(Method::GET, response).await),
        }
    }

    /// Returns the names of all repositories, `None` if the registry keeps no catalog.
    pub async fn catalog(&self) -> Result<Option<Vec<String>>, ClientError> {
        let call = Call::new(Method::GET, &Path::Catalog, "", vec![Scope::catalog()]);
        let mut pages = Pages::new(&self.host, by_pages(call));
        let mut repositories = Vec::new();
        while let Some(answered) = pages.next().await? {
            let Answered::Page(page) = answered else { return Ok(None) };
            repositories.extend(parse::<Catalog>(&page)?.repositories.unwrap_or_default());
        }
        Ok(Some(repositories))
    }
}
