//! Wires that break, and a registry that goes away in the middle of a copy and comes back, or does not.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use oxbox_copy::client::TagOrDigest;
use oxbox_copy::endpoint::{AnyDestination, AnySource, BlobStream, EndpointError, Origin, Source, Subject};
use oxbox_copy::progress::Silent;
use oxbox_copy::transfer::{Report, TransferError, copy};
use oxbox_layers::oci::{Descriptor, Digest};
use oxbox_testdata::image::{Blobs, Family, Hash, Layer};
use tokio::sync::Notify;

use crate::proxy::proxy;
use crate::setting::{Served, chain, client, content, copied, options, places, push_blob, repository, tag};

/// Larger than what sockets hold, so that a stopped reader stops the writer.
const LARGE: usize = 24 * 1024 * 1024;

/// A source that pauses in the middle of its first large blob, once.
struct Pausing {
    inner: AnySource,
    pause: Arc<Pause>,
}

#[derive(Default)]
struct Pause {
    used: AtomicBool,
    reached: Notify,
    go_on: Notify,
}

impl Source for Pausing {
    async fn resolve(&self) -> Result<Descriptor, EndpointError> {
        self.inner.resolve().await
    }

    async fn document(&self, descriptor: &Descriptor) -> Result<Bytes, EndpointError> {
        self.inner.document(descriptor).await
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<BlobStream, EndpointError> {
        let stream = self.inner.blob(descriptor).await?;
        if descriptor.size < LARGE as u64 || self.pause.used.swap(true, Ordering::SeqCst) {
            return Ok(stream);
        }
        let (pause, fault, subject) =
            (Arc::clone(&self.pause), stream.fault(), Subject::Blob(descriptor.digest));
        let mut passed = 0;
        let paused = stream.then(move |piece| {
            let before = passed;
            passed += piece.as_ref().map_or(0, Bytes::len);
            let is_half = before < LARGE / 2 && passed >= LARGE / 2;
            let pause = Arc::clone(&pause);
            async move {
                if is_half {
                    pause.reached.notify_one();
                    pause.go_on.notified().await;
                }
                piece
            }
        });
        let paused = paused.map_err(move |error| {
            let failed = EndpointError::Failed {
                subject: subject.clone(),
                place: "paused".to_owned(),
                source: error.into(),
            };
            fault.take().unwrap_or(failed)
        });
        Ok(BlobStream::new(descriptor, "paused", paused))
    }

    async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>, EndpointError> {
        self.inner.referrers(digest).await
    }

    fn origin(&self, blob: &Descriptor) -> Option<Origin> {
        self.inner.origin(blob)
    }
}

/// Writes a layout of one image with one large layer and a small one.
fn layout(directory: &Path) -> String {
    let mut blobs = Blobs::default();
    let large = Layer { tar: content(1, LARGE).to_vec(), hash: Hash::Sha256 };
    let image = blobs.image(Family::Oci, "amd64", &[large, Layer::of_file(2, 1000)]);
    blobs.write_layout(&directory.join("in"), &[(Some("v1"), image)]);
    format!("oci:{}/in:v1", directory.display())
}

/// Starts a copy that pauses.
async fn start(
    directory: &Path,
    from: &str,
    to: &str,
) -> (Arc<Pause>, tokio::task::JoinHandle<Result<Report, TransferError>>) {
    let places = places(directory);
    let inner = AnySource::open(&from.parse().unwrap(), &places).await.unwrap();
    let destination = AnyDestination::create(&to.parse().unwrap(), &places).await.unwrap();
    let pause = Arc::new(Pause::default());
    let source = Pausing { inner, pause: Arc::clone(&pause) };
    let copying = tokio::spawn(async move {
        copy(Arc::new(source), Arc::new(destination), &options(), Arc::new(Silent)).await
    });
    (pause, copying)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_goes_on_after_the_registry_came_back() {
    let directory = tempfile::tempdir().unwrap();
    let from = layout(directory.path());
    let served = Served::start(&directory.path().join("root")).await;
    let there = format!("docker://{}/app:v1", served.address);
    let (pause, copying) = start(directory.path(), &from, &there).await;
    pause.reached.notified().await;
    let served = served.stop().await.start().await;
    pause.go_on.notify_one();
    let report = copying.await.unwrap().unwrap();
    let back = format!("oci:{}/out:v1", directory.path().display());
    assert_eq!(copied(directory.path(), &there, &back).await.unwrap().root, report.root);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_goes_on_after_the_registry_came_back() {
    let directory = tempfile::tempdir().unwrap();
    let from = layout(directory.path());
    let served = Served::start(&directory.path().join("root")).await;
    let there = format!("docker://{}/app:v1", served.address);
    let pushed = copied(directory.path(), &from, &there).await.unwrap();
    let back = format!("oci:{}/out:v1", directory.path().display());
    let (pause, copying) = start(directory.path(), &there, &back).await;
    pause.reached.notified().await;
    let served = served.stop().await.start().await;
    pause.go_on.notify_one();
    assert_eq!(copying.await.unwrap().unwrap().root, pushed.root);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_stays_away_is_named_and_keeps_its_tag_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let from = layout(directory.path());
    let served = Served::start(&directory.path().join("root")).await;
    let there = format!("docker://{}/app:v1", served.address);
    let mut old = Blobs::default();
    let image = old.image(Family::Oci, "amd64", &[Layer::of_file(9, 10)]);
    old.write_layout(&directory.path().join("old"), &[(Some("v1"), image)]);
    let before = format!("oci:{}/old:v1", directory.path().display());
    let old = copied(directory.path(), &before, &there).await.unwrap().root;
    let (pause, copying) = start(directory.path(), &from, &there).await;
    pause.reached.notified().await;
    let stopped = served.stop().await;
    pause.go_on.notify_one();
    let error = chain(&copying.await.unwrap().unwrap_err());
    let served = stopped.start().await;
    assert!(error.contains("cannot copy blob sha256:"), "{error}");
    assert!(error.contains(&format!("http://{}", served.address)), "{error}");
    let repository = repository(&client(), served.address, "app");
    assert_eq!(repository.resolve(&tag("v1")).await.unwrap(), Some(old));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_given_up_moves_no_tag_and_the_next_one_does() {
    let directory = tempfile::tempdir().unwrap();
    let from = layout(directory.path());
    let served = Served::start(&directory.path().join("root")).await;
    let there = format!("docker://{}/app:v1", served.address);
    let (pause, copying) = start(directory.path(), &from, &there).await;
    pause.reached.notified().await;
    copying.abort();
    assert!(copying.await.unwrap_err().is_cancelled());
    let repository = repository(&client(), served.address, "app");
    assert_eq!(repository.resolve(&tag("v1")).await.unwrap(), None);
    let report = copied(directory.path(), &from, &there).await.unwrap();
    assert_eq!(repository.resolve(&tag("v1")).await.unwrap(), Some(report.root));

    let back = format!("oci:{}/out:v1", directory.path().display());
    let (pause, copying) = start(directory.path(), &there, &back).await;
    pause.reached.notified().await;
    copying.abort();
    assert!(copying.await.unwrap_err().is_cancelled());
    let read = AnySource::open(&back.parse().unwrap(), &places(directory.path())).await;
    assert!(matches!(read, Err(EndpointError::Absent { .. })));
    copied(directory.path(), &there, &back).await.unwrap();
    served.stop().await;
}

/// A registry keeps what came of a body that broke off. A second try that sends all of it to the same
/// session would be appended to that.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_blob_that_broke_off_is_not_appended_to_itself() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(directory.path()).await;
    for cuts in [1, 2, 3] {
        let wire = proxy(served.address, 300_000, cuts).await;
        let repository = repository(&client(), wire, "app");
        let bytes = content(cuts as u64, 900_000);
        let digest = push_blob(&repository, &bytes).await.unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(repository.stat_blob(&digest).await.unwrap(), Some(Some(900_000)));
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wire_that_breaks_now_and_then_delays_an_image_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let from = layout(directory.path());
    let served = Served::start(&directory.path().join("root")).await;
    let wire = proxy(served.address, 5_000_000, 2).await;
    let report = copied(directory.path(), &from, &format!("docker://{wire}/app:v1")).await;
    let report = report.unwrap_or_else(|error| panic!("{}", chain(&error)));
    let repository = repository(&client(), served.address, "app");
    let name = TagOrDigest::Digest(report.root.digest);
    assert_eq!(repository.resolve(&name).await.unwrap(), Some(report.root));
    served.stop().await;
}
