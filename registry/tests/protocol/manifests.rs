//! Pushing, pulling and deleting manifests.

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use oxbox_layers::oci::{Algorithm, Descriptor, Digest, Index, Manifest, MediaType, Raw};
use oxbox_registry::SparseIndexes;

use crate::fixture::{Fixture, image, image_manifest, refusal};

#[tokio::test]
async fn a_manifest_comes_back_byte_for_byte_as_what_it_was() {
    let registry = Fixture::new();
    registry.push_blob("a", b"{}").await;
    let text = image(b"x").edit(|value| value["layers"] = serde_json::json!([])).unwrap();
    let odd = String::from_utf8(text.bytes().to_vec()).unwrap().replace(',', " ,\n");
    let digest = Digest::sha256(odd.as_bytes());
    let kind = [("content-type", "application/vnd.oci.image.manifest.v1+json; charset=utf-8")];
    let put = registry.send("PUT /v2/a/manifests/v1", &kind, odd.clone()).await;
    assert_eq!((put.status, put.header("location")), (201, &*format!("/v2/a/manifests/{digest}")));
    assert_eq!(put.header("docker-content-digest"), digest.to_string());
    for reference in ["v1", &digest.to_string()] {
        let get = registry.ask(&format!("GET /v2/a/manifests/{reference}")).await;
        let head = registry.ask(&format!("HEAD /v2/a/manifests/{reference}")).await;
        assert_eq!(get.body, odd);
        assert_eq!((get.status, head.status, head.body.len()), (200, 200, 0));
        for (name, value) in [
            ("content-type", MediaType::OCI_MANIFEST),
            ("content-length", &odd.len().to_string()),
            ("docker-content-digest", &digest.to_string()),
            ("etag", &format!("\"{digest}\"")),
        ] {
            assert_eq!((get.header(name), head.header(name)), (value, value), "{reference}");
        }
    }
}

#[tokio::test]
async fn what_is_stored_is_served_whatever_is_accepted() {
    let registry = Fixture::new();
    registry.push_image("a", "v1", b"layer").await;
    for accept in ["application/vnd.docker.distribution.manifest.v2+json", "text/html;q=0.5", "*/*"] {
        let answer = registry.send("GET /v2/a/manifests/v1", &[("accept", accept)], "").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, MediaType::OCI_MANIFEST));
    }
}

#[tokio::test]
async fn a_tag_is_asked_for_anew_and_a_digest_never() {
    let registry = Fixture::new();
    let raw = registry.push_image("a", "v1", b"layer").await;
    let by_tag = registry.ask("GET /v2/a/manifests/v1").await;
    assert_eq!(by_tag.header("cache-control"), "no-cache");
    let line = format!("GET /v2/a/manifests/{}", raw.digest());
    assert!(registry.ask(&line).await.header("cache-control").contains("immutable"));
    let fresh = [("if-none-match", by_tag.header("etag"))];
    let answer = registry.send("GET /v2/a/manifests/v1", &fresh, "").await;
    assert_eq!((answer.status, answer.body.len()), (304, 0));
}

#[tokio::test]
async fn a_manifest_without_its_blobs_names_each_that_is_missing() {
    let registry = Fixture::new();
    let answer = registry.put("a", "v1", &image(b"layer")).await;
    assert_eq!(answer.refusal(), refusal(400, "MANIFEST_BLOB_UNKNOWN"));
    let missing: Vec<_> = answer.json()["errors"].as_array().unwrap().clone();
    let digests = [Digest::sha256(b"{}"), Digest::sha256(b"layer")];
    for (entry, digest) in missing.iter().zip(digests) {
        assert_eq!(entry["detail"]["digest"], digest.to_string());
    }
    assert_eq!(missing.len(), 2);
    assert_eq!(registry.ask("GET /v2/a/manifests/v1").await.status, 404);
}

#[tokio::test]
async fn a_manifest_without_thousands_of_blobs_is_told_of_some() {
    let registry = Fixture::new();
    let config = Descriptor::of(MediaType::OCI_CONFIG, b"{}");
    let layer = |number: u32| Descriptor::of(MediaType::OCI_LAYER, &number.to_be_bytes());
    let manifest = Manifest::of_image(config, (0..20_000).map(layer).collect());
    let answer = registry.put("a", "v1", &Raw::write(manifest, MediaType::OCI_MANIFEST)).await;
    assert_eq!(answer.refusal(), refusal(400, "MANIFEST_BLOB_UNKNOWN"));
    assert_eq!(answer.json()["errors"].as_array().unwrap().len(), 256);
}

#[tokio::test]
async fn a_blob_of_another_repository_does_not_count() {
    let registry = Fixture::new();
    registry.push_image("other", "v1", b"layer").await;
    assert_eq!(registry.put("a", "v1", &image(b"layer")).await.status, 400);
}

#[tokio::test]
async fn a_manifest_that_lies_about_a_size_is_refused() {
    let registry = Fixture::new();
    registry.push_blob("a", b"{}").await;
    registry.push_blob("a", b"layer").await;
    let lie = image(b"layer").edit(|value| value["layers"][0]["size"] = 4.into()).unwrap();
    assert_eq!(registry.put("a", "v1", &lie).await.refusal(), refusal(400, "SIZE_INVALID"));
}

#[tokio::test]
async fn a_foreign_layer_need_not_be_pushed() {
    let registry = Fixture::new();
    registry.push_blob("a", b"{}").await;
    let mut manifest = image_manifest(b"elsewhere");
    manifest.layers[0].media_type = MediaType::from(MediaType::DOCKER_FOREIGN_LAYER_GZIP);
    let raw = Raw::write(manifest, MediaType::OCI_MANIFEST);
    assert_eq!(registry.put("a", "v1", &raw).await.status, 201);
}

#[tokio::test]
async fn a_push_under_another_digest_is_refused() {
    let registry = Fixture::new();
    registry.push_image("a", "v1", b"layer").await;
    let answer = registry.put("a", &Digest::sha256(b"other").to_string(), &image(b"layer")).await;
    assert_eq!(answer.refusal(), refusal(400, "DIGEST_INVALID"));
}

#[tokio::test]
async fn a_sha512_manifest_keeps_its_name() {
    let registry = Fixture::new();
    let raw = registry.push_image("a", "v1", b"layer").await;
    let digest = Digest::of(Algorithm::Sha512, raw.bytes()).to_string();
    let put = registry.put("a", &digest, &raw).await;
    assert_eq!((put.status, put.header("docker-content-digest")), (201, &*digest));
    let get = registry.ask(&format!("GET /v2/a/manifests/{digest}")).await;
    assert_eq!((get.header("docker-content-digest"), &get.body), (&*digest, raw.bytes()));
}

#[tokio::test]
async fn a_manifest_of_four_megabytes_is_taken_and_a_larger_one_is_not() {
    let registry = Fixture::new();
    registry.push_image("a", "v1", b"layer").await;
    let sized = |length: usize| {
        let filler = |count: usize| {
            let edit = |value: &mut serde_json::Value| value["annotations"]["x"] = "x".repeat(count).into();
            image(b"layer").edit(edit)
        };
        let base = filler(0).unwrap().bytes().len();
        let text = String::from_utf8(filler(0).unwrap().bytes().to_vec()).unwrap();
        text.replace(r#""x":"""#, &format!(r#""x":"{}""#, "x".repeat(length - base)))
    };
    let limit = 4 * 1024 * 1024;
    let kind = [("content-type", MediaType::OCI_MANIFEST)];
    let fits = registry.send("PUT /v2/a/manifests/large", &kind, sized(limit)).await;
    assert_eq!(fits.status, 201);
    let get = registry.ask("GET /v2/a/manifests/large").await;
    assert!(get.body == sized(limit) && get.header("content-length") == limit.to_string());
    let declared = registry.send("PUT /v2/a/manifests/larger", &kind, sized(limit + 1)).await;
    assert_eq!(declared.refusal(), refusal(413, "SIZE_INVALID"));
    let pieces = [Ok::<_, std::io::Error>(Bytes::from(sized(limit + 1)))];
    let unknown = Body::from_stream(stream::iter(pieces));
    assert_eq!(registry.send("PUT /v2/a/manifests/larger", &kind, unknown).await.status, 413);
}

#[tokio::test]
async fn documents_that_are_none_are_refused() {
    let registry = Fixture::new();
    let kind = [("content-type", MediaType::OCI_MANIFEST)];
    for (headers, text, expected) in [
        (&kind, "{", refusal(400, "MANIFEST_INVALID")),
        (&kind, "[]", refusal(400, "MANIFEST_INVALID")),
        (&kind, r#"{"schemaVersion":2,"manifests":[]}"#, refusal(400, "MANIFEST_INVALID")),
        (&kind, r#"{"schemaVersion":1,"fsLayers":[],"history":[]}"#, refusal(415, "UNSUPPORTED")),
        (&[("content-type", "application/vnd.unknown+json")], "{}", refusal(415, "UNSUPPORTED")),
    ] {
        let answer = registry.send("PUT /v2/a/manifests/v1", headers, text).await;
        assert_eq!(answer.refusal(), expected, "{text}");
    }
    let answer = registry.send("PUT /v2/a/manifests/.bad", &kind, "{}").await;
    assert_eq!(answer.refusal(), refusal(400, "TAG_INVALID"));
}

#[tokio::test]
async fn dockers_manifests_and_lists_are_taken() {
    let registry = Fixture::new();
    let raw = registry.push_image("a", "v1", b"layer").await;
    let docker = raw.edit(|value| value["mediaType"] = MediaType::DOCKER_MANIFEST.into()).unwrap();
    let kind = [("content-type", MediaType::DOCKER_MANIFEST)];
    assert_eq!(registry.send("PUT /v2/a/manifests/d", &kind, docker.bytes().clone()).await.status, 201);
    let get = registry.ask("GET /v2/a/manifests/d").await;
    assert_eq!(get.header("content-type"), MediaType::DOCKER_MANIFEST);
    let mut list = Index::of(vec![Descriptor::of(MediaType::DOCKER_MANIFEST, docker.bytes())]);
    list.media_type = Some(MediaType::from(MediaType::DOCKER_LIST));
    let list = Raw::write(list, MediaType::DOCKER_LIST);
    let kind = [("content-type", MediaType::DOCKER_LIST)];
    assert_eq!(registry.send("PUT /v2/a/manifests/l", &kind, list.bytes().clone()).await.status, 201);
}

#[tokio::test]
async fn a_sparse_index_is_refused_unless_the_operator_wants_it() {
    let index = Raw::write(Index::of(vec![image(b"layer").descriptor()]), MediaType::OCI_INDEX);
    let kind = [("content-type", MediaType::OCI_INDEX)];
    for (sparse, status) in [(SparseIndexes::Refuse, 400), (SparseIndexes::Accept, 201)] {
        let registry = Fixture::with(sparse);
        let answer = registry.send("PUT /v2/a/manifests/v1", &kind, index.bytes().clone()).await;
        assert_eq!(answer.status, status, "{sparse:?}");
    }
}

#[tokio::test]
async fn an_index_of_layers_is_taken_as_build_caches_are() {
    let registry = Fixture::new();
    registry.push_blob("a", b"layer").await;
    registry.push_blob("a", b"{}").await;
    let children = vec![
        Descriptor::of(MediaType::OCI_LAYER_GZIP, b"layer"),
        Descriptor::of("application/vnd.buildkit.cacheconfig.v0", b"{}"),
    ];
    let index = Raw::write(Index::of(children), MediaType::OCI_INDEX);
    let kind = [("content-type", MediaType::OCI_INDEX)];
    assert_eq!(registry.send("PUT /v2/a/manifests/cache", &kind, index.bytes().clone()).await.status, 201);
}

#[tokio::test]
async fn one_push_may_set_many_tags() {
    let registry = Fixture::new();
    let raw = registry.push_image("a", "v1", b"layer").await;
    let tags: Vec<String> = (0..12).map(|number| format!("t{number}")).collect();
    let query = tags.iter().map(|tag| format!("tag={tag}")).collect::<Vec<_>>().join("&");
    let put = registry.put("a", &format!("{}?{query}", raw.digest()), &raw).await;
    assert_eq!(put.status, 201);
    let told: Vec<_> = put.headers.get_all("oci-tag").iter().map(|tag| tag.to_str().unwrap()).collect();
    assert_eq!(told, tags);
    assert_eq!(registry.ask("HEAD /v2/a/manifests/t11").await.status, 200);
    let bad = registry.put("a", &format!("{}?tag=.bad", raw.digest()), &raw).await;
    assert_eq!(bad.refusal(), refusal(400, "TAG_INVALID"));
}

#[tokio::test]
async fn a_tag_moves_only_from_where_the_client_saw_it() {
    let registry = Fixture::new();
    let one = registry.push_image("a", "v1", b"one").await;
    registry.push_blob("a", b"two").await;
    let two = image(b"two");
    let push = async |name: &str, value: &str| {
        let headers = [("content-type", MediaType::OCI_MANIFEST), (name, value)];
        registry.send("PUT /v2/a/manifests/v1", &headers, two.bytes().clone()).await
    };
    let exists = push("if-none-match", "*").await;
    assert_eq!(exists.refusal(), refusal(412, "DENIED"));
    assert_eq!(push("if-match", &format!("\"{}\"", two.digest())).await.status, 412);
    assert_eq!(push("if-match", &format!("\"{}\"", one.digest())).await.status, 201);
}

#[tokio::test]
async fn deleting_a_tag_leaves_the_manifest() {
    let registry = Fixture::new();
    let raw = registry.push_image("a", "v1", b"layer").await;
    registry.put("a", "v2", &raw).await;
    assert_eq!(registry.ask("DELETE /v2/a/manifests/v1").await.status, 202);
    assert_eq!(registry.ask("HEAD /v2/a/manifests/v1").await.status, 404);
    for reference in ["v2", &raw.digest().to_string()] {
        assert_eq!(registry.ask(&format!("HEAD /v2/a/manifests/{reference}")).await.status, 200);
    }
    let again = registry.ask("DELETE /v2/a/manifests/v1").await;
    assert_eq!(again.refusal(), refusal(404, "MANIFEST_UNKNOWN"));
}

#[tokio::test]
async fn deleting_a_manifest_takes_all_its_tags() {
    let registry = Fixture::new();
    let raw = registry.push_image("a", "v1", b"layer").await;
    registry.put("a", "v2", &raw).await;
    let line = format!("DELETE /v2/a/manifests/{}", raw.digest());
    assert_eq!(registry.ask(&line).await.status, 202);
    for reference in ["v1", "v2", &raw.digest().to_string()] {
        let answer = registry.ask(&format!("GET /v2/a/manifests/{reference}")).await;
        assert_eq!(answer.refusal(), refusal(404, "MANIFEST_UNKNOWN"));
    }
    assert_eq!(registry.ask(&line).await.refusal(), refusal(404, "MANIFEST_UNKNOWN"));
    let unknown = registry.ask(&line.replace("/v2/a/", "/v2/none/")).await;
    assert_eq!(unknown.refusal(), refusal(404, "NAME_UNKNOWN"));
    assert_eq!(registry.ask("GET /v2/a/tags/list").await.json()["tags"], serde_json::json!([]));
    assert_eq!(registry.put("a", "v1", &raw).await.status, 201);
}
