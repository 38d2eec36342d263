//! Manifests and the names they go by.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use futures_util::FutureExt;
use oxbox_layers::oci::graph::Role;
use oxbox_layers::oci::{Digest, MediaType};
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Sqlite;
use super::links::keep;
use super::rows::{Text, kind, not_json, now, repo, repo_or_new, signed, unsigned};
use crate::name::{ManifestReference, Repository, Tag};
use crate::storage::BlobKey;
use crate::storage::metadata::{
    Answer, BlobRecord, Edge, Found, MAX_MISSING, ManifestRecord, Manifests, Need, NewManifest, Put,
    Referrer, ReferrersPage, WantedReferrers,
};

impl Manifests for Sqlite {
    fn manifest(&self, repository: &Repository, reference: &ManifestReference) -> Answer<'_, Found> {
        let (repository, reference) = (repository.clone(), reference.clone());
        self.read("find a manifest", move |db| find(db, &repository, &reference)).boxed()
    }

    fn put(&self, repository: &Repository, manifest: NewManifest) -> Answer<'_, Put> {
        let repository = repository.clone();
        self.write("store a manifest", move |db| put(db, &repository, &manifest)).boxed()
    }

    fn delete_manifest(&self, repository: &Repository, digest: &Digest) -> Answer<'_, bool> {
        let (repository, digest) = (repository.clone(), *digest);
        self.write("delete a manifest", move |db| delete(db, &repository, digest)).boxed()
    }

    fn delete_tag(&self, repository: &Repository, tag: &Tag) -> Answer<'_, bool> {
        let (repository, tag) = (repository.clone(), tag.clone());
        self.write("delete a tag", move |db| delete_tag(db, &repository, &tag)).boxed()
    }

    fn tags(&self, repository: &Repository, after: &str, limit: usize) -> Answer<'_, Option<Vec<String>>> {
        let (repository, after) = (repository.clone(), after.to_owned());
        let job = move |db: &Connection| {
            let Some(repo) = repo(db, &repository)? else { return Ok(None) };
            const SQL: &str = "SELECT name FROM tag WHERE repo = ?1 AND name > ?2 ORDER BY name LIMIT ?3";
            names(db, SQL, params![repo, after, limit as i64]).map(Some)
        };
        self.read("list tags", job).boxed()
    }

    fn referrers(&self, repository: &Repository, wanted: WantedReferrers) -> Answer<'_, ReferrersPage> {
        let repository = repository.clone();
        self.read("list referrers", move |db| referrers(db, &repository, &wanted)).boxed()
    }

    fn repositories(&self, after: &str, limit: usize) -> Answer<'_, Vec<String>> {
        let after = after.to_owned();
        let job = move |db: &Connection| {
            const SQL: &str = "SELECT name FROM repo WHERE name > ?1 \
                 AND EXISTS (SELECT 1 FROM manifest WHERE manifest.repo = repo.id) ORDER BY name LIMIT ?2";
            names(db, SQL, params![after, limit as i64])
        };
        self.read("list repositories", job).boxed()
    }
}

fn names(db: &Connection, sql: &str, parameters: &[&dyn ToSql]) -> rusqlite::Result<Vec<String>> {
    db.prepare_cached(sql)?.query_map(parameters, |row| row.get(0))?.collect()
}

fn find(db: &Connection, repository: &Repository, reference: &ManifestReference) -> rusqlite::Result<Found> {
    let Some(repo) = repo(db, repository)? else { return Ok(Found::NoRepository) };
    const COLUMNS: &str = "SELECT manifest.digest, media_type, manifest.size, body, key, artifact_type, subject \
         FROM manifest JOIN blob ON blob.digest = manifest.digest";
    let found = match reference {
        ManifestReference::Digest(digest) => db
            .prepare_cached(&format!("{COLUMNS} WHERE repo = ?1 AND manifest.digest = ?2"))?
            .query_row(params![repo, Text(*digest)], record)
            .optional()?,
        ManifestReference::Tag(tag) => db
            .prepare_cached(&format!(
                "{COLUMNS} WHERE repo = ?1 AND manifest.digest = \
                 (SELECT digest FROM tag WHERE tag.repo = ?1 AND tag.name = ?2)"
            ))?
            .query_row(params![repo, tag.as_str()], record)
            .optional()?,
    };
    Ok(found.map_or(Found::NoManifest, |record| Found::Manifest(Box::new(record))))
}

fn record(row: &Row<'_>) -> rusqlite::Result<ManifestRecord> {
    Ok(ManifestRecord {
        digest: row.get::<_, Text>(0)?.0,
        media_type: MediaType::new(row.get::<_, String>(1)?),
        size: unsigned(row, 2)?,
        body: row.get::<_, Option<Vec<u8>>>(3)?.map(Bytes::from),
        key: BlobKey(row.get(4)?),
        artifact_type: row.get(5)?,
        subject: row.get::<_, Option<Text>>(6)?.map(|subject| subject.0),
    })
}

/// Checks everything before it writes anything: a refusal leaves no trace.
fn put(db: &Connection, repository: &Repository, new: &NewManifest) -> rusqlite::Result<Put> {
    let repo = repo(db, repository)?;
    if !allowed(db, repo, new)? {
        return Ok(Put::ConditionFailed);
    }
    let mut missing = Vec::new();
    let mut seen = HashSet::new();
    for edge in new.edges.iter().filter(|edge| edge.need == Need::Required) {
        if !seen.insert((edge.child, edge.size, kind(edge.role))) {
            continue;
        }
        match repo.map(|repo| size_of(db, repo, edge)).transpose()?.flatten() {
            None if missing.contains(&edge.child) => {}
            None => missing.push(edge.child),
            Some(actual) if actual != edge.size => {
                return Ok(Put::WrongSize { digest: edge.child, promised: edge.size, actual });
            }
            Some(_) => {}
        }
        if missing.len() == MAX_MISSING {
            break;
        }
    }
    if !missing.is_empty() {
        return Ok(Put::Missing(missing));
    }
    store(db, repo_or_new(db, repository)?, new)?;
    Ok(Put::Done)
}

/// Whether the condition holds of what the push would replace: each tag, or else the manifest.
fn allowed(db: &Connection, repo: Option<i64>, new: &NewManifest) -> rusqlite::Result<bool> {
    let Some(repo) = repo else { return Ok(new.condition.allows(None)) };
    if new.tags.is_empty() {
        let present: Option<Text> = db
            .prepare_cached("SELECT digest FROM manifest WHERE repo = ?1 AND digest = ?2")?
            .query_row(params![repo, Text(new.record.digest)], |row| row.get(0))
            .optional()?;
        return Ok(new.condition.allows(present.as_ref().map(|text| &text.0)));
    }
    for tag in &new.tags {
        if !new.condition.allows(tagged(db, repo, tag)?.as_ref()) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn tagged(db: &Connection, repo: i64, tag: &Tag) -> rusqlite::Result<Option<Digest>> {
    let mut statement = db.prepare_cached("SELECT digest FROM tag WHERE repo = ?1 AND name = ?2")?;
    let digest = statement.query_row(params![repo, tag.as_str()], |row| row.get::<_, Text>(0)).optional()?;
    Ok(digest.map(|text| text.0))
}

/// The size of what an edge leads to, if the repository has it.
fn size_of(db: &Connection, repo: i64, edge: &Edge) -> rusqlite::Result<Option<u64>> {
    const BLOB: &str = "SELECT size FROM repo_blob JOIN blob USING (digest) WHERE repo = ?1 AND digest = ?2";
    const MANIFEST: &str = "SELECT size FROM manifest WHERE repo = ?1 AND digest = ?2";
    let look = |sql| {
        db.prepare_cached(sql)?.query_row(params![repo, Text(edge.child)], |row| unsigned(row, 0)).optional()
    };
    match edge.role {
        Role::Config | Role::Layer => look(BLOB),
        // BuildKit's caches are indexes whose children are layers.
        Role::Child => Ok(look(MANIFEST)?.or(look(BLOB)?)),
    }
}

fn store(db: &Connection, repo: i64, new: &NewManifest) -> rusqlite::Result<()> {
    let record = &new.record;
    keep(db, record.digest, &BlobRecord { size: record.size, key: record.key.clone() })?;
    let annotations = match (&record.subject, &new.annotations) {
        (Some(_), Some(annotations)) => {
            Some(serde_json::to_string(annotations).map_err(|error| not_json(0, error))?)
        }
        _ => None,
    };
    // The same bytes may be pushed again as another type: the last word counts.
    db.prepare_cached(
        "INSERT INTO manifest (repo, digest, media_type, size, artifact_type, subject, annotations, created, body) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (repo, digest) DO UPDATE \
         SET media_type = excluded.media_type, artifact_type = excluded.artifact_type",
    )?
    .execute(params![
        repo,
        Text(record.digest),
        record.media_type.as_str(),
        signed(record.size),
        record.artifact_type,
        record.subject.map(Text),
        annotations,
        now(),
        record.body.as_deref(),
    ])?;
    let mut edge_row = db.prepare_cached(
        "INSERT INTO edge (repo, parent, child, kind) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )?;
    for edge in &new.edges {
        edge_row.execute(params![repo, Text(record.digest), Text(edge.child), kind(edge.role)])?;
    }
    new.tags.iter().try_for_each(|tag| set_tag(db, repo, tag, record.digest))
}

fn set_tag(db: &Connection, repo: i64, tag: &Tag, digest: Digest) -> rusqlite::Result<()> {
    if tagged(db, repo, tag)? == Some(digest) {
        return Ok(());
    }
    db.prepare_cached(
        "INSERT INTO tag (repo, name, digest, updated) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (repo, name) DO UPDATE SET digest = excluded.digest, updated = excluded.updated",
    )?
    .execute(params![repo, tag.as_str(), Text(digest), now()])?;
    db.prepare_cached("INSERT INTO tag_log (repo, name, digest, at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![repo, tag.as_str(), Text(digest), now()])?;
    Ok(())
}

fn delete(db: &Connection, repository: &Repository, digest: Digest) -> rusqlite::Result<bool> {
    let Some(repo) = repo(db, repository)? else { return Ok(false) };
    let this = params![repo, Text(digest)];
    let removed = db.prepare_cached("DELETE FROM manifest WHERE repo = ?1 AND digest = ?2")?.execute(this)?;
    db.prepare_cached(
        "INSERT INTO tag_log (repo, name, digest, at) \
         SELECT repo, name, NULL, ?3 FROM tag WHERE repo = ?1 AND digest = ?2",
    )?
    .execute(params![repo, Text(digest), now()])?;
    db.prepare_cached("DELETE FROM tag WHERE repo = ?1 AND digest = ?2")?.execute(this)?;
    db.prepare_cached("DELETE FROM edge WHERE repo = ?1 AND parent = ?2")?.execute(this)?;
    Ok(removed == 1)
}

fn delete_tag(db: &Connection, repository: &Repository, tag: &Tag) -> rusqlite::Result<bool> {
    let Some(repo) = repo(db, repository)? else { return Ok(false) };
    let this = params![repo, tag.as_str()];
    let removed = db.prepare_cached("DELETE FROM tag WHERE repo = ?1 AND name = ?2")?.execute(this)?;
    if removed == 1 {
        db.prepare_cached("INSERT INTO tag_log (repo, name, digest, at) VALUES (?1, ?2, NULL, ?3)")?
            .execute(params![repo, tag.as_str(), now()])?;
    }
    Ok(removed == 1)
}

fn referrers(
    db: &Connection,
    repository: &Repository,
    wanted: &WantedReferrers,
) -> rusqlite::Result<ReferrersPage> {
    let mut page = ReferrersPage { referrers: Vec::new(), more: false };
    let Some(repo) = repo(db, repository)? else { return Ok(page) };
    let mut statement = db.prepare_cached(
        "SELECT digest, media_type, size, artifact_type, annotations FROM manifest \
         WHERE repo = ?1 AND subject = ?2 AND digest > ?3 AND (?4 IS NULL OR artifact_type = ?4) \
         ORDER BY digest",
    )?;
    let after = wanted.after.map_or(String::new(), |digest| digest.to_string());
    let mut rows = statement.query(params![repo, Text(wanted.subject), after, wanted.artifact_type])?;
    let mut bytes = 0;
    // Row by row: annotations of a thousand manifests may be more than memory should hold.
    while let Some(row) = rows.next()? {
        let (referrer, length) = referrer(row)?;
        bytes += length;
        if bytes > wanted.max_bytes && !page.referrers.is_empty() {
            page.more = true;
            break;
        }
        page.referrers.push(referrer);
    }
    Ok(page)
}

/// Reads a referrer, and about how long its descriptor will be.
fn referrer(row: &Row<'_>) -> rusqlite::Result<(Referrer, usize)> {
    const DESCRIPTOR_BYTES: usize = 320;
    let annotations: Option<String> = row.get(4)?;
    let artifact_type: Option<String> = row.get(3)?;
    let media_type: String = row.get(1)?;
    let length = DESCRIPTOR_BYTES
        + media_type.len()
        + annotations.as_ref().map_or(0, String::len)
        + artifact_type.as_ref().map_or(0, String::len);
    let annotations: Option<BTreeMap<String, String>> = annotations
        .map(|text| serde_json::from_str(&text).map_err(|error| not_json(4, error)))
        .transpose()?;
    let referrer = Referrer {
        digest: row.get::<_, Text>(0)?.0,
        media_type: MediaType::new(media_type),
        size: unsigned(row, 2)?,
        artifact_type,
        annotations,
    };
    Ok((referrer, length))
}
