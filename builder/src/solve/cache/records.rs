//! Records: which layer a key led to.
//!
//! ```text
//! record(key → diff_id, digest, size, media_type, seal, used)
//! ```
//!
//! SQLite does not notice a bit that rots, and a wrong diff_id would make a wrong image: each record is
//! sealed with a hash.

use oxbox_layers::layer::Layer;
use oxbox_layers::oci::{Descriptor, DiffId, MediaType};
use rusqlite::{OptionalExtension as _, params};

use super::{Cache, CacheError};
use crate::solve::{Key, KeyHasher};

pub(super) const SCHEMA: &str = "
    DROP TABLE IF EXISTS record;
    CREATE TABLE record (
        key BLOB PRIMARY KEY, diff_id TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL,
        media_type TEXT NOT NULL, seal BLOB NOT NULL,
        used INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX record_used ON record (used);";

impl Cache {
    /// Returns what `key` led to, and notes that it was of use now.
    pub fn get(&self, key: &Key, now: i64) -> Result<Option<Layer>, CacheError> {
        self.with("read", |connection| {
            let record = connection
                .prepare_cached(
                    "SELECT key, diff_id, digest, size, media_type, seal, used FROM record WHERE key = ?1",
                )?
                .query_row([&key.as_bytes()[..]], |row| Ok((read(row)?, row.get::<_, i64>(6)?)))
                .optional()?;
            let Some((record, used)) = record else { return Ok(None) };
            if now - used > super::NOTED_EVERY {
                connection
                    .prepare_cached("UPDATE record SET used = ?2 WHERE key = ?1")?
                    .execute(params![&key.as_bytes()[..], now])?;
                if let Some(layer) = &record {
                    super::usage::count_use(connection, &layer.descriptor.digest)?;
                }
            }
            Ok(record)
        })
    }

    /// Notes what `key` led to; an older note is replaced.
    pub fn put(&self, key: &Key, layer: &Layer, now: i64) -> Result<(), CacheError> {
        self.with("write", |connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO record (key, diff_id, digest, size, media_type, seal, used) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
                .execute(params![
                    &key.as_bytes()[..],
                    layer.diff_id.to_string(),
                    layer.descriptor.digest.to_string(),
                    i64::try_from(layer.descriptor.size).unwrap_or(i64::MAX),
                    layer.descriptor.media_type.as_str(),
                    seal(key.as_bytes(), layer),
                    now,
                ])
                .map(drop)
        })
    }

    /// Returns the blobs that records newer than `since` name: what a sweep must keep.
    pub fn used_since(&self, since: i64) -> Result<Vec<Layer>, CacheError> {
        self.with("read", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT key, diff_id, digest, size, media_type, seal FROM record WHERE used >= ?1",
            )?;
            let records = statement.query_map([since], read)?;
            records.filter_map(Result::transpose).collect()
        })
    }

    /// Returns how many records there are.
    pub fn count(&self) -> Result<usize, CacheError> {
        self.with("read", |connection| {
            let number: u32 = connection.query_row("SELECT count(*) FROM record", [], |row| row.get(0))?;
            Ok(number as usize)
        })
    }
}

/// A hash of the whole record but for `used`.
fn seal(key: &[u8], layer: &Layer) -> [u8; 32] {
    let Layer { diff_id, descriptor } = layer;
    let mut hasher = KeyHasher::new("record");
    hasher.field("key", key).field("diff_id", diff_id.to_string());
    hasher.field("digest", descriptor.digest.to_string()).field("size", descriptor.size.to_le_bytes());
    hasher.field("media_type", descriptor.media_type.as_str());
    *hasher.finish().as_bytes()
}

/// Reads `key, diff_id, digest, size, media_type, seal`. A row that does not parse, or that is not what
/// was written, is no record.
fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Layer>> {
    let (key, diff_id, digest): (Vec<u8>, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (size, media_type, sealed): (i64, String, Vec<u8>) = (row.get(3)?, row.get(4)?, row.get(5)?);
    let (Ok(diff_id), Ok(digest), Ok(size)) = (diff_id.parse(), digest.parse(), u64::try_from(size)) else {
        return Ok(None);
    };
    let descriptor = Descriptor::new(MediaType::new(media_type), digest, size);
    let layer = Layer { descriptor, diff_id: DiffId(diff_id) };
    Ok((seal(&key, &layer)[..] == sealed[..]).then_some(layer))
}

#[cfg(test)]
pub(super) mod tests {
    use oxbox_layers::layer::Layer;
    use oxbox_layers::oci::{Descriptor, DiffId, Digest, MediaType};

    use super::super::Cache;
    use crate::solve::KeyHasher;

    pub(in crate::solve::cache) fn layer(content: &[u8]) -> Layer {
        Layer {
            descriptor: Descriptor::of(MediaType::OCI_LAYER_GZIP, content),
            diff_id: DiffId(Digest::sha256(content)),
        }
    }

    #[test]
    fn what_was_put_is_found_by_another_opener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.db");
        let key = KeyHasher::new("run").finish();
        let (first, second) = (Cache::open(&path).unwrap(), Cache::open(&path).unwrap());
        first.put(&key, &layer(b"a"), 100).unwrap();
        assert_eq!(second.get(&key, 100).unwrap(), Some(layer(b"a")));
    }

    #[test]
    fn a_record_that_rotted_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("cache.db")).unwrap();
        let key = KeyHasher::new("run").finish();
        cache.put(&key, &layer(b"a"), 100).unwrap();
        let other = DiffId(Digest::sha256(b"b")).to_string();
        cache
            .with("write", |connection| connection.execute("UPDATE record SET diff_id = ?1", [&other]))
            .unwrap();
        assert_eq!(cache.get(&key, 100).unwrap(), None);
    }

    #[test]
    fn use_keeps_a_record_alive() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("cache.db")).unwrap();
        let (used, idle) = (KeyHasher::new("used").finish(), KeyHasher::new("idle").finish());
        cache.put(&used, &layer(b"u"), 100).unwrap();
        cache.put(&idle, &layer(b"i"), 100).unwrap();
        cache.get(&used, 1000).unwrap();
        assert_eq!(cache.forget_before(500).unwrap(), 1);
        assert_eq!(cache.get(&used, 1000).unwrap(), Some(layer(b"u")));
        assert_eq!(cache.get(&idle, 1000).unwrap(), None);
    }

    #[test]
    fn eight_processes_worth_of_writers_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.db");
        std::thread::scope(|scope| {
            for writer in 0..8_u8 {
                let path = &path;
                scope.spawn(move || {
                    let cache = Cache::open(path).unwrap();
                    for item in 0..20_u8 {
                        let key = KeyHasher::new("k").field("n", [writer, item]).finish();
                        cache.put(&key, &layer(&[writer, item]), 1).unwrap();
                    }
                });
            }
        });
        let cache = Cache::open(&path).unwrap();
        assert_eq!(cache.used_since(0).unwrap().len(), 160);
    }
}
