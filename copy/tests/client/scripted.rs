//! A registry that follows a script: a function from what it is asked to what it answers.
//!
//! ```text
//! Reply::new(200).body(…)              an honest answer
//!     .cut_after(n)                    the connection breaks after n bytes of the body
//!     .silent()                        the head comes, the body never
//! Reply::hang_up()                     the connection ends without an answer
//! ```

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub version: Version,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    /// What came of the body, and whether it came whole.
    pub body: Bytes,
    pub whole: bool,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    cut: Option<usize>,
    silent: bool,
    hang_up: bool,
}

/// A running registry.
pub struct Scripted {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

type Script = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;
type ReplyBody = StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>;

impl Seen {
    /// `GET /v2/`
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub fn header(&self, name: impl header::AsHeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn authorization(&self) -> &str {
        self.header(header::AUTHORIZATION)
    }

    /// The values of a query parameter, in their order.
    pub fn parameters(&self, name: &str) -> Vec<String> {
        let pairs = url::form_urlencoded::parse(self.query.as_bytes());
        pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect()
    }
}

impl Reply {
    pub fn new(status: u16) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            cut: None,
            silent: false,
            hang_up: false,
        }
    }

    pub fn hang_up() -> Self {
        Self { hang_up: true, ..Self::new(500) }
    }

    /// An error in the protocol's JSON.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": code, "message": message}]});
        Self::new(status).header("content-type", "application/json").body(body.to_string())
    }

    pub fn header(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        let value = HeaderValue::from_str(value.as_ref()).unwrap();
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    pub fn cut_half(self) -> Self {
        let half = self.body.len() / 2;
        self.cut_after(half)
    }

    pub fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    fn into_response(self, method: &Method) -> Response<ReplyBody> {
        let mut response = Response::new(());
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        if !response.headers().contains_key(header::CONTENT_LENGTH) && self.status != StatusCode::NO_CONTENT {
            let length = HeaderValue::from(self.body.len());
            response.headers_mut().insert(header::CONTENT_LENGTH, length);
        }
        let frame = |bytes: Bytes| stream::iter([Ok(Frame::data(bytes))]);
        let body = match (self.cut, self.silent) {
            _ if *method == Method::HEAD => stream::empty().boxed(),
            (_, true) => stream::once(pending()).boxed(),
            (Some(cut), _) => frame(self.body.slice(..cut)).chain(stream::once(breaking())).boxed(),
            _ => frame(self.body).boxed(),
        };
        response.map(|()| StreamBody::new(body))
    }
}

/// Breaks the connection, after the server had the chance to write what came before.
async fn breaking() -> io::Result<Frame<Bytes>> {
    tokio::task::yield_now().await;
    Err(io::Error::other("cut by the script"))
}

impl Scripted {
    pub async fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(script, None).await
    }

    pub async fn start_tls(
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
        tls: rustls::ServerConfig,
    ) -> Self {
        Self::start_with(script, Some(TlsAcceptor::from(Arc::new(tls)))).await
    }

    async fn start_with(
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(accept(listener, tls, Arc::new(script), seen.clone()));
        Self { address, seen, task }
    }

    /// `127.0.0.1:port`
    pub fn domain(&self) -> String {
        self.address.to_string()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests but the pings that find the scheme out.
    pub fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|one| one.path != "/v2/").cloned().collect()
    }

    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }

    pub fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|one| *one == line).count()
    }

    pub fn last(&self) -> Seen {
        self.seen().pop().unwrap()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    script: Script,
    seen: Arc<Mutex<Vec<Seen>>>,
) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let (tls, script, seen) = (tls.clone(), script.clone(), seen.clone());
        tokio::spawn(async move {
            match tls {
                None => talk(socket, script, seen).await,
                // A client that does not trust us hangs up: that is its test's business.
                Some(tls) => {
                    if let Ok(socket) = tls.accept(socket).await {
                        talk(socket, script, seen).await;
                    }
                }
            }
        });
    }
}

async fn talk(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    script: Script,
    seen: Arc<Mutex<Vec<Seen>>>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (script, seen) = (script.clone(), seen.clone());
        async move { answer(request, &script, &seen).await }
    });
    // Broken connections are what these tests are about.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
}

async fn answer(
    request: Request<Incoming>,
    script: &Script,
    log: &Mutex<Vec<Seen>>,
) -> io::Result<Response<ReplyBody>> {
    let (head, mut incoming) = request.into_parts();
    let mut body = Vec::new();
    let mut whole = true;
    while let Some(frame) = incoming.frame().await {
        match frame {
            Ok(frame) => body.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
            Err(_) => {
                whole = false;
                break;
            }
        }
    }
    let seen = Seen {
        method: head.method,
        version: head.version,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body: body.into(),
        whole,
    };
    log.lock().unwrap().push(seen.clone());
    let reply = script(&seen);
    if reply.hang_up {
        return Err(io::Error::other("hung up by the script"));
    }
    Ok(reply.into_response(&seen.method))
}
