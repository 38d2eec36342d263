//! References: `registry/repository:tag@digest`.
//!
//! ```text
//! localhost:5000/team/app:1.2@sha256:…
//! └─ domain ───┘ └ path ┘ tag └ digest
//! ```
//!
//! The grammar is that of the distribution project, IPv6 hosts included. A name without a domain is
//! `docker.io`'s, and an official image there lives in `library/`. `docker.io` has four spellings:
//! none at all, `docker.io`, `index.docker.io` and `registry-1.docker.io`; all mean the first.

use std::fmt;
use std::str::FromStr;

use super::{Digest, DigestError};

/// Most characters of `domain/path`.
pub const MAX_NAME: usize = 255;
/// Most characters of a tag.
pub const MAX_TAG: usize = 128;

const DEFAULT_DOMAIN: &str = "docker.io";
const OFFICIAL: &str = "library/";

/// A name that is whole: domain and path are never left out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    /// The tag, if one was named.
    pub tag: Option<String>,
    /// The digest, if one was named; it decides, whatever the tag says.
    pub digest: Option<Digest>,
}

/// Why a text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing was given.
    #[error("the reference is empty")]
    Empty,
    /// Sixty-four hex digits would be an image id to some tools and a name to others.
    #[error("{text:?} could be an image id: a name of 64 hex digits is refused")]
    LooksLikeId {
        /// What was read.
        text: String,
    },
    /// A repository name has a capital letter.
    #[error("repository {path:?} must be lowercase")]
    Uppercase {
        /// The repository, cut.
        path: String,
    },
    /// The host is none.
    #[error("{domain:?} is not a registry host")]
    Domain {
        /// The part before the first slash, cut.
        domain: String,
    },
    /// The repository has a component that the grammar does not know.
    #[error("{path:?} is not a repository name (lowercase letters, digits and single . _ - between them)")]
    Path {
        /// The repository, cut.
        path: String,
    },
    /// `domain/path` is too long.
    #[error("name of {length} characters is longer than {MAX_NAME}")]
    TooLong {
        /// Characters of domain, slash and path.
        length: usize,
    },
    /// The tag is none.
    #[error("{tag:?} is not a tag (up to {MAX_TAG} letters, digits, _ . and -, none of . - first)")]
    Tag {
        /// What follows the colon, cut.
        tag: String,
    },
    /// What follows the `@` is not a digest.
    #[error("reference has a broken digest")]
    Digest {
        /// What is wrong with it.
        #[source]
        source: DigestError,
    },
}

impl Reference {
    /// Returns a reference of parts that are checked.
    pub fn new(domain: &str, path: &str) -> Result<Self, ReferenceError> {
        let length = domain.len() + 1 + path.len();
        if !is_domain(domain) {
            return Err(ReferenceError::Domain { domain: cut(domain) });
        }
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ReferenceError::Uppercase { path: cut(path) });
        }
        if !is_path(path) {
            return Err(ReferenceError::Path { path: cut(path) });
        }
        if length > MAX_NAME {
            return Err(ReferenceError::TooLong { length });
        }
        Ok(Self { domain: domain.to_owned(), path: path.to_owned(), tag: None, digest: None })
    }

    /// Returns the registry's host and port: `docker.io`, `[::1]:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Returns the repository within the registry: `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns `domain/path`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// Returns the reference with tag `latest` if it names neither tag nor digest.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".to_owned());
        }
        self
    }

    /// Returns the same repository with only this tag, which is checked.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Tag { tag: cut(tag) });
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// Returns the same repository with only this digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// Returns what follows `manifests/` in the protocol: the digest if there is one, else the tag,
    /// else `latest`.
    pub fn manifest_reference(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// Returns the shortest spelling that parses back to this: `busybox:1.36`.
    pub fn familiar(&self) -> String {
        let whole = self.to_string();
        let Some(rest) = whole.strip_prefix("docker.io/") else { return whole };
        // `docker.io/quay.io/x` cannot be shortened, nor can an official name of 64 hex digits.
        let shorter = [rest.strip_prefix(OFFICIAL).unwrap_or(rest), rest];
        let same = |text: &&str| text.parse::<Self>().as_ref() == Ok(self);
        shorter.iter().copied().find(same).unwrap_or(&whole).to_owned()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::LooksLikeId { text: text.to_owned() });
        }
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => {
                let digest = digest.parse().map_err(|source| ReferenceError::Digest { source })?;
                (rest, Some(digest))
            }
        };
        let (domain, remote) = split_domain(rest);
        let (path, tag) = match remote.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (remote, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(ReferenceError::Tag { tag: cut(tag) });
        }
        let official = domain == DEFAULT_DOMAIN && !path.contains('/');
        let path = if official { format!("{OFFICIAL}{path}") } else { path.to_owned() };
        let reference = Self::new(domain, &path)?;
        Ok(Self { tag: tag.map(str::to_owned), digest, ..reference })
    }
}

/// Whether the text may be a tag: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
pub fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match text.as_bytes() {
        [first, rest @ ..] => {
            word(*first)
                && text.len() <= MAX_TAG
                && rest.iter().all(|&byte| word(byte) || matches!(byte, b'.' | b'-'))
        }
        [] => false,
    }
}

/// Whether the text may be a repository: lowercase components with slashes between them.
pub fn is_path(text: &str) -> bool {
    text.split('/').all(is_component)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let edges =
        bytes.first().is_some_and(|&byte| plain(byte)) && bytes.last().is_some_and(|&byte| plain(byte));
    edges
        && bytes.split(|&byte| plain(byte)).all(|between| {
            matches!(between, b"" | b"." | b"_" | b"__") || between.iter().all(|&byte| byte == b'-')
        })
}

/// Splits as Docker does: the part before the first slash is a host if it looks like one.
fn split_domain(text: &str) -> (&str, &str) {
    let Some((first, rest)) = text.split_once('/') else { return (DEFAULT_DOMAIN, text) };
    match first {
        "index.docker.io" | "registry-1.docker.io" => (DEFAULT_DOMAIN, rest),
        "localhost" => (first, rest),
        _ if first.contains(['.', ':']) || first.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, text),
    }
}

/// A host name, an IPv4 address or `[IPv6]`, and perhaps a port.
fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, after)) = rest.split_once(']') else { return false };
            if address.is_empty() || !address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':') {
                return false;
            }
            match (after, after.strip_prefix(':')) {
                ("", _) => return true,
                (_, Some(port)) => (None, Some(port)),
                _ => return false,
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    let port_is_legal = port.is_none_or(|port| {
        !port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    port_is_legal && host.is_none_or(|host| host.split('.').all(is_label))
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Text from outside, short enough for an error line.
fn cut(text: &str) -> String {
    text.chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Reference, ReferenceError};

    fn parse(text: &str) -> Reference {
        text.parse().unwrap()
    }

    #[test]
    fn all_spellings_of_docker_io_are_one() {
        for text in [
            "busybox",
            "library/busybox",
            "docker.io/busybox",
            "docker.io/library/busybox",
            "index.docker.io/busybox",
            "registry-1.docker.io/library/busybox",
        ] {
            assert_eq!(parse(text).to_string(), "docker.io/library/busybox", "{text}");
        }
    }

    #[test]
    fn a_first_part_that_looks_like_a_host_is_one() {
        for (text, domain, path) in [
            ("localhost/foo", "localhost", "foo"),
            ("localhost:5000/foo/bar", "localhost:5000", "foo/bar"),
            ("foo:5000/bar", "foo:5000", "bar"),
            ("quay.io/a/b", "quay.io", "a/b"),
            ("[::1]:5000/x", "[::1]:5000", "x"),
            ("[2001:db8::1]/x", "[2001:db8::1]", "x"),
            ("Host/x", "Host", "x"),
            ("team/app", "docker.io", "team/app"),
        ] {
            let reference = parse(text);
            assert_eq!((reference.domain(), reference.path()), (domain, path), "{text}");
        }
    }

    #[test]
    fn a_colon_without_a_slash_begins_a_tag() {
        assert_eq!(parse("foo:5000").to_string(), "docker.io/library/foo:5000");
    }

    #[test]
    fn a_tag_and_a_digest_may_stand_together_and_the_digest_decides() {
        let digest = crate::oci::Digest::sha256(b"");
        let reference = parse(&format!("localhost:5000/a:v1@{digest}"));
        assert_eq!(reference.tag.as_deref(), Some("v1"));
        assert_eq!(reference.manifest_reference(), digest.to_string());
    }

    #[test]
    fn sixty_four_hex_digits_are_refused() {
        let text = "a".repeat(64);
        assert_eq!(text.parse::<Reference>(), Err(ReferenceError::LooksLikeId { text }));
    }

    #[test]
    fn the_limit_counts_the_whole_name() {
        let path = "a".repeat(255 - "quay.io/".len());
        assert!(format!("quay.io/{path}").parse::<Reference>().is_ok());
        assert_eq!(
            format!("quay.io/{path}a").parse::<Reference>(),
            Err(ReferenceError::TooLong { length: 256 })
        );
    }

    #[test]
    fn broken_names_are_refused() {
        for text in [
            "",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a-",
            "a..b",
            "a._b",
            "a___b",
            "A",
            "a:b:c/d",
            "a:",
            "a:-x",
            "a@b",
            "host.:x/a",
            "ho_st.io/a",
            "[::1/a",
            "[]/a",
            "a.b:port/c",
            "a b",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn separators_of_the_grammar_are_taken() {
        for text in ["a-b", "a--b", "a.b/c", "a_b", "a__b", "a---b/c__d/e.f"] {
            assert!(text.parse::<Reference>().is_ok(), "{text:?}");
        }
    }

    #[test]
    fn a_short_spelling_that_would_mean_another_registry_is_not_used() {
        for text in ["docker.io/quay.io/x", "docker.io/library/localhost/x", "docker.io/localhost/x"] {
            assert_eq!(parse(text).familiar().parse::<Reference>().unwrap(), parse(text));
        }
        let id = format!("docker.io/library/{}", "a".repeat(64));
        assert_eq!(parse(&id).familiar(), id.trim_start_matches("docker.io/"));
        assert_eq!(parse("docker.io/library/busybox:1").familiar(), "busybox:1");
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_back(
            domain in "(localhost|[a-z]{1,8}\\.[a-z]{2,3}|\\[::[0-9a-f]{1,4}\\])(:[0-9]{1,5})?",
            path in "[a-z0-9]{1,9}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}(/[a-z0-9]{1,5}){0,3}",
            tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,40}"),
            with_digest in any::<bool>(),
        ) {
            let mut reference = Reference::new(&domain, &path).unwrap();
            reference.tag = tag;
            reference.digest = with_digest.then(|| crate::oci::Digest::sha256(path.as_bytes()));
            prop_assert_eq!(&reference.to_string().parse::<Reference>().unwrap(), &reference);
            prop_assert_eq!(&reference.familiar().parse::<Reference>().unwrap(), &reference);
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,80}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
            }
        }
    }
}
