//! Pulling blobs: heads, ranges, conditions, refusals.

use oxbox_layers::oci::Digest;

use crate::fixture::{EMPTY, Fixture, refusal};

#[tokio::test]
async fn the_base_says_that_this_is_a_registry() {
    let registry = Fixture::new();
    for path in ["/v2/", "/v2"] {
        let answer = registry.ask(&format!("GET {path}")).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"{}"[..]));
        assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
        assert_eq!(answer.header("content-type"), "application/json");
    }
}

#[tokio::test]
async fn a_head_says_what_a_get_says() {
    let registry = Fixture::new();
    let digest = registry.push_blob("a/b", b"0123456789").await;
    let path = format!("/v2/a/b/blobs/{digest}");
    let get = registry.ask(&format!("GET {path}")).await;
    let head = registry.ask(&format!("HEAD {path}")).await;
    assert_eq!((get.status, head.status), (200, 200));
    assert_eq!((&get.body[..], &head.body[..]), (&b"0123456789"[..], &b""[..]));
    for (name, value) in [
        ("content-length", "10"),
        ("content-type", "application/octet-stream"),
        ("docker-content-digest", &digest.to_string()),
        ("accept-ranges", "bytes"),
        ("etag", &format!("\"{digest}\"")),
        ("cache-control", "max-age=31536000, immutable"),
    ] {
        assert_eq!((get.header(name), head.header(name)), (value, value));
    }
}

#[tokio::test]
async fn a_large_blob_comes_whole() {
    let registry = Fixture::new();
    let content: Vec<u8> = (0..5_000_000_u32).map(|n| (n >> 3) as u8).collect();
    let digest = registry.push_blob("a", &content).await;
    let answer = registry.ask(&format!("GET /v2/a/blobs/{digest}")).await;
    assert!(answer.body == content);
}

#[tokio::test]
async fn an_encoded_colon_is_a_colon() {
    let registry = Fixture::new();
    let digest = registry.push_blob("a", b"x").await.to_string();
    let answer = registry.ask(&format!("GET /v2/a/blobs/{}", digest.replace(':', "%3A"))).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_range_is_a_part() {
    let registry = Fixture::new();
    let digest = registry.push_blob("a", b"0123456789").await;
    let line = format!("GET /v2/a/blobs/{digest}");
    for (range, content, content_range) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-1", "9", "bytes 9-9/10"),
        ("bytes=8-100", "89", "bytes 8-9/10"),
    ] {
        let answer = registry.send(&line, &[("range", range)], "").await;
        assert_eq!((answer.status, &answer.body[..]), (206, content.as_bytes()), "{range}");
        assert_eq!(answer.header("content-range"), content_range);
        assert_eq!(answer.header("content-length"), content.len().to_string());
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
    }
}

#[tokio::test]
async fn a_range_behind_the_end_is_refused_with_the_size() {
    let registry = Fixture::new();
    let digest = registry.push_blob("a", b"0123456789").await;
    let answer = registry.send(&format!("GET /v2/a/blobs/{digest}"), &[("range", "bytes=10-")], "").await;
    assert_eq!(answer.refusal(), refusal(416, "RANGE_INVALID"));
    assert_eq!(answer.header("content-range"), "bytes */10");
}

#[tokio::test]
async fn an_unreadable_range_gets_the_whole() {
    let registry = Fixture::new();
    let digest = registry.push_blob("a", b"0123456789").await;
    let line = format!("GET /v2/a/blobs/{digest}");
    for header in [("range", "bytes=5-2"), ("range", "lines=1-2")] {
        let answer = registry.send(&line, &[header], "").await;
        assert_eq!((answer.status, answer.body.len()), (200, 10));
    }
    let stale = [("range", "bytes=0-1"), ("if-range", "\"sha256:other\"")];
    assert_eq!(registry.send(&line, &stale, "").await.status, 200);
}

#[tokio::test]
async fn several_ranges_come_as_parts() {
    let registry = Fixture::new();
    let digest = registry.push_blob("a", b"0123456789").await;
    let range = [("range", "bytes=0-1,5-6,-1")];
    let answer = registry.send(&format!("GET /v2/a/blobs/{digest}"), &range, "").await;
    assert_eq!(answer.status, 206);
    let kind = answer.header("content-type").to_owned();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let parts: Vec<_> = text.split(&format!("\r\n--{boundary}")).collect();
    let part = |range: &str, content: &str| {
        format!(
            "\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {range}/10\r\n\r\n{content}"
        )
    };
    assert_eq!(parts, ["", &part("0-1", "01"), &part("5-6", "56"), &part("9-9", "9"), "--\r\n"]);
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let registry = Fixture::new();
    let digest = registry.push_blob("a", b"0123456789").await;
    let line = format!("GET /v2/a/blobs/{digest}");
    let answer = registry.send(&line, &[("if-none-match", &format!("\"{digest}\""))], "").await;
    assert_eq!((answer.status, answer.body.len()), (304, 0));
    assert_eq!(answer.header("etag"), format!("\"{digest}\""));
    let other = registry.send(&line, &[("if-none-match", "\"sha256:other\"")], "").await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn a_blob_of_another_repository_is_not_here() {
    let registry = Fixture::new();
    let digest = registry.push_blob("a", b"secret").await;
    for method in ["GET", "HEAD"] {
        assert_eq!(registry.ask(&format!("{method} /v2/b/blobs/{digest}")).await.status, 404);
    }
    let answer = registry.ask(&format!("GET /v2/b/blobs/{digest}")).await;
    assert_eq!(answer.refusal(), refusal(404, "BLOB_UNKNOWN"));
}

#[tokio::test]
async fn every_refusal_has_a_body_that_says_why() {
    let registry = Fixture::new();
    for (line, status, code) in [
        ("GET /nothing", 404, "UNSUPPORTED"),
        ("GET /v2/a", 404, "UNSUPPORTED"),
        ("GET /v2/UPPER/tags/list", 400, "NAME_INVALID"),
        ("GET /v2/a/blobs/sha256:short", 400, "DIGEST_INVALID"),
        ("GET /v2/a/blobs/md5:d41d8cd98f00b204e9800998ecf8427e", 400, "DIGEST_INVALID"),
        ("GET /v2/a/manifests/none", 404, "NAME_UNKNOWN"),
        ("GET /v2/a/manifests/.invalid", 404, "MANIFEST_UNKNOWN"),
        ("GET /v2/a/tags/list", 404, "NAME_UNKNOWN"),
        ("GET /v2/a/tags/list?n=x", 400, "PAGINATION_NUMBER_INVALID"),
        ("GET /v2/a/blobs/uploads/unknown", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("GET /v2/a/referrers/none", 400, "DIGEST_INVALID"),
        ("PATCH /v2/a/manifests/v1", 405, "UNSUPPORTED"),
        ("GET /v2/a/blobs/uploads/", 405, "UNSUPPORTED"),
    ] {
        let answer = registry.ask(line).await;
        assert_eq!(answer.refusal(), refusal(status, code), "{line}");
        assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
        assert_eq!(answer.has("allow"), status == 405, "{line}");
    }
}

#[tokio::test]
async fn a_refused_head_has_the_length_of_the_body_it_lacks() {
    let registry = Fixture::new();
    let answer = registry.ask(&format!("HEAD /v2/a/blobs/{EMPTY}")).await;
    assert_eq!((answer.status, answer.body.len()), (404, 0));
    assert_ne!(answer.header("content-length"), "0");
}

#[tokio::test]
async fn a_blob_is_deleted_from_its_repository_only() {
    let registry = Fixture::new();
    let digest = registry.push_blob("a", b"shared").await;
    registry.push_blob("b", b"shared").await;
    assert_eq!(registry.ask(&format!("DELETE /v2/a/blobs/{digest}")).await.status, 202);
    assert_eq!(registry.ask(&format!("HEAD /v2/a/blobs/{digest}")).await.status, 404);
    assert_eq!(registry.ask(&format!("HEAD /v2/b/blobs/{digest}")).await.status, 200);
    let again = registry.ask(&format!("DELETE /v2/a/blobs/{digest}")).await;
    assert_eq!(again.refusal(), refusal(404, "BLOB_UNKNOWN"));
}

#[tokio::test]
async fn a_blob_that_a_manifest_names_is_not_deleted() {
    let registry = Fixture::new();
    let raw = registry.push_image("a", "v1", b"layer").await;
    let layer = Digest::sha256(b"layer");
    let refused = registry.ask(&format!("DELETE /v2/a/blobs/{layer}")).await;
    assert_eq!(refused.refusal(), refusal(405, "DENIED"));
    assert_eq!(registry.ask(&format!("DELETE /v2/a/manifests/{}", raw.digest())).await.status, 202);
    assert_eq!(registry.ask(&format!("DELETE /v2/a/blobs/{layer}")).await.status, 202);
}

#[tokio::test]
async fn a_blob_whose_bytes_are_lost_is_an_error_of_the_server() {
    let registry = Fixture::new();
    let digest = registry.push_blob("a", b"lost").await;
    std::fs::remove_dir_all(registry.root.path().join("blobs/sha256")).unwrap();
    let answer = registry.ask(&format!("GET /v2/a/blobs/{digest}")).await;
    assert_eq!(answer.refusal(), refusal(500, "UNKNOWN"));
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(!text.contains("blobs/sha256"), "{text}");
}
