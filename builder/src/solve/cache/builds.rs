//! The last builds and why they did what they did.
//!
//! ```text
//! build(id, manifest, made, last, times, packed)      packed = deflate(the explanation as JSON)
//! ```
//!
//! A build in which nothing had to be made is not noted beside the one that made the same image: that one
//! is the answer to why the image is what it is. It only counts how often it was met.

use rusqlite::{OptionalExtension as _, params};

use super::{Cache, CacheError};

pub(super) const SCHEMA: &str = "
    DROP TABLE IF EXISTS build;
    CREATE TABLE build (
        id INTEGER PRIMARY KEY AUTOINCREMENT, manifest TEXT NOT NULL, made INTEGER NOT NULL,
        last INTEGER NOT NULL, times INTEGER NOT NULL, turn INTEGER NOT NULL, packed BLOB NOT NULL
    );
    CREATE INDEX build_manifest ON build (manifest);";

/// Builds that are kept: a day's work. Each takes some kilobytes.
const MAX_BUILDS: i64 = 50;

/// A build that is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRow {
    /// Digest of what came out.
    pub manifest: String,
    /// When it was made, in seconds since 1970.
    pub made: i64,
    /// When the same was built last.
    pub last: i64,
    /// How often nothing had to be made for it since.
    pub times: i64,
    /// Why it did what it did.
    pub packed: Vec<u8>,
}

/// Whether a build made anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// It did.
    Something,
    /// All of it was known.
    Nothing,
}

impl Cache {
    /// Notes a build.
    pub fn put_build(&self, manifest: &str, packed: &[u8], made: Made, now: i64) -> Result<(), CacheError> {
        self.with("write", |connection| {
            let turn: i64 = connection
                .prepare_cached("SELECT coalesce(max(turn), 0) + 1 FROM build")?
                .query_row([], |row| row.get(0))?;
            let known: Option<i64> = connection
                .prepare_cached("SELECT id FROM build WHERE manifest = ?1 ORDER BY turn DESC LIMIT 1")?
                .query_row([manifest], |row| row.get(0))
                .optional()?;
            if let (Some(id), Made::Nothing) = (known, made) {
                return connection
                    .prepare_cached("UPDATE build SET last = ?2, times = times + 1, turn = ?3 WHERE id = ?1")?
                    .execute([id, now, turn])
                    .map(drop);
            }
            connection
                .prepare_cached("INSERT INTO build (manifest, made, last, times, turn, packed) VALUES (?1, ?2, ?2, 0, ?3, ?4)")?
                .execute(params![manifest, now, turn, packed])?;
            connection
                .prepare_cached("DELETE FROM build WHERE id NOT IN (SELECT id FROM build ORDER BY turn DESC LIMIT ?1)")?
                .execute([MAX_BUILDS])
                .map(drop)
        })
    }

    /// Returns the builds that are remembered, the last one first.
    pub fn builds(&self) -> Result<Vec<BuildRow>, CacheError> {
        self.with("read", |connection| {
            let mut statement = connection
                .prepare_cached("SELECT manifest, made, last, times, packed FROM build ORDER BY turn DESC")?;
            let rows = statement.query_map([], |row| {
                Ok(BuildRow {
                    manifest: row.get(0)?,
                    made: row.get(1)?,
                    last: row.get(2)?,
                    times: row.get(3)?,
                    packed: row.get(4)?,
                })
            })?;
            rows.collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cache;
    use super::{MAX_BUILDS, Made};

    #[test]
    fn a_build_that_made_nothing_counts_for_the_one_that_did() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("cache.db")).unwrap();
        cache.put_build("a", b"first", Made::Something, 1).unwrap();
        cache.put_build("b", b"second", Made::Nothing, 2).unwrap();
        cache.put_build("a", b"third", Made::Nothing, 3).unwrap();
        let builds = cache.builds().unwrap();
        let told: Vec<_> =
            builds.iter().map(|row| (&row.packed[..], row.made, row.last, row.times)).collect();
        assert_eq!(told, [(&b"first"[..], 1, 3, 1), (b"second", 2, 2, 0)]);
    }

    #[test]
    fn the_last_builds_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("cache.db")).unwrap();
        for number in 0..MAX_BUILDS + 5 {
            cache.put_build(&number.to_string(), b"", Made::Something, number).unwrap();
        }
        let builds = cache.builds().unwrap();
        assert_eq!(builds.len() as i64, MAX_BUILDS);
        assert_eq!(builds[0].manifest, (MAX_BUILDS + 4).to_string());
    }
}
