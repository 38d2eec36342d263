//! What a restart of the server leaves.

use std::fs::OpenOptions;
use std::io::Write;

use oxbox_layers::oci::Digest;

use crate::fixture::{Fixture, refusal};

#[tokio::test]
async fn an_upload_goes_on_after_a_restart() {
    let registry = Fixture::new();
    let session = registry.session("a").await;
    registry.send(&format!("PATCH {session}"), &[], "one ").await;
    let registry = registry.restarted();
    let status = registry.ask(&format!("GET {session}")).await;
    assert_eq!((status.status, status.header("range")), (204, "0-3"));
    let digest = Digest::sha256(b"one two");
    let chunk = [("content-range", "4-6")];
    assert_eq!(registry.send(&format!("PUT {session}?digest={digest}"), &chunk, "two").await.status, 201);
    assert_eq!(&registry.ask(&format!("GET /v2/a/blobs/{digest}")).await.body[..], b"one two");
}

#[tokio::test]
async fn bytes_that_a_killed_server_did_not_count_do_not_count() {
    let registry = Fixture::new();
    let session = registry.session("a").await;
    registry.send(&format!("PATCH {session}"), &[], "one ").await;
    let file = registry.root.path().join("uploads").join(session.rsplit('/').next().unwrap());
    OpenOptions::new().append(true).open(file).unwrap().write_all(b"torn").unwrap();
    let registry = registry.restarted();
    let digest = Digest::sha256(b"one ");
    assert_eq!(registry.ask(&format!("PUT {session}?digest={digest}")).await.status, 201);
    assert_eq!(&registry.ask(&format!("GET /v2/a/blobs/{digest}")).await.body[..], b"one ");
}

#[tokio::test]
async fn a_hash_that_another_version_saved_is_computed_anew() {
    let registry = Fixture::new();
    let session = registry.session("a").await;
    registry.send(&format!("PATCH {session}"), &[], "one ").await;
    let database = rusqlite::Connection::open(registry.root.path().join("meta.db")).unwrap();
    database.execute("UPDATE upload SET hash = x'00'", []).unwrap();
    drop(database);
    let digest = Digest::sha256(b"one two");
    let put = registry.send(&format!("PUT {session}?digest={digest}"), &[], "two").await;
    assert_eq!(put.status, 201);
}

#[tokio::test]
async fn a_crash_between_bytes_and_metadata_is_mended_by_the_same_request() {
    let registry = Fixture::new();
    let session = registry.session("a").await;
    registry.send(&format!("PATCH {session}"), &[], "blob").await;
    // As the crash leaves it: the file has its name already, the session does not know.
    let digest = Digest::sha256(b"blob");
    let root = registry.root.path();
    let shard = root.join("blobs/sha256").join(&digest.hex()[..2]);
    std::fs::create_dir_all(&shard).unwrap();
    let upload = root.join("uploads").join(session.rsplit('/').next().unwrap());
    std::fs::rename(upload, shard.join(digest.hex())).unwrap();
    let registry = registry.restarted();
    assert_eq!(registry.ask(&format!("PUT {session}?digest={digest}")).await.status, 201);
    assert_eq!(registry.ask(&format!("HEAD /v2/a/blobs/{digest}")).await.status, 200);
}

#[tokio::test]
async fn a_session_whose_bytes_are_lost_ends_so_that_the_client_starts_anew() {
    let registry = Fixture::new();
    let session = registry.session("a").await;
    registry.send(&format!("PATCH {session}"), &[], "one ").await;
    let upload = registry.root.path().join("uploads").join(session.rsplit('/').next().unwrap());
    std::fs::remove_file(upload).unwrap();
    let answer = registry.send(&format!("PATCH {session}"), &[], "two").await;
    assert_eq!(answer.refusal(), refusal(404, "BLOB_UPLOAD_UNKNOWN"));
    assert_eq!(registry.ask(&format!("GET {session}")).await.status, 404);
}

#[tokio::test]
async fn images_are_there_after_a_restart() {
    let registry = Fixture::new();
    let raw = registry.push_image("a", "v1", b"layer").await.bytes().clone();
    let registry = registry.restarted();
    assert_eq!(registry.ask("GET /v2/a/manifests/v1").await.body, raw);
}
