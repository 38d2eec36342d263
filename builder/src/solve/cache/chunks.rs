//! The chunks of the layer that an instruction led to last, for the next one to take over.
//!
//! ```text
//! last(definition → chunks, used)
//! ```

use oxbox_layers::compress::ChunkIndex;
use rusqlite::{OptionalExtension as _, params};

use super::{Cache, CacheError};
use crate::solve::Key;

pub(super) const SCHEMA: &str = "
    DROP TABLE IF EXISTS last;
    CREATE TABLE last (definition BLOB PRIMARY KEY, chunks BLOB NOT NULL, used INTEGER NOT NULL);";

impl Cache {
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
}

#[cfg(test)]
mod tests {
    use oxbox_layers::compress::Compression;
    use oxbox_layers::layer::LayerWriter;
    use oxbox_layers::store::Memory;
    use oxbox_layers::tar::{Entry, Kind};

    use super::super::Cache;
    use crate::solve::KeyHasher;

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
}
