//! What refers to a manifest: signatures, attestations, bills of materials.
//!
//! ```text
//! GET /v2/<name>/referrers/<digest>   200 index │ 404: the registry has no such list
//! GET /v2/<name>/manifests/sha256-<hex>          the list that clients keep for it under a tag
//! ```
//!
//! Signatures hang here, so "none" is said only by a registry that was understood: a refusal, a web page
//! or a list that does not parse is an error.
//!
//! distribution-spec v1.1.1, spec.md#listing-referrers and #unavailable-referrers-api

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use oxbox_layers::oci::raw::MAX_DOCUMENT_BYTES;
use oxbox_layers::oci::wire::Path;
use oxbox_layers::oci::{Descriptor, Digest, Document, Index, MediaType, Raw};

use super::answer;
use super::call::Call;
use super::page::{Answered, Page, Pages};
use super::read::Read;
use super::tags::parse;
use super::{ClientError, Repository, TagOrDigest};

/// How often a fallback list is read and written while others change it too.
const MAX_WRITES: u32 = 5;

impl Repository {
    /// Returns the manifests whose subject is `digest`, each with artifact type and annotations.
    pub async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>, ClientError> {
        let text = digest.to_string();
        let path = Path::Referrers { name: &self.path, digest: &text };
        let call = Call::new(Method::GET, &path, &self.path, self.scopes());
        let mut pages = Pages::new(&self.host, call);
        let mut referrers = Vec::new();
        while let Some(answered) = pages.next().await? {
            match answered {
                Answered::Page(page) if is_index(&page) => referrers.extend(parse::<Index>(&page)?.manifests),
                Answered::Page(page) => return self.referrers_of_odd_answer(digest, &page).await,
                Answered::Missing => return Ok(self.fallback(digest).await?.manifests),
            }
        }
        Ok(referrers)
    }

    /// Adds a manifest that was pushed to a registry without referrers to the list that clients keep.
    ///
    /// To be called if [`super::Put::subject_linked`] is false and the manifest has a subject.
    pub async fn link_to_subject(&self, document: &Document) -> Result<(), ClientError> {
        let Some(subject) = document.subject() else { return Ok(()) };
        let referrer = referrer(document);
        for _ in 0..MAX_WRITES {
            let fallback = self.fallback(&subject.digest).await?;
            if fallback.manifests.iter().any(|known| known.digest == referrer.digest) {
                return Ok(());
            }
            let (bytes, media_type) = fallback.with(&referrer);
            match self.put_bytes(bytes, &media_type, &tag(&subject.digest), fallback.etag.as_ref()).await {
                // Somebody else was faster.
                Err(ClientError::Refused { status: StatusCode::PRECONDITION_FAILED, .. }) => {}
                Ok(_) if fallback.etag.is_some() => return Ok(()),
                // Without ETags only another reading shows whether somebody wrote over us.
                result => drop(result?),
            }
        }
        let url = self.manifest_call(Method::PUT, &tag(&subject.digest)).place(&self.host.domain);
        Err(ClientError::Contended { url, tries: MAX_WRITES })
    }

    /// A 200 that is no index is a proxy's or a registry's that serves a page for every address.
    /// Only where the fallback list exists does that tell us anything.
    async fn referrers_of_odd_answer(
        &self,
        digest: &Digest,
        page: &Page,
    ) -> Result<Vec<Descriptor>, ClientError> {
        let fallback = self.fallback(digest).await?;
        if fallback.index.is_some() {
            return Ok(fallback.manifests);
        }
        let got = page.content_type.as_deref().unwrap_or("nothing");
        let reason = format!("it is labelled {got:.80} and not as an index");
        Err(ClientError::BrokenList { url: page.url.clone(), reason })
    }

    async fn fallback(&self, digest: &Digest) -> Result<Fallback, ClientError> {
        let mut call = self.manifest_call(Method::GET, &tag(digest));
        call.headers.insert(header::ACCEPT, HeaderValue::from_static(MediaType::OCI_INDEX));
        let whole = match self.host.read(&call, MAX_DOCUMENT_BYTES).await? {
            Read::Whole(whole) => whole,
            Read::Other(response) if response.status() == StatusCode::NOT_FOUND => {
                return Ok(Fallback::default());
            }
            Read::Other(response) => return Err(ClientError::refused(Method::GET, response).await),
        };
        let (url, etag) = (whole.place(), whole.headers.get(header::ETAG).cloned());
        let label = answer::content_type(&whole.headers).map(MediaType::new);
        let document = Document::parse(whole.body, label.as_ref())
            .map_err(|source| ClientError::Document { url, source })?;
        Ok(match document {
            // Some registries take the tag for the digest it spells, and answer with the image itself.
            _ if document.digest() == *digest => Fallback::default(),
            Document::Index(index) => {
                Fallback { manifests: index.manifests.clone(), index: Some(index), etag }
            }
            Document::Manifest(_) => Fallback::default(),
        })
    }
}

/// The list that clients keep under a tag.
#[derive(Default)]
struct Fallback {
    manifests: Vec<Descriptor>,
    index: Option<Raw<Index>>,
    etag: Option<HeaderValue>,
}

impl Fallback {
    /// Returns the list with one more entry. All else in it stays as others wrote it.
    fn with(&self, referrer: &Descriptor) -> (Bytes, MediaType) {
        let edited = self.index.as_ref().and_then(|index| {
            let added = serde_json::to_value(referrer).ok()?;
            let edit = index.edit(|value| {
                if let Some(manifests) = value.get_mut("manifests").and_then(|list| list.as_array_mut()) {
                    manifests.push(added);
                }
            });
            edit.ok()
        });
        let index =
            edited.unwrap_or_else(|| Raw::write(Index::of(vec![referrer.clone()]), MediaType::OCI_INDEX));
        (index.bytes().clone(), index.media_type().clone())
    }
}

/// The tag that stands for the missing list: `sha256-<hex>`, cut to what a tag may hold.
fn tag(digest: &Digest) -> TagOrDigest {
    let hex = digest.hex();
    TagOrDigest::Tag(format!("{}-{}", digest.algorithm().name(), &hex[..hex.len().min(64)]))
}

/// Describes a manifest as lists of referrers do.
fn referrer(document: &Document) -> Descriptor {
    let mut descriptor = document.descriptor();
    let (artifact_type, annotations) = match document {
        Document::Manifest(manifest) => {
            (Some(manifest.effective_artifact_type().to_owned()), manifest.annotations.clone())
        }
        Document::Index(index) => (index.artifact_type.clone(), index.annotations.clone()),
    };
    descriptor.artifact_type = artifact_type;
    descriptor.annotations = annotations;
    descriptor
}

fn is_index(page: &Page) -> bool {
    page.content_type.as_deref() == Some(MediaType::OCI_INDEX)
}

#[cfg(test)]
mod tests {
    use oxbox_layers::oci::{Algorithm, Descriptor, Digest, Index, MediaType, Raw};

    use super::{Fallback, TagOrDigest, tag};

    #[test]
    fn a_fallback_tag_fits_into_a_tag() {
        let digest = Digest::sha256(b"");
        assert_eq!(tag(&digest), TagOrDigest::Tag(format!("sha256-{}", digest.hex())));
        let long = Digest::of(Algorithm::Sha512, b"");
        assert_eq!(tag(&long), TagOrDigest::Tag(format!("sha512-{}", &long.hex()[..64])));
    }

    #[test]
    fn an_entry_is_added_and_unknown_fields_stay() {
        let text = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"x-own":1}"#;
        let index: Raw<Index> = Raw::parse(text, MediaType::OCI_INDEX.into()).unwrap();
        let fallback = Fallback { index: Some(index), ..Fallback::default() };
        let referrer = Descriptor::of(MediaType::OCI_MANIFEST, b"{}");
        let (bytes, _) = fallback.with(&referrer);
        let read: Index = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read.manifests, [referrer]);
        assert!(String::from_utf8_lossy(&bytes).contains("\"x-own\":1"));
    }
}
