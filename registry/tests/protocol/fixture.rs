//! A registry without a socket, and answers that are easy to ask.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use oxbox_layers::oci::{Descriptor, Digest, Manifest, MediaType, Raw};
use oxbox_registry::storage::{Disk, Sqlite};
use oxbox_registry::{Registry, SparseIndexes};
use serde_json::Value;
use tower::ServiceExt;

/// The digest of nothing.
pub(crate) const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

pub(crate) struct Fixture {
    pub(crate) root: tempfile::TempDir,
    router: Router,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(SparseIndexes::Refuse)
    }

    pub(crate) fn with(sparse: SparseIndexes) -> Self {
        let root = tempfile::tempdir().unwrap();
        let router = open(&root, sparse);
        Self { root, router }
    }

    /// The same root, by another process as far as anybody can tell.
    pub(crate) fn restarted(self) -> Self {
        let Self { root, router } = self;
        drop(router);
        let router = open(&root, SparseIndexes::Refuse);
        Self { root, router }
    }

    pub(crate) async fn send(&self, line: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let (method, uri) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(crate) async fn ask(&self, line: &str) -> Answer {
        self.send(line, &[], Body::empty()).await
    }

    /// Starts an upload and returns where it goes on.
    pub(crate) async fn session(&self, name: &str) -> String {
        let answer = self.ask(&format!("POST /v2/{name}/blobs/uploads/")).await;
        assert_eq!(answer.status, 202);
        answer.header("location").to_owned()
    }

    pub(crate) async fn push_blob(&self, name: &str, content: &[u8]) -> Digest {
        let digest = Digest::sha256(content);
        let line = format!("POST /v2/{name}/blobs/uploads/?digest={digest}");
        assert_eq!(self.send(&line, &[], content.to_vec()).await.status, 201);
        digest
    }

    pub(crate) async fn put(&self, name: &str, reference: &str, raw: &Raw<Manifest>) -> Answer {
        let line = format!("PUT /v2/{name}/manifests/{reference}");
        self.send(&line, &[("content-type", raw.media_type().as_str())], raw.bytes().clone()).await
    }

    /// Pushes the blobs that `image` names, and the manifest under a tag.
    pub(crate) async fn push_image(&self, name: &str, tag: &str, layer: &[u8]) -> Raw<Manifest> {
        let raw = image(layer);
        self.push_blob(name, b"{}").await;
        self.push_blob(name, layer).await;
        assert_eq!(self.put(name, tag, &raw).await.status, 201);
        raw
    }
}

fn open(root: &tempfile::TempDir, sparse: SparseIndexes) -> Router {
    let disk = Disk::open(root.path()).unwrap();
    let sqlite = Sqlite::open(&root.path().join("meta.db")).unwrap();
    let idle = Duration::from_secs(60);
    oxbox_registry::router(Arc::new(Registry::new(Arc::new(disk), Arc::new(sqlite), sparse, idle)))
}

impl Answer {
    /// A header that must be there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers));
        value.to_str().unwrap()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }

    /// The status, and the code of the first error.
    pub(crate) fn refusal(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/json");
        (self.status, self.json()["errors"][0]["code"].as_str().unwrap().to_owned())
    }
}

pub(crate) fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

pub(crate) fn image_manifest(layer: &[u8]) -> Manifest {
    let config = Descriptor::of(MediaType::OCI_CONFIG, b"{}");
    Manifest::of_image(config, vec![Descriptor::of(MediaType::OCI_LAYER, layer)])
}

pub(crate) fn image(layer: &[u8]) -> Raw<Manifest> {
    Raw::write(image_manifest(layer), MediaType::OCI_MANIFEST)
}

/// An artifact that refers to something.
pub(crate) fn artifact(subject: Descriptor, artifact_type: &str, mark: &str) -> Raw<Manifest> {
    let empty = Descriptor::of(MediaType::OCI_EMPTY, b"{}");
    let mut manifest = Manifest::of_image(empty.clone(), vec![empty]);
    manifest.artifact_type = Some(artifact_type.to_owned());
    manifest.subject = Some(subject);
    manifest.annotations = Some([("mark".to_owned(), mark.to_owned())].into());
    Raw::write(manifest, MediaType::OCI_MANIFEST)
}
