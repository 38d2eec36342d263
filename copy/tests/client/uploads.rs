use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use oxbox_copy::client::{ClientError, ExchangeError, Mounted, RedirectError, Trouble};
use oxbox_copy::endpoint::registry::RegistryDestination;
use oxbox_copy::endpoint::{BlobStream, Destination as _, EndpointError, Origin};
use oxbox_layers::oci::{Algorithm, Descriptor, Digest};

use crate::scripted::{Reply, Scripted, Seen};
use crate::setting::{client, client_as, content, layer, pieces, pushing, reference, user};

const UPLOADS: &str = "/v2/team/app/blobs/uploads/";

fn session() -> Reply {
    Reply::new(202).header("location", "/session/1?_state=a%2Bb+c")
}

/// POST opens a session; everything else is for `then`.
fn opening(then: impl Fn(&Seen) -> Reply + Send + Sync) -> impl Fn(&Seen) -> Reply + Send + Sync {
    move |seen| match seen.line().as_str() {
        "GET /v2/" => Reply::new(200),
        "POST /v2/team/app/blobs/uploads/" => session(),
        _ => then(seen),
    }
}

#[tokio::test]
async fn a_blob_is_a_post_and_a_put() {
    let registry = Scripted::start(opening(|_| Reply::new(201))).await;
    let bytes = content(1000);
    pushing(&client(), &registry.domain()).push_blob(&layer(&bytes), pieces(&bytes), None).await.unwrap();
    assert_eq!(registry.lines(), [&format!("POST {UPLOADS}"), "PUT /session/1"]);
    assert_eq!(registry.seen()[0].header("content-length"), "0");
    let put = registry.last();
    assert_eq!((&put.body, put.header("content-length")), (&bytes, "1000"));
    let hex = layer(&bytes).digest.hex();
    assert_eq!(put.query, format!("_state=a%2Bb+c&digest=sha256%3A{hex}"));
}

#[tokio::test]
async fn a_large_blob_is_streamed_with_its_length() {
    let registry = Scripted::start(opening(|_| Reply::new(201))).await;
    let bytes = content(5_000_000);
    pushing(&client(), &registry.domain()).push_blob(&layer(&bytes), pieces(&bytes), None).await.unwrap();
    assert_eq!(registry.seen().len(), 2);
    let put = registry.last();
    assert_eq!((put.header("content-length"), put.header("transfer-encoding")), ("5000000", ""));
    assert_eq!(put.body, bytes);
}

#[tokio::test]
async fn content_that_breaks_off_is_never_sent_whole_and_its_upload_given_up() {
    let registry = Scripted::start(opening(|_| Reply::new(201))).await;
    let bytes = content(5_000_000);
    let broken = pieces(&bytes).chain(stream::iter([Err(io::Error::other("digest differs"))]));
    let error =
        pushing(&client(), &registry.domain()).push_blob(&layer(&bytes), broken, None).await.unwrap_err();
    let ClientError::Exchange(ExchangeError::Content { source, .. }) = error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "digest differs");
    let put = registry.seen().into_iter().find(|seen| seen.method == "PUT");
    assert!(put.is_none_or(|put| !put.whole && put.body.len() < bytes.len()));
    assert_eq!(registry.count("DELETE /session/1"), 1);
}

#[tokio::test]
async fn small_content_that_is_wrong_is_never_sent() {
    let registry = Scripted::start(opening(|_| Reply::new(201))).await;
    let bytes = content(1000);
    let wrong = Bytes::from(vec![0; 1000]);
    let result = pushing(&client(), &registry.domain()).push_blob(&layer(&bytes), pieces(&wrong), None).await;
    assert!(matches!(result, Err(ClientError::WrongDigest { .. })));
    assert!(registry.seen().is_empty());
}

#[tokio::test]
async fn credentials_do_not_follow_an_upload_location_to_another_host() {
    let store = Scripted::start(|_| Reply::new(201)).await;
    let to = store.url("/bucket/1?sig=abc");
    let registry = Scripted::start(move |seen| match seen.authorization() {
        "" => Reply::new(401).header("www-authenticate", "Basic realm=\"x\""),
        _ => Reply::new(202).header("location", &to),
    })
    .await;
    let bytes = content(1000);
    let client = client_as(&registry.domain(), user("user:secret"));
    pushing(&client, &registry.domain()).push_blob(&layer(&bytes), pieces(&bytes), None).await.unwrap();
    assert_eq!(store.last().line(), "PUT /bucket/1");
    assert_eq!(store.last().authorization(), "");
}

#[tokio::test]
async fn an_upload_that_is_redirected_is_sent_again_without_credentials() {
    let store = Scripted::start(|_| Reply::new(201)).await;
    let to = store.url("/bucket/1");
    let registry = Scripted::start(move |seen| match (seen.authorization(), seen.method.as_str()) {
        ("", _) => Reply::new(401).header("www-authenticate", "Basic realm=\"x\""),
        (_, "POST") => session(),
        _ => Reply::new(307).header("location", &to),
    })
    .await;
    let bytes = content(1000);
    let client = client_as(&registry.domain(), user("user:secret"));
    pushing(&client, &registry.domain()).push_blob(&layer(&bytes), pieces(&bytes), None).await.unwrap();
    assert_eq!((store.last().body, store.last().headers.get("authorization")), (bytes, None));
}

#[tokio::test]
async fn a_redirect_that_means_read_it_there_is_not_followed_by_a_write() {
    let registry = Scripted::start(opening(|_| Reply::new(302).header("location", "/elsewhere"))).await;
    let bytes = content(1000);
    let result = pushing(&client(), &registry.domain()).push_blob(&layer(&bytes), pieces(&bytes), None).await;
    let Err(ClientError::Exchange(ExchangeError::Redirect(error))) = result else { panic!("{result:?}") };
    assert!(matches!(error, RedirectError::NotForWrites { .. }));
}

/// Takes PATCHes of at most `most` bytes, and no PUT with a body.
struct Chunked {
    most: usize,
    held: Mutex<Vec<u8>>,
    lose_answers: AtomicUsize,
}

impl Chunked {
    fn new(most: usize, lose_answers: usize) -> Arc<Self> {
        Arc::new(Self { most, held: Mutex::default(), lose_answers: AtomicUsize::new(lose_answers) })
    }

    fn answer(&self, seen: &Seen) -> Reply {
        if seen.body.len() > self.most {
            return Reply::error(413, "SIZE_INVALID", "too large");
        }
        let mut held = self.held.lock().unwrap();
        match seen.method.as_str() {
            "PATCH" => {
                let expected = format!("{}-{}", held.len(), held.len() + seen.body.len() - 1);
                if seen.header("content-range") != expected {
                    return Reply::new(416);
                }
                held.extend_from_slice(&seen.body);
                let left = self.lose_answers.load(Ordering::SeqCst);
                self.lose_answers.store(left.saturating_sub(1), Ordering::SeqCst);
                match left {
                    0 => Reply::new(202).header("location", "/session/1?next"),
                    _ => Reply::new(502),
                }
            }
            "GET" => Reply::new(204)
                .header("location", "/session/1?asked")
                .header("range", format!("0-{}", held.len() - 1)),
            "PUT" => Reply::new(201),
            _ => Reply::new(204),
        }
    }
}

#[tokio::test]
async fn what_does_not_get_through_in_one_go_goes_in_chunks() {
    let chunked = Chunked::new(10 * 1024 * 1024, 0);
    let script = chunked.clone();
    let registry = Scripted::start(opening(move |seen| script.answer(seen))).await;
    let repository = pushing(&client(), &registry.domain());
    let bytes = content(20_000_000);
    let error = repository.push_blob(&layer(&bytes), pieces(&bytes), None).await.unwrap_err();
    assert_eq!(error.trouble(), Trouble::Transient, "{error}");
    repository.push_blob(&layer(&bytes), pieces(&bytes), None).await.unwrap();
    assert_eq!(*chunked.held.lock().unwrap(), bytes);
    assert_eq!(registry.count("PATCH /session/1"), 3);
    assert_eq!(registry.last().body, "");
    // Remembered: the next blob is not tried in one go again.
    chunked.held.lock().unwrap().clear();
    repository.push_blob(&layer(&bytes), pieces(&bytes), None).await.unwrap();
    assert_eq!(registry.count("PUT /session/1"), 3);
}

#[tokio::test]
async fn a_chunk_whose_answer_was_lost_is_not_sent_twice() {
    let chunked = Chunked::new(10 * 1024 * 1024, 2);
    let script = chunked.clone();
    let registry = Scripted::start(opening(move |seen| script.answer(seen))).await;
    let repository = pushing(&client(), &registry.domain());
    let bytes = content(20_000_000);
    assert!(repository.push_blob(&layer(&bytes), pieces(&bytes), None).await.is_err());
    repository.push_blob(&layer(&bytes), pieces(&bytes), None).await.unwrap();
    assert_eq!(*chunked.held.lock().unwrap(), bytes);
    assert_eq!((registry.count("PATCH /session/1"), registry.count("GET /session/1")), (3, 2));
}

#[tokio::test]
async fn content_of_unknown_size_is_one_patch_and_named_at_its_end() {
    let registry = Scripted::start(opening(|seen| match seen.method.as_str() {
        "PATCH" => Reply::new(202).header("location", "/session/2"),
        _ => Reply::new(201),
    }))
    .await;
    let bytes = content(3_000_000);
    let pushed = pushing(&client(), &registry.domain()).push_unknown(pieces(&bytes), Algorithm::Sha256).await;
    assert_eq!(pushed.unwrap(), (Digest::sha256(&bytes), 3_000_000));
    let seen = registry.seen();
    assert_eq!((seen[1].line().as_str(), &seen[1].body), ("PATCH /session/1", &bytes));
    assert_eq!(seen[1].header("content-range"), "");
    assert_eq!(seen[2].parameters("digest"), [Digest::sha256(&bytes).to_string()]);
}

#[tokio::test]
async fn a_lost_put_of_a_small_blob_is_repeated_in_a_session_of_its_own() {
    let puts = AtomicUsize::new(0);
    let registry = Scripted::start(opening(move |seen| match seen.method.as_str() {
        "DELETE" => Reply::new(204),
        _ => match puts.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::hang_up(),
            1 => Reply::new(503),
            _ => Reply::new(201),
        },
    }))
    .await;
    let bytes = content(1000);
    pushing(&client(), &registry.domain()).push_blob(&layer(&bytes), pieces(&bytes), None).await.unwrap();
    assert_eq!(registry.count("PUT /session/1"), 3);
    assert_eq!(registry.count("POST /v2/team/app/blobs/uploads/"), 3);
    assert_eq!(registry.count("DELETE /session/1"), 2);
}

#[tokio::test]
async fn a_connection_that_broke_under_a_large_blob_is_relieved_by_chunks() {
    let chunked = Chunked::new(10 * 1024 * 1024, 0);
    let script = chunked.clone();
    let registry = Scripted::start(opening(move |seen| match (seen.method.as_str(), seen.body.is_empty()) {
        ("PUT", false) => Reply::hang_up(),
        _ => script.answer(seen),
    }))
    .await;
    let repository = pushing(&client(), &registry.domain());
    let bytes = content(20_000_000);
    let error = repository.push_blob(&layer(&bytes), pieces(&bytes), None).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    repository.push_blob(&layer(&bytes), pieces(&bytes), None).await.unwrap();
    assert_eq!(*chunked.held.lock().unwrap(), bytes);
}

#[tokio::test]
async fn a_put_that_succeeded_unheard_is_found_out() {
    let registry = Scripted::start(opening(|seen| match seen.method.as_str() {
        "HEAD" => Reply::new(200).header("content-length", "1000"),
        _ => Reply::error(404, "BLOB_UPLOAD_UNKNOWN", "no such session"),
    }))
    .await;
    let bytes = content(1000);
    pushing(&client(), &registry.domain()).push_blob(&layer(&bytes), pieces(&bytes), None).await.unwrap();
}

#[tokio::test]
async fn a_registry_that_stored_something_else_is_not_believed() {
    let registry = Scripted::start(opening(|_| {
        Reply::new(201).header("docker-content-digest", Digest::sha256(b"else").to_string())
    }))
    .await;
    let bytes = content(1000);
    let result = pushing(&client(), &registry.domain()).push_blob(&layer(&bytes), pieces(&bytes), None).await;
    assert!(matches!(result, Err(ClientError::WrongDigest { .. })));
}

#[tokio::test]
async fn an_upload_without_a_location_is_a_clear_error() {
    let registry = Scripted::start(|_| Reply::new(202)).await;
    let bytes = content(1000);
    let error = pushing(&client(), &registry.domain()).push_blob(&layer(&bytes), pieces(&bytes), None).await;
    let expected = format!("{} answered 202 Accepted without a usable Location", registry.url(UPLOADS));
    assert_eq!(error.unwrap_err().to_string(), expected);
}

#[tokio::test]
async fn a_web_page_is_no_registry() {
    let registry =
        Scripted::start(|_| Reply::new(200).header("content-type", "text/html").body("<html>hi</html>"))
            .await;
    let bytes = content(1000);
    let error = pushing(&client(), &registry.domain()).push_blob(&layer(&bytes), pieces(&bytes), None).await;
    assert!(error.unwrap_err().to_string().contains("is not a registry"));
}

fn blob_stream(descriptor: &Descriptor, bytes: &Bytes) -> BlobStream {
    BlobStream::of_bytes(descriptor, "test:", bytes.clone())
}

#[tokio::test]
async fn a_mount_moves_no_bytes() {
    let registry = Scripted::start(|_| Reply::new(201)).await;
    let mounted = pushing(&client(), &registry.domain()).mount_blob(&layer(b"x").digest, "base").await;
    assert!(matches!(mounted, Ok(Mounted::Done)));
    assert_eq!(registry.lines(), [format!("POST {UPLOADS}")]);
}

#[tokio::test]
async fn the_session_of_a_refused_mount_serves_the_push() {
    let registry = Scripted::start(opening(|_| Reply::new(201))).await;
    let destination = RegistryDestination::new(&client(), &reference(&registry.domain(), "team/app:v1"));
    let origin = Origin { registry: registry.domain(), repository: "base".to_owned() };
    let bytes = content(1000);
    let descriptor = layer(&bytes);
    assert!(!destination.mount(&descriptor, &origin).await.unwrap());
    destination.push_blob(&descriptor, blob_stream(&descriptor, &bytes)).await.unwrap();
    assert_eq!(registry.count(&format!("POST {UPLOADS}")), 1);
}

#[tokio::test]
async fn nothing_is_mounted_from_another_registry() {
    let registry = Scripted::start(|_| Reply::new(201)).await;
    let destination = RegistryDestination::new(&client(), &reference(&registry.domain(), "team/app:v1"));
    let origin = Origin { registry: "elsewhere.example.com".to_owned(), repository: "base".to_owned() };
    assert!(!destination.mount(&layer(b"x"), &origin).await.unwrap());
    assert!(registry.seen().is_empty());
}

#[tokio::test]
async fn a_mount_that_is_refused_in_any_way_is_no_error() {
    for status in [400, 401, 403, 404, 405] {
        let registry = Scripted::start(move |seen| match seen.method.as_str() {
            "POST" => Reply::error(status, "DENIED", "no"),
            _ => Reply::new(200),
        })
        .await;
        let mounted = pushing(&client(), &registry.domain()).mount_blob(&layer(b"x").digest, "base").await;
        assert!(matches!(mounted, Ok(Mounted::Refused(None))), "{status}");
    }
}

#[tokio::test]
async fn a_source_that_breaks_is_the_error_of_the_push() {
    let registry = Scripted::start(opening(|_| Reply::new(201))).await;
    let destination = RegistryDestination::new(&client(), &reference(&registry.domain(), "team/app:v1"));
    let bytes = content(3_000_000);
    let descriptor = layer(&bytes);
    let wrong = BlobStream::new(&descriptor, "oci:/src", stream::iter([Ok(Bytes::from(vec![0; 3_000_000]))]));
    let error = destination.push_blob(&descriptor, wrong).await.unwrap_err();
    assert!(matches!(&error, EndpointError::Corrupt { place, .. } if place == "oci:/src"), "{error:?}");
}
