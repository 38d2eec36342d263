//! Derivations: which content key a definition led to, and upon what.
//!
//! ```text
//! derivation(definition → led, seal, used)
//! led = content key, hex, or "-" for no layer ‖ chain_id of what came out ‖ chain_id below
//!     ‖ chain_id of each other input …                                                  between blanks
//!       chain_id: "." for no layer at all, "?" if it was not known
//! ```
//!
//! Sealed like records, and for the same reason.

use oxbox_layers::oci::ChainId;
use rusqlite::{OptionalExtension as _, params};

use super::{Cache, CacheError};
use crate::solve::{Key, KeyHasher};

pub(super) const SCHEMA: &str = "
    DROP TABLE IF EXISTS derivation;
    CREATE TABLE derivation (
        definition BLOB PRIMARY KEY, led TEXT NOT NULL, seal BLOB NOT NULL, used INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX derivation_used ON derivation (used);";

/// What a definition led to, and upon what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derivation {
    /// The content key; `None` if there was nothing to do, and so no layer.
    pub content: Option<Key>,
    /// What came out, with what was below: the layer's record may be forgotten before this is.
    pub made: Option<ChainId>,
    /// What was below: the chain_id, or nothing.
    pub below: Option<ChainId>,
    /// What the other inputs were, in their order.
    pub others: Vec<Seen>,
}

/// What an input was when something was derived from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// This stack of layers.
    Stack(Option<ChainId>),
    /// It was not looked at: another derivation answered for it.
    Unknown,
}

impl Cache {
    /// Returns what a definition led to last.
    pub fn derivation(&self, definition: &Key, now: i64) -> Result<Option<Derivation>, CacheError> {
        self.with("read", |connection| {
            let row = connection
                .prepare_cached("SELECT led, seal, used FROM derivation WHERE definition = ?1")?
                .query_row([&definition.as_bytes()[..]], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, i64>(2)?))
                })
                .optional()?;
            let Some((led, sealed, used)) = row else { return Ok(None) };
            if seal(definition, &led)[..] != sealed[..] {
                return Ok(None);
            }
            if now - used > super::NOTED_EVERY {
                connection
                    .prepare_cached("UPDATE derivation SET used = ?2 WHERE definition = ?1")?
                    .execute(params![&definition.as_bytes()[..], now])?;
            }
            Ok(Derivation::parse(&led))
        })
    }

    /// Notes what a definition led to; an older note is replaced.
    pub fn put_derivation(
        &self,
        definition: &Key,
        derivation: &Derivation,
        now: i64,
    ) -> Result<(), CacheError> {
        let led = derivation.pack();
        self.with("write", |connection| {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO derivation (definition, led, seal, used) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![&definition.as_bytes()[..], led, seal(definition, &led), now])
                .map(drop)
        })
    }
}

impl Derivation {
    /// Writes it as text.
    pub fn pack(&self) -> String {
        let chain =
            |chain: &Option<ChainId>| chain.as_ref().map_or(".".to_owned(), |chain| chain.to_string());
        let content = self.content.map_or("-".to_owned(), |key| key.to_string());
        let mut words = vec![content, chain(&self.made), chain(&self.below)];
        words.extend(self.others.iter().map(|seen| match seen {
            Seen::Stack(stack) => chain(stack),
            Seen::Unknown => "?".to_owned(),
        }));
        words.join(" ")
    }

    /// Reads what [`Derivation::pack`] wrote; `None` if it is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let chain = |word: &str| match word {
            "." => Some(None),
            word => word.parse().ok().map(|digest| Some(ChainId(digest))),
        };
        let mut words = text.split(' ');
        let content = match words.next()? {
            "-" => None,
            word => Some(word.parse().ok()?),
        };
        let made = chain(words.next()?)?;
        let below = chain(words.next()?)?;
        let others = words.map(|word| match word {
            "?" => Some(Seen::Unknown),
            word => chain(word).map(Seen::Stack),
        });
        Some(Self { content, made, below, others: others.collect::<Option<_>>()? })
    }
}

fn seal(definition: &Key, led: &str) -> [u8; 32] {
    *KeyHasher::new("derivation")
        .field("definition", definition.as_bytes())
        .field("led", led)
        .finish()
        .as_bytes()
}

#[cfg(test)]
mod tests {
    use oxbox_layers::oci::{ChainId, Digest};

    use super::super::Cache;
    use super::{Derivation, Seen};
    use crate::solve::KeyHasher;

    fn derivation() -> Derivation {
        let chain = Some(ChainId(Digest::sha256(b"x")));
        Derivation {
            content: Some(KeyHasher::new("content").finish()),
            made: Some(ChainId(Digest::sha256(b"y"))),
            below: chain,
            others: vec![Seen::Stack(None), Seen::Unknown, Seen::Stack(chain)],
        }
    }

    #[test]
    fn a_derivation_is_read_as_it_was_written() {
        let nothing = Derivation { content: None, made: None, below: None, others: Vec::new() };
        for derivation in [derivation(), nothing] {
            assert_eq!(Derivation::parse(&derivation.pack()), Some(derivation));
        }
        for text in ["", "-", "- .", "x . .", "- . . x", "- ? .", "- . ?", "- . .  ."] {
            assert_eq!(Derivation::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_derivation_that_rotted_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("cache.db")).unwrap();
        let definition = KeyHasher::new("definition").finish();
        cache.put_derivation(&definition, &derivation(), 100).unwrap();
        assert_eq!(cache.derivation(&definition, 100).unwrap(), Some(derivation()));
        cache
            .with("write", |connection| connection.execute("UPDATE derivation SET led = '- . .'", []))
            .unwrap();
        assert_eq!(cache.derivation(&definition, 100).unwrap(), None);
    }
}
