//! Content that is checked while it is read: of a disk, a network or an archive that is not trusted.

use std::io::{self, Read};

use bytes::Bytes;

use super::{BlobStore, Committed, StoreError};
use crate::oci::raw::MAX_DOCUMENT_BYTES;
use crate::oci::{Descriptor, Digest, Document, DocumentError, Hasher};

/// A reader that fails unless what it reads is what was promised.
///
/// The read that would hand out the last promised bytes fails instead if the digest is wrong, and so
/// does any read of bytes beyond the promised size, or the end before it. Whoever reads exactly the
/// promised size has therefore had it checked, but for bytes that follow; those who read to the end
/// have had those refused too. Earlier bytes have been handed out by then: act on none of them before.
///
/// Errors are of kind [`io::ErrorKind::InvalidData`] and carry a [`StoreError::Mismatch`].
pub struct Verified<R> {
    reader: R,
    expected: Committed,
    hasher: Hasher,
    size: u64,
    checked: bool,
}

impl<R: Read> Verified<R> {
    /// Checks what `reader` yields from here on.
    pub fn new(reader: R, expected: impl Into<Committed>) -> Self {
        let expected = expected.into();
        let hasher = Hasher::new(expected.digest.algorithm());
        Self { reader, expected, hasher, size: 0, checked: false }
    }

    /// Returns the reader.
    pub fn into_inner(self) -> R {
        self.reader
    }

    /// Compares what was read with what was promised, once.
    fn check(&mut self) -> io::Result<()> {
        if !self.checked {
            let actual = Committed { digest: self.hasher.clone().finish(), size: self.size };
            actual.check(&self.expected).map_err(invalid)?;
            self.checked = true;
        }
        Ok(())
    }
}

fn invalid(error: StoreError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let taken = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..taken]);
        self.size += taken as u64;
        if self.size > self.expected.size {
            self.checked = false;
        }
        if taken == 0 || self.size >= self.expected.size {
            self.check()?;
        }
        Ok(taken)
    }
}

/// Why a blob could not be read whole.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The blob is not in the store.
    #[error("blob {digest} is not in the store")]
    Missing {
        /// What was asked for.
        digest: Digest,
    },
    /// The blob is larger than is read into memory.
    #[error("blob {digest} has {size} bytes of {limit} allowed")]
    TooLarge {
        /// What was asked for.
        digest: Digest,
        /// Its promised size.
        size: u64,
        /// What the caller allows.
        limit: u64,
    },
    /// The content is damaged, or could not be read.
    #[error("cannot read blob {digest}")]
    Content {
        /// What was asked for.
        digest: Digest,
        /// What came instead: a [`StoreError::Mismatch`] within, if it is damaged.
        #[source]
        source: io::Error,
    },
    /// The content is what was promised, but no document.
    #[error("blob {digest} is no manifest or index")]
    Document {
        /// What was asked for.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: DocumentError,
    },
    /// The store could not open the blob.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads and verifies a blob into memory, `limit` bytes at most.
///
/// # Errors
///
/// [`ReadError::Missing`], and [`ReadError::Content`] if the store holds other bytes.
pub fn read_small(store: &dyn BlobStore, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, ReadError> {
    let Descriptor { digest, size, .. } = *descriptor;
    if size > limit {
        return Err(ReadError::TooLarge { digest, size, limit });
    }
    let blob = store.open(&digest)?.ok_or(ReadError::Missing { digest })?;
    // Only as much as is there: the promise alone must not make us allocate.
    let mut content = Vec::with_capacity(blob.size().min(size) as usize);
    Verified::new(blob, descriptor)
        .read_to_end(&mut content)
        .map_err(|source| ReadError::Content { digest, source })?;
    Ok(content)
}

/// Reads, verifies and parses a manifest or an index.
///
/// # Errors
///
/// Those of [`read_small`], and [`ReadError::Document`].
pub fn read_document(store: &dyn BlobStore, descriptor: &Descriptor) -> Result<Document, ReadError> {
    let content = read_small(store, descriptor, MAX_DOCUMENT_BYTES as u64)?;
    let digest = descriptor.digest;
    Document::parse_with(Bytes::from(content), Some(&descriptor.media_type), digest.algorithm())
        .map_err(|source| ReadError::Document { digest, source })
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};

    use super::{ReadError, Verified, read_small};
    use crate::oci::{Algorithm, Descriptor, Digest};
    use crate::store::{BlobStore as _, Committed, Memory};

    fn promise(content: &[u8]) -> Committed {
        Committed { digest: Digest::sha256(content), size: content.len() as u64 }
    }

    fn kind(result: io::Result<usize>) -> io::ErrorKind {
        result.unwrap_err().kind()
    }

    #[test]
    fn honest_content_is_read_to_its_end() {
        let mut content = Vec::new();
        Verified::new(&b"honest"[..], promise(b"honest")).read_to_end(&mut content).unwrap();
        assert_eq!(content, b"honest");
    }

    #[test]
    fn the_read_that_completes_damaged_content_fails() {
        let mut reader = Verified::new(&b"damaged"[..], promise(b"perfect"));
        let mut content = [0; 7];
        reader.read_exact(&mut content[..6]).unwrap();
        assert_eq!(kind(reader.read(&mut content)), io::ErrorKind::InvalidData);
    }

    #[test]
    fn content_that_ends_early_fails_at_its_end() {
        let error = Verified::new(&b"hon"[..], promise(b"honest")).read_to_end(&mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("(3 bytes)"), "{error}");
    }

    #[test]
    fn content_that_goes_on_is_refused() {
        let mut reader = Verified::new(&b"honest and more"[..], promise(b"honest"));
        assert_eq!(kind(reader.read_to_end(&mut Vec::new())), io::ErrorKind::InvalidData);
    }

    #[test]
    fn bytes_after_a_checked_end_are_refused() {
        let mut reader = Verified::new(&b"honest+"[..], promise(b"honest"));
        reader.read_exact(&mut [0; 6]).unwrap();
        assert_eq!(kind(reader.read(&mut [0; 1])), io::ErrorKind::InvalidData);
    }

    #[test]
    fn empty_content_is_checked_too() {
        assert_eq!(Verified::new(io::empty(), promise(b"")).read(&mut [0; 1]).unwrap(), 0);
        let other = Committed { digest: Digest::sha256(b"x"), size: 0 };
        assert_eq!(kind(Verified::new(io::empty(), other).read(&mut [0; 1])), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_promise_beyond_the_limit_is_refused_unread() {
        let descriptor = Descriptor::new("a/b", Digest::sha256(b""), 5);
        let result = read_small(&Memory::new(), &descriptor, 4);
        assert!(matches!(result, Err(ReadError::TooLarge { size: 5, limit: 4, .. })));
    }

    #[test]
    fn a_false_size_is_refused() {
        let store = Memory::new();
        let mut writer = store.writer(Algorithm::Sha256).unwrap();
        io::Write::write_all(&mut writer, b"four").unwrap();
        let committed = writer.commit().unwrap();
        for size in [0, 3, 5] {
            let descriptor = Descriptor::new("a/b", committed.digest, size);
            assert!(matches!(read_small(&store, &descriptor, 9), Err(ReadError::Content { .. })), "{size}");
        }
    }
}
