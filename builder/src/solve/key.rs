//! Cache keys: what decides whether something was made before.
//!
//! ```text
//! key = blake3( "oxbox vertex 2" ‖ field ‖ field ‖ … )      field = len(name) name len(value) value
//! ```
//!
//! Every field is framed by its length, so that no two different lists of fields share bytes: keys that
//! are joined with a separator collide as soon as a value holds it.

use std::fmt;
use std::str::FromStr;

use oxbox_layers::compress::Compression;
use serde::{Deserialize, Serialize};

/// Changes whenever a vertex would be made differently from the same fields.
const VERSION: &[u8] = b"oxbox vertex 2";

/// The key of one vertex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key([u8; 32]);

impl Key {
    /// Returns the bytes that the cache stores.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns its first half as 32 hexadecimal digits, for names of files.
    pub fn name(&self) -> String {
        self.to_string().chars().take(32).collect()
    }
}

impl Key {
    /// Returns the key of the same layer in a certain compression.
    pub fn compressed(&self, compression: Compression) -> Self {
        let mut hasher = KeyHasher::new("compressed");
        hasher.field("layer", self.0).field("compression", format!("{compression:?}"));
        hasher.finish()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// 64 lowercase hexadecimal digits.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

/// A text is no key.
#[derive(Debug, thiserror::Error)]
#[error("not 64 hexadecimal digits")]
pub struct NotAKey;

impl FromStr for Key {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        Ok(Self(*blake3::Hash::from_hex(text).map_err(|_| NotAKey)?.as_bytes()))
    }
}

impl TryFrom<String> for Key {
    type Error = NotAKey;

    fn try_from(text: String) -> Result<Self, NotAKey> {
        text.parse()
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.to_string()
    }
}

/// A key under way.
pub struct KeyHasher(blake3::Hasher);

impl KeyHasher {
    /// Starts a key of this kind: `run`, `copy`, …
    pub fn new(kind: &str) -> Self {
        let mut hasher = Self(blake3::Hasher::new());
        hasher.field("version", VERSION);
        hasher.field("kind", kind);
        hasher
    }

    /// Adds a field.
    pub fn field(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.frame(name.as_bytes());
        self.frame(value.as_ref());
        self
    }

    /// Adds a field whose value comes in parts, which must be as long as was said.
    pub(super) fn long_field(&mut self, name: &str, length: usize) -> impl FnMut(&[u8]) {
        self.frame(name.as_bytes());
        self.0.update(&(length as u64).to_le_bytes());
        |part| _ = self.0.update(part)
    }

    /// Adds a list: its length, then its items.
    pub fn list<T: AsRef<[u8]>>(&mut self, name: &str, items: impl ExactSizeIterator<Item = T>) -> &mut Self {
        self.frame(name.as_bytes());
        self.frame(&items.len().to_le_bytes());
        for item in items {
            self.frame(item.as_ref());
        }
        self
    }

    /// Returns the key of all fields.
    pub fn finish(&self) -> Key {
        Key(*self.0.finalize().as_bytes())
    }

    fn frame(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::KeyHasher;

    #[test]
    fn a_border_between_values_counts() {
        let key = |first: &str, second: &str| {
            KeyHasher::new("run").field("args", first).field("args", second).finish()
        };
        assert_ne!(key("ab", "c"), key("a", "bc"));
    }

    #[test]
    fn a_list_is_not_its_items_as_fields_of_another_list() {
        let key = |lists: &[&[&str]]| {
            let mut hasher = KeyHasher::new("run");
            for list in lists {
                hasher.list("l", list.iter());
            }
            hasher.finish()
        };
        assert_ne!(key(&[&["a", "b"]]), key(&[&["a"], &["b"]]));
        assert_ne!(key(&[&["a"], &[]]), key(&[&[], &["a"]]));
    }

    #[test]
    fn the_kind_counts() {
        assert_ne!(KeyHasher::new("run").finish(), KeyHasher::new("copy").finish());
    }
}
