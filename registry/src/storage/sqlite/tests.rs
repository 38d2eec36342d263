//! What only a file can do; the rest is in the contract.

use std::sync::Arc;

use oxbox_layers::oci::Digest;

use super::Sqlite;
use crate::name::Repository;
use crate::storage::metadata::{BlobRecord, Links, Manifests};
use crate::storage::{BlobKey, StorageError};

fn open() -> (tempfile::TempDir, Sqlite) {
    let root = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::open(&root.path().join("meta.db")).unwrap();
    (root, sqlite)
}

fn repository(text: &str) -> Repository {
    Repository::parse(text).unwrap()
}

fn blob(size: u64) -> BlobRecord {
    BlobRecord { size, key: BlobKey(format!("key-{size}")) }
}

fn layer() -> Digest {
    Digest::sha256(b"layer")
}

async fn with_layer(sqlite: &Sqlite, name: &Repository) {
    sqlite.link(name, &layer(), blob(5), None).await.unwrap();
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
