//! Digests: the name of bytes.
//!
//! ```text
//! sha256:<64 lowercase hex>      sha512:<128 lowercase hex>
//! ```
//!
//! A [`Digest`] names stored bytes, a [`DiffId`] an uncompressed layer tar, a [`ChainId`] a stack of
//! them. They are three types, because mixing them up is how layers get lost.
//!
//! image-spec v1.1.1, descriptor.md#digests and config.md#layer-chainid

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

/// The hash functions a digest may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, which everybody writes.
    Sha256,
    /// SHA-512, which everybody must be able to read.
    Sha512,
}

impl Algorithm {
    /// Returns the spelling before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns how many bytes the hash has.
    pub fn hash_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Reads the spelling before the colon.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "sha256" => Some(Self::Sha256),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }
}

/// The name of a run of bytes, by a hash of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    // SHA-256 fills the first half; the rest stays zero so that the derived comparisons hold.
    bytes: [u8; 64],
}

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no `algorithm:` before the hex.
    #[error("{text:?} is not a digest: no algorithm before a colon")]
    NoAlgorithm {
        /// What was read, cut.
        text: String,
    },
    /// The algorithm is none that this program computes.
    #[error("digest algorithm {algorithm:?} is not known (sha256 and sha512 are)")]
    UnknownAlgorithm {
        /// What stood before the colon, cut.
        algorithm: String,
    },
    /// The hash has another length than the algorithm's.
    #[error("a {algorithm} digest has {expected} hex digits, not {actual}")]
    Length {
        /// Spelling of the algorithm.
        algorithm: &'static str,
        /// Hex digits that the algorithm has.
        expected: usize,
        /// Hex digits that were read.
        actual: usize,
    },
    /// A character is not lowercase hex. Uppercase is an error (descriptor.md#digests).
    #[error("digest {text:?} holds a character that is not lowercase hex")]
    NotLowercaseHex {
        /// What was read.
        text: String,
    },
}

impl Digest {
    /// Returns the digest of `bytes`.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Returns the SHA-256 digest of `bytes`.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self::of(Algorithm::Sha256, bytes)
    }

    /// Returns the digest whose hash is already known; `None` if its length is not the algorithm's.
    pub fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Option<Self> {
        let mut bytes = [0; 64];
        let end = algorithm.hash_bytes();
        (hash.len() == end).then(|| {
            bytes[..end].copy_from_slice(hash);
            Self { algorithm, bytes }
        })
    }

    /// Returns the hash function.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the hash itself, 32 or 64 bytes.
    pub fn hash(&self) -> &[u8] {
        &self.bytes[..self.algorithm.hash_bytes()]
    }

    /// Returns the lowercase hex after the colon.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = String::with_capacity(self.hash().len() * 2);
        for byte in self.hash() {
            hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
            hex.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        hex
    }

    /// Returns the first twelve hex digits: for people, never for a key.
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let Some((name, hex)) = text.split_once(':') else {
            return Err(DigestError::NoAlgorithm { text: cut(text) });
        };
        let Some(algorithm) = Algorithm::from_name(name) else {
            return Err(DigestError::UnknownAlgorithm { algorithm: cut(name) });
        };
        let expected = algorithm.hash_bytes() * 2;
        if hex.len() != expected {
            return Err(DigestError::Length { algorithm: algorithm.name(), expected, actual: hex.len() });
        }
        let mut bytes = [0; 64];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else {
                return Err(DigestError::NotLowercaseHex { text: cut(text) });
            };
            *byte = high << 4 | low;
        }
        Ok(Self { algorithm, bytes })
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Text from outside, short enough for an error line.
fn cut(text: &str) -> String {
    text.chars().take(160).collect()
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A hash under way; also a [`io::Write`] that keeps nothing.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// Starts a hash.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
        })
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// Returns the digest of all bytes taken.
    pub fn finish(self) -> Digest {
        let (algorithm, hash) = match self.0 {
            State::Sha256(state) => (Algorithm::Sha256, state.finalize().to_vec()),
            State::Sha512(state) => (Algorithm::Sha512, state.finalize().to_vec()),
        };
        Digest::from_hash(algorithm, &hash).expect("because a hash function's output has its own length")
    }
}

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The digest of a layer's uncompressed tar, as `rootfs.diff_ids` lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a stack of layers: what the tree is once they are applied in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

impl ChainId {
    /// Returns the chain_id of a stack, bottom first; `None` for no layers.
    ///
    /// `ChainID(L0) = DiffID(L0)`, `ChainID(L0|…|Ln) = Digest(ChainID(L0|…|Ln-1) + " " + DiffID(Ln))`.
    pub fn of(diff_ids: &[DiffId]) -> Option<Self> {
        let (first, rest) = diff_ids.split_first()?;
        Some(rest.iter().fold(Self(first.0), |below, diff_id| below.then(diff_id)))
    }

    /// Returns the chain_id with one more layer on top.
    pub fn then(&self, diff_id: &DiffId) -> Self {
        Self(Digest::sha256(format!("{} {}", self.0, diff_id.0).as_bytes()))
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, ChainId, DiffId, Digest, DigestError, Hasher};

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing_is_the_published_one() {
        assert_eq!(Digest::sha256(b"").to_string(), EMPTY);
    }

    #[test]
    fn what_is_printed_parses_back() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let digest = Digest::of(algorithm, b"oxbox");
            assert_eq!(digest.to_string().parse(), Ok(digest));
        }
    }

    #[test]
    fn uppercase_hex_is_refused() {
        let text = EMPTY.to_uppercase().replace("SHA256", "sha256");
        assert_eq!(text.parse::<Digest>(), Err(DigestError::NotLowercaseHex { text }));
    }

    #[test]
    fn a_short_hash_says_both_lengths() {
        assert_eq!(
            "sha256:abc".parse::<Digest>(),
            Err(DigestError::Length { algorithm: "sha256", expected: 64, actual: 3 })
        );
    }

    #[test]
    fn another_algorithm_is_refused_by_name() {
        let error = "md5:d41d8cd98f00b204e9800998ecf8427e".parse::<Digest>().unwrap_err();
        assert_eq!(error, DigestError::UnknownAlgorithm { algorithm: "md5".to_owned() });
    }

    #[test]
    fn a_hash_in_pieces_is_the_hash_of_the_whole() {
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"ox");
        hasher.update(b"box");
        assert_eq!(hasher.finish(), Digest::of(Algorithm::Sha512, b"oxbox"));
    }

    #[test]
    fn the_chain_of_one_layer_is_its_diff_id() {
        let diff_id = DiffId(Digest::sha256(b"a"));
        assert_eq!(ChainId::of(&[diff_id]), Some(ChainId(diff_id.0)));
        assert_eq!(ChainId::of(&[]), None);
    }

    #[test]
    fn a_chain_hashes_the_printed_digests_with_one_space() {
        let (a, b) = (DiffId(Digest::sha256(b"a")), DiffId(Digest::sha256(b"b")));
        let expected = Digest::sha256(format!("{a} {b}").as_bytes());
        assert_eq!(ChainId::of(&[a, b]), Some(ChainId(expected)));
    }
}
