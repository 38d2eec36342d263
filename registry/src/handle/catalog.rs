//! `/v2/_catalog`: names of repositories. Docker's, not the spec's.

use axum::response::Response;
use http::header::LINK;
use oxbox_layers::oci::wire::Path;
use serde_json::json;

use super::{Call, with};
use crate::error::Error;
use crate::page::Page;

/// GET.
pub(super) async fn list(call: &Call, page: &Page) -> Result<Response, Error> {
    let mut names = call.registry.metadata.repositories(&page.after, page.fetch()).await?;
    let link = page.cut(&Path::Catalog.to_string(), &mut names);
    let response = super::json(&json!({ "repositories": names }));
    Ok(match link {
        Some(link) => with(response, LINK, &link),
        None => response,
    })
}
