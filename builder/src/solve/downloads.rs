//! What was downloaded before, and how its server knows it again.
//!
//! ```text
//! cache.db: download(source → digest, etag, last_modified, used)     source: an address, or what a checksum promises
//! ```
//!
//! A note is a hint: it only leads to the key of a layer, which is sealed, and a digest that rotted
//! leads nowhere.

use oxbox_layers::oci::Digest;
use rusqlite::{OptionalExtension as _, params};

use super::{Cache, CacheError, Key};
use crate::fetch::Validators;

pub(super) const SCHEMA: &str = "
    DROP TABLE IF EXISTS download;
    CREATE TABLE download (
        source BLOB PRIMARY KEY, digest TEXT NOT NULL, etag TEXT, last_modified TEXT, used INTEGER NOT NULL
    ) WITHOUT ROWID;";

/// A body that came once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Of the body.
    pub digest: Digest,
    /// What the server said of it.
    pub validators: Validators,
}

impl Cache {
    /// Returns what came from a source last.
    pub fn download(&self, source: &Key) -> Result<Option<Download>, CacheError> {
        self.with("read", |connection| {
            let row = connection
                .prepare_cached("SELECT digest, etag, last_modified FROM download WHERE source = ?1")?
                .query_row([&source.as_bytes()[..]], |row| {
                    let validators = Validators { etag: row.get(1)?, last_modified: row.get(2)? };
                    Ok((row.get::<_, String>(0)?, validators))
                })
                .optional()?;
            Ok(row
                .and_then(|(digest, validators)| Some(Download { digest: digest.parse().ok()?, validators })))
        })
    }

    /// Notes what came from a source.
    pub fn put_download(&self, source: &Key, download: &Download, now: i64) -> Result<(), CacheError> {
        let Download { digest, validators: Validators { etag, last_modified } } = download;
        self.with("write", |connection| {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO download (source, digest, etag, last_modified, used) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![&source.as_bytes()[..], digest.to_string(), etag, last_modified, now])
                .map(drop)
        })
    }
}

#[cfg(test)]
mod tests {
    use oxbox_layers::oci::Digest;

    use super::{Cache, Download};
    use crate::fetch::Validators;
    use crate::solve::KeyHasher;

    #[test]
    fn the_last_download_of_a_source_is_known_until_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("cache.db")).unwrap();
        let source = KeyHasher::new("url").finish();
        assert_eq!(cache.download(&source).unwrap(), None);
        for etag in [Some("\"1\"".to_owned()), None] {
            let validators = Validators { etag, last_modified: None };
            let download = Download { digest: Digest::sha256(b"x"), validators };
            cache.put_download(&source, &download, 100).unwrap();
            assert_eq!(cache.download(&source).unwrap(), Some(download));
        }
        cache.forget_before(101).unwrap();
        assert_eq!(cache.download(&source).unwrap(), None);
    }
}
