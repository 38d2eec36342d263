//! What every test needs: clients that wait without waiting, names and contents.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, Stream};
use jiff::Timestamp;
use oxbox_copy::client::retry::Clock;
use oxbox_copy::client::{Access, Choice, Client, Credentials, Repository, Settings};
use oxbox_copy::config::Environment;
use oxbox_copy::config::auth_file::Keychain;
use oxbox_layers::oci::{Descriptor, MediaType, Reference};

/// A clock that jumps: sleeping costs nothing and is remembered.
#[derive(Debug)]
pub struct Jumping {
    now: Mutex<Timestamp>,
    sleeps: Mutex<Vec<Duration>>,
}

impl Jumping {
    pub fn new() -> Arc<Self> {
        let now = Mutex::new("2026-11-06T08:49:00Z".parse().unwrap());
        Arc::new(Self { now, sleeps: Mutex::default() })
    }

    pub fn sleeps(&self) -> Vec<Duration> {
        self.sleeps.lock().unwrap().clone()
    }

    pub fn pass(&self, duration: Duration) {
        *self.now.lock().unwrap() += duration;
    }
}

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.sleeps.lock().unwrap().push(duration);
        self.pass(duration);
        Box::pin(tokio::task::yield_now())
    }

    fn chance(&self) -> f64 {
        1.0
    }
}

/// Settings of somebody who has no files.
pub fn settings(clock: &Arc<Jumping>) -> Settings {
    let clock: Arc<dyn Clock> = clock.clone();
    Settings { clock, keychain: Arc::new(Keychain::empty()), ..Settings::new(&Environment::default()) }
}

pub fn client() -> Client {
    Client::new(&Environment::default(), settings(&Jumping::new()))
}

pub fn reference(domain: &str, rest: &str) -> Reference {
    format!("{domain}/{rest}").parse().unwrap()
}

/// A client that is `user` with `password` at one registry.
pub fn client_as(domain: &str, credentials: Credentials) -> Client {
    let reference = reference(domain, "any");
    let credentials = Choice::given(&reference, credentials, "--creds");
    Client::new(&Environment::default(), Settings { credentials, ..settings(&Jumping::new()) })
}

pub fn user(text: &str) -> Credentials {
    Credentials::parse(text).unwrap()
}

pub fn pulling(client: &Client, domain: &str) -> Repository {
    client.repository(&reference(domain, "team/app"), Access::Pull)
}

pub fn pushing(client: &Client, domain: &str) -> Repository {
    client.repository(&reference(domain, "team/app"), Access::Push)
}

/// Content that shows where it is wrong.
pub fn content(size: usize) -> Bytes {
    (0..size).map(|position| (position % 251) as u8).collect::<Vec<_>>().into()
}

pub fn layer(bytes: &[u8]) -> Descriptor {
    Descriptor::of(MediaType::OCI_LAYER_GZIP, bytes)
}

/// Content in pieces of 64 KiB.
pub fn pieces(bytes: &Bytes) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
    let pieces: Vec<_> = bytes.chunks(65536).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces)
}
