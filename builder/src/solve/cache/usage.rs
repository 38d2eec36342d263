//! What the cache knows of its layers besides which key led to them: who made them, when, how often they
//! were of use. For people, and for whoever must decide what goes.

use std::collections::HashMap;

use oxbox_layers::layer::Layer;
use oxbox_layers::oci::{DiffId, Digest};
use rusqlite::{Connection, params};

use super::{Cache, CacheError};

pub(super) const SCHEMA: &str = "
    DROP TABLE IF EXISTS layer;
    CREATE TABLE layer (
        digest TEXT PRIMARY KEY, title TEXT NOT NULL, made INTEGER NOT NULL, uses INTEGER NOT NULL
    ) WITHOUT ROWID;
    DROP TABLE IF EXISTS snapshot;
    CREATE TABLE snapshot (name TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;";

/// A layer that some keys led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Its blob.
    pub digest: Digest,
    /// Its tar.
    pub diff_id: DiffId,
    /// Bytes of the blob.
    pub size: u64,
    /// When it was last of use, in seconds since 1970.
    pub used: i64,
    /// When it was made; nothing for what came from elsewhere.
    pub made: Option<i64>,
    /// How often it was of use, counted once a minute.
    pub uses: u64,
    /// The instruction that made it.
    pub title: Option<String>,
}

impl Cache {
    /// Notes which instruction made a layer.
    pub fn describe(&self, layer: &Layer, title: &str, now: i64) -> Result<(), CacheError> {
        self.with("write", |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO layer (digest, title, made, uses) VALUES (?1, ?2, ?3, 0)
                     ON CONFLICT (digest) DO UPDATE SET title = excluded.title",
                )?
                .execute(params![layer.descriptor.digest.to_string(), title, now])
                .map(drop)
        })
    }

    /// Returns all layers that keys lead to, the least recently used first.
    pub fn layers(&self) -> Result<Vec<Remembered>, CacheError> {
        self.with("read", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT record.digest, max(diff_id), max(size), max(used), made, coalesce(uses, 0), title
                 FROM record LEFT JOIN layer ON layer.digest = record.digest
                 GROUP BY record.digest ORDER BY max(used), record.digest",
            )?;
            let layers = statement.query_map([], read)?;
            layers.filter_map(Result::transpose).collect()
        })
    }

    /// Forgets all that led to these layers; returns how many records that were.
    pub fn forget_layers(&self, layers: &[Digest]) -> Result<usize, CacheError> {
        self.with("write", |connection| {
            let transaction = connection.unchecked_transaction()?;
            let mut forgotten = 0;
            for digest in layers.iter().map(Digest::to_string) {
                forgotten += transaction.execute("DELETE FROM record WHERE digest = ?1", [&digest])?;
                transaction.execute("DELETE FROM layer WHERE digest = ?1", [&digest])?;
            }
            transaction.commit()?;
            Ok(forgotten)
        })
    }

    /// Returns how many records lead to these layers.
    pub fn count_records(&self, layers: &[Digest]) -> Result<usize, CacheError> {
        self.with("read", |connection| {
            let mut statement = connection.prepare_cached("SELECT count(*) FROM record WHERE digest = ?1")?;
            let counts = layers.iter().map(|digest| {
                statement
                    .query_row([digest.to_string()], |row| row.get::<_, u32>(0))
                    .map(|count| count as usize)
            });
            counts.sum()
        })
    }

    /// Forgets which chunks a definition led to last, if that was before `since`.
    pub fn forget_chunks_before(&self, since: i64) -> Result<usize, CacheError> {
        self.with("write", |connection| connection.execute("DELETE FROM last WHERE used < ?1", [since]))
    }

    /// Returns the sizes of snapshots that were measured before: they never change.
    pub fn measured(&self) -> Result<HashMap<String, u64>, CacheError> {
        self.with("read", |connection| {
            let mut statement = connection.prepare_cached("SELECT name, bytes FROM snapshot")?;
            let sizes = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
            sizes.map(|size| size.map(|(name, bytes)| (name, bytes.unsigned_abs()))).collect()
        })
    }

    /// Notes the sizes of snapshots, and forgets those of all others.
    pub fn put_measured<'a>(&self, sizes: impl Iterator<Item = (&'a str, u64)>) -> Result<(), CacheError> {
        let sizes: Vec<_> = sizes.collect();
        self.with("write", |connection| {
            let transaction = connection.unchecked_transaction()?;
            transaction.execute("DELETE FROM snapshot", [])?;
            for &(name, bytes) in &sizes {
                let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                transaction
                    .execute("INSERT OR REPLACE INTO snapshot VALUES (?1, ?2)", params![name, bytes])?;
            }
            transaction.commit()
        })
    }
}

/// Counts that a layer was of use.
pub(super) fn count_use(connection: &Connection, layer: &Digest) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE layer SET uses = uses + 1 WHERE digest = ?1")?
        .execute([layer.to_string()])
        .map(drop)
}

/// Reads a layer; a row that does not parse is none.
fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Remembered>> {
    let (digest, diff_id): (String, String) = (row.get(0)?, row.get(1)?);
    let (size, uses): (i64, i64) = (row.get(2)?, row.get(5)?);
    let (Ok(digest), Ok(diff_id)) = (digest.parse(), diff_id.parse()) else { return Ok(None) };
    Ok(Some(Remembered {
        digest,
        diff_id: DiffId(diff_id),
        size: size.unsigned_abs(),
        used: row.get(3)?,
        made: row.get(4)?,
        uses: uses.unsigned_abs(),
        title: row.get(6)?,
    }))
}

#[cfg(test)]
mod tests {
    use oxbox_layers::layer::Layer;
    use oxbox_layers::oci::{Descriptor, DiffId, Digest, MediaType};

    use super::{Cache, Remembered};
    use crate::solve::{Key, KeyHasher};

    fn layer(content: &[u8]) -> Layer {
        Layer {
            descriptor: Descriptor::of(MediaType::OCI_LAYER_GZIP, content),
            diff_id: DiffId(Digest::sha256(content)),
        }
    }

    fn key(name: &str) -> Key {
        KeyHasher::new("k").field("name", name).finish()
    }

    #[test]
    fn a_layer_is_told_once_however_many_keys_lead_to_it() {
        let cache = Cache::nowhere();
        cache.put(&key("plain"), &layer(b"a"), 100).unwrap();
        cache.put(&key("compressed"), &layer(b"a"), 200).unwrap();
        cache.put(&key("old"), &layer(b"old"), 50).unwrap();
        cache.describe(&layer(b"a"), "COPY a /", 100).unwrap();
        let digest = Digest::sha256(b"a");
        let expected = Remembered {
            digest,
            diff_id: DiffId(digest),
            size: 1,
            used: 200,
            made: Some(100),
            uses: 0,
            title: Some("COPY a /".to_owned()),
        };
        let layers = cache.layers().unwrap();
        assert_eq!((layers.len(), layers[0].digest), (2, Digest::sha256(b"old")));
        assert_eq!(layers[1], expected);
    }

    #[test]
    fn uses_are_counted_once_a_minute() {
        let cache = Cache::nowhere();
        cache.put(&key("a"), &layer(b"a"), 100).unwrap();
        cache.describe(&layer(b"a"), "COPY a /", 100).unwrap();
        for now in [110, 200, 210, 300] {
            cache.get(&key("a"), now).unwrap();
        }
        let layers = cache.layers().unwrap();
        assert_eq!((layers[0].uses, layers[0].used), (2, 300));
    }

    #[test]
    fn forgetting_a_layer_takes_all_keys_that_led_to_it_and_no_others() {
        let cache = Cache::nowhere();
        for (name, content) in [("a", b"a"), ("b", b"a"), ("c", b"c")] {
            cache.put(&key(name), &layer(content), 100).unwrap();
        }
        assert_eq!(cache.forget_layers(&[Digest::sha256(b"a")]).unwrap(), 2);
        assert_eq!(cache.get(&key("a"), 100).unwrap(), None);
        assert_eq!(cache.get(&key("c"), 100).unwrap(), Some(layer(b"c")));
    }

    #[test]
    fn sizes_are_those_that_were_measured_last() {
        let cache = Cache::nowhere();
        cache.put_measured([("gone", 1), ("here", 2)].into_iter()).unwrap();
        cache.put_measured([("here", 2), ("new", 3)].into_iter()).unwrap();
        let sizes = cache.measured().unwrap();
        assert_eq!(sizes, [("here".to_owned(), 2), ("new".to_owned(), 3)].into());
    }
}
