//! Which blobs a repository has.

use futures_util::FutureExt;
use oxbox_layers::oci::Digest;
use rusqlite::{Connection, OptionalExtension, params};

use super::Sqlite;
use super::rows::{Text, now, repo, repo_or_new, signed, unsigned};
use crate::name::Repository;
use crate::storage::metadata::{Answer, BlobRecord, Links, Unlinked};
use crate::storage::{BlobKey, UploadId};

impl Links for Sqlite {
    fn blob(&self, repository: &Repository, digest: &Digest) -> Answer<'_, Option<BlobRecord>> {
        let (repository, digest) = (repository.clone(), *digest);
        self.read("find a blob", move |db| find(db, &repository, digest)).boxed()
    }

    fn link(
        &self,
        repository: &Repository,
        digest: &Digest,
        blob: BlobRecord,
        upload: Option<UploadId>,
    ) -> Answer<'_, ()> {
        let (repository, digest) = (repository.clone(), *digest);
        let job = move |db: &Connection| {
            keep(db, digest, &blob)?;
            link(db, repo_or_new(db, &repository)?, digest)?;
            if let Some(upload) = upload {
                db.prepare_cached("DELETE FROM upload WHERE id = ?1")?.execute([upload.as_str()])?;
            }
            Ok(())
        };
        self.write("link a blob", job).boxed()
    }

    fn mount(&self, from: Option<&Repository>, to: &Repository, digest: &Digest) -> Answer<'_, bool> {
        let (from, to, digest) = (from.cloned(), to.clone(), *digest);
        let job = move |db: &Connection| {
            let is_there = match from {
                Some(from) => find(db, &from, digest)?.is_some(),
                None => db
                    .prepare_cached("SELECT EXISTS (SELECT 1 FROM repo_blob WHERE digest = ?1)")?
                    .query_row([Text(digest)], |row| row.get(0))?,
            };
            if is_there {
                link(db, repo_or_new(db, &to)?, digest)?;
            }
            Ok(is_there)
        };
        self.write("mount a blob", job).boxed()
    }

    fn unlink(&self, repository: &Repository, digest: &Digest) -> Answer<'_, Unlinked> {
        let (repository, digest) = (repository.clone(), *digest);
        self.write("unlink a blob", move |db| unlink(db, &repository, digest)).boxed()
    }
}

fn find(db: &Connection, repository: &Repository, digest: Digest) -> rusqlite::Result<Option<BlobRecord>> {
    db.prepare_cached(
        "SELECT size, key FROM repo JOIN repo_blob ON repo_blob.repo = repo.id \
         JOIN blob ON blob.digest = repo_blob.digest \
         WHERE repo.name = ?1 AND repo_blob.digest = ?2",
    )?
    .query_row(params![repository.as_str(), Text(digest)], |row| {
        Ok(BlobRecord { size: unsigned(row, 0)?, key: BlobKey(row.get(1)?) })
    })
    .optional()
}

/// Remembers where published bytes are.
pub(super) fn keep(db: &Connection, digest: Digest, blob: &BlobRecord) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO blob (digest, size, key, created) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )?
    .execute(params![Text(digest), signed(blob.size), blob.key.0, now()])?;
    Ok(())
}

fn link(db: &Connection, repo: i64, digest: Digest) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO repo_blob (repo, digest, linked) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
    )?
    .execute(params![repo, Text(digest), now()])?;
    Ok(())
}

fn unlink(db: &Connection, repository: &Repository, digest: Digest) -> rusqlite::Result<Unlinked> {
    let Some(repo) = repo(db, repository)? else { return Ok(Unlinked::Missing) };
    let linked: bool = db
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM repo_blob WHERE repo = ?1 AND digest = ?2)")?
        .query_row(params![repo, Text(digest)], |row| row.get(0))?;
    if !linked {
        return Ok(Unlinked::Missing);
    }
    let needed: bool = db
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM edge WHERE repo = ?1 AND child = ?2)")?
        .query_row(params![repo, Text(digest)], |row| row.get(0))?;
    if needed {
        return Ok(Unlinked::Referenced);
    }
    db.prepare_cached("DELETE FROM repo_blob WHERE repo = ?1 AND digest = ?2")?
        .execute(params![repo, Text(digest)])?;
    Ok(Unlinked::Removed)
}
