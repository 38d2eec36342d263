//! The contract of `Metadata`, run against SQLite; and what only a file can do.

use std::sync::Arc;

use bytes::Bytes;
use oxbox_layers::oci::graph::Role;
use oxbox_layers::oci::{Algorithm, Digest, MediaType};

use super::Sqlite;
use crate::condition::Condition;
use crate::name::{ManifestReference, Repository, Tag};
use crate::storage::metadata::{
    BlobRecord, Edge, Found, Links, ManifestRecord, Manifests, Need, NewManifest, Put, Unlinked,
    UploadRecord, Uploads, WantedReferrers,
};
use crate::storage::{BlobKey, StorageError, UploadId};

fn open() -> (tempfile::TempDir, Sqlite) {
    let root = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::open(&root.path().join("meta.db")).unwrap();
    (root, sqlite)
}

fn repository(text: &str) -> Repository {
    Repository::parse(text).unwrap()
}

fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}

fn blob(size: u64) -> BlobRecord {
    BlobRecord { size, key: BlobKey(format!("key-{size}")) }
}

/// A manifest of one layer of five bytes.
fn manifest(content: &'static str, layer: Digest, tags: &[&str]) -> NewManifest {
    NewManifest {
        record: ManifestRecord {
            digest: Digest::sha256(content.as_bytes()),
            media_type: MediaType::from(MediaType::OCI_MANIFEST),
            size: content.len() as u64,
            body: Some(Bytes::from(content)),
            key: BlobKey("manifest".into()),
            artifact_type: None,
            subject: None,
        },
        annotations: None,
        edges: vec![Edge { child: layer, size: 5, role: Role::Layer, need: Need::Required }],
        tags: tags.iter().map(|text| tag(text)).collect(),
        condition: Condition::default(),
    }
}

fn layer() -> Digest {
    Digest::sha256(b"layer")
}

async fn with_layer(sqlite: &Sqlite, name: &Repository) {
    sqlite.link(name, &layer(), blob(5), None).await.unwrap();
}

fn referring(content: &'static str, artifact_type: &str) -> NewManifest {
    let mut new = manifest(content, layer(), &[]);
    new.record.subject = Some(Digest::sha256(b"subject"));
    new.record.artifact_type = Some(artifact_type.to_owned());
    new.annotations = Some([("k".to_owned(), "v".to_owned())].into());
    new
}

fn wanted(artifact_type: Option<&str>, after: Option<Digest>, max_bytes: usize) -> WantedReferrers {
    let artifact_type = artifact_type.map(str::to_owned);
    WantedReferrers { subject: Digest::sha256(b"subject"), artifact_type, after, max_bytes }
}

#[tokio::test]
async fn a_blob_is_there_only_for_the_repository_that_links_it() {
    let (_root, sqlite) = open();
    let (a, b) = (repository("a"), repository("b"));
    with_layer(&sqlite, &a).await;
    assert_eq!(sqlite.blob(&a, &layer()).await.unwrap(), Some(blob(5)));
    assert_eq!(sqlite.blob(&b, &layer()).await.unwrap(), None);
}

#[tokio::test]
async fn a_mount_is_a_link_of_its_own() {
    let (_root, sqlite) = open();
    let (a, b, c) = (repository("a"), repository("b"), repository("c"));
    with_layer(&sqlite, &a).await;
    assert!(!sqlite.mount(Some(&c), &b, &layer()).await.unwrap());
    assert!(sqlite.mount(Some(&a), &b, &layer()).await.unwrap());
    assert!(sqlite.mount(None, &c, &layer()).await.unwrap());
    assert!(!sqlite.mount(None, &c, &Digest::sha256(b"no")).await.unwrap());
    assert_eq!(sqlite.unlink(&a, &layer()).await.unwrap(), Unlinked::Removed);
    assert_eq!(sqlite.blob(&a, &layer()).await.unwrap(), None);
    assert_eq!(sqlite.blob(&b, &layer()).await.unwrap(), Some(blob(5)));
}

#[tokio::test]
async fn a_blob_that_a_manifest_names_stays() {
    let (_root, sqlite) = open();
    let a = repository("a");
    with_layer(&sqlite, &a).await;
    let new = manifest("m", layer(), &[]);
    let digest = new.record.digest;
    assert_eq!(sqlite.put(&a, new).await.unwrap(), Put::Done);
    assert_eq!(sqlite.unlink(&a, &layer()).await.unwrap(), Unlinked::Referenced);
    assert!(sqlite.delete_manifest(&a, &digest).await.unwrap());
    assert_eq!(sqlite.unlink(&a, &layer()).await.unwrap(), Unlinked::Removed);
    assert_eq!(sqlite.unlink(&a, &layer()).await.unwrap(), Unlinked::Missing);
}

#[tokio::test]
async fn a_manifest_without_its_blobs_leaves_no_trace() {
    let (_root, sqlite) = open();
    let (a, b) = (repository("a"), repository("b"));
    // Another repository's blob does not count.
    with_layer(&sqlite, &b).await;
    let put = sqlite.put(&a, manifest("m", layer(), &["v1"])).await.unwrap();
    assert_eq!(put, Put::Missing(vec![layer()]));
    let found = sqlite.manifest(&a, &ManifestReference::Tag(tag("v1"))).await.unwrap();
    assert_eq!(found, Found::NoRepository);
}

#[tokio::test]
async fn a_manifest_that_lies_about_a_size_is_refused() {
    let (_root, sqlite) = open();
    let a = repository("a");
    sqlite.link(&a, &layer(), blob(6), None).await.unwrap();
    let put = sqlite.put(&a, manifest("m", layer(), &[])).await.unwrap();
    assert_eq!(put, Put::WrongSize { digest: layer(), promised: 5, actual: 6 });
}

#[tokio::test]
async fn an_optional_edge_may_lead_nowhere() {
    let (_root, sqlite) = open();
    let mut new = manifest("m", layer(), &["v1"]);
    new.edges[0].need = Need::Optional;
    assert_eq!(sqlite.put(&repository("a"), new).await.unwrap(), Put::Done);
}

#[tokio::test]
async fn a_child_may_be_a_manifest_or_a_blob() {
    let (_root, sqlite) = open();
    let a = repository("a");
    with_layer(&sqlite, &a).await;
    sqlite.put(&a, manifest("child", layer(), &[])).await.unwrap();
    let mut index = manifest("index", layer(), &[]);
    index.edges[0].role = Role::Child;
    let child = Edge { child: Digest::sha256(b"child"), ..index.edges[0] };
    index.edges.push(child);
    assert_eq!(sqlite.put(&a, index).await.unwrap(), Put::Done);
}

#[tokio::test]
async fn deleting_a_manifest_takes_its_tags_and_deleting_a_tag_takes_only_that() {
    let (_root, sqlite) = open();
    let a = repository("a");
    with_layer(&sqlite, &a).await;
    let new = manifest("m", layer(), &["v1", "v2", "v3"]);
    let digest = new.record.digest;
    sqlite.put(&a, new).await.unwrap();
    assert!(sqlite.delete_tag(&a, &tag("v2")).await.unwrap());
    assert!(!sqlite.delete_tag(&a, &tag("v2")).await.unwrap());
    assert_eq!(sqlite.tags(&a, "", 9).await.unwrap().unwrap(), ["v1", "v3"]);
    assert!(sqlite.delete_manifest(&a, &digest).await.unwrap());
    assert_eq!(sqlite.tags(&a, "", 9).await.unwrap().unwrap(), Vec::<String>::new());
    assert!(!sqlite.delete_manifest(&a, &digest).await.unwrap());
    let found = sqlite.manifest(&a, &ManifestReference::Digest(digest)).await.unwrap();
    assert_eq!(found, Found::NoManifest);
}

#[tokio::test]
async fn tags_come_in_the_order_of_bytes_after_any_name() {
    let (_root, sqlite) = open();
    let a = repository("a");
    with_layer(&sqlite, &a).await;
    sqlite.put(&a, manifest("m", layer(), &["b", "a", "B", "1.0-x", "1.0", "_"])).await.unwrap();
    assert_eq!(sqlite.tags(&a, "", 9).await.unwrap().unwrap(), ["1.0", "1.0-x", "B", "_", "a", "b"]);
    assert_eq!(sqlite.tags(&a, "Z", 2).await.unwrap().unwrap(), ["_", "a"]);
    assert_eq!(sqlite.tags(&repository("none"), "", 9).await.unwrap(), None);
}

#[tokio::test]
async fn a_tag_moves_only_if_the_condition_holds() {
    let (_root, sqlite) = open();
    let a = repository("a");
    with_layer(&sqlite, &a).await;
    sqlite.put(&a, manifest("one", layer(), &["v1"])).await.unwrap();
    let mut headers = http::HeaderMap::new();
    headers.insert("if-none-match", http::HeaderValue::from_static("*"));
    let mut new = manifest("two", layer(), &["v1"]);
    new.condition = Condition::read(&headers);
    assert_eq!(sqlite.put(&a, new.clone()).await.unwrap(), Put::ConditionFailed);
    new.tags = vec![tag("v2")];
    assert_eq!(sqlite.put(&a, new).await.unwrap(), Put::Done);
}

#[tokio::test]
async fn referrers_are_filtered_and_paged_by_size() {
    let (_root, sqlite) = open();
    let a = repository("a");
    with_layer(&sqlite, &a).await;
    for (content, artifact_type) in [("r1", "x"), ("r2", "y"), ("r3", "x")] {
        assert_eq!(sqlite.put(&a, referring(content, artifact_type)).await.unwrap(), Put::Done);
    }
    let all = sqlite.referrers(&a, wanted(None, None, 1 << 20)).await.unwrap();
    assert!(all.referrers.len() == 3 && !all.more);
    assert!(all.referrers.is_sorted_by_key(|referrer| referrer.digest.to_string()));
    assert_eq!(all.referrers[0].annotations.as_ref().unwrap()["k"], "v");
    let only = sqlite.referrers(&a, wanted(Some("y"), None, 1 << 20)).await.unwrap();
    assert_eq!(only.referrers[0].digest, Digest::sha256(b"r2"));
    let first = sqlite.referrers(&a, wanted(None, None, 1)).await.unwrap();
    assert!(first.referrers.len() == 1 && first.more);
    let rest = sqlite.referrers(&a, wanted(None, Some(first.referrers[0].digest), 1 << 20)).await.unwrap();
    assert!(rest.referrers == all.referrers[1..] && !rest.more);
}

#[tokio::test]
async fn only_repositories_with_manifests_are_listed() {
    let (_root, sqlite) = open();
    for name in ["b", "a/x", "c"] {
        with_layer(&sqlite, &repository(name)).await;
    }
    for name in ["b", "a/x"] {
        sqlite.put(&repository(name), manifest("m", layer(), &[])).await.unwrap();
    }
    assert_eq!(sqlite.repositories("", 9).await.unwrap(), ["a/x", "b"]);
    assert_eq!(sqlite.repositories("a/x", 9).await.unwrap(), ["b"]);
}

#[tokio::test]
async fn a_session_moves_only_from_where_it_stands() {
    let (_root, sqlite) = open();
    let (a, upload) = (repository("a"), UploadId::draw());
    sqlite.begin(&upload, &a, Algorithm::Sha512).await.unwrap();
    let at = |offset| UploadRecord { offset, algorithm: Algorithm::Sha512, hash: vec![1, 2] };
    assert!(sqlite.advance(&upload, 0, at(5)).await.unwrap());
    assert!(!sqlite.advance(&upload, 0, at(9)).await.unwrap());
    assert_eq!(sqlite.upload(&upload, &a).await.unwrap(), Some(at(5)));
    assert_eq!(sqlite.upload(&upload, &repository("b")).await.unwrap(), None);
}

#[tokio::test]
async fn a_linked_blob_ends_its_session() {
    let (_root, sqlite) = open();
    let (a, upload) = (repository("a"), UploadId::draw());
    sqlite.begin(&upload, &a, Algorithm::Sha256).await.unwrap();
    sqlite.link(&a, &layer(), blob(5), Some(upload.clone())).await.unwrap();
    assert_eq!(sqlite.upload(&upload, &a).await.unwrap(), None);
    assert!(!sqlite.end(&upload).await.unwrap());
}

#[tokio::test]
async fn what_was_answered_is_there_after_reopening() {
    let (root, sqlite) = open();
    let a = repository("a");
    with_layer(&sqlite, &a).await;
    drop(sqlite);
    let sqlite = Sqlite::open(&root.path().join("meta.db")).unwrap();
    assert_eq!(sqlite.blob(&a, &layer()).await.unwrap(), Some(blob(5)));
}

#[tokio::test]
async fn writers_at_once_lose_nothing() {
    let (_root, sqlite) = open();
    let sqlite = Arc::new(sqlite);
    let a = repository("a");
    let tasks: Vec<_> = (0..200_u64)
        .map(|number| {
            let (sqlite, a) = (Arc::clone(&sqlite), a.clone());
            let digest = Digest::sha256(&number.to_be_bytes());
            tokio::spawn(async move { sqlite.link(&a, &digest, blob(number), None).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    for number in 0..200_u64 {
        let digest = Digest::sha256(&number.to_be_bytes());
        assert_eq!(sqlite.blob(&a, &digest).await.unwrap(), Some(blob(number)));
    }
}

#[tokio::test]
async fn a_job_that_fails_harms_no_other() {
    let (_root, sqlite) = open();
    let a = repository("a");
    let (broken, good) = tokio::join!(
        sqlite.write("fail", |db| {
            db.execute("INSERT INTO repo (name) VALUES ('half')", [])?;
            db.execute("INSERT INTO nowhere VALUES (1)", [])
        }),
        sqlite.link(&a, &layer(), blob(5), None),
    );
    assert!(broken.is_err());
    good.unwrap();
    let half = sqlite.tags(&repository("half"), "", 1).await.unwrap();
    assert_eq!(half, None);
}

#[test]
fn a_database_of_a_later_version_is_refused() {
    let (root, sqlite) = open();
    drop(sqlite);
    let path = root.path().join("meta.db");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(Sqlite::open(&path), Err(StorageError::TooNew { found: 99, .. })));
}

#[test]
fn every_lookup_uses_an_index() {
    let (root, sqlite) = open();
    drop(sqlite);
    let db = rusqlite::Connection::open(root.path().join("meta.db")).unwrap();
    for sql in [
        "SELECT 1 FROM repo_blob WHERE digest = ?1",
        "SELECT 1 FROM edge WHERE repo = ?1 AND child = ?2",
        "SELECT name FROM tag WHERE repo = ?1 AND digest = ?2",
        "SELECT name FROM tag WHERE repo = ?1 AND name > ?2 ORDER BY name LIMIT 3",
        "SELECT digest FROM manifest WHERE repo = ?1 AND subject = ?2 AND digest > ?3 ORDER BY digest",
        "SELECT name FROM repo WHERE name > ?1 \
         AND EXISTS (SELECT 1 FROM manifest WHERE manifest.repo = repo.id) ORDER BY name LIMIT 2",
    ] {
        let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let count = statement.parameter_count();
        let rows =
            statement.query_map(rusqlite::params_from_iter(vec!["x"; count]), |row| row.get::<_, String>(3));
        let plan: Vec<String> = rows.unwrap().collect::<Result<_, _>>().unwrap();
        let whole = plan.join("; ");
        assert!(!whole.contains("SCAN") && !whole.contains("TEMP B-TREE"), "{sql}: {whole}");
    }
}
