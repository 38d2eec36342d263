//! Reading a file that must still be what its key was taken of.

use std::fs::File;
use std::io::{self, Read};

use super::listing;
use super::state::State;

/// What the read fails with that would end another content.
const CHANGED: &str = "the file changed during the build";

/// A file that must still be what its key was taken of, or the cache would hold something else under
/// that key. The read that would end another content fails.
pub(super) struct Unchanged<R, F> {
    reader: R,
    /// As [`fingerprint`] returns it.
    seen: Vec<u8>,
    hasher: blake3::Hasher,
    /// Told of another content, once.
    otherwise: Option<F>,
}

/// Returns what names a content: its blake3 hash and, for whoever reads it again, its length.
pub(super) fn fingerprint(hash: &[u8; 32], size: u64) -> Vec<u8> {
    [&hash[..], &size.to_le_bytes()[..]].concat()
}

/// Returns the hash in what [`fingerprint`] returned; nothing if it was made by somebody else.
pub(crate) fn hash(fingerprint: &[u8]) -> Option<&[u8; blake3::OUT_LEN]> {
    let (hash, rest) = fingerprint.split_first_chunk()?;
    (rest.len() == size_of::<u64>()).then_some(hash)
}

/// A file that must still be in a state that tells of every change: then it need not be hashed.
pub(super) struct Still<F> {
    file: File,
    state: State,
    /// Told of another state, once.
    otherwise: Option<F>,
}

impl<F: FnOnce()> Still<F> {
    /// Takes a file that is in a settled state.
    pub(super) fn new(file: File, state: State, otherwise: F) -> Self {
        Self { file, state, otherwise: Some(otherwise) }
    }
}

impl<F: FnOnce()> Read for Still<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        let is_end = length == 0 && !buffer.is_empty();
        if is_end && listing::state(&self.file) != Ok(self.state) {
            if let Some(otherwise) = self.otherwise.take() {
                otherwise();
            }
            return Err(io::Error::other(CHANGED));
        }
        Ok(length)
    }
}

impl<R: Read, F: FnOnce()> Unchanged<R, F> {
    pub(super) fn new(reader: R, seen: &[u8], otherwise: F) -> Self {
        let otherwise = Some(otherwise);
        Self { reader, seen: seen.to_vec(), hasher: blake3::Hasher::new(), otherwise }
    }

    fn is_whole(&self) -> bool {
        let size = self.seen.last_chunk().map_or(0, |size| u64::from_le_bytes(*size));
        self.hasher.count() >= size
    }
}

impl<R: Read, F: FnOnce()> Read for Unchanged<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        let is_end = (length == 0 && !buffer.is_empty()) || (length > 0 && self.is_whole());
        if is_end && !self.seen.starts_with(self.hasher.finalize().as_bytes()) {
            if let Some(otherwise) = self.otherwise.take() {
                otherwise();
            }
            return Err(io::Error::other(CHANGED));
        }
        Ok(length)
    }
}
