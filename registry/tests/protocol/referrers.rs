//! What refers to a manifest.

use oxbox_layers::oci::{Descriptor, Digest, Index, MediaType, Raw};
use serde_json::{Value, json};

use crate::fixture::{Answer, EMPTY, Fixture, artifact, image, refusal};

fn digests(answer: &Answer) -> Vec<String> {
    let digest = |entry: &Value| entry["digest"].as_str().unwrap().to_owned();
    let mut digests: Vec<_> = answer.json()["manifests"].as_array().unwrap().iter().map(digest).collect();
    digests.sort();
    digests
}

#[tokio::test]
async fn what_nobody_refers_to_has_an_empty_index() {
    let registry = Fixture::new();
    let answer = registry.ask(&format!("GET /v2/never/seen/referrers/{EMPTY}")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, MediaType::OCI_INDEX));
    assert_eq!(
        answer.json(),
        json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": []})
    );
    assert!(!answer.has("oci-filters-applied"));
}

#[tokio::test]
async fn a_subject_may_come_after_its_referrers() {
    let registry = Fixture::new();
    let subject = image(b"layer").descriptor();
    registry.push_blob("a", b"{}").await;
    let signature = artifact(subject.clone(), "application/vnd.example.signature", "one");
    let put = registry.put("a", &signature.digest().to_string(), &signature).await;
    assert_eq!((put.status, put.header("oci-subject")), (201, &*subject.digest.to_string()));
    let answer = registry.ask(&format!("GET /v2/a/referrers/{}", subject.digest)).await;
    let mut expected = signature.descriptor();
    expected.artifact_type = Some("application/vnd.example.signature".to_owned());
    expected.annotate("mark", "one");
    assert_eq!(answer.json()["manifests"], json!([expected]));
}

#[tokio::test]
async fn the_artifact_type_filters() {
    let registry = Fixture::new();
    let subject = registry.push_image("a", "v1", b"layer").await.descriptor();
    let (x, y) = (artifact(subject.clone(), "a/x+json", "x"), artifact(subject.clone(), "a/y", "y"));
    registry.put("a", "x", &x).await;
    registry.put("a", &y.digest().to_string(), &y).await;
    let path = format!("/v2/a/referrers/{}", subject.digest);
    assert_eq!(digests(&registry.ask(&format!("GET {path}")).await).len(), 2);
    for query in ["artifactType=a/x%2Bjson", "artifactType=a/x+json"] {
        let answer = registry.ask(&format!("GET {path}?{query}")).await;
        assert_eq!(digests(&answer), [x.digest().to_string()], "{query}");
        assert_eq!(answer.header("oci-filters-applied"), "artifactType");
    }
}

#[tokio::test]
async fn without_an_artifact_type_the_configs_type_stands_for_it() {
    let registry = Fixture::new();
    let subject = registry.push_image("a", "v1", b"layer").await.descriptor();
    let mut manifest = image(b"layer").view().clone();
    manifest.subject = Some(subject.clone());
    registry.put("a", "ref", &Raw::write(manifest, MediaType::OCI_MANIFEST)).await;
    let mut index = Index::of(vec![subject.clone()]);
    index.subject = Some(subject.clone());
    let index = Raw::write(index, MediaType::OCI_INDEX);
    let kind = [("content-type", MediaType::OCI_INDEX)];
    let put = registry.send("PUT /v2/a/manifests/i", &kind, index.bytes().clone()).await;
    assert_eq!(put.header("oci-subject"), subject.digest.to_string());
    let answer = registry.ask(&format!("GET /v2/a/referrers/{}", subject.digest)).await.json();
    let entries = answer["manifests"].as_array().unwrap();
    let of = |kind: &str| entries.iter().find(|entry| entry["mediaType"] == kind).unwrap();
    assert_eq!(of(MediaType::OCI_MANIFEST)["artifactType"], MediaType::OCI_CONFIG);
    assert_eq!(of(MediaType::OCI_INDEX).get("artifactType"), None);
}

#[tokio::test]
async fn a_deleted_referrer_refers_no_more_and_a_deleted_subject_keeps_its_own() {
    let registry = Fixture::new();
    let subject = registry.push_image("a", "v1", b"layer").await.descriptor();
    let (x, y) = (artifact(subject.clone(), "a/x", "x"), artifact(subject.clone(), "a/y", "y"));
    for raw in [&x, &y] {
        registry.put("a", &raw.digest().to_string(), raw).await;
    }
    registry.ask(&format!("DELETE /v2/a/manifests/{}", x.digest())).await;
    registry.ask(&format!("DELETE /v2/a/manifests/{}", subject.digest)).await;
    let answer = registry.ask(&format!("GET /v2/a/referrers/{}", subject.digest)).await;
    assert_eq!(digests(&answer), [y.digest().to_string()]);
}

#[tokio::test]
async fn an_index_under_the_fallback_tag_is_merged() {
    let registry = Fixture::new();
    let subject = registry.push_image("a", "v1", b"layer").await.descriptor();
    // One names its subject, one only the index knows, one is not here.
    let named = artifact(subject.clone(), "a/x", "named");
    let listed = registry.push_image("a", "listed", b"other").await;
    registry.put("a", &named.digest().to_string(), &named).await;
    let mut old = listed.descriptor();
    old.artifact_type = Some("a/old".to_owned());
    let gone = artifact(Descriptor::of("x/y", b"else"), "a/x", "gone");
    registry.put("a", &gone.digest().to_string(), &gone).await;
    let fallback = Index::of(vec![named.descriptor(), old.clone(), gone.descriptor()]);
    let fallback = Raw::write(fallback, MediaType::OCI_INDEX);
    let tag = subject.digest.to_string().replace(':', "-");
    let kind = [("content-type", MediaType::OCI_INDEX)];
    let put = registry.send(&format!("PUT /v2/a/manifests/{tag}"), &kind, fallback.bytes().clone()).await;
    assert_eq!(put.status, 201);
    registry.ask(&format!("DELETE /v2/a/manifests/{}", gone.digest())).await;
    let path = format!("/v2/a/referrers/{}", subject.digest);
    let mut expected = [named.digest().to_string(), listed.digest().to_string()];
    expected.sort();
    assert_eq!(digests(&registry.ask(&format!("GET {path}")).await), expected);
    let filtered = registry.ask(&format!("GET {path}?artifactType=a/old")).await;
    assert_eq!(filtered.json()["manifests"], json!([old]));
}

#[tokio::test]
async fn a_long_answer_comes_in_pages() {
    let registry = Fixture::new();
    registry.push_blob("a", b"{}").await;
    let subject = Descriptor::of(MediaType::OCI_MANIFEST, b"subject");
    let mut pushed = Vec::new();
    for number in 0..3 {
        let mark = format!("{number}{}", "x".repeat(1_800_000));
        let raw = artifact(subject.clone(), "a/x", &mark);
        assert_eq!(registry.put("a", &raw.digest().to_string(), &raw).await.status, 201);
        pushed.push(raw.digest().to_string());
    }
    pushed.sort();
    let first = registry.ask(&format!("GET /v2/a/referrers/{}?artifactType=a/x", subject.digest)).await;
    assert!(first.body.len() <= 4 * 1024 * 1024);
    let link = first.header("link").strip_prefix('<').unwrap().split_once('>').unwrap().0.to_owned();
    let rest = registry.ask(&format!("GET {link}")).await;
    assert!(!rest.has("link"));
    assert_eq!([digests(&first), digests(&rest)].concat(), pushed);
}

#[tokio::test]
async fn an_answer_is_no_larger_than_a_manifest_with_the_tagged_index_too() {
    let registry = Fixture::new();
    let subject = registry.push_image("a", "v1", b"layer").await.descriptor();
    for number in 0..7 {
        let raw = artifact(subject.clone(), "a/x", &format!("{number}{}", "x".repeat(598_000)));
        assert_eq!(registry.put("a", &raw.digest().to_string(), &raw).await.status, 201);
    }
    let mut old = registry.push_image("a", "listed", b"other").await.descriptor();
    old.annotations = Some([("mark".to_owned(), "y".repeat(60_000))].into());
    let fallback = Raw::write(Index::of(vec![old]), MediaType::OCI_INDEX);
    let tag = subject.digest.to_string().replace(':', "-");
    let kind = [("content-type", MediaType::OCI_INDEX)];
    registry.send(&format!("PUT /v2/a/manifests/{tag}"), &kind, fallback.bytes().clone()).await;
    let (mut path, mut found) = (format!("/v2/a/referrers/{}", subject.digest), 0);
    loop {
        let answer = registry.ask(&format!("GET {path}")).await;
        assert!(answer.body.len() <= 4 * 1024 * 1024, "{}", answer.body.len());
        found += digests(&answer).len();
        if !answer.has("link") {
            break;
        }
        path = answer.header("link").strip_prefix('<').unwrap().split_once('>').unwrap().0.to_owned();
    }
    assert_eq!(found, 8);
}

#[tokio::test]
async fn an_artifact_type_that_is_none_is_refused() {
    let registry = Fixture::new();
    registry.push_blob("a", b"{}").await;
    let subject = Descriptor::of(MediaType::OCI_MANIFEST, b"subject");
    let longest = artifact(subject.clone(), &format!("a/{}", "x".repeat(253)), "fits");
    assert_eq!(registry.put("a", &longest.digest().to_string(), &longest).await.status, 201);
    let longer = artifact(subject, &format!("a/{}", "x".repeat(254)), "does not");
    let answer = registry.put("a", &longer.digest().to_string(), &longer).await;
    assert_eq!(answer.refusal(), refusal(400, "MANIFEST_INVALID"));
}

#[tokio::test]
async fn a_malformed_subject_is_refused() {
    let registry = Fixture::new();
    let answer = registry.ask("GET /v2/a/referrers/sha256:xyz").await;
    assert_eq!(answer.refusal(), refusal(400, "DIGEST_INVALID"));
    assert_eq!(Digest::sha256(b"").to_string(), EMPTY);
}
