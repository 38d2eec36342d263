//! The tags of a repository.
//!
//! ```text
//! GET /v2/<name>/tags/list?n=1000 ─▶ { "name": "<name>", "tags": ["a", "b"] }
//! ```
//!
//! distribution-spec v1.1.1, spec.md#listing-tags

use http::Method;
use oxbox_layers::oci::wire::Path;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::call::{Call, Target};
use super::page::{Answered, PAGE_ENTRIES, Page, Pages};
use super::{ClientError, Repository};

#[derive(Deserialize)]
struct TagList {
    // Registries write null for a repository that lost its last tag.
    tags: Option<Vec<String>>,
}

impl Repository {
    /// Returns all tags in the registry's order, `None` if there is no such repository.
    pub async fn tags(&self) -> Result<Option<Vec<String>>, ClientError> {
        let path = Path::Tags { name: &self.path };
        let call = Call::new(Method::GET, &path, &self.path, self.scopes());
        let mut pages = Pages::new(&self.host, by_pages(call));
        let mut tags = Vec::new();
        while let Some(answered) = pages.next().await? {
            let Answered::Page(page) = answered else { return Ok(None) };
            tags.extend(parse::<TagList>(&page)?.tags.unwrap_or_default());
        }
        Ok(Some(tags))
    }
}

/// Asks for a list in pages of a size that every registry allows.
pub(super) fn by_pages(mut call: Call) -> Call {
    if let Target::Path(path) = &mut call.target {
        path.push_str(&format!("?n={PAGE_ENTRIES}"));
    }
    call
}

pub(super) fn parse<T: DeserializeOwned>(page: &Page) -> Result<T, ClientError> {
    serde_json::from_slice(&page.body)
        .map_err(|error| ClientError::BrokenList { url: page.url.clone(), reason: error.to_string() })
}
