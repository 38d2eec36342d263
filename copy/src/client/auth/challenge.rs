//! Challenges: what a registry wants to see before it answers.
//!
//! ```text
//! WWW-Authenticate: Negotiate
//! WWW-Authenticate: Basic realm="x", Bearer realm="https://auth/token",service="s",scope="repository:a:pull"
//! ```
//!
//! All headers and all challenges of each count; those of other schemes are passed over.
//!
//! RFC 9110, section 11.6.1; distribution/distribution, docs/spec/auth/token.md

use http::{HeaderMap, header};
use http_auth::ChallengeRef;
use http_auth::parser::ChallengeParser;

use super::Scope;

/// A way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token, to be had elsewhere.
    Bearer(Bearer),
}

/// Where a token is to be had, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bearer {
    /// Address of the token server, as it was written.
    pub(crate) realm: String,
    /// Who the token is for.
    pub(crate) service: Option<String>,
    /// What it must allow.
    pub(crate) scopes: Vec<Scope>,
}

impl Challenge {
    /// Returns what holds for every request to the registry: scopes belong to the one that was refused.
    pub(crate) fn without_scopes(self) -> Self {
        match self {
            Self::Basic => Self::Basic,
            Self::Bearer(bearer) => Self::Bearer(Bearer { scopes: Vec::new(), ..bearer }),
        }
    }
}

/// Reads all challenges that we know how to meet, in their order.
pub(crate) fn read(headers: &HeaderMap) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    for value in headers.get_all(header::WWW_AUTHENTICATE) {
        let Ok(text) = value.to_str() else { continue };
        // A broken challenge ends its header; those before it stand.
        let parsed: Vec<Challenge> =
            ChallengeParser::new(text).map_while(Result::ok).filter_map(|one| known(&one)).collect();
        match parsed.is_empty() {
            true => challenges.extend(unquoted(text)),
            false => challenges.extend(parsed),
        }
    }
    challenges
}

/// Reads one challenge whose values lack the quotes that the grammar wants, as some registries write it:
/// `Bearer realm=https://auth/token,service=auth`.
fn unquoted(text: &str) -> Option<Challenge> {
    let (scheme, parameters) = text.trim().split_once(' ')?;
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let parameter = |name: &str| {
        let mut pairs = parameters.split(',').filter_map(|pair| pair.trim().split_once('='));
        let found = pairs.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim_matches('"').to_owned())
    };
    Some(Challenge::Bearer(Bearer {
        realm: parameter("realm").filter(|realm| !realm.is_empty())?,
        service: parameter("service").filter(|service| !service.is_empty()),
        scopes: Scope::parse_list(&parameter("scope").unwrap_or_default()),
    }))
}

fn known(challenge: &ChallengeRef<'_>) -> Option<Challenge> {
    if challenge.scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !challenge.scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let parameter = |name: &str| {
        let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_unescaped())
    };
    Some(Challenge::Bearer(Bearer {
        realm: parameter("realm")?,
        service: parameter("service").filter(|service| !service.is_empty()),
        scopes: Scope::parse_list(&parameter("scope").unwrap_or_default()),
    }))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};
    use proptest::prelude::*;

    use super::{Bearer, Challenge, Scope, read};

    fn headers(values: &[&str]) -> HeaderMap {
        let pair = |value: &&str| (header::WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap());
        HeaderMap::from_iter(values.iter().map(pair))
    }

    fn bearer(realm: &str) -> Challenge {
        Challenge::Bearer(Bearer { realm: realm.to_owned(), service: None, scopes: Vec::new() })
    }

    #[test]
    fn every_header_and_every_challenge_in_it_counts() {
        let found = read(&headers(&["Negotiate", "bAsIc realm=\"x\", BEARER realm=\"https://a/t\""]));
        assert_eq!(found, [Challenge::Basic, bearer("https://a/t")]);
    }

    #[test]
    fn quoted_text_may_hold_commas_and_escapes() {
        let text = r#"Bearer realm="https://a/t?x=\"1\"",service="a, b",scope="repository:a:pull,push""#;
        let expected = Bearer {
            realm: "https://a/t?x=\"1\"".to_owned(),
            service: Some("a, b".to_owned()),
            scopes: Scope::parse_list("repository:a:pull,push"),
        };
        assert_eq!(read(&headers(&[text])), [Challenge::Bearer(expected)]);
    }

    #[test]
    fn a_broken_challenge_does_not_hide_another_header() {
        assert_eq!(read(&headers(&["NTLM TlRM==,,=", "Bearer realm=\"r\""])), [bearer("r")]);
    }

    #[test]
    fn a_bearer_without_a_realm_is_no_way_in() {
        assert_eq!(read(&headers(&["Bearer service=\"s\""])), []);
    }

    #[test]
    fn values_without_quotes_are_understood() {
        let expected = Bearer {
            realm: "https://a/t?x=1".to_owned(),
            service: Some("a b".to_owned()),
            scopes: Scope::parse_list("repository:a:pull"),
        };
        let text = "Bearer realm=https://a/t?x=1,service=a b,scope=repository:a:pull";
        assert_eq!(read(&headers(&[text])), [Challenge::Bearer(expected)]);
        assert_eq!(read(&headers(&["Basic realm=Our Registry"])), [Challenge::Basic]);
        assert_eq!(read(&headers(&["Bearer realm=", "Digest realm=our registry"])), []);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "((basic|bearer|x) )?((realm|service|scope)=\"?[ -~]{0,20}\"?,? ?){0,4}[ -~]{0,40}") {
            read(&headers(&[&text]));
        }
    }
}
