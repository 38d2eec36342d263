//! Lists in pages: `Link` headers followed as far as they lead, and no further.
//!
//! ```text
//! GET /v2/a/tags/list?n=1000 ─▶ Link: </v2/a/tags/list?last=x&n=1000>; rel="next" ─▶ …
//! ```
//!
//! Only path and query of a link are taken: the next page is the same registry's, whatever host the
//! link names. A page that was read before ends the list with an error instead of forever.
//!
//! RFC 8288; distribution-spec v1.1.1, spec.md#listing-tags

use std::collections::HashSet;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use oxbox_layers::oci::raw::MAX_DOCUMENT_BYTES;
use url::{Position, Url};

use super::ClientError;
use super::answer;
use super::call::{Call, Target};
use super::host::Host;
use super::read::{Read, Whole};

/// Entries asked for in one page: the most that Amazon's registry allows.
pub(super) const PAGE_ENTRIES: u32 = 1000;
/// Most pages of one list: ten million entries.
const MAX_PAGES: usize = 10_000;
/// Most bytes of all pages: a million of the longest tags. Without this bound pages of four MiB each
/// would fill forty GiB before there were too many of them.
const MAX_LIST_BYTES: usize = 128 * 1024 * 1024;

/// A list that is read page by page.
pub(super) struct Pages<'a> {
    host: &'a Host,
    call: Option<Call>,
    seen: HashSet<String>,
    bytes: usize,
}

/// One page, and what it says it is.
pub(super) struct Page {
    pub(super) body: Bytes,
    pub(super) url: String,
    pub(super) content_type: Option<String>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(host: &'a Host, call: Call) -> Self {
        Self { host, call: Some(call), seen: HashSet::new(), bytes: 0 }
    }

    /// Reads the next page, `None` after the last. `Missing` is told apart only for the first page.
    pub(super) async fn next(&mut self) -> Result<Option<Answered>, ClientError> {
        let Some(call) = self.call.take() else { return Ok(None) };
        let whole = match self.host.read(&call, MAX_DOCUMENT_BYTES).await? {
            Read::Whole(whole) => whole,
            Read::Other(response) if response.status() == StatusCode::NOT_FOUND && self.seen.is_empty() => {
                return Ok(Some(Answered::Missing));
            }
            Read::Other(response) => return Err(ClientError::refused(Method::GET, response).await),
        };
        self.follow(&whole, call)?;
        let (url, content_type) = (whole.place(), answer::content_type(&whole.headers));
        Ok(Some(Answered::Page(Page { body: whole.body, url, content_type })))
    }

    fn follow(&mut self, whole: &Whole, mut call: Call) -> Result<(), ClientError> {
        let asked = match &call.target {
            Target::Path(path) => path.clone(),
            Target::Url(url) => url.to_string(),
        };
        self.seen.insert(asked);
        let Some(next) = next_link(&whole.url, &whole.headers) else { return Ok(()) };
        let broken = |reason: &str| ClientError::BrokenList { url: whole.place(), reason: reason.to_owned() };
        if self.seen.contains(&next) {
            return Err(broken("a page leads back to one before it"));
        }
        self.bytes += whole.body.len();
        if self.seen.len() >= MAX_PAGES || self.bytes > MAX_LIST_BYTES {
            return Err(broken("it goes on without end"));
        }
        call.target = Target::Path(next);
        self.call = Some(call);
        Ok(())
    }
}

/// What a registry answered to a request for a page.
pub(super) enum Answered {
    /// There is no such list.
    Missing,
    /// A page.
    Page(Page),
}

/// Returns path and query of the link whose relation is `next`.
fn next_link(from: &Url, headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok());
    let target = values.flat_map(links).find(|(_, is_next)| *is_next)?.0;
    let url = from.join(target).ok()?;
    Some(url[Position::BeforePath..Position::AfterQuery].to_owned())
}

/// Splits `<a>; rel="x", <b>; rel=next` into targets, each with whether it is the next.
fn links(text: &str) -> impl Iterator<Item = (&str, bool)> {
    text.split('<').skip(1).filter_map(|link| {
        let (target, parameters) = link.split_once('>')?;
        let is_next = parameters.split([';', ',']).any(|parameter| {
            let value = parameter.trim().strip_prefix("rel").map(str::trim_start);
            let value =
                value.and_then(|value| value.strip_prefix('=')).map(|value| value.trim().trim_matches('"'));
            value.is_some_and(|value| value.split(' ').any(|relation| relation.eq_ignore_ascii_case("next")))
        });
        Some((target, is_next))
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};
    use proptest::prelude::*;

    use super::next_link;

    fn next(values: &[&'static str]) -> Option<String> {
        let pair = |value: &&'static str| (header::LINK, HeaderValue::from_static(value));
        let headers = HeaderMap::from_iter(values.iter().map(pair));
        next_link(&"https://q.io/v2/a/tags/list?n=2".parse().unwrap(), &headers)
    }

    #[test]
    fn the_next_page_is_found_in_every_spelling() {
        let expected = Some("/v2/a/tags/list?last=x&n=2".to_owned());
        for value in [
            "</v2/a/tags/list?last=x&n=2>; rel=\"next\"",
            "</v2/a/tags/list?last=x&n=2>;rel=next",
            "<list?last=x&n=2>; title=\"a\"; rel=\"last NEXT\"",
            "</first>; rel=\"first\", </v2/a/tags/list?last=x&n=2>; rel=\"next\"",
            "<https://q.io/v2/a/tags/list?last=x&n=2>; rel=\"next\"",
        ] {
            assert_eq!(next(&[value]), expected, "{value}");
        }
        assert_eq!(next(&["</first>; rel=first", "</v2/a/tags/list?last=x&n=2>; rel=next"]), expected);
    }

    #[test]
    fn a_link_to_another_host_stays_with_the_registry() {
        assert_eq!(next(&["<https://evil.io/v2/x?n=1>; rel=next"]), Some("/v2/x?n=1".to_owned()));
    }

    #[test]
    fn other_relations_lead_nowhere() {
        for value in ["</a>; rel=prev", "</a>", "nonsense", "<", "</a>; rel=nextish"] {
            assert_eq!(next(&[value]), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(<?[ -~]{0,30}>?(; ?rel=\"?(next|x))?,? ?){0,3}") {
            let headers = HeaderMap::from_iter([(header::LINK, HeaderValue::from_str(&text).unwrap())]);
            next_link(&"https://q.io/v2/a/tags/list?n=2".parse().unwrap(), &headers);
        }
    }
}
