//! `/v2/<name>/tags/list`
//!
//! distribution-spec v1.1.1, spec.md#listing-tags

use axum::response::Response;
use http::header::LINK;
use oxbox_layers::oci::wire::Path;
use serde_json::json;

use super::{Call, with};
use crate::error::Error;
use crate::name::Repository;
use crate::page::Page;

/// GET.
pub(super) async fn list(call: &Call, name: &Repository, page: &Page) -> Result<Response, Error> {
    let tags = call.registry.metadata.tags(name, &page.after, page.fetch()).await?;
    let mut tags = tags.ok_or_else(|| Error::NameUnknown { name: name.to_string() })?;
    let path = Path::Tags { name: name.as_str() }.to_string();
    let link = page.cut(&path, &mut tags);
    let response = super::json(&json!({ "name": name.as_str(), "tags": tags }));
    Ok(match link {
        Some(link) => with(response, LINK, &link),
        None => response,
    })
}
