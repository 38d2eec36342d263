//! Conditional requests: entity tags, which are the digests themselves.
//!
//! ```text
//! ETag: "sha256:e3b0…"      GET  If-None-Match: "sha256:e3b0…"  ─▶ 304
//!                           PUT  If-Match: "sha256:e3b0…"       ─▶ 412 if the tag moved meanwhile
//!                           PUT  If-None-Match: *               ─▶ 412 if the tag exists
//! ```
//!
//! Unquoted digests are taken too: clients send them. Whether a condition holds is decided where the
//! write happens, in one transaction (`storage/metadata.rs`).
//!
//! RFC 9110, section 13

use http::header::{HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use oxbox_layers::oci::Digest;

/// What must hold of the present value for a write to happen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Tags {
    /// `*`: whatever is there.
    Any,
    These(Vec<String>),
}

impl Condition {
    /// Reads `If-Match` and `If-None-Match`.
    pub fn read(headers: &HeaderMap) -> Self {
        Self { if_match: tags(headers, IF_MATCH), if_none_match: tags(headers, IF_NONE_MATCH) }
    }

    /// Whether a write may happen over `present`.
    pub fn allows(&self, present: Option<&Digest>) -> bool {
        self.if_match.as_ref().is_none_or(|tags| tags.hold(present))
            && !self.if_none_match.as_ref().is_some_and(|tags| tags.hold(present))
    }

    /// Whether a read of `present` may be answered with 304.
    pub fn is_fresh(&self, present: &Digest) -> bool {
        self.if_none_match.as_ref().is_some_and(|tags| tags.hold(Some(present)))
    }
}

impl Tags {
    fn hold(&self, present: Option<&Digest>) -> bool {
        match (self, present) {
            (_, None) => false,
            (Self::Any, Some(_)) => true,
            (Self::These(tags), Some(digest)) => tags.contains(&digest.to_string()),
        }
    }
}

/// Returns the entity tag of a digest.
pub fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

fn tags(headers: &HeaderMap, name: HeaderName) -> Option<Tags> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    let texts: Vec<String> = values
        // Bytes beyond ASCII may stand in others' tags, and must not hide ours beside them.
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .flat_map(|value| value.split(',').map(|text| bare(text).to_owned()).collect::<Vec<_>>())
        .collect();
    Some(if texts.iter().any(|text| text == "*") { Tags::Any } else { Tags::These(texts) })
}

/// The tag without weakness mark and quotes: digests are compared whole, so weak and strong agree.
pub(crate) fn bare(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix("W/").unwrap_or(text).trim_matches('"')
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH};
    use oxbox_layers::oci::Digest;

    use super::{Condition, etag};

    fn with(name: http::HeaderName, value: &str) -> Condition {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        Condition::read(&headers)
    }

    #[test]
    fn a_tag_is_fresh_however_it_is_quoted() {
        let digest = Digest::sha256(b"a");
        for value in
            [etag(&digest), digest.to_string(), format!("W/{}", etag(&digest)), format!("\"x\", {digest}")]
        {
            assert!(with(IF_NONE_MATCH, &value).is_fresh(&digest), "{value}");
        }
        assert!(!with(IF_NONE_MATCH, &etag(&Digest::sha256(b"b"))).is_fresh(&digest));
    }

    #[test]
    fn a_tag_of_other_letters_does_not_hide_ours() {
        let digest = Digest::sha256(b"a");
        let condition = with(IF_NONE_MATCH, &format!("\"ü\", {}", etag(&digest)));
        assert!(!condition.allows(Some(&digest)));
    }

    #[test]
    fn a_star_in_if_none_match_allows_only_creation() {
        let condition = with(IF_NONE_MATCH, "*");
        assert!(condition.allows(None));
        assert!(!condition.allows(Some(&Digest::sha256(b"a"))));
    }

    #[test]
    fn if_match_allows_only_what_it_names() {
        let (a, b) = (Digest::sha256(b"a"), Digest::sha256(b"b"));
        let condition = with(IF_MATCH, &etag(&a));
        assert!(condition.allows(Some(&a)));
        assert!(!condition.allows(Some(&b)));
        assert!(!condition.allows(None));
    }

    #[test]
    fn without_headers_everything_is_allowed_and_nothing_fresh() {
        let condition = Condition::default();
        assert!(condition.allows(None) && condition.allows(Some(&Digest::sha256(b"a"))));
        assert!(!condition.is_fresh(&Digest::sha256(b"a")));
    }
}
