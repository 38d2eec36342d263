//! A wire that breaks: connections are passed on to a registry, and one is cut on the way there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

/// Passes connections on to `to`. The first `cuts` of them that carry `after` bytes towards the
/// registry are cut there, both ways.
pub async fn proxy(to: SocketAddr, after: usize, cuts: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let left = Arc::new(AtomicUsize::new(cuts));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass(client, to, after, Arc::clone(&left)));
        }
    });
    address
}

async fn pass(mut client: TcpStream, to: SocketAddr, after: usize, left: Arc<AtomicUsize>) {
    let Ok(mut server) = TcpStream::connect(to).await else { return };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let there = async {
        let (mut passed, mut buffer) = (0, vec![0; 16 * 1024]);
        loop {
            let count = from_client.read(&mut buffer).await.unwrap_or(0);
            if count == 0 || to_server.write_all(&buffer[..count]).await.is_err() {
                return;
            }
            passed += count;
            let one_less = |left: usize| left.checked_sub(1);
            if passed >= after && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}
