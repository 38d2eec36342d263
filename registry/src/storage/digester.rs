//! A hash under way that can be put down and taken up again, by another process too.
//!
//! ```text
//! saved: "sha256/sha2-0.11:" ++ state as the sha2 crate serialises it (about 110 or 210 bytes)
//! ```
//!
//! The crate promises that its states read back within one minor version, so the saved form names
//! it. What cannot be read back is no loss: the bytes are on disk and are hashed once more.

use oxbox_layers::oci::{Algorithm, Digest};
use sha2::Digest as _;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};

/// Which crate wrote a state. Changes together with its minor version in the workspace table.
const FORMAT: &str = "sha2-0.11:";

/// A running hash.
#[derive(Clone)]
pub enum Digester {
    /// SHA-256.
    Sha256(sha2::Sha256),
    /// SHA-512.
    Sha512(sha2::Sha512),
}

impl Digester {
    /// Starts a hash.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(sha2::Sha512::new()),
        }
    }

    /// Returns which hash this is.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(state) => state.update(bytes),
            Self::Sha512(state) => state.update(bytes),
        }
    }

    /// Returns the digest of all bytes taken.
    pub fn finish(self) -> Digest {
        let (algorithm, hash) = match self {
            Self::Sha256(state) => (Algorithm::Sha256, state.finalize().to_vec()),
            Self::Sha512(state) => (Algorithm::Sha512, state.finalize().to_vec()),
        };
        Digest::from_hash(algorithm, &hash).expect("because a hash function's output has its own length")
    }

    /// Returns the saved form.
    pub fn save(&self) -> Vec<u8> {
        let state = match self {
            Self::Sha256(state) => state.serialize().to_vec(),
            Self::Sha512(state) => state.serialize().to_vec(),
        };
        [self.prefix().into_bytes(), state].concat()
    }

    /// Reads a saved form; `None` if another version wrote it.
    pub fn load(algorithm: Algorithm, saved: &[u8]) -> Option<Self> {
        let fresh = Self::new(algorithm);
        let state = saved.strip_prefix(fresh.prefix().as_bytes())?;
        match algorithm {
            Algorithm::Sha256 => restore(state).map(Self::Sha256),
            Algorithm::Sha512 => restore(state).map(Self::Sha512),
        }
    }

    fn prefix(&self) -> String {
        format!("{}/{FORMAT}", self.algorithm().name())
    }
}

fn restore<H: SerializableState>(state: &[u8]) -> Option<H> {
    let state = <&SerializedState<H>>::try_from(state).ok()?;
    H::deserialize(state).ok()
}

impl std::fmt::Debug for Digester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Digester({})", self.algorithm().name())
    }
}

#[cfg(test)]
mod tests {
    use oxbox_layers::oci::{Algorithm, Digest};
    use proptest::prelude::*;

    use super::Digester;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_hash_put_down_anywhere_and_taken_up_is_the_hash_of_the_whole(
            bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 0_usize..400,
        ) {
            let (head, tail) = bytes.split_at(at.min(bytes.len()));
            for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                let mut first = Digester::new(algorithm);
                first.update(head);
                let mut second = Digester::load(algorithm, &first.save()).unwrap();
                second.update(tail);
                prop_assert_eq!(second.finish(), Digest::of(algorithm, &bytes));
            }
        }
    }

    #[test]
    fn a_state_of_another_version_or_hash_is_not_taken_up() {
        let saved = Digester::new(Algorithm::Sha256).save();
        assert!(Digester::load(Algorithm::Sha512, &saved).is_none());
        assert!(Digester::load(Algorithm::Sha256, &saved[1..]).is_none());
        assert!(Digester::load(Algorithm::Sha256, &saved[..saved.len() - 1]).is_none());
        assert!(Digester::load(Algorithm::Sha256, b"").is_none());
    }
}
