use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use oxbox_copy::client::{Client, ClientError, ExchangeError, RedirectError, Repository, Settings, Trouble};
use oxbox_copy::config::Environment;
use oxbox_layers::oci::Descriptor;

use crate::scripted::{Reply, Scripted, Seen};
use crate::setting::{Jumping, client, client_as, content, layer, pulling, settings, user};

async fn read(repository: &Repository, descriptor: &Descriptor) -> Result<Vec<u8>, ClientError> {
    let download = repository.open_blob(descriptor).await?.expect("the blob is there");
    let pieces: Vec<Bytes> = download.verified().try_collect().await?;
    Ok(pieces.concat())
}

/// `Range: bytes=<first>-`
fn first_asked(seen: &Seen) -> usize {
    let range = seen.header("range").strip_prefix("bytes=").and_then(|range| range.strip_suffix('-'));
    range.map_or(0, |first| first.parse().unwrap())
}

fn part(whole: &Bytes, first: usize) -> Reply {
    match first {
        0 => Reply::new(200).body(whole.clone()),
        _ => Reply::new(206)
            .header("content-range", format!("bytes {first}-{}/{}", whole.len() - 1, whole.len()))
            .body(whole.slice(first..)),
    }
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_was() {
    let whole = content(300_000);
    let served = whole.clone();
    let registry = Scripted::start(move |seen| match first_asked(seen) {
        first if first < 200_000 => part(&served, first).cut_after(100_000),
        first => part(&served, first),
    })
    .await;
    let got = read(&pulling(&client(), &registry.domain()), &layer(&whole)).await.unwrap();
    assert_eq!(got, whole);
    let ranges: Vec<_> = registry.seen().iter().map(|seen| seen.header("range").to_owned()).collect();
    assert_eq!(ranges, ["", "bytes=100000-", "bytes=200000-"]);
}

#[tokio::test]
async fn a_registry_without_ranges_is_read_again_from_the_start() {
    let whole = content(200_000);
    let served = whole.clone();
    let asked = AtomicUsize::new(0);
    let registry = Scripted::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Reply::new(404),
        2 => Reply::new(200).body(served.clone()).cut_after(150_000),
        _ => Reply::new(200).body(served.clone()),
    })
    .await;
    let repository = pulling(&client(), &registry.domain());
    // The first two answers are the ping's and a missing blob's.
    assert!(repository.open_blob(&layer(&whole)).await.unwrap().is_none());
    assert_eq!(read(&repository, &layer(&whole)).await.unwrap(), whole);
}

#[tokio::test]
async fn another_range_than_asked_for_is_never_appended() {
    let whole = content(200_000);
    let served = whole.clone();
    let registry = Scripted::start(move |seen| match first_asked(seen) {
        0 => part(&served, 0).cut_after(100_000),
        first => part(&served, first - 1),
    })
    .await;
    let error = read(&pulling(&client(), &registry.domain()), &layer(&whole)).await.unwrap_err();
    assert!(matches!(&error, ClientError::WrongRange { offset: 100_000, .. }), "{error}");
}

#[tokio::test]
async fn a_download_that_makes_no_progress_ends() {
    let whole = content(200_000);
    let served = whole.clone();
    let registry = Scripted::start(move |seen| part(&served, first_asked(seen)).cut_after(10)).await;
    let error = read(&pulling(&client(), &registry.domain()), &layer(&whole)).await.unwrap_err();
    assert!(matches!(&error, ClientError::Interrupted { losses: 5, offset: 50, .. }), "{error}");
    assert_eq!(error.trouble(), Trouble::Transient);
}

#[tokio::test]
async fn a_silent_registry_is_given_up() {
    let whole = content(1000);
    let served = whole.clone();
    let registry = Scripted::start(move |seen| match seen.path.as_str() {
        "/v2/" => Reply::new(200),
        _ => part(&served, 0).silent(),
    })
    .await;
    // Long enough for the answers before it on a busy machine.
    let settings = Settings { patience: Duration::from_secs(1), ..settings(&Jumping::new()) };
    let client = Client::new(&Environment::default(), settings);
    let error = read(&pulling(&client, &registry.domain()), &layer(&whole)).await.unwrap_err();
    let ClientError::Interrupted { source: Some(source), .. } = error else { panic!("{error:?}") };
    assert!(matches!(*source, ExchangeError::Stalled { .. }));
}

#[tokio::test]
async fn a_wrong_digest_is_refused_and_the_content_never_whole() {
    let whole = content(200_000);
    let mut wrong = whole.to_vec();
    wrong[0] ^= 1;
    let registry = Scripted::start(move |_| Reply::new(200).body(wrong.clone())).await;
    let repository = pulling(&client(), &registry.domain());
    let download = repository.open_blob(&layer(&whole)).await.unwrap().unwrap();
    let items: Vec<_> = download.verified().collect().await;
    let passed: usize = items.iter().flatten().map(Bytes::len).sum();
    assert!(passed < whole.len());
    let error = items.into_iter().find_map(Result::err).unwrap();
    assert!(matches!(&error, ClientError::WrongDigest { .. }), "{error}");
    assert_eq!(error.trouble(), Trouble::Corrupt);
}

#[tokio::test]
async fn another_size_is_refused_before_a_byte_is_read() {
    let registry = Scripted::start(|_| Reply::new(200).body(content(1001))).await;
    let result = pulling(&client(), &registry.domain()).open_blob(&layer(&content(1000))).await;
    assert!(matches!(result, Err(ClientError::WrongSize { expected: 1000, actual: 1001, .. })));
}

#[tokio::test]
async fn an_empty_blob_is_read_as_nothing() {
    let registry = Scripted::start(|_| Reply::new(200)).await;
    let got = read(&pulling(&client(), &registry.domain()), &layer(b"")).await.unwrap();
    assert_eq!(got, b"");
}

#[tokio::test]
async fn a_small_blob_is_bounded() {
    let registry = Scripted::start(|_| Reply::new(200).body(content(1000))).await;
    let repository = pulling(&client(), &registry.domain());
    let descriptor = layer(&content(1000));
    assert_eq!(repository.read_blob(&descriptor, 1000).await.unwrap().unwrap(), content(1000));
    assert!(repository.read_blob(&descriptor, 999).await.is_err());
}

#[tokio::test]
async fn a_head_tells_the_size() {
    let registry = Scripted::start(|seen| match seen.path.contains("sha256") {
        true => Reply::new(200).header("content-length", "1234"),
        false => Reply::new(200),
    })
    .await;
    let repository = pulling(&client(), &registry.domain());
    assert_eq!(repository.stat_blob(&layer(b"x").digest).await.unwrap(), Some(Some(1234)));
    assert!(registry.last().line().starts_with("HEAD /v2/team/app/blobs/sha256:"));
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_host_and_ranges_do() {
    let whole = content(200_000);
    let served = whole.clone();
    let store = Scripted::start(move |seen| match first_asked(seen) {
        0 => part(&served, 0).cut_after(100_000),
        first => part(&served, first),
    })
    .await;
    let to = store.url("/bucket/blob?X-Amz-Signature=abc%2F+d");
    let registry = Scripted::start(move |seen| match seen.authorization() {
        "" => Reply::new(401).header("www-authenticate", "Basic realm=\"x\""),
        _ => Reply::new(307).header("location", &to),
    })
    .await;
    let client = client_as(&registry.domain(), user("user:secret"));
    assert_eq!(read(&pulling(&client, &registry.domain()), &layer(&whole)).await.unwrap(), whole);
    let seen = store.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|seen| seen.authorization().is_empty()));
    assert_eq!(seen[1].header("range"), "bytes=100000-");
    assert_eq!(seen[1].query, "X-Amz-Signature=abc%2F+d");
    assert!(registry.count(&registry.last().line()) >= 2, "the signed address is asked for anew");
}

#[tokio::test]
async fn a_redirect_loop_ends() {
    let registry = Scripted::start(|seen| Reply::new(302).header("location", &seen.path)).await;
    let error = pulling(&client(), &registry.domain()).stat_blob(&layer(b"x").digest).await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Exchange(ExchangeError::Redirect(RedirectError::TooMany { .. }))),
        "{error}"
    );
}

#[tokio::test]
async fn a_registry_that_is_too_busy_is_asked_again_when_it_says() {
    let asked = AtomicUsize::new(0);
    let registry =
        Scripted::start(move |seen| match (seen.path.as_str(), asked.fetch_add(1, Ordering::SeqCst)) {
            ("/v2/", _) => Reply::new(200),
            (_, 1) => Reply::error(429, "TOOMANYREQUESTS", "slow down").header("retry-after", "7"),
            (_, 2) => Reply::new(503).header("retry-after", "Fri, 06 Nov 2026 08:49:20 GMT"),
            (_, 3) => Reply::new(502),
            _ => Reply::new(404),
        })
        .await;
    let clock = Jumping::new();
    let client = Client::new(&Environment::default(), settings(&clock));
    let result = pulling(&client, &registry.domain()).stat_blob(&layer(b"x").digest).await;
    assert_eq!(result.unwrap(), None);
    let waits = [7000, 13_000, 2000].map(Duration::from_millis);
    assert_eq!(clock.sleeps(), waits);
}

#[tokio::test]
async fn a_registry_that_asks_for_hours_is_quoted() {
    let registry = Scripted::start(|seen| match seen.path.as_str() {
        "/v2/" => Reply::new(200),
        _ => Reply::error(429, "TOOMANYREQUESTS", "rate limit").header("retry-after", "21600"),
    })
    .await;
    let error = pulling(&client(), &registry.domain()).tags().await.unwrap_err();
    assert!(error.to_string().ends_with("(it asks to wait 21600 s)"), "{error}");
    assert_eq!(registry.seen().len(), 1);
}
