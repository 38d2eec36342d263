//! Stands before a registry, notes what is asked of it, and can say that something is not there.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What passed, and what does not.
#[derive(Default)]
struct Watch {
    /// `GET /v2/…`
    seen: Mutex<Vec<String>>,
    /// Parts of paths that are answered with 404.
    gone: Mutex<Vec<String>>,
}

/// The proxy; it goes with the test's process.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    watch: Arc<Watch>,
}

impl Proxy {
    /// Stands before the registry at that address.
    pub(crate) fn before(registry: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, watch) = (listener.local_addr().unwrap(), Arc::new(Watch::default()));
        let watching = Arc::clone(&watch);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let watch = Arc::clone(&watching);
                std::thread::spawn(move || pass(client, registry, &watch));
            }
        });
        Self { address, watch }
    }

    /// Returns a repository there.
    pub(crate) fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    /// Returns what was asked since the last time.
    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.watch.seen.lock().unwrap())
    }

    /// Has whatever names this not be there any more.
    pub(crate) fn lose(&self, part: &str) {
        self.watch.gone.lock().unwrap().push(part.to_owned());
    }
}

/// Passes one connection on. A client sends a request once it has the answer to the one before, and its
/// head at once, so that what is read begins with the head.
fn pass(mut client: TcpStream, registry: SocketAddr, watch: &Watch) {
    let Ok(mut server) = TcpStream::connect(registry) else { return };
    let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let answering = std::thread::spawn(move || {
        let _ = std::io::copy(&mut answers, &mut back);
        let _ = back.shutdown(Shutdown::Both);
    });
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count) = client.read(&mut buffer) {
        let read = &buffer[..count];
        if count == 0 {
            break;
        }
        let line = request(read);
        if let Some(line) = &line {
            watch.seen.lock().unwrap().push(line.clone());
        }
        let is_gone =
            line.is_some_and(|line| watch.gone.lock().unwrap().iter().any(|part| line.contains(part)));
        let sent = match is_gone {
            true => client.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            false => server.write_all(read),
        };
        if sent.is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
    let _ = answering.join();
}

/// Returns method and path, if this begins a request.
fn request(bytes: &[u8]) -> Option<String> {
    let line = bytes.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?.strip_suffix(" HTTP/1.1")?;
    let is_method =
        ["GET ", "HEAD ", "POST ", "PUT ", "PATCH "].iter().any(|method| line.starts_with(method));
    is_method.then(|| line.to_owned())
}
