//! Documents as they came: exact bytes, and a parsed view beside them.
//!
//! A digest is always of bytes, never of a re-encoding. Whoever edits a document edits its JSON, so
//! that fields this program does not know survive; the order of keys survives too.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Algorithm, Descriptor, Digest, MediaType};

/// The largest document that is read: the manifest size that the distribution spec asks every
/// registry to take. Nothing honest comes near it.
pub const MAX_DOCUMENT_BYTES: usize = 4 * 1024 * 1024;

/// Exact bytes of a document, what they claim to be, their digest and their view.
#[derive(Debug, PartialEq, Eq)]
pub struct Raw<T> {
    bytes: Bytes,
    media_type: MediaType,
    digest: Digest,
    // Shared: documents are passed around far more often than they are made.
    view: Arc<T>,
}

/// Why bytes are not the document that they claim to be.
#[derive(Debug, thiserror::Error)]
pub enum RawError {
    /// The document is larger than [`MAX_DOCUMENT_BYTES`].
    #[error("document of {size} bytes is larger than the {limit} bytes allowed")]
    TooLarge {
        /// Bytes that came.
        size: usize,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// The bytes are not UTF-8, which JSON must be (RFC 8259, section 8.1).
    #[error("document is not valid UTF-8 after {valid_bytes} bytes")]
    NotUtf8 {
        /// Bytes that were.
        valid_bytes: usize,
    },
    /// The JSON is broken or lacks what the type needs.
    #[error("document is not a valid {media_type}")]
    Malformed {
        /// What it claims to be.
        media_type: MediaType,
        /// Where the reader stopped.
        #[source]
        source: serde_json::Error,
    },
}

impl<T: DeserializeOwned> Raw<T> {
    /// Parses bytes as a document; its digest is SHA-256.
    pub fn parse(bytes: impl Into<Bytes>, media_type: MediaType) -> Result<Self, RawError> {
        Self::parse_with(bytes, media_type, Algorithm::Sha256)
    }

    /// Parses bytes as a document that is named by a digest of `algorithm`.
    pub fn parse_with(
        bytes: impl Into<Bytes>,
        media_type: MediaType,
        algorithm: Algorithm,
    ) -> Result<Self, RawError> {
        let bytes = bytes.into();
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(RawError::TooLarge { size: bytes.len(), limit: MAX_DOCUMENT_BYTES });
        }
        // The parser checks only the strings that it keeps; others would break at the first edit.
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| RawError::NotUtf8 { valid_bytes: error.valid_up_to() })?;
        let view = serde_json::from_str(text)
            .map_err(|source| RawError::Malformed { media_type: media_type.clone(), source })?;
        let digest = Digest::of(algorithm, &bytes);
        Ok(Self { bytes, media_type, digest, view: Arc::new(view) })
    }

    /// Returns the document after an edit of its JSON, compactly printed; all else stays as it was.
    ///
    /// # Errors
    ///
    /// [`RawError::Malformed`] if the edit left something that is no such document.
    pub fn edit(&self, change: impl FnOnce(&mut serde_json::Value)) -> Result<Self, RawError> {
        let malformed = |source| RawError::Malformed { media_type: self.media_type.clone(), source };
        let mut value: serde_json::Value = serde_json::from_slice(&self.bytes).map_err(malformed)?;
        change(&mut value);
        let bytes = serde_json::to_vec(&value).map_err(malformed)?;
        Self::parse_with(bytes, self.media_type.clone(), self.digest.algorithm())
    }
}

impl<T: Serialize> Raw<T> {
    /// Writes a new document: compact JSON in the order of the view's fields.
    pub fn write(view: T, media_type: impl Into<MediaType>) -> Self {
        let bytes: Bytes = serde_json::to_vec(&view)
            .expect("because the views hold no map with keys that are not text")
            .into();
        let digest = Digest::sha256(&bytes);
        Self { bytes, media_type: media_type.into(), digest, view: Arc::new(view) }
    }
}

impl<T> Raw<T> {
    /// Returns the exact bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns what the document claims to be.
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// Returns the digest of the bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns how many bytes there are.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Returns a descriptor of the document.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest, self.size())
    }

    /// Returns the parsed view.
    pub fn view(&self) -> &T {
        &self.view
    }
}

impl<T> Clone for Raw<T> {
    fn clone(&self) -> Self {
        Self {
            bytes: self.bytes.clone(),
            media_type: self.media_type.clone(),
            digest: self.digest,
            view: Arc::clone(&self.view),
        }
    }
}

impl<T> Deref for Raw<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.view
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_DOCUMENT_BYTES, Raw, RawError};
    use crate::oci::{Digest, Index, MediaType};

    const ODD: &str = "{ \"schemaVersion\":2,\n \"x-mine\": {\"b\":1,\"a\":2}, \"manifests\":[] }";

    fn odd() -> Raw<Index> {
        Raw::parse(ODD, MediaType::from(MediaType::OCI_INDEX)).unwrap()
    }

    #[test]
    fn the_digest_is_of_the_bytes_as_they_came() {
        assert_eq!(odd().digest(), Digest::sha256(ODD.as_bytes()));
        assert_eq!(&odd().bytes()[..], ODD.as_bytes());
    }

    #[test]
    fn an_edit_keeps_unknown_fields_and_the_order_of_keys() {
        let edited = odd().edit(|value| value["annotations"] = serde_json::json!({"k": "v"})).unwrap();
        assert_eq!(
            &edited.bytes()[..],
            br#"{"schemaVersion":2,"x-mine":{"b":1,"a":2},"manifests":[],"annotations":{"k":"v"}}"#
        );
    }

    #[test]
    fn an_edit_that_breaks_the_document_is_refused() {
        let result = odd().edit(|value| value["manifests"] = serde_json::json!(7));
        assert!(matches!(result, Err(RawError::Malformed { .. })));
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        let text = r#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#;
        let result = Raw::<Index>::parse(text, MediaType::from(MediaType::OCI_INDEX));
        assert!(matches!(result, Err(RawError::Malformed { .. })));
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_refused_even_where_no_view_looks() {
        let text = b"{\"schemaVersion\":2,\"x\xff\":1,\"manifests\":[]}";
        let result = Raw::<Index>::parse(&text[..], MediaType::from(MediaType::OCI_INDEX));
        assert!(matches!(result, Err(RawError::NotUtf8 { valid_bytes: 21 })), "{result:?}");
    }

    #[test]
    fn a_document_beyond_the_limit_is_refused_before_it_is_parsed() {
        let result =
            Raw::<Index>::parse(vec![b' '; MAX_DOCUMENT_BYTES + 1], MediaType::from(MediaType::OCI_INDEX));
        assert!(matches!(result, Err(RawError::TooLarge { .. })));
    }
}
