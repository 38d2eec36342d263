//! Files of web servers that are no registries.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use oxbox_copy::client::{ClientError, ExchangeError, RedirectError, Validators, Wanted, WebAnswer, WebBody};

use super::scripted::{Reply, Scripted, Seen};
use super::setting::{client, content};

async fn file(server: &Scripted, path: &str) -> Result<WebBody, ClientError> {
    match client().file(&wanted(server.url(path))).await? {
        WebAnswer::Body(body) => Ok(*body),
        WebAnswer::Unchanged => panic!("nothing was at hand"),
    }
}

fn wanted(url: String) -> Wanted {
    Wanted { url, ..Wanted::default() }
}

async fn whole(mut body: WebBody) -> Result<Bytes, ClientError> {
    let mut whole = BytesMut::new();
    while let Some(piece) = body.piece().await? {
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

#[tokio::test]
async fn a_file_comes_with_what_it_is_known_by() {
    let server = Scripted::start(|_| {
        Reply::new(200)
            .header("etag", "\"7\"")
            .header("last-modified", "Fri, 06 Nov 2026 08:49:37 GMT")
            .body("hello")
    })
    .await;
    let body = file(&server, "/dir/file?x=1").await.unwrap();
    let validators = Validators {
        etag: Some("\"7\"".to_owned()),
        last_modified: Some("Fri, 06 Nov 2026 08:49:37 GMT".to_owned()),
    };
    assert_eq!((body.validators(), body.size()), (&validators, Some(5)));
    assert_eq!(whole(body).await.unwrap(), "hello");
    let seen = server.last();
    assert_eq!((seen.line().as_str(), seen.query.as_str()), ("GET /dir/file", "x=1"));
    assert_eq!(seen.header("if-none-match"), "");
}

#[tokio::test]
async fn what_is_at_hand_is_asked_for_by_its_etag_or_else_by_its_time() {
    let server = Scripted::start(|_| Reply::new(304)).await;
    let time = Some("Fri, 06 Nov 2026 08:49:37 GMT".to_owned());
    for (etag, last_modified, expected) in [
        (Some("\"7\"".to_owned()), time.clone(), ("\"7\"", "")),
        (None, time.clone(), ("", "Fri, 06 Nov 2026 08:49:37 GMT")),
    ] {
        let validators = Validators { etag, last_modified };
        let answer = client().file(&Wanted { validators, ..wanted(server.url("/f")) }).await.unwrap();
        assert!(matches!(answer, WebAnswer::Unchanged));
        let seen = server.last();
        assert_eq!((seen.header("if-none-match"), seen.header("if-modified-since")), expected);
    }
    // Nobody asked: an answer without sense.
    let error = client().file(&wanted(server.url("/f"))).await.err().unwrap();
    assert!(matches!(error, ClientError::NoFile { status, .. } if status == 304), "{error}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_gone_on_with() {
    let server = Scripted::start(|seen| {
        let reply = Reply::new(200).header("etag", "\"7\"").body(content(1000));
        match seen.header("range") {
            "" => reply.cut_after(400),
            range => {
                assert_eq!((range, seen.header("if-range")), ("bytes=400-", "\"7\""));
                Reply::new(206).header("content-range", "bytes 400-999/1000").body(content(1000).slice(400..))
            }
        }
    })
    .await;
    assert_eq!(whole(file(&server, "/f").await.unwrap()).await.unwrap(), content(1000));
}

#[tokio::test]
async fn a_body_that_breaks_off_and_is_another_by_now_is_an_error() {
    // Without a strong ETag nobody could tell; with one, the server says so by sending all of it.
    for etag in ["", "W/\"7\"", "\"7\""] {
        let server = Scripted::start(move |seen| match seen.header("range") {
            "" => Reply::new(200).header("etag", etag).body(content(1000)).cut_after(400),
            _ => Reply::new(200).header("etag", "\"8\"").body(content(900)),
        })
        .await;
        let error = whole(file(&server, "/f").await.unwrap()).await.unwrap_err();
        assert!(matches!(error, ClientError::Exchange(ExchangeError::Broken { .. })), "{etag}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again() {
    let tries = AtomicUsize::new(0);
    let server = Scripted::start(move |_| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::new(503),
        1 => Reply::hang_up(),
        _ => Reply::new(200).body("x"),
    })
    .await;
    assert_eq!(whole(file(&server, "/f").await.unwrap()).await.unwrap(), "x");
    let busy = Scripted::start(|_| Reply::new(503)).await;
    let error = file(&busy, "/f?token=secret").await.err().unwrap();
    assert_eq!(busy.lines().len(), 3);
    let told = format!("{} cannot be had: the server answered 503 Service Unavailable", busy.url("/f"));
    assert_eq!(error.to_string(), told);
}

#[tokio::test]
async fn what_is_not_there_is_not_asked_for_again() {
    let server = Scripted::start(|_| Reply::new(404).body("no such page")).await;
    let error = file(&server, "/f").await.err().unwrap();
    assert!(matches!(error, ClientError::NoFile { status, .. } if status == 404));
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn credentials_go_to_their_own_origin_only() {
    let other = Scripted::start(|_| Reply::new(200).body("x")).await;
    let there = other.url("/there");
    let server = Scripted::start(move |seen: &Seen| match seen.path.as_str() {
        "/f" => Reply::new(302).header("location", "/g"),
        _ => Reply::new(302).header("location", &there),
    })
    .await;
    let url = server.url("/f").replace("http://", "http://user:pw@");
    let WebAnswer::Body(body) = client().file(&wanted(url)).await.unwrap() else { panic!() };
    whole(*body).await.unwrap();
    // user:pw
    let shown: Vec<String> = server.seen().iter().map(|seen| seen.authorization().to_owned()).collect();
    assert_eq!(shown, ["Basic dXNlcjpwdw==", "Basic dXNlcjpwdw=="]);
    assert_eq!(other.last().authorization(), "");
}

#[tokio::test]
async fn redirects_end_somewhere() {
    let server = Scripted::start(|_| Reply::new(301).header("location", "/f")).await;
    let error = file(&server, "/f").await.err().unwrap();
    let ClientError::Exchange(ExchangeError::Redirect(error)) = error else { panic!("{error}") };
    assert!(matches!(error, RedirectError::TooMany { .. }));
    assert_eq!(server.lines().len(), 11);
}
