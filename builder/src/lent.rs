//! What the caller lends to the programs of a build: secrets, and sockets of SSH agents.
//!
//! ```text
//! --secret id=token,src=FILE   ─▶ Secrets  token  ─▶ RUN --mount=type=secret,id=token
//! --ssh default                ─▶ Agents   default ─▶ RUN --mount=type=ssh
//! ```
//!
//! Some secrets are credentials for what comes from elsewhere: `authorization`.
//!
//! Nothing of a secret is ever shown, written to the state, or part of a key: a layer that was made with one
//! secret is as good as with another, as in BuildKit.

mod authorization;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use authorization::HeaderError;

/// Bytes that no `Debug` shows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The largest secret, BuildKit's own limit: more is a file for a bind mount.
    pub const MAX_BYTES: usize = 500 << 10;

    /// Takes bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Returns the bytes, for what must have them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Secrets by their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, Secret>);

impl Secrets {
    /// Returns a secret, if there is one of that id.
    pub fn get(&self, id: &str) -> Option<&Secret> {
        self.0.get(id)
    }
}

impl FromIterator<(String, Secret)> for Secrets {
    fn from_iter<T: IntoIterator<Item = (String, Secret)>>(secrets: T) -> Self {
        Self(secrets.into_iter().collect())
    }
}

/// Sockets of SSH agents by their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Agents(BTreeMap<String, PathBuf>);

impl Agents {
    /// Returns where the agent of that id listens, if there is one.
    pub fn get(&self, id: &str) -> Option<&Path> {
        self.0.get(id).map(PathBuf::as_path)
    }

    /// Returns the agent that is taken where nobody says which, if it was lent.
    pub fn usual(&self) -> Option<&Path> {
        self.get("default")
    }
}

impl FromIterator<(String, PathBuf)> for Agents {
    fn from_iter<T: IntoIterator<Item = (String, PathBuf)>>(agents: T) -> Self {
        Self(agents.into_iter().collect())
    }
}

/// All that a caller lends, for who needs both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lent {
    /// Secrets by id.
    pub secrets: Secrets,
    /// SSH agents by id.
    pub agents: Agents,
}

#[cfg(test)]
mod tests {
    use super::{Secret, Secrets};

    #[test]
    fn a_secret_is_not_shown() {
        let secrets: Secrets = [("id".to_owned(), Secret::new("hunter2"))].into_iter().collect();
        let shown = format!("{secrets:?} {:#?}", secrets.get("id"));
        assert!(shown.contains("id") && !shown.contains("hunter2") && !shown.contains("104"), "{shown}");
        assert_eq!(secrets.get("id").unwrap().expose(), b"hunter2");
    }
}
