//! Method, path and query become a [`Request`]; nothing is looked up here.
//!
//! ```text
//! GET HEAD  /v2/                               POST          …/blobs/uploads/ [?digest= | ?mount=&from=]
//! GET HEAD  /v2/_catalog                       GET PATCH     …/blobs/uploads/<session>
//! GET HEAD DELETE      …/blobs/<digest>        PUT ?digest=  …/blobs/uploads/<session>
//! GET HEAD PUT DELETE  …/manifests/<reference> DELETE        …/blobs/uploads/<session>
//! GET HEAD  …/tags/list                        GET HEAD      …/referrers/<digest>
//! ```
//!
//! distribution-spec v1.1.1, spec.md#endpoints

use http::Method;
use oxbox_layers::oci::wire::Path;
use oxbox_layers::oci::{Algorithm, Digest};
use percent_encoding::percent_decode_str;

use crate::name::{ManifestReference, NameError, Repository, Tag, digest};
use crate::page::{Page, PageError};
use crate::query::Query;
use crate::storage::UploadId;

/// The most tags that one manifest push may set: the spec asks for ten at least, and a request line
/// of a hundred full tags still fits the header buffer.
pub const MAX_TAGS: usize = 100;

/// What a client asks for, in checked names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// end-1: is this a registry?
    Base,
    /// Names of all repositories.
    Catalog(Page),
    /// end-2
    ReadBlob(Repository, Digest),
    /// end-10
    DeleteBlob(Repository, Digest),
    /// end-4 and end-11
    StartUpload(Repository, Start),
    /// end-13
    ReadUpload(Repository, UploadId),
    /// end-5
    AppendUpload(Repository, UploadId),
    /// end-6
    FinishUpload(Repository, UploadId, Digest),
    /// end-14
    CancelUpload(Repository, UploadId),
    /// end-3
    ReadManifest(Repository, ManifestReference),
    /// end-7, with further tags to set
    WriteManifest(Repository, ManifestReference, Vec<Tag>),
    /// end-9
    DeleteManifest(Repository, ManifestReference),
    /// end-8
    ListTags(Repository, Page),
    /// end-12
    ListReferrers(Repository, Digest, ReferrersQuery),
}

/// How an upload starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// A session, hashed by this algorithm on the way.
    Session(Algorithm),
    /// The whole blob is in the body.
    Whole(Digest),
    /// The blob may be here already, in a named repository or in any.
    Mount {
        /// What to mount.
        digest: Digest,
        /// Where it should be; a name that is none is like a repository without the blob.
        from: From,
    },
}

/// Where a blob to be mounted is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// In every repository.
    Anywhere,
    /// Only in this one.
    Repository(Repository),
    /// In one that cannot exist.
    Nowhere,
}

/// What a referrers request narrows its answer to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReferrersQuery {
    /// Only this artifact type.
    pub artifact_type: Option<String>,
    /// Only digests after this one.
    pub after: Option<Digest>,
    /// All that was sent, for the link to the next page.
    pub query: Query,
}

/// Why there is no such request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The protocol has no such path.
    #[error("no such endpoint")]
    NoSuchPath,
    /// The path is known, the method is not for it.
    #[error("the endpoint takes {allowed}")]
    Method {
        /// The methods it takes, as the `Allow` header lists them.
        allowed: &'static str,
    },
    /// A name, tag or digest does not match its grammar.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A name that cannot exist was read: it is not there.
    #[error("{reference:?} is not here")]
    NoSuchManifest {
        /// The text, cut.
        reference: String,
    },
    /// The session id is none that this server gives out.
    #[error("no such upload session")]
    NoSuchUpload,
    /// The closing PUT names no digest.
    #[error("the closing request of an upload needs a digest parameter")]
    NoDigest,
    /// The digest algorithm is unknown.
    #[error("digest algorithm {text:?} is not known (sha256 and sha512 are)")]
    Algorithm {
        /// What was asked for, cut.
        text: String,
    },
    /// `n` is not a number.
    #[error(transparent)]
    Page(#[from] PageError),
    /// More tags than a push may set.
    #[error("{count} tags are more than the {MAX_TAGS} that one push may set")]
    TooManyTags {
        /// How many came.
        count: usize,
    },
}

/// Reads a request line.
pub fn route(method: &Method, path: &str, query: Option<&str>) -> Result<Request, RouteError> {
    let path = percent_decode_str(path).decode_utf8().map_err(|_| RouteError::NoSuchPath)?;
    let query = Query::parse(query);
    // HEAD is GET without the body; whoever answers looks at the method.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    match Path::parse(&path).ok_or(RouteError::NoSuchPath)? {
        Path::Base => only_get(method, || Ok(Request::Base)),
        Path::Catalog => only_get(method, || Ok(Request::Catalog(Page::parse(&query)?))),
        Path::Tags { name } => {
            only_get(method, || Ok(Request::ListTags(Repository::parse(name)?, Page::parse(&query)?)))
        }
        Path::Referrers { name, digest: text } => only_get(method, || {
            Ok(Request::ListReferrers(Repository::parse(name)?, digest(text)?, referrers(query)?))
        }),
        Path::Blob { name, digest } => blob(method, name, digest),
        Path::Manifest { name, reference } => manifest(method, name, reference, &query),
        Path::Uploads { name } if *method == Method::POST => {
            Ok(Request::StartUpload(Repository::parse(name)?, start(&query)?))
        }
        Path::Uploads { .. } => Err(RouteError::Method { allowed: "POST" }),
        Path::Upload { name, session } => upload(method, name, session, &query),
    }
}

fn only_get(
    method: &Method,
    request: impl FnOnce() -> Result<Request, RouteError>,
) -> Result<Request, RouteError> {
    if *method == Method::GET { request() } else { Err(RouteError::Method { allowed: "GET, HEAD" }) }
}

fn blob(method: &Method, name: &str, text: &str) -> Result<Request, RouteError> {
    let parts = || Ok::<_, NameError>((Repository::parse(name)?, digest(text)?));
    match *method {
        Method::GET => parts().map(|(name, digest)| Request::ReadBlob(name, digest)),
        Method::DELETE => parts().map(|(name, digest)| Request::DeleteBlob(name, digest)),
        _ => return Err(RouteError::Method { allowed: "GET, HEAD, DELETE" }),
    }
    .map_err(RouteError::Name)
}

fn manifest(method: &Method, name: &str, text: &str, query: &Query) -> Result<Request, RouteError> {
    if ![Method::GET, Method::PUT, Method::DELETE].contains(method) {
        return Err(RouteError::Method { allowed: "GET, HEAD, PUT, DELETE" });
    }
    let name = Repository::parse(name)?;
    let reference = match (ManifestReference::parse(text), method) {
        // Whoever reads a tag that cannot be learns that it is not there: clients probe so.
        (Err(NameError::Tag { text }), &Method::GET) => {
            return Err(RouteError::NoSuchManifest { reference: text });
        }
        (reference, _) => reference?,
    };
    match *method {
        Method::GET => Ok(Request::ReadManifest(name, reference)),
        Method::DELETE => Ok(Request::DeleteManifest(name, reference)),
        _ => Ok(Request::WriteManifest(name, reference, tags(query)?)),
    }
}

fn tags(query: &Query) -> Result<Vec<Tag>, RouteError> {
    let count = query.all("tag").count();
    if count > MAX_TAGS {
        return Err(RouteError::TooManyTags { count });
    }
    Ok(query.all("tag").map(Tag::parse).collect::<Result<_, _>>()?)
}

fn start(query: &Query) -> Result<Start, RouteError> {
    if let Some(text) = query.get("mount") {
        let from = match query.get("from").filter(|from| !from.is_empty()).map(Repository::parse) {
            None => From::Anywhere,
            Some(Ok(repository)) => From::Repository(repository),
            Some(Err(_)) => From::Nowhere,
        };
        return Ok(Start::Mount { digest: digest(text)?, from });
    }
    if let Some(text) = query.get("digest") {
        return Ok(Start::Whole(digest(text)?));
    }
    let name = query.get("digest-algorithm").unwrap_or("sha256");
    match Algorithm::from_name(name) {
        Some(algorithm) => Ok(Start::Session(algorithm)),
        None => Err(RouteError::Algorithm { text: name.chars().take(32).collect() }),
    }
}

fn upload(method: &Method, name: &str, session: &str, query: &Query) -> Result<Request, RouteError> {
    let parts = || {
        let id = UploadId::parse(session).ok_or(RouteError::NoSuchUpload)?;
        Ok::<_, RouteError>((Repository::parse(name)?, id))
    };
    match *method {
        Method::GET => parts().map(|(name, id)| Request::ReadUpload(name, id)),
        Method::PATCH => parts().map(|(name, id)| Request::AppendUpload(name, id)),
        Method::DELETE => parts().map(|(name, id)| Request::CancelUpload(name, id)),
        Method::PUT => {
            let (name, id) = parts()?;
            let text = query.get("digest").ok_or(RouteError::NoDigest)?;
            Ok(Request::FinishUpload(name, id, digest(text)?))
        }
        _ => Err(RouteError::Method { allowed: "GET, HEAD, PATCH, PUT, DELETE" }),
    }
}

fn referrers(query: Query) -> Result<ReferrersQuery, RouteError> {
    let artifact_type = query.get("artifactType").filter(|text| !text.is_empty()).map(str::to_owned);
    let after = query.get("last").map(digest).transpose()?;
    Ok(ReferrersQuery { artifact_type, after, query })
}

#[cfg(test)]
mod tests {
    use http::Method;
    use oxbox_layers::oci::{Algorithm, Digest};
    use proptest::prelude::*;

    use super::{From, Request, RouteError, Start, route};
    use crate::name::{NameError, Repository};

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn name(text: &str) -> Repository {
        Repository::parse(text).unwrap()
    }

    proptest! {
        #[test]
        fn any_request_line_is_a_request_or_refused(path in "(/v2)?[ -~]{0,60}", query in "[ -~]{0,60}") {
            for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                let _ = route(&method, &path, Some(&query));
            }
        }

        #[test]
        fn repositories_may_be_named_as_the_protocols_words(
            parts in proptest::collection::vec("blobs|manifests|tags|list|uploads|referrers|v2|a", 1..5)
        ) {
            let text = parts.join("/");
            let request = route(&Method::GET, &format!("/v2/{text}/blobs/{EMPTY}"), None);
            prop_assert_eq!(request, Ok(Request::ReadBlob(name(&text), Digest::sha256(b""))));
        }
    }

    #[test]
    fn a_digest_may_come_percent_encoded() {
        let path = format!("/v2/a/b/blobs/{}", EMPTY.replace(':', "%3A"));
        let expected = Request::ReadBlob(name("a/b"), Digest::sha256(b""));
        assert_eq!(route(&Method::HEAD, &path, None), Ok(expected));
    }

    #[test]
    fn the_wrong_method_learns_the_right_ones() {
        for (path, allowed) in [
            ("/v2/", "GET, HEAD"),
            ("/v2/a/tags/list", "GET, HEAD"),
            ("/v2/a/blobs/uploads/", "POST"),
            ("/v2/a/manifests/v1", "GET, HEAD, PUT, DELETE"),
            (&format!("/v2/a/blobs/{EMPTY}"), "GET, HEAD, DELETE"),
        ] {
            assert_eq!(route(&Method::PATCH, path, None), Err(RouteError::Method { allowed }), "{path}");
        }
    }

    #[test]
    fn reading_an_impossible_tag_is_not_found_and_writing_it_is_refused() {
        let path = "/v2/a/manifests/.nope";
        assert!(matches!(route(&Method::GET, path, None), Err(RouteError::NoSuchManifest { .. })));
        assert!(matches!(route(&Method::PUT, path, None), Err(RouteError::Name(NameError::Tag { .. }))));
    }

    #[test]
    fn a_mount_from_an_impossible_name_falls_through() {
        for (query, from) in [
            (format!("mount={EMPTY}"), From::Anywhere),
            (format!("mount={EMPTY}&from=lib/x"), From::Repository(name("lib/x"))),
            (format!("mount={EMPTY}&from=../x"), From::Nowhere),
        ] {
            let request = route(&Method::POST, "/v2/a/blobs/uploads/", Some(&query));
            let start = Start::Mount { digest: Digest::sha256(b""), from };
            assert_eq!(request, Ok(Request::StartUpload(name("a"), start)), "{query}");
        }
    }

    #[test]
    fn a_session_may_ask_for_its_algorithm() {
        let request = route(&Method::POST, "/v2/a/blobs/uploads", Some("digest-algorithm=sha512&ns=x"));
        assert_eq!(request, Ok(Request::StartUpload(name("a"), Start::Session(Algorithm::Sha512))));
        let refused = route(&Method::POST, "/v2/a/blobs/uploads/", Some("digest-algorithm=md5"));
        assert!(matches!(refused, Err(RouteError::Algorithm { .. })));
    }

    #[test]
    fn a_closing_put_without_digest_is_told_so() {
        let path = format!("/v2/a/blobs/uploads/{}", "0".repeat(32));
        assert_eq!(route(&Method::PUT, &path, None), Err(RouteError::NoDigest));
    }

    #[test]
    fn paths_outside_the_protocol_do_not_exist() {
        for path in ["/", "/v2/a", "/v2/a/blobs", "/v2/%ff/tags/list", "/v1/_ping", "/v2/a/manifests/"] {
            assert_eq!(route(&Method::GET, path, None), Err(RouteError::NoSuchPath), "{path}");
        }
    }

    #[test]
    fn a_push_may_set_many_tags_but_not_any_number() {
        let query = |count: usize| (0..count).map(|n| format!("tag=v{n}")).collect::<Vec<_>>().join("&");
        let path = format!("/v2/a/manifests/{EMPTY}");
        let request = route(&Method::PUT, &path, Some(&query(10)));
        assert!(matches!(request, Ok(Request::WriteManifest(_, _, tags)) if tags.len() == 10));
        let refused = route(&Method::PUT, &path, Some(&query(101)));
        assert_eq!(refused, Err(RouteError::TooManyTags { count: 101 }));
    }
}
