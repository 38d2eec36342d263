//! A registry that can be stopped and started again at its address, and clients that do not wait long.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use oxbox_copy::client::retry::Policy;
use oxbox_copy::client::{Access, Client, ClientError, Repository, Settings, TagOrDigest};
use oxbox_copy::config::Environment;
use oxbox_copy::config::auth_file::Keychain;
use oxbox_copy::endpoint::{AnyDestination, AnySource, Places};
use oxbox_copy::progress::Silent;
use oxbox_copy::transfer::{Options, Report, TransferError, copy};
use oxbox_layers::oci::{Descriptor, Digest, Document, Manifest, MediaType, Raw, Reference};
use oxbox_registry::{ServeConfig, Server};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A registry that runs.
pub struct Served {
    pub address: SocketAddr,
    root: PathBuf,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Served {
    pub async fn start(root: &Path) -> Self {
        Self::start_at(root.to_owned(), "127.0.0.1:0".parse().unwrap()).await
    }

    async fn start_at(root: PathBuf, listen: SocketAddr) -> Self {
        let mut config = ServeConfig::new(&root, listen);
        // Whatever is under way is cut at once.
        config.drain = Duration::ZERO;
        let server = Server::bind(config).await.unwrap();
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(async { drop(stopped.await) }));
        Self { address, root, stop, task }
    }

    /// Stops it and returns what it takes to start again.
    pub async fn stop(self) -> Stopped {
        drop(self.stop);
        self.task.await.unwrap();
        Stopped { root: self.root, address: self.address }
    }
}

/// A registry that does not run now.
pub struct Stopped {
    root: PathBuf,
    address: SocketAddr,
}

impl Stopped {
    pub async fn start(self) -> Served {
        Served::start_at(self.root, self.address).await
    }
}

/// A client without files, whose waits are short.
pub fn client() -> Client {
    let nobody = Environment::default();
    let policy =
        Policy { base: Duration::from_millis(5), cap: Duration::from_millis(50), ..Policy::default() };
    Client::new(&nobody, Settings { policy, keychain: Arc::new(Keychain::empty()), ..Settings::new(&nobody) })
}

pub fn repository(client: &Client, address: SocketAddr, path: &str) -> Repository {
    let reference: Reference = format!("{address}/{path}").parse().unwrap();
    client.repository(&reference, Access::Delete)
}

pub fn options() -> Options {
    Options { retry_delay: Duration::from_millis(5), ..Options::default() }
}

pub fn places(directory: &Path) -> Places {
    Places { registries: client(), store: directory.join("store"), temporary: directory.to_owned() }
}

pub async fn copied(directory: &Path, from: &str, to: &str) -> Result<Report, TransferError> {
    let places = places(directory);
    let source = AnySource::open(&from.parse().unwrap(), &places).await?;
    let destination = AnyDestination::create(&to.parse().unwrap(), &places).await?;
    copy(Arc::new(source), Arc::new(destination), &options(), Arc::new(Silent)).await
}

/// Bytes that differ with the seed and do not repeat soon.
pub fn content(seed: u64, size: usize) -> Bytes {
    let mut state = seed.wrapping_add(1);
    let byte = |_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    (0..size).map(byte).collect::<Vec<u8>>().into()
}

pub fn layer(bytes: &[u8]) -> Descriptor {
    Descriptor::of(MediaType::OCI_LAYER, bytes)
}

pub const CONFIG: &[u8] =
    br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;

pub fn image(layers: &[Bytes]) -> Document {
    let config = Descriptor::of(MediaType::OCI_CONFIG, CONFIG);
    let layers = layers.iter().map(|bytes| layer(bytes)).collect();
    Document::Manifest(Raw::write(Manifest::of_image(config, layers), MediaType::OCI_MANIFEST))
}

/// Pushes bytes in pieces of 64 KiB, unless they are there.
pub async fn push_blob(repository: &Repository, bytes: &Bytes) -> Result<Digest, ClientError> {
    let descriptor = layer(bytes);
    if repository.stat_blob(&descriptor.digest).await?.is_none() {
        let pieces: Vec<_> = bytes.chunks(65536).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        repository.push_blob(&descriptor, stream::iter(pieces), None).await?;
    }
    Ok(descriptor.digest)
}

pub fn tag(text: &str) -> TagOrDigest {
    TagOrDigest::Tag(text.to_owned())
}

/// An error with all its causes, as a user would read it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
