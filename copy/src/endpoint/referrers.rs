//! What refers to which document, where there is no API to ask: in a layout and an archive every listed
//! document is looked at.

use std::collections::HashMap;

use oxbox_layers::oci::{Algorithm, Descriptor, Digest, Document, Kind, annotation};
use oxbox_layers::store::names::name_of;

use super::EndpointError;

/// By the digest of the subject.
pub(super) type Referrers = HashMap<Digest, Vec<Descriptor>>;

/// Looks at every document that is listed; `read` returns `None` for one that is not there, as the
/// rest of a sparse index is.
pub(super) fn find(
    entries: &[Descriptor],
    read: impl Fn(&Descriptor) -> Result<Option<Document>, EndpointError>,
) -> Result<Referrers, EndpointError> {
    let mut found = Referrers::new();
    for entry in entries.iter().filter(|entry| is_document(entry)) {
        let Some(document) = read(entry)? else { continue };
        note(&mut found, &document);
        // Where a registry without the referrers API was mirrored, a tag `sha256-<hex>` lists them.
        if let Document::Index(index) = &document
            && name_of(entry).is_some_and(is_fallback_tag)
        {
            for child in index.manifests.iter().filter(|child| is_document(child)) {
                let Some(document) = read(child)? else { continue };
                note(&mut found, &document);
            }
        }
    }
    Ok(found)
}

fn note(found: &mut Referrers, document: &Document) {
    let Some(subject) = document.subject() else { return };
    let referrers = found.entry(subject.digest).or_default();
    if referrers.iter().all(|other| other.digest != document.digest()) {
        referrers.push(describe(document));
    }
}

/// A descriptor as the referrers API gives it, with artifact type and annotations, and fit to be listed:
/// a name among the annotations is the document's own, not one in the place that lists it
/// (distribution-spec v1.1.1, spec.md#listing-referrers).
pub(super) fn describe(document: &Document) -> Descriptor {
    let mut descriptor = document.descriptor();
    match document {
        Document::Index(index) => {
            // Never without one: an entry without an artifact type passes for an image.
            let artifact_type = index.artifact_type.as_deref().unwrap_or(index.media_type().as_str());
            descriptor.artifact_type = Some(artifact_type.to_owned());
            descriptor.annotations.clone_from(&index.annotations);
        }
        Document::Manifest(manifest) => {
            descriptor.artifact_type = Some(manifest.effective_artifact_type().to_owned());
            descriptor.annotations.clone_from(&manifest.annotations);
        }
    }
    if let Some(annotations) = &mut descriptor.annotations {
        annotations.remove(annotation::REF_NAME);
    }
    descriptor
}

fn is_document(descriptor: &Descriptor) -> bool {
    matches!(descriptor.media_type.kind(), Kind::Manifest | Kind::Index)
}

/// `sha256-<64 hex>`
fn is_fallback_tag(name: &str) -> bool {
    name.split_once('-').is_some_and(|(algorithm, hex)| {
        Algorithm::from_name(algorithm).is_some()
            && hex.len() >= 64
            && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}
