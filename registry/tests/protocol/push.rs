//! Pushing blobs: every way in, and every way to get it wrong.

use std::fs;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use oxbox_layers::oci::{Algorithm, Digest};

use crate::fixture::{EMPTY, Fixture, refusal};

async fn assert_has(registry: &Fixture, name: &str, content: &[u8]) {
    let answer = registry.ask(&format!("GET /v2/{name}/blobs/{}", Digest::sha256(content))).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body == content);
}

fn uploads(registry: &Fixture) -> usize {
    fs::read_dir(registry.root.path().join("uploads")).unwrap().count()
}

/// A body that breaks off after these bytes.
fn broken(bytes: &'static [u8]) -> Body {
    let pieces = [Ok(Bytes::from_static(bytes)), Err(std::io::Error::other("cut"))];
    Body::from_stream(stream::iter(pieces))
}

#[tokio::test]
async fn a_session_starts_empty_at_a_relative_location() {
    let registry = Fixture::new();
    let answer = registry.ask("POST /v2/a/b/blobs/uploads/").await;
    assert_eq!((answer.status, answer.header("range")), (202, "0-0"));
    assert!(answer.header("location").starts_with("/v2/a/b/blobs/uploads/"));
    assert!(answer.header("location").ends_with(answer.header("docker-upload-uuid")));
    assert_eq!(answer.header("content-length"), "0");
}

#[tokio::test]
async fn post_then_one_put() {
    let registry = Fixture::new();
    let session = registry.session("a").await;
    let digest = Digest::sha256(b"whole");
    let answer = registry.send(&format!("PUT {session}?digest={digest}"), &[], "whole").await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("location"), format!("/v2/a/blobs/{digest}"));
    assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    assert_has(&registry, "a", b"whole").await;
    assert_eq!(registry.ask(&format!("GET {session}")).await.refusal(), refusal(404, "BLOB_UPLOAD_UNKNOWN"));
}

#[tokio::test]
async fn one_post_with_the_digest() {
    let registry = Fixture::new();
    let digest = Digest::sha256(b"whole");
    let answer = registry.send(&format!("POST /v2/a/blobs/uploads/?digest={digest}"), &[], "whole").await;
    assert_eq!((answer.status, answer.header("location")), (201, &*format!("/v2/a/blobs/{digest}")));
    assert_has(&registry, "a", b"whole").await;
    assert_eq!(uploads(&registry), 0);
}

#[tokio::test]
async fn a_stream_and_an_empty_put() {
    let registry = Fixture::new();
    let session = registry.session("a").await;
    let content: Vec<u8> = (0..700_000_u32).map(|n| (n * 7) as u8).collect();
    let pieces: Vec<_> =
        content.chunks(1000).map(Bytes::copy_from_slice).map(Ok::<_, std::io::Error>).collect();
    let answer =
        registry.send(&format!("PATCH {session}"), &[], Body::from_stream(stream::iter(pieces))).await;
    assert_eq!((answer.status, answer.header("range")), (202, "0-699999"));
    assert_eq!(answer.header("location"), session);
    let digest = Digest::sha256(&content);
    assert_eq!(registry.ask(&format!("PUT {session}?digest={digest}")).await.status, 201);
    assert_has(&registry, "a", &content).await;
}

#[tokio::test]
async fn chunks_and_a_last_one_in_the_put() {
    let registry = Fixture::new();
    let session = registry.session("a").await;
    let patch = format!("PATCH {session}");
    let first = registry.send(&patch, &[("content-range", "0-3"), ("content-length", "4")], "one ").await;
    assert_eq!((first.status, first.header("range")), (202, "0-3"));
    let second = registry.send(&patch, &[("content-range", "4-7")], "two ").await;
    assert_eq!((second.status, second.header("range")), (202, "0-7"));
    let status = registry.ask(&format!("GET {session}")).await;
    assert_eq!((status.status, status.header("range"), status.header("location")), (204, "0-7", &*session));
    let digest = Digest::sha256(b"one two three");
    let put = format!("PUT {session}?foo=bar&digest={}", digest.to_string().replace(':', "%3A"));
    assert_eq!(registry.send(&put, &[("content-range", "8-12")], "three").await.status, 201);
    assert_has(&registry, "a", b"one two three").await;
}

#[tokio::test]
async fn an_empty_blob_goes_every_way() {
    for name in ["put", "patch", "post"] {
        let registry = Fixture::new();
        let answer = match name {
            "post" => registry.ask(&format!("POST /v2/a/blobs/uploads/?digest={EMPTY}")).await,
            way => {
                let session = registry.session("a").await;
                if way == "patch" {
                    assert_eq!(registry.ask(&format!("PATCH {session}")).await.status, 202);
                }
                registry.ask(&format!("PUT {session}?digest={EMPTY}")).await
            }
        };
        assert_eq!(answer.status, 201, "{name}");
        assert_has(&registry, "a", b"").await;
    }
}

#[tokio::test]
async fn a_sha512_blob_keeps_its_name() {
    let registry = Fixture::new();
    let digest = Digest::of(Algorithm::Sha512, b"wide");
    for query in ["", "?digest-algorithm=sha512"] {
        let answer = registry.ask(&format!("POST /v2/a/blobs/uploads/{query}")).await;
        let session = answer.header("location").to_owned();
        registry.send(&format!("PATCH {session}"), &[], "wi").await;
        let answer = registry.send(&format!("PUT {session}?digest={digest}"), &[], "de").await;
        assert_eq!((answer.status, answer.header("docker-content-digest")), (201, &*digest.to_string()));
        let answer = registry.ask(&format!("GET /v2/a/blobs/{digest}")).await;
        assert_eq!(
            (answer.header("docker-content-digest"), &answer.body[..]),
            (&*digest.to_string(), &b"wide"[..])
        );
    }
}

#[tokio::test]
async fn an_out_of_order_chunk_changes_nothing_and_says_where_to_go_on() {
    let registry = Fixture::new();
    let session = registry.session("a").await;
    registry.send(&format!("PATCH {session}"), &[("content-range", "0-3")], "one ").await;
    let digest = Digest::sha256(b"one two");
    for (line, range) in [
        (format!("PATCH {session}"), "5-7"),
        (format!("PATCH {session}"), "0-2"),
        (format!("PATCH {session}"), "nonsense"),
        (format!("PUT {session}?digest={digest}"), "7-9"),
    ] {
        let answer = registry.send(&line, &[("content-range", range)], "two").await;
        assert_eq!(answer.refusal(), refusal(416, "RANGE_INVALID"), "{line} {range}");
        assert_eq!((answer.header("range"), answer.header("location")), ("0-3", &*session));
    }
    let put = format!("PUT {session}?digest={digest}");
    assert_eq!(registry.send(&put, &[("content-range", "4-6")], "two").await.status, 201);
    assert_has(&registry, "a", b"one two").await;
}

#[tokio::test]
async fn a_chunk_of_another_length_than_it_says_changes_nothing() {
    let registry = Fixture::new();
    let session = registry.session("a").await;
    let line = format!("PATCH {session}");
    let declared = [("content-range", "0-9"), ("content-length", "3")];
    assert_eq!(registry.send(&line, &declared, "one").await.status, 416);
    for content in ["short", "much longer than ten"] {
        let unknown = Body::from_stream(stream::iter([Ok::<_, std::io::Error>(content)]));
        assert_eq!(registry.send(&line, &[("content-range", "0-9")], unknown).await.status, 416, "{content}");
    }
    assert_eq!(registry.ask(&format!("GET {session}")).await.header("range"), "0-0");
    let digest = Digest::sha256(b"one");
    assert_eq!(registry.send(&format!("PUT {session}?digest={digest}"), &[], "one").await.status, 201);
}

#[tokio::test]
async fn a_body_that_breaks_off_keeps_the_session_where_the_bytes_end() {
    let registry = Fixture::new();
    let session = registry.session("a").await;
    let answer = registry.send(&format!("PATCH {session}"), &[], broken(b"one ")).await;
    assert_eq!(answer.refusal(), refusal(400, "BLOB_UPLOAD_INVALID"));
    assert_eq!(registry.ask(&format!("GET {session}")).await.header("range"), "0-3");
    let digest = Digest::sha256(b"one two");
    // A closing PUT that breaks off is no closing PUT.
    let put = format!("PUT {session}?digest={digest}");
    assert_eq!(registry.send(&put, &[], broken(b"t")).await.status, 400);
    assert_eq!(registry.ask(&format!("GET {session}")).await.header("range"), "0-4");
    assert_eq!(registry.send(&put, &[], "wo").await.status, 201);
    assert_has(&registry, "a", b"one two").await;
}

#[tokio::test]
async fn another_digest_publishes_nothing_and_ends_the_session() {
    let registry = Fixture::new();
    let session = registry.session("a").await;
    let promised = Digest::sha256(b"promised");
    let answer = registry.send(&format!("PUT {session}?digest={promised}"), &[], "other").await;
    assert_eq!(answer.refusal(), refusal(400, "DIGEST_INVALID"));
    let single = format!("POST /v2/a/blobs/uploads/?digest={promised}");
    assert_eq!(registry.send(&single, &[], "other").await.refusal(), refusal(400, "DIGEST_INVALID"));
    assert_eq!(registry.ask(&format!("GET {session}")).await.status, 404);
    for digest in [promised, Digest::sha256(b"other")] {
        assert_eq!(registry.ask(&format!("HEAD /v2/a/blobs/{digest}")).await.status, 404);
    }
    assert_eq!(uploads(&registry), 0);
}

#[tokio::test]
async fn a_put_without_a_readable_digest_keeps_the_session() {
    let registry = Fixture::new();
    let session = registry.session("a").await;
    for query in ["", "?digest=sha256:baddigeststring", "?digest=md5:00"] {
        let answer = registry.send(&format!("PUT {session}{query}"), &[], "x").await;
        assert_eq!(answer.refusal(), refusal(400, "DIGEST_INVALID"), "{query}");
    }
    assert_eq!(registry.ask(&format!("GET {session}")).await.status, 204);
}

#[tokio::test]
async fn a_cancelled_session_is_gone() {
    let registry = Fixture::new();
    let session = registry.session("a").await;
    registry.send(&format!("PATCH {session}"), &[], "some").await;
    assert_eq!(registry.ask(&format!("DELETE {session}")).await.status, 204);
    for line in ["GET", "PATCH", "DELETE"].map(|method| format!("{method} {session}")) {
        assert_eq!(registry.ask(&line).await.refusal(), refusal(404, "BLOB_UPLOAD_UNKNOWN"), "{line}");
    }
    assert_eq!(uploads(&registry), 0);
}

#[tokio::test]
async fn a_cancellation_is_carried_out_though_its_client_goes_away() {
    let registry = Fixture::new();
    let session = registry.session("a").await;
    registry.send(&format!("PATCH {session}"), &[], "bytes").await;
    let line = format!("DELETE {session}");
    let mut asked = Box::pin(registry.ask(&line));
    assert!(futures_util::poll!(&mut asked).is_pending());
    drop(asked);
    let gone = async {
        while uploads(&registry) > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), gone).await.unwrap();
    assert_eq!(registry.ask(&format!("GET {session}")).await.status, 404);
}

#[tokio::test]
async fn a_session_belongs_to_its_repository() {
    let registry = Fixture::new();
    let session = registry.session("a").await.replace("/v2/a/", "/v2/b/");
    assert_eq!(registry.ask(&format!("GET {session}")).await.status, 404);
}

#[tokio::test]
async fn a_mount_takes_from_a_repository_or_from_any() {
    let registry = Fixture::new();
    let digest = registry.push_blob("source", b"layer").await;
    for (target, query) in [("b", "&from=source"), ("c", "")] {
        let line = format!("POST /v2/{target}/blobs/uploads/?mount={digest}{query}");
        let answer = registry.ask(&line).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (201, &*format!("/v2/{target}/blobs/{digest}"))
        );
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
        assert_has(&registry, target, b"layer").await;
    }
    assert_eq!(registry.ask(&format!("DELETE /v2/source/blobs/{digest}")).await.status, 202);
    assert_has(&registry, "b", b"layer").await;
}

#[tokio::test]
async fn a_mount_that_finds_nothing_becomes_a_session() {
    let registry = Fixture::new();
    let digest = registry.push_blob("source", b"layer").await;
    let other = Digest::sha256(b"other");
    for query in [format!("{digest}&from=empty"), format!("{digest}&from=../bad"), format!("{other}")] {
        let answer = registry.ask(&format!("POST /v2/b/blobs/uploads/?mount={query}")).await;
        assert_eq!((answer.status, answer.header("range")), (202, "0-0"), "{query}");
        assert_eq!(registry.ask(&format!("GET {}", answer.header("location"))).await.status, 204);
    }
    let refused = registry.ask("POST /v2/b/blobs/uploads/?mount=nonsense&from=source").await;
    assert_eq!(refused.refusal(), refusal(400, "DIGEST_INVALID"));
}

#[tokio::test]
async fn many_may_push_the_same_blob_at_once() {
    let registry = Fixture::new();
    let content: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    let digest = Digest::sha256(&content);
    let pushes = (0..16).map(|number| {
        let line = format!("POST /v2/r{}/blobs/uploads/?digest={digest}", number % 4);
        let (registry, content) = (&registry, content.clone());
        async move { registry.send(&line, &[], content).await.status }
    });
    let statuses = futures_util::future::join_all(pushes).await;
    assert_eq!(statuses, [201; 16]);
    for name in ["r0", "r1", "r2", "r3"] {
        assert_has(&registry, name, &content).await;
    }
    assert_eq!(uploads(&registry), 0);
}

#[tokio::test]
async fn two_writers_of_one_session_do_not_mix() {
    let registry = Fixture::new();
    let session = registry.session("a").await;
    let line = format!("PATCH {session}");
    let (first, second) = tokio::join!(
        registry.send(&line, &[("content-range", "0-3")], "aaaa"),
        registry.send(&line, &[("content-range", "0-3")], "bbbb"),
    );
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 416]);
    assert_eq!(registry.ask(&format!("GET {session}")).await.header("range"), "0-3");
}
