//! Pages of sorted listings: `n`, `last`, and the `Link` to what follows.
//!
//! ```text
//! GET /v2/<name>/tags/list?n=2&last=b  ─▶  {"tags":["c","d"]}
//!                                          Link: </v2/<name>/tags/list?n=2&last=d>; rel="next"
//! ```
//!
//! `last` need not exist. Order is that of bytes. `n=0` asks for nothing and gets no link.
//!
//! distribution-spec v1.1.1, spec.md#listing-tags

use crate::query::Query;

/// The most entries of one page, also when the client names no number. Ten thousand names of 255
/// bytes are 2.5 MB in memory; helm lists tags without paging and must see all of a usual chart.
pub const MAX_ENTRIES: usize = 10_000;

/// Which part of a listing is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The most entries.
    pub limit: usize,
    /// Only names after this one.
    pub after: String,
    // Kept whole: a link must carry what else the client sent, such as `ns`.
    query: Query,
}

/// Why a page is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("n is {text:?}, not a number of entries")]
pub struct PageError {
    /// What was read, cut.
    text: String,
}

impl Page {
    /// Reads `n` and `last`; more than [`MAX_ENTRIES`] is taken as that many.
    ///
    /// # Errors
    ///
    /// If `n` is not a decimal number without sign.
    pub fn parse(query: &Query) -> Result<Self, PageError> {
        let after = query.get("last").unwrap_or_default().to_owned();
        let limit = match query.get("n") {
            None | Some("") => MAX_ENTRIES,
            Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                // Digits that overflow are a number too large, which is clamped like any other.
                text.parse().unwrap_or(usize::MAX).min(MAX_ENTRIES)
            }
            Some(text) => return Err(PageError { text: text.chars().take(32).collect() }),
        };
        Ok(Self { limit, after, query: query.clone() })
    }

    /// How many to ask the store for: one more than the page, to know whether something follows.
    pub fn fetch(&self) -> usize {
        if self.limit == 0 { 0 } else { self.limit + 1 }
    }

    /// Cuts what was fetched to the page, and returns the `Link` value if something follows.
    pub fn cut(&self, path: &str, entries: &mut Vec<String>) -> Option<String> {
        if entries.len() <= self.limit {
            return None;
        }
        entries.truncate(self.limit);
        let query = self.query.clone().with("n", &self.limit.to_string());
        entries.last().map(|last| link(path, &query.with("last", last)))
    }
}

/// Returns a `Link` value that leads to the next page.
pub fn link(path: &str, query: &Query) -> String {
    format!("<{path}?{}>; rel=\"next\"", query.encode())
}

#[cfg(test)]
mod tests {
    use super::{MAX_ENTRIES, Page};
    use crate::query::Query;

    fn page(query: &str) -> Page {
        Page::parse(&Query::parse(Some(query))).unwrap()
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("t{number}")).collect()
    }

    #[test]
    fn a_full_page_with_nothing_after_it_has_no_link() {
        let mut entries = names(2);
        assert_eq!(page("n=2").cut("/v2/a/tags/list", &mut entries), None);
        assert_eq!(entries.len(), 2);
    }

    #[test]
    fn a_link_names_the_last_entry_and_keeps_the_rest_of_the_query() {
        let mut entries = names(3);
        let link = page("n=2&ns=docker.io").cut("/v2/a/tags/list", &mut entries);
        assert_eq!(link.unwrap(), "</v2/a/tags/list?ns=docker.io&n=2&last=t1>; rel=\"next\"");
        assert_eq!(entries, ["t0", "t1"]);
    }

    #[test]
    fn zero_asks_for_nothing_and_gets_no_link() {
        let page = page("n=0");
        assert_eq!(page.fetch(), 0);
        assert_eq!(page.cut("/", &mut Vec::new()), None);
    }

    #[test]
    fn too_many_is_clamped() {
        for query in ["n=10001", "n=99999999999999999999999999", ""] {
            assert_eq!(page(query).limit, MAX_ENTRIES, "{query}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for query in ["n=-1", "n=abc", "n=1.5", "n=+1"] {
            assert!(Page::parse(&Query::parse(Some(query))).is_err(), "{query}");
        }
    }
}
