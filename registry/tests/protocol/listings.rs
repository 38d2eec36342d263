//! Lists of tags and of repositories.

use serde_json::json;

use crate::fixture::Fixture;

async fn with_tags(tags: &[&str]) -> Fixture {
    let registry = Fixture::new();
    let raw = registry.push_image("a", tags[0], b"layer").await;
    for tag in &tags[1..] {
        assert_eq!(registry.put("a", tag, &raw).await.status, 201);
    }
    registry
}

/// The target of a `Link`.
fn next(link: &str) -> &str {
    link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap()
}

#[tokio::test]
async fn tags_are_sorted_as_bytes() {
    let registry = with_tags(&["b", "a", "B", "1.0-x", "1.0", "_"]).await;
    let answer = registry.ask("GET /v2/a/tags/list").await;
    assert_eq!(answer.json(), json!({"name": "a", "tags": ["1.0", "1.0-x", "B", "_", "a", "b"]}));
    assert!(!answer.has("link"));
}

#[tokio::test]
async fn pages_follow_their_links_to_the_end() {
    let registry = with_tags(&["a", "b", "c", "d"]).await;
    let first = registry.ask("GET /v2/a/tags/list?n=3&ns=example.com").await;
    assert_eq!(first.json()["tags"], json!(["a", "b", "c"]));
    let link = next(first.header("link")).to_owned();
    assert!(link.contains("ns=example.com"), "{link}");
    let last = registry.ask(&format!("GET {link}")).await;
    assert_eq!(last.json()["tags"], json!(["d"]));
    assert!(!last.has("link"));
}

#[tokio::test]
async fn a_page_that_is_just_full_is_the_last() {
    let registry = with_tags(&["a", "b"]).await;
    let answer = registry.ask("GET /v2/a/tags/list?n=2").await;
    assert_eq!(answer.json()["tags"], json!(["a", "b"]));
    assert!(!answer.has("link"));
}

#[tokio::test]
async fn no_tags_are_a_list_of_none() {
    let registry = with_tags(&["a", "b"]).await;
    for query in ["n=0", "last=b", "n=5&last=zzz"] {
        let answer = registry.ask(&format!("GET /v2/a/tags/list?{query}")).await;
        assert_eq!((answer.status, &answer.json()["tags"]), (200, &json!([])), "{query}");
        assert!(!answer.has("link"), "{query}");
    }
}

#[tokio::test]
async fn the_last_tag_seen_need_not_exist_any_more() {
    let registry = with_tags(&["a", "c"]).await;
    let answer = registry.ask("GET /v2/a/tags/list?last=b").await;
    assert_eq!(answer.json()["tags"], json!(["c"]));
}

#[tokio::test]
async fn a_huge_page_is_cut_and_not_refused() {
    let registry = with_tags(&["a"]).await;
    assert_eq!(registry.ask("GET /v2/a/tags/list?n=99999999999999999999").await.status, 200);
}

#[tokio::test]
async fn repositories_are_listed_in_pages() {
    let registry = Fixture::new();
    assert_eq!(registry.ask("GET /v2/_catalog").await.json(), json!({"repositories": []}));
    for name in ["b", "a/x", "c"] {
        registry.push_image(name, "v1", b"layer").await;
    }
    registry.push_blob("only/blobs", b"x").await;
    let first = registry.ask("GET /v2/_catalog?n=2").await;
    assert_eq!(first.json()["repositories"], json!(["a/x", "b"]));
    let rest = registry.ask(&format!("GET {}", next(first.header("link")))).await;
    assert_eq!(rest.json()["repositories"], json!(["c"]));
}
