//! Query strings: pairs, decoded once, looked up by key.
//!
//! ```text
//! ?digest=sha256%3Ae3b0…&mount=…&ns=docker.io        unknown keys are nobody's business
//! ```
//!
//! A `+` is a plus, not a blank: media types hold it, and no value of the protocol holds a blank.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What a query value keeps as it is.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b':');

/// The pairs of a query string, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string; what does not decode to UTF-8 is replaced, and then matches nothing.
    pub fn parse(text: Option<&str>) -> Self {
        let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(decoded).collect())
    }

    /// Returns the first value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Returns every value of a key, in order.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Returns the query with this as the only value of the key.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.0.retain(|(name, _)| name != key);
        self.0.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Returns the query string that parses back to this.
    pub fn encode(&self) -> String {
        let pair = |(name, value): &(String, String)| format!("{}={}", escaped(name), escaped(value));
        self.0.iter().map(pair).collect::<Vec<_>>().join("&")
    }
}

fn decoded((name, value): (&str, &str)) -> (String, String) {
    let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    (decode(name), decode(value))
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn a_plus_stays_a_plus() {
        let query = Query::parse(Some("artifactType=application/vnd.x+json&b=%2B"));
        assert_eq!(query.get("artifactType"), Some("application/vnd.x+json"));
        assert_eq!(query.get("b"), Some("+"));
    }

    #[test]
    fn what_is_encoded_parses_back() {
        let query = Query::parse(Some("n=3&last=a%26b%3D1&ns=docker.io&ns=x"));
        assert_eq!(Query::parse(Some(&query.encode())), query);
    }

    #[test]
    fn a_key_that_is_set_stands_once() {
        let query = Query::parse(Some("n=3&last=a&last=b")).with("last", "c");
        assert_eq!(query.encode(), "n=3&last=c");
    }

    #[test]
    fn no_query_has_no_pairs() {
        assert_eq!(Query::parse(None).get(""), None);
    }
}
