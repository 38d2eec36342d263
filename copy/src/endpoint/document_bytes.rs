//! Documents read whole from files: bounded, and verified before anybody parses them.

use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use oxbox_layers::oci::raw::MAX_DOCUMENT_BYTES;
use oxbox_layers::oci::{Algorithm, Descriptor, Digest, Document, DocumentError, RawError};

use super::{EndpointError, FileError, Subject};

/// How a document differs from its descriptor.
#[derive(Debug, thiserror::Error)]
#[error("content is {actual} ({actual_size} bytes) but {expected} ({expected_size} bytes) was promised")]
struct Mismatch {
    expected: Digest,
    expected_size: u64,
    actual: Digest,
    actual_size: u64,
}

/// Reads at most [`MAX_DOCUMENT_BYTES`].
pub(super) fn read(
    reader: &mut dyn Read,
    path: &Path,
    subject: &Subject,
    place: &str,
) -> Result<Bytes, EndpointError> {
    let mut bytes = Vec::new();
    let limit = MAX_DOCUMENT_BYTES as u64 + 1;
    reader
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|source| EndpointError::file(subject.clone(), place, FileError::of("read", path)(source)))?;
    if bytes.len() > MAX_DOCUMENT_BYTES {
        let source = RawError::TooLarge { size: bytes.len(), limit: MAX_DOCUMENT_BYTES };
        return Err(EndpointError::Corrupt {
            subject: subject.clone(),
            place: place.to_owned(),
            source: source.into(),
        });
    }
    Ok(bytes.into())
}

/// Checks bytes against the descriptor that named them.
pub(super) fn verify(bytes: Bytes, descriptor: &Descriptor, place: &str) -> Result<Bytes, EndpointError> {
    let actual = Digest::of(descriptor.digest.algorithm(), &bytes);
    let actual_size = bytes.len() as u64;
    if actual == descriptor.digest && actual_size == descriptor.size {
        return Ok(bytes);
    }
    let (expected, expected_size) = (descriptor.digest, descriptor.size);
    Err(EndpointError::Corrupt {
        subject: Subject::Document(expected),
        place: place.to_owned(),
        source: Mismatch { expected, expected_size, actual, actual_size }.into(),
    })
}

/// Returns the descriptor of a root document that nothing but its place names.
pub(super) fn describe_root(bytes: &Bytes, place: &str) -> Result<Descriptor, EndpointError> {
    let document = Document::parse_with(bytes.clone(), None, Algorithm::Sha256);
    Ok(document.map_err(|error| malformed(Subject::Image, place, error))?.descriptor())
}

/// The error of bytes that are no document.
pub(super) fn malformed(subject: Subject, place: &str, error: DocumentError) -> EndpointError {
    EndpointError::Corrupt { subject, place: place.to_owned(), source: error.into() }
}
