//! Every refusal a client can see, and the one place that gives it a status and a code.
//!
//! ```text
//! HTTP/1.1 404 Not Found
//! {"errors":[{"code":"BLOB_UNKNOWN","message":"…","detail":…}]}
//! ```
//!
//! What breaks inside is logged whole and answered with 500 and no word of it.
//!
//! distribution-spec v1.1.1, spec.md#error-codes

use std::error::Error as _;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION, RANGE};
use http::{HeaderValue, StatusCode};
use oxbox_layers::oci::Digest;
use oxbox_layers::oci::wire::{ErrorBody, ErrorCode, ErrorEntry};
use serde_json::{Value, json};

use crate::accept::{MAX_MANIFEST_BYTES, Refused};
use crate::body::BodyError;
use crate::name::NameError;
use crate::route::RouteError;
use crate::storage::StorageError;

/// Why a request is not answered as it asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request line is refused.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The request's body did not come whole.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The manifest is refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The manifest is too large, and was not read to its end.
    #[error("manifest is larger than {MAX_MANIFEST_BYTES} bytes")]
    ManifestTooLarge,
    /// The manifest names what the repository does not have.
    #[error("{} or more blobs or manifests that are named are not in the repository", .digests.len())]
    ManifestBlobUnknown {
        /// What is missing.
        digests: Vec<Digest>,
    },
    /// The manifest promises another size than a blob has.
    #[error("{digest} has {actual} bytes, not {promised} as the manifest says")]
    WrongSize {
        /// Which blob.
        digest: Digest,
        /// What the manifest says.
        promised: u64,
        /// What is there.
        actual: u64,
    },
    /// `If-Match` or `If-None-Match` does not hold.
    #[error("the condition of the request does not hold")]
    ConditionFailed,
    /// There is no such manifest.
    #[error("manifest {reference:?} is not in the repository")]
    ManifestUnknown {
        /// Tag or digest.
        reference: String,
    },
    /// There is no such repository.
    #[error("repository {name:?} is not known")]
    NameUnknown {
        /// Its name.
        name: String,
    },
    /// There is no such blob.
    #[error("blob {digest} is not in the repository")]
    BlobUnknown {
        /// Its digest.
        digest: Digest,
    },
    /// The blob may not go.
    #[error("blob {digest} is named by a manifest; delete that first")]
    BlobReferenced {
        /// Its digest.
        digest: Digest,
    },
    /// No byte of what was asked for exists.
    #[error("the range lies behind the {size} bytes of the blob")]
    RangeUnsatisfiable {
        /// Bytes that the blob has.
        size: u64,
    },
    /// There is no such session.
    #[error("upload session is not known")]
    UploadUnknown,
    /// The chunk does not continue what was uploaded.
    #[error("the upload stands at {offset} bytes: the chunk does not continue it ({reason})")]
    OutOfOrder {
        /// Where the session is.
        location: String,
        /// Bytes that are kept.
        offset: u64,
        /// What is wrong with the chunk.
        reason: &'static str,
    },
    /// The content is not what was promised.
    #[error("content is {actual}, but {expected} was promised")]
    DigestMismatch {
        /// What was promised.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// Something broke inside.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A handler panicked.
    #[error("the request's handler panicked")]
    Panicked,
}

impl Error {
    /// Status and code: the only table of them.
    pub fn status_and_code(&self) -> (StatusCode, ErrorCode) {
        use ErrorCode as Code;
        use StatusCode as Status;
        match self {
            Self::Route(error) => route(error),
            Self::Body(BodyError::Idle { .. }) => (Status::REQUEST_TIMEOUT, Code::BlobUploadInvalid),
            Self::Body(BodyError::Stopping) => (Status::SERVICE_UNAVAILABLE, Code::BlobUploadInvalid),
            Self::Body(_) => (Status::BAD_REQUEST, Code::BlobUploadInvalid),
            Self::Refused(refused) if refused.is_unsupported() => {
                (Status::UNSUPPORTED_MEDIA_TYPE, Code::Unsupported)
            }
            Self::Refused(refused) if refused.is_too_large() => {
                (Status::PAYLOAD_TOO_LARGE, Code::SizeInvalid)
            }
            Self::Refused(Refused::Digest { .. }) | Self::DigestMismatch { .. } => {
                (Status::BAD_REQUEST, Code::DigestInvalid)
            }
            Self::Refused(_) => (Status::BAD_REQUEST, Code::ManifestInvalid),
            Self::ManifestTooLarge => (Status::PAYLOAD_TOO_LARGE, Code::SizeInvalid),
            Self::ManifestBlobUnknown { .. } => (Status::BAD_REQUEST, Code::ManifestBlobUnknown),
            Self::WrongSize { .. } => (Status::BAD_REQUEST, Code::SizeInvalid),
            Self::ConditionFailed => (Status::PRECONDITION_FAILED, Code::Denied),
            Self::ManifestUnknown { .. } => (Status::NOT_FOUND, Code::ManifestUnknown),
            Self::NameUnknown { .. } => (Status::NOT_FOUND, Code::NameUnknown),
            Self::BlobUnknown { .. } => (Status::NOT_FOUND, Code::BlobUnknown),
            Self::BlobReferenced { .. } => (Status::METHOD_NOT_ALLOWED, Code::Denied),
            Self::RangeUnsatisfiable { .. } => (Status::RANGE_NOT_SATISFIABLE, Code::RangeInvalid),
            Self::UploadUnknown => (Status::NOT_FOUND, Code::BlobUploadUnknown),
            Self::OutOfOrder { .. } => (Status::RANGE_NOT_SATISFIABLE, Code::RangeInvalid),
            Self::Storage(error) if error.is_full() => (Status::INSUFFICIENT_STORAGE, Code::Unknown),
            Self::Storage(StorageError::Closed) => (Status::SERVICE_UNAVAILABLE, Code::Unknown),
            Self::Storage(_) | Self::Panicked => (Status::INTERNAL_SERVER_ERROR, Code::Unknown),
        }
    }

    /// What a client may read of it, cause included; nothing of what broke inside.
    fn message(&self) -> String {
        match self {
            Self::Storage(error) if error.is_full() => "the registry has no space left".to_owned(),
            Self::Storage(_) | Self::Panicked => "the registry failed; its log says why".to_owned(),
            told => match told.source() {
                Some(cause) => format!("{told}: {cause}"),
                None => told.to_string(),
            },
        }
    }

    fn entries(&self, code: ErrorCode) -> Vec<ErrorEntry> {
        let entry = |message: String, detail| ErrorEntry { code: spelled(code), message, detail };
        match self {
            Self::ManifestBlobUnknown { digests } => digests
                .iter()
                .map(|digest| {
                    entry(format!("{digest} is not in the repository"), Some(json!({ "digest": digest })))
                })
                .collect(),
            _ => vec![entry(self.message(), self.detail())],
        }
    }

    fn detail(&self) -> Option<Value> {
        match self {
            Self::BlobUnknown { digest } | Self::BlobReferenced { digest } => {
                Some(json!({ "digest": digest }))
            }
            Self::ManifestUnknown { reference } => Some(json!({ "reference": reference })),
            Self::NameUnknown { name } => Some(json!({ "name": name })),
            Self::DigestMismatch { expected, actual } => {
                Some(json!({ "expected": expected, "actual": actual }))
            }
            Self::OutOfOrder { offset, .. } => Some(json!({ "offset": offset })),
            _ => None,
        }
    }

    fn headers(&self) -> Vec<(HeaderName, String)> {
        match self {
            Self::Route(RouteError::Method { allowed }) => vec![(ALLOW, (*allowed).to_owned())],
            Self::BlobReferenced { .. } => vec![(ALLOW, "GET, HEAD".to_owned())],
            Self::RangeUnsatisfiable { size } => vec![(CONTENT_RANGE, format!("bytes */{size}"))],
            // Clients that lost count take it up again from here.
            Self::OutOfOrder { location, offset, .. } => {
                vec![(LOCATION, location.clone()), (RANGE, uploaded(*offset))]
            }
            _ => Vec::new(),
        }
    }
}

/// The `Range` value of an upload: without a unit, and `0-0` also when nothing has come.
pub(crate) fn uploaded(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

fn route(error: &RouteError) -> (StatusCode, ErrorCode) {
    use ErrorCode as Code;
    use StatusCode as Status;
    match error {
        RouteError::NoSuchPath => (Status::NOT_FOUND, Code::Unsupported),
        RouteError::Method { .. } => (Status::METHOD_NOT_ALLOWED, Code::Unsupported),
        RouteError::Name(NameError::Repository { .. }) => (Status::BAD_REQUEST, Code::NameInvalid),
        RouteError::Name(NameError::Tag { .. }) => (Status::BAD_REQUEST, Code::TagInvalid),
        RouteError::Name(NameError::Digest { .. }) | RouteError::NoDigest | RouteError::Algorithm { .. } => {
            (Status::BAD_REQUEST, Code::DigestInvalid)
        }
        RouteError::NoSuchManifest { .. } => (Status::NOT_FOUND, Code::ManifestUnknown),
        RouteError::NoSuchUpload => (Status::NOT_FOUND, Code::BlobUploadUnknown),
        RouteError::Page(_) => (Status::BAD_REQUEST, Code::PaginationNumberInvalid),
        RouteError::TooManyTags { .. } => (Status::URI_TOO_LONG, Code::Unsupported),
    }
}

fn spelled(code: ErrorCode) -> String {
    match serde_json::to_value(code) {
        Ok(Value::String(text)) => text,
        _ => "UNKNOWN".to_owned(),
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        if status.is_server_error() {
            log(&self);
        }
        let body = ErrorBody { errors: self.entries(code) };
        let text = serde_json::to_string(&body).expect("because an error's body holds only text keys");
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in self.headers() {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// Logs an error with all its causes.
pub(crate) fn log(error: &(dyn std::error::Error + 'static)) {
    let mut causes = String::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push_str(": ");
        causes.push_str(&cause.to_string());
        next = cause.source();
    }
    tracing::error!("{error}{causes}");
}

#[cfg(test)]
mod tests {
    use std::io;

    use axum::response::IntoResponse;
    use http::StatusCode;
    use http_body_util::BodyExt;
    use oxbox_layers::oci::Digest;
    use oxbox_layers::oci::wire::ErrorBody;

    use super::{Error, uploaded};
    use crate::storage::StorageError;

    async fn told(error: Error) -> (StatusCode, ErrorBody) {
        let response = error.into_response();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    fn io(source: io::Error) -> Error {
        StorageError::io("write", "/secret/place")(source).into()
    }

    #[tokio::test]
    async fn what_breaks_inside_is_not_told() {
        let (status, body) = told(io(io::Error::other("cable"))).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        let text = serde_json::to_string(&body).unwrap();
        assert!(!text.contains("secret") && !text.contains("cable"), "{text}");
    }

    #[tokio::test]
    async fn a_full_disk_is_told_apart() {
        let (status, body) = told(io(io::ErrorKind::StorageFull.into())).await;
        assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE);
        assert!(body.errors[0].message.contains("no space"));
    }

    #[tokio::test]
    async fn each_missing_blob_has_an_entry() {
        let digests = vec![Digest::sha256(b"a"), Digest::sha256(b"b")];
        let (status, body) = told(Error::ManifestBlobUnknown { digests }).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(body.errors.len(), 2);
        assert!(
            body.errors.iter().all(|entry| entry.code == "MANIFEST_BLOB_UNKNOWN" && entry.detail.is_some())
        );
    }

    #[test]
    fn the_range_of_an_upload_names_its_last_byte() {
        assert_eq!(uploaded(0), "0-0");
        assert_eq!(uploaded(1), "0-0");
        assert_eq!(uploaded(1000), "0-999");
    }
}
