//! `/v2/<name>/referrers/<digest>`: what refers to a manifest, as an index.
//!
//! ```text
//! manifests with `subject`          ─┐
//! index tagged `sha256-<64 hex>`    ─┴─▶ {"schemaVersion":2,"mediaType":"…index…","manifests":[…]}
//! ```
//!
//! The tagged index is how clients helped themselves before registries had this endpoint; what it
//! lists and is still here belongs to the answer. What nobody refers to has an empty answer, not 404.
//!
//! distribution-spec v1.1.1, spec.md#listing-referrers and #referrers-tag-schema

use axum::response::Response;
use http::HeaderValue;
use http::header::{CONTENT_TYPE, LINK};
use oxbox_layers::oci::wire::{Path, header};
use oxbox_layers::oci::{Descriptor, Digest, Document, Index, MediaType};

use super::{Call, with};
use crate::accept::{INLINE_BYTES, MAX_MANIFEST_BYTES};
use crate::error::Error;
use crate::name::{ManifestReference, Repository, Tag};
use crate::page::link;
use crate::registry::Registry;
use crate::route::ReferrersQuery;
use crate::storage::metadata::{Found, Referrer, WantedReferrers};

/// The most entries of a tagged index that are looked at: clients keep them by hand, one for each
/// signature, and each costs a look into the database.
const MAX_TAGGED: usize = 1000;

/// Bytes of the entries that a page takes from the database. An answer is a manifest to whoever reads it,
/// and clients bound those alike: the tagged index, each entry of which may grow by an artifact type,
/// must fit behind them.
const PAGE_BYTES: usize = MAX_MANIFEST_BYTES - 8 * INLINE_BYTES;

/// GET.
pub(super) async fn list(
    call: &Call,
    name: &Repository,
    subject: &Digest,
    query: &ReferrersQuery,
) -> Result<Response, Error> {
    let wanted = WantedReferrers {
        subject: *subject,
        artifact_type: query.artifact_type.clone(),
        after: query.after,
        max_bytes: PAGE_BYTES,
    };
    let page = call.registry.metadata.referrers(name, wanted).await?;
    let mut manifests: Vec<Descriptor> = page.referrers.into_iter().map(descriptor).collect();
    let next = manifests.last().filter(|_| page.more).map(|last| last.digest.to_string());
    if next.is_none() {
        manifests.extend(tagged(&call.registry, name, subject, query).await?);
    }
    let mut response = super::json(&Index::of(manifests));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MediaType::OCI_INDEX));
    if query.artifact_type.is_some() {
        response = with(response, header::FILTERS_APPLIED, "artifactType");
    }
    Ok(match next {
        Some(last) => {
            let digest = subject.to_string();
            let path = Path::Referrers { name: name.as_str(), digest: &digest }.to_string();
            with(response, LINK, &link(&path, &query.query.clone().with("last", &last)))
        }
        None => response,
    })
}

fn descriptor(referrer: Referrer) -> Descriptor {
    let mut descriptor = Descriptor::new(referrer.media_type, referrer.digest, referrer.size);
    descriptor.artifact_type = referrer.artifact_type;
    descriptor.annotations = referrer.annotations;
    descriptor
}

/// What the fallback tag lists: manifests that are here and do not name the subject themselves.
async fn tagged(
    registry: &Registry,
    name: &Repository,
    subject: &Digest,
    query: &ReferrersQuery,
) -> Result<Vec<Descriptor>, Error> {
    let Some(index) = fallback(registry, name, subject).await? else { return Ok(Vec::new()) };
    let mut listed = Vec::new();
    for entry in index.manifests.into_iter().take(MAX_TAGGED) {
        let reference = ManifestReference::Digest(entry.digest);
        let Found::Manifest(record) = registry.metadata.manifest(name, &reference).await? else { continue };
        let mut descriptor = Descriptor::new(record.media_type, record.digest, record.size);
        descriptor.artifact_type = entry.artifact_type.or(record.artifact_type);
        descriptor.annotations = entry.annotations;
        let wanted = query.artifact_type.is_none() || query.artifact_type == descriptor.artifact_type;
        if wanted && record.subject != Some(*subject) && !listed.contains(&descriptor) {
            listed.push(descriptor);
        }
    }
    Ok(listed)
}

async fn fallback(registry: &Registry, name: &Repository, subject: &Digest) -> Result<Option<Index>, Error> {
    let hex = subject.hex();
    // The spec cuts the hash to 64 digits, so that it fits a tag.
    let tag = format!("{}-{}", subject.algorithm().name(), &hex[..64]);
    let Ok(tag) = Tag::parse(&tag) else { return Ok(None) };
    let found = registry.metadata.manifest(name, &ManifestReference::Tag(tag)).await?;
    // An index beyond what the database holds inline has hundreds of entries: nobody keeps such by hand.
    let Found::Manifest(record) = found else { return Ok(None) };
    let Some(body) = record.body else { return Ok(None) };
    match Document::parse(body, Some(&record.media_type)) {
        Ok(Document::Index(index)) => Ok(Some(index.view().clone())),
        _ => Ok(None),
    }
}
