//! What goes wrong between us and a registry, and what kind of trouble each thing is.

use std::sync::Arc;

use http::{Method, StatusCode};
use oxbox_layers::oci::{Digest, DocumentError};
use reqwest::Response;

use super::answer::{self, Place, Said};
use super::auth::AuthError;
use super::exchange::ExchangeError;
use super::redirect::RedirectError;
use super::retry::is_passing;

/// Why a registry did not do as asked. What is merely not there is no error: functions return `None`.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There was no answer.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The registry's challenge could not be met. Shared by all tasks that wanted the same token.
    #[error(transparent)]
    Auth(#[from] Arc<AuthError>),
    /// The registry answered with a refusal.
    #[error("{method} {url} was refused with {status}{said}{wait}", wait = wait(.retry_after))]
    Refused {
        /// Request.
        method: Method,
        /// Address without its query.
        url: String,
        /// Answer.
        status: StatusCode,
        /// What the registry said.
        said: Said,
        /// Seconds that it asks to wait.
        retry_after: Option<u64>,
    },
    /// It is no address of HTTP.
    #[error("{url:?} is no http:// or https:// address")]
    Address {
        /// What was written, without credentials and query.
        url: String,
    },
    /// A web server does not have the file, or does not give it.
    #[error("{url} cannot be had: the server answered {status}")]
    NoFile {
        /// Address without its query.
        url: String,
        /// Answer.
        status: StatusCode,
    },
    /// The answer is none that a registry gives.
    #[error("{url} is not a registry: {reason}")]
    NotARegistry {
        /// Address without its query.
        url: String,
        /// What is odd.
        reason: String,
    },
    /// Other content came than was asked for.
    #[error("{url} sent {actual} where {expected} was promised")]
    WrongDigest {
        /// Address without its query.
        url: String,
        /// What was promised.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// More or less content came than was asked for.
    #[error("{url} sends {actual} bytes where {expected} were promised")]
    WrongSize {
        /// Address without its query.
        url: String,
        /// Bytes that were promised.
        expected: u64,
        /// Bytes that came or were announced.
        actual: u64,
    },
    /// A download broke off too often.
    #[error("the download of {url} broke off {losses} times, at last at {offset} of {size} bytes")]
    Interrupted {
        /// Address without its query.
        url: String,
        /// How often without progress.
        losses: u32,
        /// Where.
        offset: u64,
        /// Of how much.
        size: u64,
        /// The last loss; `None` if the answer just ended.
        #[source]
        source: Option<Box<ExchangeError>>,
    },
    /// The answer to a range request is another range.
    #[error("{url} was asked for bytes from {offset} of {size} and sent {got:?}")]
    WrongRange {
        /// Address without its query.
        url: String,
        /// First byte that was asked for.
        offset: u64,
        /// Bytes of the whole.
        size: u64,
        /// `Content-Range` of the answer, cut.
        got: String,
    },
    /// The document is no manifest or index.
    #[error("{url} holds no manifest")]
    Document {
        /// Address without its query.
        url: String,
        /// What is wrong with it.
        #[source]
        source: DocumentError,
    },
    /// A list is malformed or endless.
    #[error("the list at {url} is broken: {reason}")]
    BrokenList {
        /// Address without its query.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The registry lost count of an upload.
    #[error("{url} holds {held} bytes of an upload of which {sent} were sent")]
    UploadOffset {
        /// Address without its query.
        url: String,
        /// Bytes it says it has.
        held: u64,
        /// Bytes it was sent.
        sent: u64,
    },
    /// The list of referrers kept changing under our hands.
    #[error("the referrers at {url} were changed by others {tries} times while one was added")]
    Contended {
        /// Address without its query.
        url: String,
        /// How often.
        tries: u32,
    },
}

/// What a caller does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Other credentials may help.
    Denied,
    /// The same request may succeed later.
    Transient,
    /// Bytes came that are not the promised ones.
    Corrupt,
    /// The registry cannot do this.
    Unsupported,
    /// Anything else.
    Failed,
}

impl ClientError {
    /// Returns the error of an answer that nobody expected; reads what the registry says.
    pub(crate) async fn refused(method: Method, response: Response) -> Self {
        let url = Place::of(response.url()).to_string();
        let status = response.status();
        if status.is_success() || status.is_informational() || status.is_redirection() {
            return Self::NotARegistry { url, reason: format!("it answered {method} with {status}") };
        }
        let wait = super::retry::retry_after(response.headers(), jiff::Timestamp::now());
        let said = Said(answer::errors(response).await);
        Self::Refused { method, url, status, said, retry_after: wait.map(|wait| wait.as_secs()) }
    }

    /// Returns what kind of trouble this is.
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Exchange(error) if error.is_transient() => Trouble::Transient,
            Self::Exchange(_) => Trouble::Failed,
            Self::Auth(error) if error.is_transient() => Trouble::Transient,
            Self::Auth(_) => Trouble::Denied,
            Self::Refused { status, said, .. } => refused(*status, said),
            Self::WrongDigest { .. } | Self::WrongSize { .. } => Trouble::Corrupt,
            Self::Document { .. } | Self::BrokenList { .. } => Trouble::Corrupt,
            Self::Interrupted { .. } | Self::UploadOffset { .. } | Self::Contended { .. } => {
                Trouble::Transient
            }
            Self::NoFile { status, .. } if is_passing(*status) => Trouble::Transient,
            Self::NotARegistry { .. } | Self::WrongRange { .. } => Trouble::Failed,
            Self::Address { .. } | Self::NoFile { .. } => Trouble::Failed,
        }
    }

    /// Whether a whole new try may succeed.
    pub fn is_transient(&self) -> bool {
        self.trouble() == Trouble::Transient
    }

    /// Whether an upload in one request failed in a way that chunks may survive: a body that is too
    /// large for something on the way, a redirect that came when the stream was under way, or a broken
    /// connection. The latter is also how a 413 looks that was sent before the body had come.
    pub(crate) fn asks_for_chunks(&self) -> bool {
        match self {
            Self::Exchange(ExchangeError::Redirect(RedirectError::BodyGone { .. })) => true,
            Self::Exchange(ExchangeError::Broken { .. }) => true,
            Self::Refused { status, .. } => matches!(status.as_u16(), 405 | 411 | 413),
            _ => false,
        }
    }
}

fn refused(status: StatusCode, said: &Said) -> Trouble {
    match status.as_u16() {
        401 | 403 | 407 => Trouble::Denied,
        400 | 404 if said.has("DIGEST_INVALID") || said.has("SIZE_INVALID") => Trouble::Corrupt,
        // A session that is gone is made anew by trying again.
        404 if said.has("BLOB_UPLOAD_UNKNOWN") => Trouble::Transient,
        405 | 415 | 501 => Trouble::Unsupported,
        _ if is_passing(status) => Trouble::Transient,
        _ => Trouble::Failed,
    }
}

fn wait(seconds: &Option<u64>) -> String {
    seconds.map_or_else(String::new, |seconds| format!(" (it asks to wait {seconds} s)"))
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};
    use oxbox_layers::oci::wire::ErrorEntry;

    use super::{ClientError, Said, Trouble};

    fn refused(status: u16, code: &str) -> ClientError {
        let entry = ErrorEntry { code: code.to_owned(), message: "m".to_owned(), detail: None };
        ClientError::Refused {
            method: Method::PUT,
            url: "https://q.io/v2/a/blobs/uploads/1".to_owned(),
            status: StatusCode::from_u16(status).unwrap(),
            said: Said(vec![entry]),
            retry_after: (status == 429).then_some(7200),
        }
    }

    #[test]
    fn a_refusal_is_told_apart_by_what_to_do_about_it() {
        for (status, code, trouble) in [
            (403, "DENIED", Trouble::Denied),
            (429, "TOOMANYREQUESTS", Trouble::Transient),
            (503, "UNKNOWN", Trouble::Transient),
            (400, "DIGEST_INVALID", Trouble::Corrupt),
            (404, "BLOB_UPLOAD_UNKNOWN", Trouble::Transient),
            (405, "UNSUPPORTED", Trouble::Unsupported),
            (400, "MANIFEST_INVALID", Trouble::Failed),
        ] {
            assert_eq!(refused(status, code).trouble(), trouble, "{status} {code}");
        }
    }

    #[test]
    fn a_refusal_names_request_status_code_and_wait() {
        assert_eq!(
            refused(429, "TOOMANYREQUESTS").to_string(),
            "PUT https://q.io/v2/a/blobs/uploads/1 was refused with 429 Too Many Requests: \
             TOOMANYREQUESTS \"m\" (it asks to wait 7200 s)"
        );
    }
}
