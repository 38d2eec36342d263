//! Facts: what went into a step last time, to tell what changed.
//!
//! ```text
//! facts(place → definition, inputs, packed, used)
//! inputs = for each input: its definition, hex ‖ ":" ‖ its chain_id as in a derivation       between blanks
//! ```
//!
//! A row that rots tells a wrong reason, and harms nobody.

use rusqlite::{OptionalExtension as _, params};

use super::{Cache, CacheError};
use crate::solve::Key;

pub(super) const SCHEMA: &str = "
    DROP TABLE IF EXISTS facts;
    CREATE TABLE facts (
        place BLOB PRIMARY KEY, definition BLOB NOT NULL, inputs TEXT NOT NULL, used INTEGER NOT NULL,
        packed BLOB NOT NULL
    );";

/// Places whose facts are kept: those of some dozens of Dockerfiles.
const MAX_PLACES: u32 = 2000;

/// What is known of a step without unpacking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactsHead {
    /// How it was defined.
    pub definition: Vec<u8>,
    /// What its inputs were.
    pub inputs: String,
}

impl Cache {
    /// Returns what the step in a place was last, in a few words.
    pub fn facts_head(&self, place: &Key, now: i64) -> Result<Option<FactsHead>, CacheError> {
        self.with("read", |connection| {
            let row = connection
                .prepare_cached("SELECT definition, inputs, used FROM facts WHERE place = ?1")?
                .query_row([&place.as_bytes()[..]], |row| {
                    let head = FactsHead { definition: row.get(0)?, inputs: row.get(1)? };
                    Ok((head, row.get::<_, i64>(2)?))
                })
                .optional()?;
            let Some((head, used)) = row else { return Ok(None) };
            if now - used > super::NOTED_EVERY {
                connection
                    .prepare_cached("UPDATE facts SET used = ?2 WHERE place = ?1")?
                    .execute(params![&place.as_bytes()[..], now])?;
            }
            Ok(Some(head))
        })
    }

    /// Returns all that went into the step in a place last, packed.
    pub fn facts(&self, place: &Key) -> Result<Option<Vec<u8>>, CacheError> {
        self.with("read", |connection| {
            connection
                .prepare_cached("SELECT packed FROM facts WHERE place = ?1")?
                .query_row([&place.as_bytes()[..]], |row| row.get(0))
                .optional()
        })
    }

    /// Notes what went into the step in a place.
    pub fn put_facts(
        &self,
        place: &Key,
        head: &FactsHead,
        packed: &[u8],
        now: i64,
    ) -> Result<(), CacheError> {
        self.with("write", |connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO facts (place, definition, inputs, packed, used) VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![&place.as_bytes()[..], head.definition, head.inputs, packed, now])
                .map(drop)
        })
    }

    /// Notes that the same went in, but that the inputs came out differently.
    pub fn put_facts_inputs(&self, place: &Key, inputs: &str) -> Result<(), CacheError> {
        self.with("write", |connection| {
            connection
                .prepare_cached("UPDATE facts SET inputs = ?2 WHERE place = ?1")?
                .execute(params![&place.as_bytes()[..], inputs])
                .map(drop)
        })
    }

    /// Forgets the facts of places that were not built for longest, beyond a fixed number.
    pub fn trim_facts(&self) -> Result<(), CacheError> {
        self.with("write", |connection| {
            let count: u32 =
                connection.prepare_cached("SELECT count(*) FROM facts")?.query_row([], |row| row.get(0))?;
            if count > MAX_PLACES {
                let sql = "DELETE FROM facts WHERE place IN (SELECT place FROM facts ORDER BY used LIMIT ?1)";
                connection.execute(sql, [count - MAX_PLACES])?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cache;
    use super::{FactsHead, MAX_PLACES};
    use crate::solve::KeyHasher;

    #[test]
    fn places_beyond_the_bound_go_oldest_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("cache.db")).unwrap();
        let place = |number: u32| KeyHasher::new("place").field("n", number.to_le_bytes()).finish();
        let head = FactsHead { definition: b"d".to_vec(), inputs: "x".to_owned() };
        for number in 0..MAX_PLACES + 2 {
            cache.put_facts(&place(number), &head, b"packed", number.into()).unwrap();
        }
        cache.trim_facts().unwrap();
        let left = |number| cache.facts(&place(number)).unwrap().is_some();
        assert_eq!([0, 1, 2, MAX_PLACES + 1].map(left), [false, false, true, true]);
        assert_eq!(cache.facts_head(&place(2), 0).unwrap(), Some(head));
    }
}
