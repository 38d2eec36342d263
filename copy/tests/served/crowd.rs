//! Many at once push images that share blobs, pull them, and delete tags, manifests and blobs.
//!
//! What must hold at any time: whoever can fetch a manifest can fetch every blob that it names, whole
//! and verified.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use oxbox_copy::client::{Client, ClientError, Repository, TagOrDigest};
use oxbox_layers::oci::graph::successors;
use oxbox_layers::oci::{Descriptor, Digest, Document};
use tokio::task::JoinSet;

use crate::setting::{CONFIG, Served, chain, client, content, image, layer, push_blob, repository, tag};

const IMAGES: usize = 6;
const ROUNDS: u64 = 25;

/// The images, and how often somebody began and ended to delete each.
struct Crowd {
    layers: Vec<Bytes>,
    images: Vec<Document>,
    begun: Vec<AtomicU64>,
    ended: Vec<AtomicU64>,
}

impl Crowd {
    fn new() -> Self {
        let layers: Vec<Bytes> = (0..5).map(|seed| content(seed, 40_000 * seed as usize + 7)).collect();
        // Each image lacks one layer, but the last, which has all.
        let without = |skipped: usize| -> Vec<Bytes> {
            let kept = layers.iter().enumerate().filter(|(position, _)| *position != skipped);
            kept.map(|(_, bytes)| bytes.clone()).collect()
        };
        let images = (0..IMAGES).map(|number| image(&without(number))).collect();
        let zeros = || (0..IMAGES).map(|_| AtomicU64::new(0)).collect();
        Self { images, begun: zeros(), ended: zeros(), layers }
    }

    /// `None` while somebody is deleting the image.
    fn undisturbed(&self, number: usize) -> Option<u64> {
        let ended = self.ended[number].load(Ordering::SeqCst);
        (self.begun[number].load(Ordering::SeqCst) == ended).then_some(ended)
    }

    async fn push(&self, repository: &Repository, number: usize) {
        let document = &self.images[number];
        for bytes in [Bytes::from_static(CONFIG)].iter().chain(&self.layers) {
            if successors(document).iter().any(|(_, named)| named.digest == layer(bytes).digest) {
                push_blob(repository, bytes).await.unwrap_or_else(|error| panic!("{}", chain(&error)));
            }
        }
        for name in [tag(&format!("v{number}")), TagOrDigest::Digest(document.digest())] {
            match repository.put_manifest(document, &name).await {
                Ok(_) => {}
                // Somebody has deleted a blob meanwhile.
                Err(ClientError::Refused { said, .. }) if said.has("MANIFEST_BLOB_UNKNOWN") => {}
                Err(error) => panic!("{}", chain(&error)),
            }
        }
    }

    /// Fetches a manifest and all that it names.
    async fn pull(&self, repository: &Repository, number: usize) {
        let before = self.undisturbed(number);
        let name = TagOrDigest::Digest(self.images[number].digest());
        let Some(fetched) = repository.fetch_manifest(&name).await.unwrap() else { return };
        let document = fetched.document().unwrap();
        for (_, named) in successors(&document) {
            let is_there = whole(repository, named).await;
            let disturbed = before.is_none() || self.undisturbed(number) != before;
            assert!(
                is_there || disturbed,
                "{} names {}, which is not there",
                document.digest(),
                named.digest
            );
        }
    }

    async fn delete_manifest(&self, repository: &Repository, number: usize) {
        self.begun[number].fetch_add(1, Ordering::SeqCst);
        repository.delete_manifest(&TagOrDigest::Digest(self.images[number].digest())).await.unwrap();
        self.ended[number].fetch_add(1, Ordering::SeqCst);
    }

    async fn delete_blob(&self, repository: &Repository, digest: &Digest) {
        match repository.delete_blob(digest).await {
            Ok(_) => {}
            Err(ClientError::Refused { status, .. }) if status.as_u16() == 405 => {}
            Err(error) => panic!("{}", chain(&error)),
        }
    }
}

/// Reads a blob, verified; `false` if it is not there.
async fn whole(repository: &Repository, descriptor: &Descriptor) -> bool {
    match repository.open_blob(descriptor).await.unwrap() {
        None => false,
        Some(download) => {
            download.verified().try_for_each(|_| async { Ok(()) }).await.unwrap();
            true
        }
    }
}

async fn act(crowd: Arc<Crowd>, client: Client, served: std::net::SocketAddr, actor: u64) {
    let repository = repository(&client, served, ["a", "b/c"][actor as usize % 2]);
    for round in 0..ROUNDS {
        let dice = content(actor * 1000 + round, 2);
        let (number, choice) = (dice[0] as usize % IMAGES, dice[1] % 10);
        match choice {
            0..=3 => crowd.push(&repository, number).await,
            4..=6 => crowd.pull(&repository, number).await,
            7 => drop(repository.delete_manifest(&tag(&format!("v{number}"))).await.unwrap()),
            8 => crowd.delete_manifest(&repository, number).await,
            _ => {
                let digest = layer(&crowd.layers[number % crowd.layers.len()]).digest;
                crowd.delete_blob(&repository, &digest).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_manifest_that_can_be_fetched_is_whole() {
    let root = tempfile::tempdir().unwrap();
    let served = Served::start(root.path()).await;
    let crowd = Arc::new(Crowd::new());
    let mut actors = JoinSet::new();
    for actor in 0..16 {
        actors.spawn(act(Arc::clone(&crowd), client(), served.address, actor));
    }
    while let Some(ended) = actors.join_next().await {
        ended.unwrap();
    }
    // Whatever is left after a restart is whole as well.
    let served = served.stop().await.start().await;
    for path in ["a", "b/c"] {
        let repository = repository(&client(), served.address, path);
        for number in 0..IMAGES {
            crowd.pull(&repository, number).await;
        }
        for name in repository.tags().await.unwrap().unwrap_or_default() {
            assert!(repository.resolve(&tag(&name)).await.unwrap().is_some(), "{name} leads nowhere");
        }
    }
    served.stop().await;
}
