//! Descriptors: what one document says of another blob.
//!
//! ```json
//! { "mediaType": "…", "digest": "sha256:…", "size": 1234, "platform": {…}, "annotations": {…} }
//! ```
//!
//! image-spec v1.1.1, descriptor.md

use std::collections::BTreeMap;

use base64::Engine as _;
use serde::{Deserialize, Serialize};

use super::{Digest, MediaType, Platform};

/// Type, digest and size of a blob, with what else the naming document knew of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: MediaType,
    /// Digest of its bytes.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
    /// Where else it may be fetched; only foreign layers use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urls: Option<Vec<String>>,
    /// Free annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// The content itself, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// What the image runs on, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The artifact type of the manifest that this names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// Returns a descriptor that says no more than it must.
    pub fn new(media_type: impl Into<MediaType>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            urls: None,
            annotations: None,
            data: None,
            platform: None,
            artifact_type: None,
        }
    }

    /// Returns the descriptor of `bytes`.
    pub fn of(media_type: impl Into<MediaType>, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::sha256(bytes), bytes.len() as u64)
    }

    /// Returns one annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// Sets one annotation.
    pub fn annotate(&mut self, key: &str, value: impl Into<String>) {
        self.annotations.get_or_insert_default().insert(key.to_owned(), value.into());
    }

    /// Returns the inlined content if there is any and it is what digest and size promise.
    pub fn inlined(&self) -> Option<Vec<u8>> {
        let bytes = base64::engine::general_purpose::STANDARD.decode(self.data.as_ref()?).ok()?;
        let honest =
            bytes.len() as u64 == self.size && Digest::of(self.digest.algorithm(), &bytes) == self.digest;
        honest.then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::Descriptor;
    use crate::oci::MediaType;

    #[test]
    fn what_is_absent_is_not_written() {
        let text = serde_json::to_string(&Descriptor::of(MediaType::OCI_EMPTY, b"{}")).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:"#,
                r#"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}"#
            )
        );
    }

    #[test]
    fn inlined_data_counts_only_if_it_is_the_promised_content() {
        let mut descriptor = Descriptor::of(MediaType::OCI_EMPTY, b"{}");
        descriptor.data = Some("e30=".to_owned());
        assert_eq!(descriptor.inlined(), Some(b"{}".to_vec()));
        descriptor.data = Some("e31=".to_owned());
        assert_eq!(descriptor.inlined(), None);
    }

    #[test]
    fn a_negative_size_is_refused() {
        let text = r#"{"mediaType":"a/b","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":-1}"#;
        assert!(serde_json::from_str::<Descriptor>(text).is_err());
    }
}
