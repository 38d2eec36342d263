//! The local cache: which layer a key led to.
//!
//! ```text
//! cache.db    record(key → diff_id, digest, size, media_type, seal, used)    SQLite, WAL, many processes
//!             last(definition → chunks, used)                              of the layer it led to last
//!             layer(digest → title, made, uses), snapshot(name → bytes)    for du and prune: usage.rs
//!             download(source → digest, etag, last_modified, used)         see `downloads`
//! ```
//!
//! A record is a hint, never the truth: the layer's blob is in the store, and a record whose blob is
//! gone is a miss. SQLite does not notice a bit that rots, and a wrong diff_id would make a wrong image:
//! each record is sealed with a hash. The whole file can be deleted at any time and is rebuilt by
//! building; one that is no database any more is put aside.

mod database;
pub mod usage;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use oxbox_layers::compress::ChunkIndex;
use oxbox_layers::layer::Layer;
use oxbox_layers::oci::{Descriptor, DiffId, MediaType};
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, ffi, params};

use self::database::{connect, connect_nowhere, is_damage, put_aside};
use super::{Key, KeyHasher};

/// The cache, shared by threads and by processes.
pub struct Cache {
    path: PathBuf,
    connection: Mutex<Connection>,
}

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} the build cache {path}", path = .path.display())]
pub struct CacheError {
    /// What was tried.
    pub verb: &'static str,
    /// Which file.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: rusqlite::Error,
}

impl CacheError {
    /// Whether the disk has no room left, which SQLite does not say in its text.
    pub fn is_full(&self) -> bool {
        let Some(error) = self.source.sqlite_error() else { return false };
        // The second: shared memory is a file too, and cannot grow.
        error.code == ErrorCode::DiskFull || error.extended_code == ffi::SQLITE_IOERR_SHMSIZE
    }
}

impl Cache {
    /// Opens the cache, making it if it is not there.
    pub fn open(path: &Path) -> Result<Self, CacheError> {
        let connection = match connect(path) {
            Err(error) if is_damage(&error) => put_aside(path).and_then(|()| connect(path)),
            result => result,
        };
        let connection =
            connection.map_err(|source| CacheError { verb: "open", path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    /// Makes a cache that nobody else sees and that goes with this process: for who cannot open the usual one.
    pub fn nowhere() -> Self {
        let connection = connect_nowhere().expect("because memory is all that it takes");
        Self { path: PathBuf::from(":memory:"), connection: Mutex::new(connection) }
    }

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
            // Once a minute is enough for a sweep by age, and spares a write for every hit.
            if now - used > 60 {
                connection
                    .prepare_cached("UPDATE record SET used = ?2 WHERE key = ?1")?
                    .execute(params![&key.as_bytes()[..], now])?;
                if let Some(layer) = &record {
                    usage::count_use(connection, &layer.descriptor.digest)?;
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

    /// Returns the chunks of the layer that this definition led to last, whatever went into it then.
    pub fn last(&self, definition: &Key) -> Result<Option<ChunkIndex>, CacheError> {
        self.with("read", |connection| {
            let packed: Option<Vec<u8>> = connection
                .prepare_cached("SELECT chunks FROM last WHERE definition = ?1")?
                .query_row([&definition.as_bytes()[..]], |row| row.get(0))
                .optional()?;
            // One that rotted or is of another engine is of no use, and is replaced soon.
            Ok(packed.and_then(|packed| ChunkIndex::from_bytes(&packed).ok()))
        })
    }

    /// Notes the chunks of the layer that this definition led to.
    pub fn put_last(&self, definition: &Key, chunks: &ChunkIndex, now: i64) -> Result<(), CacheError> {
        self.with("write", |connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO last (definition, chunks, used) VALUES (?1, ?2, ?3)")?
                .execute(params![&definition.as_bytes()[..], chunks.to_bytes(), now])
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

    /// Forgets records that were not of use since `since`; returns how many.
    pub fn forget_before(&self, since: i64) -> Result<usize, CacheError> {
        self.with("write", |connection| {
            connection.execute("DELETE FROM last WHERE used < ?1", [since])?;
            connection.execute("DELETE FROM download WHERE used < ?1", [since])?;
            connection.execute("DELETE FROM record WHERE used < ?1", [since])
        })
    }

    /// Returns how many records there are.
    pub fn count(&self) -> Result<usize, CacheError> {
        self.with("read", |connection| {
            let number: u32 = connection.query_row("SELECT count(*) FROM record", [], |row| row.get(0))?;
            Ok(number as usize)
        })
    }

    /// Works with the database. One that turns out to be damaged is put aside, and a new one asked.
    pub(super) fn with<T>(
        &self,
        verb: &'static str,
        work: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, CacheError> {
        // A thread that panicked in here left no transaction open: it was rolled back.
        let mut connection = self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let done = match work(&connection) {
            Err(error) if is_damage(&error) => {
                // Another thread or process may have done so already; then its new one goes too, at worst.
                put_aside(&self.path).and_then(|()| connect(&self.path)).and_then(|new| {
                    *connection = new;
                    work(&connection)
                })
            }
            done => done,
        };
        done.map_err(|source| CacheError { verb, path: self.path.clone(), source })
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
mod tests {
    use oxbox_layers::compress::Compression;
    use oxbox_layers::layer::{Layer, LayerWriter};
    use oxbox_layers::oci::{Descriptor, DiffId, Digest, MediaType};
    use oxbox_layers::store::Memory;
    use oxbox_layers::tar::{Entry, Kind};

    use super::Cache;
    use crate::solve::KeyHasher;

    fn layer(content: &[u8]) -> Layer {
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
    fn a_file_that_is_no_database_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.db");
        std::fs::write(&path, "garbage, and more than a header of it".repeat(100)).unwrap();
        let cache = Cache::open(&path).unwrap();
        assert_eq!(cache.get(&KeyHasher::new("run").finish(), 100).unwrap(), None);
        assert!(folder.path().join("cache.db.damaged").exists());
    }

    #[test]
    fn a_database_that_turns_out_to_be_damaged_is_put_aside_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.db");
        let key = KeyHasher::new("run").finish();
        let cache = Cache::open(&path).unwrap();
        cache.put(&key, &layer(b"a"), 100).unwrap();
        drop(cache);
        // All but the first page, which says what there is.
        let mut bytes = std::fs::read(&path).unwrap();
        assert!(bytes.len() > 8192);
        bytes[4096..].fill(0xa5);
        std::fs::write(&path, bytes).unwrap();
        let cache = Cache::open(&path).unwrap();
        assert_eq!(cache.get(&key, 100).unwrap(), None);
        assert!(folder.path().join("cache.db.damaged").exists());
        cache.put(&key, &layer(b"a"), 100).unwrap();
        assert_eq!(Cache::open(&path).unwrap().get(&key, 100).unwrap(), Some(layer(b"a")));
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
    fn the_chunks_of_a_definition_are_the_last_ones_until_they_are_old() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("cache.db")).unwrap();
        let (definition, other) = (KeyHasher::new("a").finish(), KeyHasher::new("b").finish());
        let chunks = |path: &str| {
            let mut writer = LayerWriter::splicing(&Memory::new(), Compression::GZIP, 1, None).unwrap();
            writer.append(&Entry::new(path, Kind::Directory, 0o755), &mut std::io::empty()).unwrap();
            writer.finish_noted().unwrap().chunks.unwrap()
        };
        cache.put_last(&definition, &chunks("first"), 100).unwrap();
        cache.put_last(&definition, &chunks("second"), 100).unwrap();
        assert_eq!(cache.last(&definition).unwrap(), Some(chunks("second")));
        assert_eq!(cache.last(&other).unwrap(), None);
        cache.forget_before(101).unwrap();
        assert_eq!(cache.last(&definition).unwrap(), None);
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
