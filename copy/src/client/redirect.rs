//! Where an answer sends us: redirects and the `Location` of an upload.
//!
//! | from → to | |
//! |---|---|
//! | same origin | credentials stay |
//! | other origin | credentials are dropped, `Range` stays |
//! | HTTPS → HTTP, same host and default ports | stays on HTTPS: proxies that end TLS write this |
//! | HTTPS → HTTP otherwise | refused, unless certificates are not checked anyway |
//! | outside → this machine or its link | refused |
//!
//! 301, 302 and 303 would turn a write into a GET, and are refused for writes.

use http::{HeaderMap, Method, StatusCode, header};
use url::Url;

use super::answer::Place;
use super::hosts::{Trust, is_inward};

/// Most redirects of one request. Object stores need one or two.
pub(crate) const MAX_HOPS: usize = 10;

/// Why a redirect or a `Location` is not followed.
#[derive(Debug, thiserror::Error)]
pub enum RedirectError {
    /// A redirect after ten others.
    #[error("{from} leads on after {MAX_HOPS} redirects")]
    TooMany {
        /// Where it was given up.
        from: String,
    },
    /// There is no `Location`, or none that is an address.
    #[error("{from} answered {status} without a usable Location")]
    NoLocation {
        /// Who answered.
        from: String,
        /// With what.
        status: StatusCode,
    },
    /// From HTTPS to plain HTTP.
    #[error("{from} leads from HTTPS to plain HTTP at {to}")]
    Downgrade {
        /// From.
        from: String,
        /// To.
        to: String,
    },
    /// From a registry elsewhere to this machine.
    #[error("{from} leads to {to}, an address of this machine")]
    Inward {
        /// From.
        from: String,
        /// To.
        to: String,
    },
    /// To an address that is not HTTP.
    #[error("{from} leads to {to}, which is not HTTP")]
    Scheme {
        /// From.
        from: String,
        /// To.
        to: String,
    },
    /// A write was redirected by a status that means "read it there".
    #[error("{method} {from} was redirected by {status}, which does not carry a write on")]
    NotForWrites {
        /// Request.
        method: Method,
        /// Who answered.
        from: String,
        /// With what.
        status: StatusCode,
    },
    /// A body that was sent in part cannot be sent elsewhere.
    #[error("{from} redirected an upload that was under way")]
    BodyGone {
        /// Who answered.
        from: String,
    },
    /// A body with credentials would reach another origin.
    #[error("{from} leads a request with credentials to {to}")]
    Secret {
        /// From.
        from: String,
        /// To.
        to: String,
    },
}

/// Whether a status is a redirect that names another address.
pub(crate) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Whether a redirect of this status keeps method and body.
pub(crate) fn keeps_method(method: &Method, status: StatusCode) -> bool {
    matches!(*method, Method::GET | Method::HEAD) || matches!(status.as_u16(), 307 | 308)
}

/// Returns the address that an answer's `Location` names, if it may be followed.
pub(crate) fn location(
    from: &Url,
    status: StatusCode,
    headers: &HeaderMap,
    trust: Trust,
) -> Result<Url, RedirectError> {
    let text = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    // Relative ones are relative to what was asked last, after redirects.
    let to = text.filter(|text| !text.is_empty()).and_then(|text| from.join(text).ok());
    let to = to.ok_or_else(|| RedirectError::NoLocation { from: told(from), status })?;
    check(from, to, trust)
}

fn check(from: &Url, mut to: Url, trust: Trust) -> Result<Url, RedirectError> {
    let both = |to: &Url| (told(from), told(to));
    if !matches!(to.scheme(), "http" | "https") || to.host_str().is_none() {
        let (from, to) = both(&to);
        return Err(RedirectError::Scheme { from, to });
    }
    if from.scheme() == "https" && to.scheme() == "http" {
        let same_host = from.host_str() == to.host_str() && from.port() == to.port();
        if same_host && to.set_scheme("https").is_ok() {
            return Ok(to);
        }
        if trust != Trust::Unverified {
            let (from, to) = both(&to);
            return Err(RedirectError::Downgrade { from, to });
        }
    }
    let inward = |url: &Url| url.host_str().is_some_and(is_inward);
    if inward(&to) && !inward(from) {
        let (from, to) = both(&to);
        return Err(RedirectError::Inward { from, to });
    }
    // Credentials within an address would be sent by the HTTP library.
    let _ = to.set_username("");
    let _ = to.set_password(None);
    Ok(to)
}

fn told(url: &Url) -> String {
    Place::of(url).to_string()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode, header};
    use url::Url;

    use super::{RedirectError, Trust, location};

    fn follow(from: &str, to: &'static str, trust: Trust) -> Result<String, RedirectError> {
        let headers = HeaderMap::from_iter([(header::LOCATION, HeaderValue::from_static(to))]);
        let from: Url = from.parse().unwrap();
        location(&from, StatusCode::FOUND, &headers, trust).map(|url| url.to_string())
    }

    #[test]
    fn a_location_is_relative_to_what_was_asked_and_keeps_its_query() {
        let from = "https://q.io/v2/a/blobs/uploads/";
        for (to, expected) in [
            ("/v2/a/blobs/uploads/1?_state=a%2Bb+c", "https://q.io/v2/a/blobs/uploads/1?_state=a%2Bb+c"),
            ("1?x=1", "https://q.io/v2/a/blobs/uploads/1?x=1"),
            ("https://s3.io/b?sig=%2F", "https://s3.io/b?sig=%2F"),
            ("//s3.io/b", "https://s3.io/b"),
        ] {
            assert_eq!(follow(from, to, Trust::Verified).unwrap(), expected);
        }
    }

    #[test]
    fn https_never_leads_to_http_elsewhere() {
        let result = follow("https://q.io/", "http://other.io/", Trust::Verified);
        assert!(matches!(result, Err(RedirectError::Downgrade { .. })));
        let result = follow("https://q.io/", "http://q.io:5000/", Trust::Strict);
        assert!(matches!(result, Err(RedirectError::Downgrade { .. })));
        assert!(follow("https://q.io/", "http://other.io/", Trust::Unverified).is_ok());
    }

    #[test]
    fn a_proxy_that_forgot_tls_is_spoken_to_over_tls() {
        assert_eq!(follow("https://q.io/", "http://q.io/x", Trust::Verified).unwrap(), "https://q.io/x");
    }

    #[test]
    fn a_registry_elsewhere_cannot_send_us_to_our_own_machine() {
        for to in
            ["https://127.0.0.1/", "https://169.254.169.254/latest", "https://[::1]/", "https://localhost/"]
        {
            let result = follow("https://q.io/", to, Trust::Verified);
            assert!(matches!(result, Err(RedirectError::Inward { .. })), "{to}");
        }
        assert!(follow("http://127.0.0.1:1/", "http://127.0.0.1:2/", Trust::Verified).is_ok());
    }

    #[test]
    fn credentials_in_a_location_are_cut_off() {
        assert_eq!(
            follow("https://q.io/", "https://u:p@s3.io/b", Trust::Verified).unwrap(),
            "https://s3.io/b"
        );
        let result = follow("https://q.io/", "ftp://q.io/", Trust::Verified);
        assert!(matches!(result, Err(RedirectError::Scheme { .. })));
    }
}
