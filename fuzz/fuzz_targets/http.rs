//! What a registry reads of a request: line, query, range, conditions, pages.
//!
//! ```text
//! <method> <path>[?<query>]
//! <Range>
//! <If-Match and If-None-Match>
//! ```
#![no_main]

use http::header::{HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use http::{Method, Uri};
use libfuzzer_sys::fuzz_target;
use oxbox_layers::oci::{Digest, Reference, wire};
use oxbox_registry::condition::{Condition, etag};
use oxbox_registry::page::{MAX_ENTRIES, Page};
use oxbox_registry::query::Query;
use oxbox_registry::range::{Wanted, content_range, read};
use oxbox_registry::route::{MAX_TAGS, Request, route};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.lines();
    request_line(lines.next().unwrap_or_default());
    range(lines.next().unwrap_or_default(), data.len() as u64 * 7);
    condition(lines.next().unwrap_or_default());
});

fn request_line(line: &str) {
    let (method, target) = line.split_once(' ').unwrap_or(("GET", line));
    let Ok(method) = method.parse::<Method>() else { return };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let parsed = Query::parse(query);
    assert_eq!(Query::parse(Some(&parsed.encode())), parsed);
    page(&parsed);
    let Ok(request) = route(&method, path, query) else { return };
    let name = match &request {
        Request::Base | Request::Catalog(_) => return,
        Request::ReadBlob(name, _)
        | Request::DeleteBlob(name, _)
        | Request::StartUpload(name, _)
        | Request::ReadUpload(name, _)
        | Request::AppendUpload(name, _)
        | Request::FinishUpload(name, ..)
        | Request::CancelUpload(name, _)
        | Request::ReadManifest(name, _)
        | Request::DeleteManifest(name, _)
        | Request::ListTags(name, _)
        | Request::ListReferrers(name, ..) => name,
        Request::WriteManifest(name, _, tags) => {
            assert!(tags.len() <= MAX_TAGS);
            name
        }
    };
    // A name that is taken can be pulled: it is part of some reference, and of addresses.
    let whole = format!("r.io/{name}");
    if whole.len() <= 255 {
        assert_eq!(whole.parse::<Reference>().expect("a name is part of a reference").path(), name.as_str());
    }
    let location = wire::Path::Tags { name: name.as_str() }.to_string();
    assert!(location.parse::<Uri>().is_ok());
    assert_eq!(wire::Path::parse(&location), Some(wire::Path::Tags { name: name.as_str() }));
    // A HEAD is a GET.
    if method == Method::GET {
        assert_eq!(route(&Method::HEAD, path, query), Ok(request));
    }
}

fn page(query: &Query) {
    let Ok(page) = Page::parse(query) else { return };
    assert!(page.limit <= MAX_ENTRIES);
    let mut entries: Vec<String> = (0..page.fetch().min(5)).map(|number| format!("t{number}")).collect();
    let Some(link) = page.cut("/v2/a/tags/list", &mut entries) else { return };
    assert!(HeaderValue::from_str(&link).is_ok());
    let (_, next) = link.split_once('?').expect("a link has a query");
    let (next, _) = next.split_once('>').expect("a link ends");
    let next = Page::parse(&Query::parse(Some(next))).expect("a link leads to a page");
    assert_eq!((next.limit, Some(&next.after)), (page.limit, entries.last()));
}

fn range(header: &str, size: u64) {
    if let Wanted::Parts(parts) = read(Some(header), size) {
        assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
        assert!(parts.iter().map(|part| part.end - part.start).sum::<u64>() <= size);
        assert!(parts.iter().all(|part| content_range(part, size).ends_with(&format!("/{size}"))));
    }
}

fn condition(header: &str) {
    let Ok(value) = HeaderValue::from_str(header) else { return };
    let here = Digest::sha256(b"here");
    let headers = |name: http::HeaderName| HeaderMap::from_iter([(name, value.clone())]);
    let (only, never) = (Condition::read(&headers(IF_MATCH)), Condition::read(&headers(IF_NONE_MATCH)));
    assert!(!only.allows(None) && never.allows(None));
    // What holds for one does not for the other.
    assert_ne!(only.allows(Some(&here)), never.allows(Some(&here)));
    assert_eq!(never.is_fresh(&here), only.allows(Some(&here)));
    let listed = HeaderValue::from_str(&format!("{header}, {}", etag(&here)));
    if let Ok(listed) = listed {
        assert!(Condition::read(&HeaderMap::from_iter([(IF_MATCH, listed)])).allows(Some(&here)));
    }
}
