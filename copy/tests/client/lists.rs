use std::sync::atomic::{AtomicUsize, Ordering};

use oxbox_copy::client::{Access, ClientError, TagOrDigest, Trouble};
use oxbox_layers::oci::{Descriptor, Digest, Index, MediaType};

use crate::scripted::{Reply, Scripted};
use crate::setting::{client, client_as, pulling, reference, user};

#[tokio::test]
async fn tags_are_read_over_all_pages() {
    let registry = Scripted::start(|seen| match seen.query.as_str() {
        "n=1000" => Reply::new(200)
            .header("link", "</v2/team/app/tags/list?n=1000&last=b>; rel=\"next\"")
            .body(r#"{"name":"team/app","tags":["a","b"]}"#),
        _ => Reply::new(200).body(r#"{"name":"team/app","tags":["c"]}"#),
    })
    .await;
    assert_eq!(pulling(&client(), &registry.domain()).tags().await.unwrap().unwrap(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_repository_without_tags_is_not_a_missing_one() {
    let registry = Scripted::start(|_| Reply::new(200).body(r#"{"name":"a","tags":null}"#)).await;
    assert_eq!(pulling(&client(), &registry.domain()).tags().await.unwrap(), Some(Vec::new()));
    let registry = Scripted::start(|_| Reply::error(404, "NAME_UNKNOWN", "?")).await;
    assert_eq!(pulling(&client(), &registry.domain()).tags().await.unwrap(), None);
}

#[tokio::test]
async fn pages_that_lead_in_a_circle_are_an_error() {
    let registry = Scripted::start(|_| {
        Reply::new(200).header("link", "</v2/team/app/tags/list?n=1000>; rel=next").body(r#"{"tags":["a"]}"#)
    })
    .await;
    let error = pulling(&client(), &registry.domain()).tags().await.unwrap_err();
    assert!(matches!(error, ClientError::BrokenList { .. }), "{error}");
    assert_eq!(registry.seen().len(), 1);
}

#[tokio::test]
async fn a_link_to_another_host_takes_no_credentials_there() {
    let other = Scripted::start(|_| Reply::new(200).body(r#"{"tags":["evil"]}"#)).await;
    let link = format!("<{}>; rel=next", other.url("/v2/team/app/tags/list?last=a"));
    let registry = Scripted::start(move |seen| match (seen.authorization(), seen.query.as_str()) {
        ("", _) => Reply::new(401).header("www-authenticate", "Basic realm=\"x\""),
        (_, "n=1000") => Reply::new(200).header("link", &link).body(r#"{"tags":["a"]}"#),
        _ => Reply::new(200).body(r#"{"tags":["b"]}"#),
    })
    .await;
    let client = client_as(&registry.domain(), user("user:secret"));
    assert_eq!(pulling(&client, &registry.domain()).tags().await.unwrap().unwrap(), ["a", "b"]);
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn a_link_whose_path_looks_like_a_host_stays_with_the_registry() {
    let other = Scripted::start(|_| Reply::new(200).body(r#"{"tags":["evil"]}"#)).await;
    let link = format!("</.//{}/v2/team/app/tags/list?last=a>; rel=next", other.domain());
    let registry = Scripted::start(move |seen| match seen.query.as_str() {
        "n=1000" => Reply::new(200).header("link", &link).body(r#"{"tags":["a"]}"#),
        _ => Reply::new(200).body(r#"{"tags":["b"]}"#),
    })
    .await;
    assert_eq!(pulling(&client(), &registry.domain()).tags().await.unwrap().unwrap(), ["a", "b"]);
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn a_list_of_large_pages_without_end_is_given_up() {
    let pages = AtomicUsize::new(0);
    let padding = "x".repeat(4_000_000);
    let registry = Scripted::start(move |_| {
        let page = pages.fetch_add(1, Ordering::SeqCst);
        let link = format!("</v2/team/app/tags/list?last={page}>; rel=next");
        let body = format!(r#"{{"tags":[],"padding":"{padding}"}}"#);
        // The end that an endless list has not, for a client that does not notice.
        let reply = Reply::new(200).body(body);
        if page < 100 { reply.header("link", link) } else { reply }
    })
    .await;
    let error = pulling(&client(), &registry.domain()).tags().await.unwrap_err();
    assert!(matches!(error, ClientError::BrokenList { .. }), "{error}");
}

#[tokio::test]
async fn a_catalog_lists_repositories_or_is_not_kept() {
    let registry = Scripted::start(|_| Reply::new(200).body(r#"{"repositories":["a","b/c"]}"#)).await;
    let catalog = client().registry(&registry.domain()).catalog().await.unwrap();
    assert_eq!(catalog.unwrap(), ["a", "b/c"]);
    let registry = Scripted::start(|_| Reply::new(404)).await;
    assert_eq!(client().registry(&registry.domain()).catalog().await.unwrap(), None);
}

#[tokio::test]
async fn a_login_is_a_ping_that_succeeds() {
    let registry = Scripted::start(|seen| match seen.authorization() {
        "Basic dXNlcjpzZWNyZXQ=" => Reply::new(200),
        _ => Reply::new(401).header("www-authenticate", "Basic realm=\"x\""),
    })
    .await;
    let good = client_as(&registry.domain(), user("user:secret"));
    assert!(good.registry(&registry.domain()).ping().await.is_ok());
    let bad = client_as(&registry.domain(), user("user:wrong"));
    let error = bad.registry(&registry.domain()).ping().await.unwrap_err();
    assert_eq!(error.trouble(), Trouble::Denied);
}

fn subject() -> Digest {
    Digest::sha256(b"subject")
}

fn index(entries: &[&[u8]]) -> Vec<u8> {
    let entries = entries.iter().map(|bytes| Descriptor::of(MediaType::OCI_MANIFEST, bytes)).collect();
    serde_json::to_vec(&Index::of(entries)).unwrap()
}

#[tokio::test]
async fn referrers_are_read_over_all_pages() {
    let registry = Scripted::start(|seen| {
        let reply = Reply::new(200).header("content-type", MediaType::OCI_INDEX);
        match seen.query.as_str() {
            "" => reply.header("link", "<?page=2>; rel=next").body(index(&[b"a"])),
            _ => reply.body(index(&[b"b", b"c"])),
        }
    })
    .await;
    let referrers = pulling(&client(), &registry.domain()).referrers(&subject()).await.unwrap();
    assert_eq!(referrers.len(), 3);
    assert_eq!(registry.last().path, format!("/v2/team/app/referrers/{}", subject()));
}

#[tokio::test]
async fn a_registry_without_referrers_is_asked_for_the_tag() {
    let registry = Scripted::start(|seen| match seen.path.contains("/manifests/sha256-") {
        true => Reply::new(200).header("content-type", MediaType::OCI_INDEX).body(index(&[b"a"])),
        false => Reply::new(404),
    })
    .await;
    assert_eq!(pulling(&client(), &registry.domain()).referrers(&subject()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn nothing_anywhere_is_no_referrers() {
    let registry = Scripted::start(|_| Reply::error(404, "MANIFEST_UNKNOWN", "?")).await;
    assert!(pulling(&client(), &registry.domain()).referrers(&subject()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_refusal_is_never_taken_for_no_referrers() {
    for status in [401, 403, 500] {
        let registry = Scripted::start(move |_| Reply::error(status, "DENIED", "no")).await;
        let result = pulling(&client(), &registry.domain()).referrers(&subject()).await;
        assert!(result.is_err(), "{status}");
        // Nor is one for the tag.
        let registry = Scripted::start(move |seen| match seen.path.contains("/referrers/") {
            true => Reply::new(404),
            false => Reply::error(status, "DENIED", "no"),
        })
        .await;
        let result = pulling(&client(), &registry.domain()).referrers(&subject()).await;
        assert!(result.is_err(), "{status}");
    }
}

#[tokio::test]
async fn a_web_page_is_not_taken_for_no_referrers() {
    let registry = Scripted::start(|seen| match seen.path.contains("/referrers/") {
        true => Reply::new(200).header("content-type", "text/html").body("<html>"),
        false => Reply::new(404),
    })
    .await;
    let error = pulling(&client(), &registry.domain()).referrers(&subject()).await.unwrap_err();
    assert!(matches!(error, ClientError::BrokenList { .. }), "{error}");
}

#[tokio::test]
async fn deleting_says_whether_there_was_anything() {
    let registry = Scripted::start(|seen| match seen.path.ends_with("v1") {
        true => Reply::new(202),
        false => Reply::error(404, "MANIFEST_UNKNOWN", "?"),
    })
    .await;
    let repository = client().repository(&reference(&registry.domain(), "team/app"), Access::Delete);
    assert!(repository.delete_manifest(&TagOrDigest::Tag("v1".to_owned())).await.unwrap());
    assert!(!repository.delete_manifest(&TagOrDigest::Digest(subject())).await.unwrap());
    assert!(!repository.delete_blob(&subject()).await.unwrap());
    assert_eq!(registry.last().line(), format!("DELETE /v2/team/app/blobs/{}", subject()));
}

#[tokio::test]
async fn a_registry_that_does_not_delete_says_so() {
    let registry = Scripted::start(|_| Reply::error(405, "UNSUPPORTED", "disabled")).await;
    let repository = client().repository(&reference(&registry.domain(), "team/app"), Access::Delete);
    let error = repository.delete_blob(&subject()).await.unwrap_err();
    assert_eq!(error.trouble(), Trouble::Unsupported);
}
