//! A manifest or an index, told apart by what it says and what it holds.
//!
//! The type comes from the `Content-Type` or the descriptor, else from `mediaType` within, else from
//! the fields. A document that holds both `manifests` and `layers` means two things to two readers and
//! is refused (CVE-2021-41190), and so is one whose own `mediaType` contradicts its label.
//!
//! image-spec v1.1.1, manifest.md and image-index.md; distribution-spec v1.1.1

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Algorithm, Descriptor, Digest, Index, Kind, Manifest, MediaType, Raw, RawError};

/// A document that names blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// Many manifests.
    Index(Raw<Index>),
    /// One image or artifact.
    Manifest(Raw<Manifest>),
}

/// Why bytes are neither a manifest nor an index.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Both `manifests` and `layers` or `config` are there.
    #[error("document holds both manifests and layers, and could be read in two ways")]
    Ambiguous,
    /// The label and the document's own `mediaType` disagree.
    #[error("document says it is {inside} but was labelled {label}")]
    Contradiction {
        /// What the header or descriptor said.
        label: MediaType,
        /// What the document says.
        inside: MediaType,
    },
    /// The document is of a kind that is not supported.
    #[error("{media_type} is neither an image manifest nor an index that is supported")]
    Unsupported {
        /// What it is.
        media_type: MediaType,
    },
    /// The bytes do not parse.
    #[error(transparent)]
    Raw(#[from] RawError),
}

/// The fields that tell kinds apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u32>,
    media_type: Option<MediaType>,
    config: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    manifests: Option<IgnoredAny>,
}

impl Document {
    /// Parses a document whose label, if any, is `label`; its digest is SHA-256.
    pub fn parse(bytes: impl Into<Bytes>, label: Option<&MediaType>) -> Result<Self, DocumentError> {
        Self::parse_with(bytes, label, Algorithm::Sha256)
    }

    /// Parses a document that is named by a digest of `algorithm`.
    pub fn parse_with(
        bytes: impl Into<Bytes>,
        label: Option<&MediaType>,
        algorithm: Algorithm,
    ) -> Result<Self, DocumentError> {
        let bytes = bytes.into();
        let shape = Raw::<Shape>::parse(bytes.clone(), label.cloned().unwrap_or("application/json".into()))?;
        let media_type = told(&shape, label)?;
        match media_type.kind() {
            Kind::Manifest => Ok(Self::Manifest(Raw::parse_with(bytes, media_type, algorithm)?)),
            Kind::Index => Ok(Self::Index(Raw::parse_with(bytes, media_type, algorithm)?)),
            _ => Err(DocumentError::Unsupported { media_type }),
        }
    }

    /// Returns the exact bytes.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Index(raw) => raw.bytes(),
            Self::Manifest(raw) => raw.bytes(),
        }
    }

    /// Returns the digest of the bytes.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Index(raw) => raw.digest(),
            Self::Manifest(raw) => raw.digest(),
        }
    }

    /// Returns the media type.
    pub fn media_type(&self) -> &MediaType {
        match self {
            Self::Index(raw) => raw.media_type(),
            Self::Manifest(raw) => raw.media_type(),
        }
    }

    /// Returns a descriptor of the document.
    pub fn descriptor(&self) -> Descriptor {
        match self {
            Self::Index(raw) => raw.descriptor(),
            Self::Manifest(raw) => raw.descriptor(),
        }
    }

    /// Returns the manifest that this one refers to.
    pub fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Index(raw) => raw.subject.as_ref(),
            Self::Manifest(raw) => raw.subject.as_ref(),
        }
    }
}

/// The media type by label, by the document's word, and by its fields, which must not contradict.
fn told(shape: &Shape, label: Option<&MediaType>) -> Result<MediaType, DocumentError> {
    let index_like = shape.manifests.is_some();
    let manifest_like = shape.layers.is_some() || shape.config.is_some();
    if index_like && (manifest_like || shape.fs_layers.is_some()) {
        return Err(DocumentError::Ambiguous);
    }
    // Proxies and old registries label manifests as plain JSON or text: such a label says nothing.
    let label = label.filter(|label| label.kind() != Kind::Other || is_vendor(label));
    let inside = shape.media_type.as_ref().filter(|inside| !inside.as_str().is_empty());
    if let (Some(label), Some(inside)) = (label, inside)
        && label != inside
    {
        return Err(DocumentError::Contradiction { label: label.clone(), inside: inside.clone() });
    }
    if shape.schema_version == Some(1) || shape.fs_layers.is_some() {
        return Err(DocumentError::Unsupported { media_type: MediaType::DOCKER_SCHEMA1.into() });
    }
    let told = label.or(inside).cloned();
    let by_fields: MediaType =
        if index_like { MediaType::OCI_INDEX.into() } else { MediaType::OCI_MANIFEST.into() };
    let Some(told) = told else { return Ok(by_fields) };
    match (told.kind(), index_like, manifest_like) {
        (Kind::Manifest, true, _) | (Kind::Index, _, true) => {
            Err(DocumentError::Contradiction { label: told, inside: by_fields })
        }
        _ => Ok(told),
    }
}

fn is_vendor(label: &MediaType) -> bool {
    label.as_str().starts_with("application/vnd.")
}

#[cfg(test)]
mod tests {
    use super::{Document, DocumentError};
    use crate::oci::MediaType;

    const CONFIG: &str = r#""config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}"#;

    fn manifest(extra: &str) -> String {
        format!(r#"{{"schemaVersion":2,{extra}{CONFIG},"layers":[]}}"#)
    }

    #[test]
    fn a_document_without_a_type_is_known_by_its_fields() {
        assert!(matches!(Document::parse(manifest(""), None), Ok(Document::Manifest(_))));
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        assert!(matches!(Document::parse(index, None), Ok(Document::Index(_))));
    }

    #[test]
    fn a_document_that_is_both_is_refused() {
        let both = manifest(r#""manifests":[],"#);
        assert!(matches!(Document::parse(both, None), Err(DocumentError::Ambiguous)));
    }

    #[test]
    fn a_label_that_contradicts_the_document_is_refused() {
        let text = manifest(r#""mediaType":"application/vnd.oci.image.manifest.v1+json","#);
        for label in [MediaType::OCI_INDEX, MediaType::DOCKER_MANIFEST] {
            let result = Document::parse(text.clone(), Some(&label.into()));
            assert!(matches!(result, Err(DocumentError::Contradiction { .. })), "{label}");
        }
    }

    #[test]
    fn a_label_of_the_wrong_shape_is_refused() {
        let result = Document::parse(manifest(""), Some(&MediaType::OCI_INDEX.into()));
        assert!(matches!(result, Err(DocumentError::Contradiction { .. })));
    }

    #[test]
    fn a_label_that_says_nothing_is_ignored() {
        for label in ["text/plain", "application/json"] {
            let document = Document::parse(manifest(""), Some(&label.into())).unwrap();
            assert_eq!(*document.media_type(), MediaType::OCI_MANIFEST);
        }
    }

    #[test]
    fn schema_1_is_refused_by_name() {
        let text = r#"{"schemaVersion":1,"fsLayers":[],"history":[]}"#;
        let error = Document::parse(text, None).unwrap_err();
        assert!(error.to_string().contains("manifest.v1"), "{error}");
    }
}
