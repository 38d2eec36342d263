//! The local cache: what earlier builds led to.
//!
//! ```text
//! cache.db    records       record(key → layer)            SQLite, WAL, many processes
//!             derivations   derivation(definition → key, and upon what)
//!             chunks        last(definition → chunks)
//!             (downloads    download(source → digest, …)      beside this folder)
//!             usage         layer(digest → title, made, uses), snapshot(name → bytes)    for du and prune
//!             facts         facts(place → what went in)
//!             builds        build(manifest, explanation)
//! ```
//!
//! All of it is a hint, never the truth: a layer's blob is in the store, and a record whose blob is gone
//! is a miss. The whole file can be deleted at any time and is rebuilt by building; one that is no
//! database any more is put aside: `database`.

mod builds;
mod chunks;
mod database;
mod derivations;
mod facts;
mod records;
pub mod usage;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub use builds::{BuildRow, Made};
pub use derivations::{Derivation, Seen};
pub use facts::FactsHead;

use rusqlite::{Connection, ErrorCode, ffi};

use self::database::{connect, connect_nowhere, is_damage, put_aside};

/// Seconds after which use is noted again: enough for a sweep by age, and no write for every hit.
const NOTED_EVERY: i64 = 60;

/// Has an emptied file be as small as a new one; without, SQLite keeps its pages for later.
const SHRINK: &str = "VACUUM; PRAGMA wal_checkpoint(TRUNCATE);";

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

    /// Forgets records that were not of use since `since`; returns how many.
    pub fn forget_before(&self, since: i64) -> Result<usize, CacheError> {
        self.with("write", |connection| {
            connection.execute("DELETE FROM last WHERE used < ?1", [since])?;
            connection.execute("DELETE FROM download WHERE used < ?1", [since])?;
            connection.execute("DELETE FROM derivation WHERE used < ?1", [since])?;
            connection.execute("DELETE FROM facts WHERE used < ?1", [since])?;
            connection.execute("DELETE FROM build WHERE last < ?1", [since])?;
            connection.execute("DELETE FROM record WHERE used < ?1", [since])
        })
    }

    /// Forgets everything, and gives the disk back what that took; returns how many records that were.
    pub fn forget_all(&self) -> Result<usize, CacheError> {
        let forgotten = self.forget_before(i64::MAX)?;
        self.with("write", |connection| connection.execute_batch("DELETE FROM layer; DELETE FROM snapshot"))?;
        // Who is at work in it may keep it from shrinking; then it is for the next time.
        let shrunk = self.with("shrink", |connection| connection.execute_batch(SHRINK));
        shrunk
            .unwrap_or_else(|error| tracing::debug!(%error, source = %error.source, "the cache stays large"));
        Ok(forgotten)
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

#[cfg(test)]
mod tests {
    use super::Cache;
    use super::records::tests::layer;
    use crate::solve::KeyHasher;

    #[test]
    fn many_can_open_what_is_not_there_yet() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..30 {
            let path = folder.path().join(format!("{round}.db"));
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| drop(Cache::open(&path).unwrap()));
                }
            });
        }
    }

    #[test]
    fn a_cache_that_forgot_everything_is_as_small_as_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["new.db", "old.db"].map(|name| folder.path().join(name));
        let [new, old] = [&paths[0], &paths[1]].map(|path| Cache::open(path).unwrap());
        for number in 0..2000_u32 {
            let key = KeyHasher::new(&number.to_string()).finish();
            old.put(&key, &layer(&number.to_be_bytes()), 100).unwrap();
        }
        assert_eq!((old.forget_all().unwrap(), new.forget_all().unwrap()), (2000, 0));
        drop((new, old));
        let [new, old] = paths.map(|path| std::fs::metadata(path).unwrap().len());
        assert_eq!(old, new);
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
    fn a_file_that_is_no_database_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.db");
        std::fs::write(&path, "garbage, and more than a header of it".repeat(100)).unwrap();
        let cache = Cache::open(&path).unwrap();
        assert_eq!(cache.get(&KeyHasher::new("run").finish(), 100).unwrap(), None);
        assert!(folder.path().join("cache.db.damaged").exists());
    }
}
