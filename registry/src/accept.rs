//! Which manifests are taken: the checks that need only the bytes.
//!
//! ```text
//! bytes + Content-Type + reference ─▶ NewManifest: what it names, what it hangs on, what must be there
//! ```
//!
//! Taken are OCI and Docker schema 2 manifests and indexes with any config, layer and artifact types.
//! The bytes are kept as they came. Whether the named blobs are there is decided in the transaction
//! that stores the manifest (`storage/metadata.rs`), where nobody can remove them meanwhile.
//!
//! distribution-spec v1.1.1, spec.md#pushing-manifests

use bytes::Bytes;
use oxbox_layers::oci::graph::{Role, successors};
use oxbox_layers::oci::raw::MAX_DOCUMENT_BYTES;
use oxbox_layers::oci::{Algorithm, Descriptor, Digest, Document, DocumentError, MediaType, RawError};

use crate::name::{ManifestReference, Tag};
use crate::storage::BlobKey;
use crate::storage::metadata::{Edge, ManifestRecord, Need, NewManifest};

/// The largest manifest that is taken; the spec asks for 4 MB at least.
pub const MAX_MANIFEST_BYTES: usize = MAX_DOCUMENT_BYTES;

/// Manifests up to this many bytes are repeated in the database. Nearly all are; larger ones would
/// push the small ones out of its page cache.
pub(crate) const INLINE_BYTES: usize = 64 * 1024;

/// The longest artifact type, or config type that stands for one: two names of at most 127 characters
/// (RFC 6838, section 4.2). Lists of referrers repeat it for each of their entries.
const MAX_TYPE_BYTES: usize = 255;

/// Whether an index may name manifests that are not in its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SparseIndexes {
    /// No: whoever pulls a platform that is listed finds it.
    #[default]
    Refuse,
    /// Yes, as mirrors of some platforms need.
    Accept,
}

/// Why a manifest is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is no document that the registry knows.
    #[error("manifest is refused")]
    Document(#[from] DocumentError),
    /// It says another version than 2.
    #[error("manifest has schemaVersion {found}, not 2")]
    SchemaVersion {
        /// What it says.
        found: u32,
    },
    /// Its artifact type, or its config's type, is none.
    #[error("manifest has an artifact type of {length} bytes, more than {MAX_TYPE_BYTES}")]
    ArtifactType {
        /// How long it is.
        length: usize,
    },
    /// The bytes are others than the path promises.
    #[error("manifest is {actual}, but was pushed as {expected}")]
    Digest {
        /// The digest in the path.
        expected: Digest,
        /// The digest of the bytes.
        actual: Digest,
    },
}

impl Refused {
    /// Whether the document is well-formed, but of a kind that is not taken.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Document(DocumentError::Unsupported { .. }))
    }

    /// Whether there were too many bytes.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::Document(DocumentError::Raw(RawError::TooLarge { .. })))
    }
}

/// Reads a pushed manifest. Key and condition are for the caller to fill.
pub fn accept(
    bytes: Bytes,
    content_type: Option<&str>,
    reference: &ManifestReference,
    tags: Vec<Tag>,
    sparse: SparseIndexes,
) -> Result<NewManifest, Refused> {
    let (algorithm, tags) = names(reference, tags);
    let label = content_type.map(MediaType::new).filter(|label| !label.as_str().is_empty());
    let document = Document::parse_with(bytes, label.as_ref(), algorithm)?;
    let digest = document.digest();
    if let ManifestReference::Digest(expected) = reference
        && *expected != digest
    {
        return Err(Refused::Digest { expected: *expected, actual: digest });
    }
    let (schema_version, artifact_type, annotations) = described(&document);
    if schema_version != 2 {
        return Err(Refused::SchemaVersion { found: schema_version });
    }
    let length = artifact_type.as_ref().map_or(0, String::len);
    if length > MAX_TYPE_BYTES {
        return Err(Refused::ArtifactType { length });
    }
    let edges = successors(&document).into_iter().map(|(role, child)| edge(role, child, sparse)).collect();
    let bytes = document.bytes().clone();
    let record = ManifestRecord {
        digest,
        media_type: document.media_type().clone(),
        size: bytes.len() as u64,
        body: (bytes.len() <= INLINE_BYTES).then_some(bytes),
        key: BlobKey(String::new()),
        artifact_type,
        subject: document.subject().map(|subject| subject.digest),
    };
    Ok(NewManifest { record, annotations, edges, tags, condition: Default::default() })
}

/// A tag's manifest is named by SHA-256; a digest keeps the algorithm that the client chose.
fn names(reference: &ManifestReference, mut tags: Vec<Tag>) -> (Algorithm, Vec<Tag>) {
    match reference {
        ManifestReference::Digest(digest) => (digest.algorithm(), tags),
        ManifestReference::Tag(tag) => {
            tags.insert(0, tag.clone());
            (Algorithm::Sha256, tags)
        }
    }
}

type Described = (u32, Option<String>, Option<std::collections::BTreeMap<String, String>>);

fn described(document: &Document) -> Described {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    match document {
        Document::Index(index) => {
            (index.schema_version, given(&index.artifact_type), index.annotations.clone())
        }
        Document::Manifest(manifest) => {
            // spec.md#listing-referrers: without an artifactType the config's type stands for it.
            let config = || Some(manifest.config.media_type.as_str().to_owned());
            let artifact_type = given(&manifest.artifact_type).or_else(config);
            (manifest.schema_version, artifact_type, manifest.annotations.clone())
        }
    }
}

fn edge(role: Role, child: &Descriptor, sparse: SparseIndexes) -> Edge {
    let may_be_missing = match role {
        Role::Config => false,
        // Foreign layers live at their `urls`; registries must not insist on them.
        Role::Layer => child.media_type.is_nondistributable(),
        Role::Child => sparse == SparseIndexes::Accept,
    };
    let need = if may_be_missing { Need::Optional } else { Need::Required };
    Edge { child: child.digest, size: child.size, role, need }
}

#[cfg(test)]
mod tests {
    use oxbox_layers::oci::{Algorithm, Descriptor, Digest, Index, Manifest, MediaType, Raw};

    use super::{Refused, SparseIndexes, accept};
    use crate::name::{ManifestReference, Tag};
    use crate::storage::metadata::{Need, NewManifest};

    fn tag() -> ManifestReference {
        ManifestReference::Tag(Tag::parse("v1").unwrap())
    }

    fn image(layer_type: &str) -> Raw<Manifest> {
        let config = Descriptor::of(MediaType::OCI_CONFIG, b"{}");
        let layers = vec![Descriptor::of(layer_type, b"layer")];
        Raw::write(Manifest::of_image(config, layers), MediaType::OCI_MANIFEST)
    }

    fn taken(
        bytes: bytes::Bytes,
        label: &str,
        reference: &ManifestReference,
    ) -> Result<NewManifest, Refused> {
        accept(bytes, Some(label), reference, Vec::new(), SparseIndexes::Refuse)
    }

    #[test]
    fn a_manifest_requires_its_config_and_layers_and_takes_its_tag() {
        let raw = image(MediaType::OCI_LAYER);
        let new = taken(raw.bytes().clone(), MediaType::OCI_MANIFEST, &tag()).unwrap();
        assert_eq!(new.record.digest, raw.digest());
        assert!(new.edges.iter().all(|edge| edge.need == Need::Required) && new.edges.len() == 2);
        assert_eq!(new.tags, [Tag::parse("v1").unwrap()]);
        assert_eq!(new.record.artifact_type.as_deref(), Some(MediaType::OCI_CONFIG));
    }

    #[test]
    fn a_foreign_layer_need_not_be_here() {
        let raw = image(MediaType::DOCKER_FOREIGN_LAYER_GZIP);
        let new = taken(raw.bytes().clone(), MediaType::OCI_MANIFEST, &tag()).unwrap();
        assert_eq!(new.edges[1].need, Need::Optional);
    }

    #[test]
    fn a_digest_keeps_its_algorithm_and_must_be_that_of_the_bytes() {
        let raw = image(MediaType::OCI_LAYER);
        let digest = Digest::of(Algorithm::Sha512, raw.bytes());
        let reference = ManifestReference::Digest(digest);
        let new = taken(raw.bytes().clone(), MediaType::OCI_MANIFEST, &reference).unwrap();
        assert_eq!(new.record.digest, digest);
        let other = ManifestReference::Digest(Digest::sha256(b"other"));
        let refused = taken(raw.bytes().clone(), MediaType::OCI_MANIFEST, &other);
        assert!(matches!(refused, Err(Refused::Digest { .. })));
    }

    #[test]
    fn children_of_an_index_are_required_unless_it_may_be_sparse() {
        let raw = Raw::write(Index::of(vec![image("a/b").descriptor()]), MediaType::OCI_INDEX);
        let bytes = raw.bytes().clone();
        assert_eq!(taken(bytes.clone(), MediaType::OCI_INDEX, &tag()).unwrap().edges[0].need, Need::Required);
        let sparse = accept(bytes, None, &tag(), Vec::new(), SparseIndexes::Accept).unwrap();
        assert_eq!(sparse.edges[0].need, Need::Optional);
    }

    #[test]
    fn schema_1_and_unknown_kinds_are_unsupported_and_broken_json_is_not() {
        let schema1 = r#"{"schemaVersion":1,"fsLayers":[],"history":[]}"#;
        assert!(
            taken(schema1.into(), MediaType::DOCKER_SCHEMA1_SIGNED, &tag()).unwrap_err().is_unsupported()
        );
        let unknown = taken("{}".into(), "application/vnd.example.thing+json", &tag());
        assert!(unknown.unwrap_err().is_unsupported());
        let broken = taken("{".into(), MediaType::OCI_MANIFEST, &tag()).unwrap_err();
        assert!(!broken.is_unsupported() && !broken.is_too_large());
    }

    #[test]
    fn another_schema_version_is_refused() {
        let text = r#"{"schemaVersion":3,"manifests":[]}"#;
        let refused = taken(text.into(), MediaType::OCI_INDEX, &tag());
        assert!(matches!(refused, Err(Refused::SchemaVersion { found: 3 })));
    }

    #[test]
    fn parameters_of_the_content_type_are_not_kept() {
        let label = format!("{}; charset=utf-8", MediaType::OCI_MANIFEST);
        let new = taken(image(MediaType::OCI_LAYER).bytes().clone(), &label, &tag()).unwrap();
        assert_eq!(new.record.media_type, MediaType::OCI_MANIFEST);
    }
}
