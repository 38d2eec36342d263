//! What everybody does, from end to end.

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use oxbox_copy::client::{Mounted, Repository, TagOrDigest};
use oxbox_layers::oci::{Descriptor, Document, Manifest, MediaType, Raw};

use crate::setting::{CONFIG, Served, client, content, image, layer, push_blob, repository, tag};

async fn push_image(repository: &Repository, name: &str, layers: &[Bytes]) -> Document {
    push_blob(repository, &Bytes::from_static(CONFIG)).await.unwrap();
    for bytes in layers {
        push_blob(repository, bytes).await.unwrap();
    }
    let image = image(layers);
    repository.put_manifest(&image, &tag(name)).await.unwrap();
    image
}

async fn read(repository: &Repository, descriptor: &Descriptor) -> Option<Bytes> {
    let download = repository.open_blob(descriptor).await.unwrap()?;
    let pieces: Vec<Bytes> = download.verified().try_collect().await.unwrap();
    Some(pieces.concat().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_in_and_comes_out() {
    let root = tempfile::tempdir().unwrap();
    let served = Served::start(root.path()).await;
    let repository = repository(&client(), served.address, "team/app");
    // Held whole, streamed, and empty.
    let layers = [content(1, 10), content(2, 3_000_000), Bytes::new()];
    let image = push_image(&repository, "v1", &layers).await;
    let resolved = repository.resolve(&tag("v1")).await.unwrap().unwrap();
    assert_eq!(resolved, image.descriptor());
    let fetched = repository.fetch_manifest(&TagOrDigest::Digest(resolved.digest)).await.unwrap().unwrap();
    assert_eq!(fetched.bytes, image.bytes());
    for bytes in &layers {
        assert_eq!(read(&repository, &layer(bytes)).await.as_ref(), Some(bytes));
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_needs_no_bytes_and_outlives_its_origin() {
    let root = tempfile::tempdir().unwrap();
    let served = Served::start(root.path()).await;
    let client = client();
    let [origin, app] = ["base", "app"].map(|path| repository(&client, served.address, path));
    let bytes = content(1, 100_000);
    let digest = push_blob(&origin, &bytes).await.unwrap();
    assert!(matches!(app.mount_blob(&digest, "base").await.unwrap(), Mounted::Done));
    assert!(origin.delete_blob(&digest).await.unwrap());
    assert_eq!(origin.stat_blob(&digest).await.unwrap(), None);
    assert_eq!(read(&app, &layer(&bytes)).await, Some(bytes));
    let missing = layer(b"nowhere").digest;
    assert!(matches!(app.mount_blob(&missing, "base").await.unwrap(), Mounted::Refused(Some(_))));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_listed_and_deleted_one_by_one_or_with_their_manifest() {
    let root = tempfile::tempdir().unwrap();
    let served = Served::start(root.path()).await;
    let repository = repository(&client(), served.address, "app");
    let image = push_image(&repository, "v1", &[content(1, 10)]).await;
    for name in ["v2", "v3"] {
        repository.put_manifest(&image, &tag(name)).await.unwrap();
    }
    assert!(repository.delete_manifest(&tag("v2")).await.unwrap());
    assert_eq!(repository.tags().await.unwrap().unwrap(), ["v1", "v3"]);
    let digest = image.digest();
    let refused = repository.delete_blob(&layer(&content(1, 10)).digest).await;
    assert!(refused.unwrap_err().to_string().contains("405"));
    assert!(repository.delete_manifest(&TagOrDigest::Digest(digest)).await.unwrap());
    assert_eq!(repository.tags().await.unwrap().unwrap(), [""; 0]);
    assert!(!repository.delete_manifest(&TagOrDigest::Digest(digest)).await.unwrap());
    assert!(repository.delete_blob(&layer(&content(1, 10)).digest).await.unwrap());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_referrers_than_fit_one_answer_are_all_found() {
    const EACH: usize = 400_000;
    let root = tempfile::tempdir().unwrap();
    let served = Served::start(root.path()).await;
    let repository = repository(&client(), served.address, "app");
    let image = push_image(&repository, "v1", &[content(1, 10)]).await;
    push_blob(&repository, &Bytes::from_static(b"{}")).await.unwrap();
    let mut expected = Vec::new();
    for number in 0..12 {
        let empty = Descriptor::of(MediaType::OCI_EMPTY, b"{}");
        let mut manifest = Manifest::of_image(empty.clone(), vec![empty]);
        manifest.subject = Some(image.descriptor());
        manifest.artifact_type = Some(format!("application/vnd.example.{number}"));
        manifest.annotations = Some([("long".to_owned(), "x".repeat(EACH))].into());
        let artifact = Document::Manifest(Raw::write(manifest, MediaType::OCI_MANIFEST));
        let put = repository.put_manifest(&artifact, &TagOrDigest::Digest(artifact.digest())).await.unwrap();
        assert!(put.subject_linked);
        expected.push(artifact.digest());
    }
    let mut found: Vec<_> =
        repository.referrers(&image.digest()).await.unwrap().into_iter().map(|one| one.digest).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    served.stop().await;
}

/// What clients bound is a whole answer, not the annotations in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_referrer_as_large_as_a_manifest_may_be_does_not_hide_the_others() {
    let root = tempfile::tempdir().unwrap();
    let served = Served::start(root.path()).await;
    let repository = repository(&client(), served.address, "app");
    let image = push_image(&repository, "v1", &[content(1, 10)]).await;
    push_blob(&repository, &Bytes::from_static(b"{}")).await.unwrap();
    let mut expected = Vec::new();
    for text in ["x".repeat(4 * 1024 * 1024 - 1000), "\"".repeat(1000), "y".to_owned()] {
        let empty = Descriptor::of(MediaType::OCI_EMPTY, b"{}");
        let mut manifest = Manifest::of_image(empty.clone(), vec![empty]);
        manifest.subject = Some(image.descriptor());
        manifest.annotations = Some([("long".to_owned(), text)].into());
        let artifact = Document::Manifest(Raw::write(manifest, MediaType::OCI_MANIFEST));
        repository.put_manifest(&artifact, &TagOrDigest::Digest(artifact.digest())).await.unwrap();
        expected.push(artifact.digest());
    }
    let found = repository.referrers(&image.digest()).await.unwrap();
    assert_eq!(found.len(), expected.len());
    served.stop().await;
}
