//! What only a socket shows: real clients, broken connections, two protocols, stopping.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use oxbox_layers::oci::Digest;
use oxbox_registry::{ServeConfig, Server, StartError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

pub(crate) async fn serve(root: &std::path::Path) -> Running {
    serve_with(ServeConfig::new(root, "127.0.0.1:0".parse().unwrap())).await
}

async fn serve_with(config: ServeConfig) -> Running {
    let server = Server::bind(config).await.unwrap();
    let address = server.local_addr();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(server.run(async { drop(stopped.await) }));
    Running { address, stop, served }
}

impl Running {
    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.served.await.unwrap();
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn client() -> reqwest::ClientBuilder {
    // Nothing here is encrypted, but the client insists.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy()
}

async fn session(client: &reqwest::Client, server: &Running) -> String {
    let answer = client.post(server.url("/v2/a/blobs/uploads/")).send().await.unwrap();
    answer.headers()["location"].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_goes_in_and_out_over_both_protocols() {
    let root = tempfile::tempdir().unwrap();
    let server = serve(root.path()).await;
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n * 31) as u8).collect();
    let digest = Digest::sha256(&content);
    for (name, client) in [("one", client()), ("two", client().http2_prior_knowledge())] {
        let client = client.build().unwrap();
        let line = server.url(&format!("/v2/{name}/blobs/uploads/?digest={digest}"));
        let put = client.post(line).body(content.clone()).send().await.unwrap();
        assert_eq!(put.status(), 201);
        let get = client.get(server.url(&format!("/v2/{name}/blobs/{digest}"))).send().await.unwrap();
        assert_eq!(get.content_length(), Some(3_000_000));
        assert!(get.bytes().await.unwrap() == content);
        let head = client.head(server.url(&format!("/v2/{name}/blobs/{digest}"))).send().await.unwrap();
        assert_eq!(head.headers()["content-length"], "3000000");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_finds_what_it_sent() {
    let root = tempfile::tempdir().unwrap();
    let server = serve(root.path()).await;
    let client = client().build().unwrap();
    let session = session(&client, &server).await;
    for head in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let body = if head.starts_with('C') { "half " } else { "5\r\nhalf \r\n" };
        let request = format!("PATCH {session} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        // Whatever the server still says: it is done once it closes.
        drop(stream.read_to_end(&mut Vec::new()).await);
    }
    // The session's next writer waits for the last one.
    let digest = Digest::sha256(b"half half whole");
    let line = server.url(&format!("{session}?digest={digest}"));
    let put = client.put(line).body("whole").send().await.unwrap();
    assert_eq!(put.status(), 201);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_keeps_an_upload_where_it_is() {
    let root = tempfile::tempdir().unwrap();
    let mut config = ServeConfig::new(root.path(), "127.0.0.1:0".parse().unwrap());
    config.drain = Duration::ZERO;
    let server = serve_with(config).await;
    let client = client().build().unwrap();
    let session = session(&client, &server).await;
    // A body that never ends, and whose first piece is known to have come.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "PATCH {session} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on[..], b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"5\r\nhalf \r\n").await.unwrap();
    while upload_bytes(root.path(), &session) < 5 {
        tokio::task::yield_now().await;
    }
    server.stop().await;
    let server = serve(root.path()).await;
    let status = client.get(server.url(&session)).send().await.unwrap();
    assert_eq!((status.status().as_u16(), &status.headers()["range"]), (204, &"0-4".parse().unwrap()));
    server.stop().await;
}

/// Bytes of all uploads under way.
fn received_bytes(root: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(root.join("uploads")).unwrap();
    files.filter_map(|file| file.ok()?.metadata().ok()).map(|metadata| metadata.len()).sum()
}

fn upload_bytes(root: &std::path::Path, session: &str) -> u64 {
    let path = root.join("uploads").join(session.rsplit('/').next().unwrap());
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_under_way_finish_before_the_server_stops() {
    let root = tempfile::tempdir().unwrap();
    let server = serve(root.path()).await;
    let client = client().build().unwrap();
    let digest = Digest::sha256(b"one two");
    let (more, pieces) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let body = stream::unfold(pieces, |mut pieces| async { Some((pieces.recv().await?, pieces)) });
    let request = client
        .post(server.url(&format!("/v2/a/blobs/uploads/?digest={digest}")))
        .body(reqwest::Body::wrap_stream(body));
    let push = tokio::spawn(async move { request.send().await.unwrap().status() });
    more.send(Ok(Bytes::from_static(b"one "))).await.unwrap();
    // Only when the server has the first piece is the request under way: a connection that waits to be
    // accepted is nobody's yet.
    while received_bytes(root.path()) < 4 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    more.send(Ok(Bytes::from_static(b"two"))).await.unwrap();
    let stopping = tokio::spawn(server.stop());
    drop(more);
    assert_eq!(push.await.unwrap(), 201);
    stopping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_is_hung_up_on() {
    let root = tempfile::tempdir().unwrap();
    let mut config = ServeConfig::new(root.path(), "127.0.0.1:0".parse().unwrap());
    config.idle = Duration::from_millis(50);
    let server = serve_with(config).await;
    for greeting in ["", "PRI * HT"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(greeting.as_bytes()).await.unwrap();
        assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap_or(0), 0);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_body_does_not_cost_the_client_its_answer() {
    let root = tempfile::tempdir().unwrap();
    let server = serve(root.path()).await;
    let client = client().build().unwrap();
    let gone = format!("/v2/a/blobs/uploads/{}", "0".repeat(32));
    let answer = client.patch(server.url(&gone)).body(vec![0; 3_000_000]).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    assert!(answer.text().await.unwrap().contains("BLOB_UPLOAD_UNKNOWN"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_said_so() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(one.path()).await;
    let error = Server::bind(ServeConfig::new(two.path(), server.address)).await.unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }));
    assert_eq!(error.to_string(), format!("cannot listen on {}", server.address));
    assert_eq!(std::fs::read_dir(two.path()).unwrap().count(), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_in_use_is_said_so() {
    let root = tempfile::tempdir().unwrap();
    let server = serve(root.path()).await;
    let config = ServeConfig::new(root.path(), "127.0.0.1:0".parse().unwrap());
    let error = Server::bind(config).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("another process"), "{cause}");
    server.stop().await;
}
