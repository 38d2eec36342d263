//! Blobs read to their end, whatever is found on the way.

use std::io::{self, BufReader, Read};

use super::Problem;
use crate::compress::Decoder;
use crate::layer::MAX_TAR_BYTES;
use crate::oci::raw::MAX_DOCUMENT_BYTES;
use crate::oci::{Algorithm, Compressed, Descriptor, DiffId, Digest, Hasher};
use crate::store::Blob;
use crate::tar::{Reader, TarError};

/// 64 KiB, as elsewhere for tars.
const READ_BYTES: usize = 64 << 10;

/// What a blob's bytes are.
pub(super) struct Found {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// Why they could not be read to the end; digest and size are of what was read then.
    pub(super) error: Option<io::Error>,
}

/// What a layer's blob is, and the tar in it.
pub(super) struct Unpacked {
    pub(super) blob: Found,
    /// How it is compressed; `None` if not even its start could be read.
    pub(super) format: Option<Compressed>,
    /// `None` if it cannot be decompressed to its end.
    pub(super) diff_id: Option<DiffId>,
    pub(super) undecodable: Option<io::Error>,
    pub(super) unreadable_tar: Option<TarError>,
}

/// Reads a blob for its digest.
pub(super) fn hash(blob: Box<dyn Blob>, descriptor: &Descriptor) -> Found {
    Tally::new(blob, descriptor.digest.algorithm()).finish()
}

/// Reads a document.
pub(super) fn read_small(blob: Box<dyn Blob>, descriptor: &Descriptor) -> Result<(Vec<u8>, Found), Problem> {
    let (size, limit) = (blob.size(), MAX_DOCUMENT_BYTES as u64);
    if size > limit {
        return Err(Problem::TooLarge { size, limit });
    }
    let mut tally = Tally::new(blob.take(limit), descriptor.digest.algorithm());
    let mut bytes = Vec::new();
    match tally.read_to_end(&mut bytes) {
        Ok(_) => Ok((bytes, tally.finish())),
        Err(source) => Err(Problem::Unreadable { source: tally.error.take().unwrap_or(source) }),
    }
}

/// Decompresses a layer and reads its tar, in one pass.
pub(super) fn unpack(blob: Box<dyn Blob>, descriptor: &Descriptor, diff_id: Algorithm) -> Unpacked {
    let mut blob = Tally::new(blob, descriptor.digest.algorithm());
    let mut format = None;
    let mut unreadable_tar = None;
    let tar = match Decoder::new(&mut blob) {
        Ok(decoder) => {
            format = Some(decoder.format());
            let mut tar = Tally::new(decoder.limit(MAX_TAR_BYTES), diff_id);
            unreadable_tar = read_tar(&mut tar);
            Some(tar.finish())
        }
        Err(_) => None,
    };
    let blob = blob.finish();
    let (diff_id, undecodable) = match tar {
        Some(Found { digest, error: None, .. }) => (Some(DiffId(digest)), None),
        // What the disk could not give is not the layer's fault, and told already.
        Some(Found { error, .. }) => (None, error.filter(|_| blob.error.is_none())),
        None => (None, None),
    };
    // A tar that ends where it cannot be decompressed has no fault of its own.
    let unreadable_tar = unreadable_tar.filter(|_| diff_id.is_some());
    Unpacked { blob, format, diff_id, undecodable, unreadable_tar }
}

fn read_tar(tar: impl Read) -> Option<TarError> {
    let mut reader = Reader::new(BufReader::with_capacity(READ_BYTES, tar));
    loop {
        match reader.next() {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

/// Hashes and counts what it reads. After an error, which it keeps, it is at its end.
struct Tally<R> {
    reader: R,
    hasher: Hasher,
    size: u64,
    error: Option<io::Error>,
}

impl<R: Read> Tally<R> {
    fn new(reader: R, algorithm: Algorithm) -> Self {
        Self { reader, hasher: Hasher::new(algorithm), size: 0, error: None }
    }

    /// Reads what is left.
    fn finish(mut self) -> Found {
        if self.error.is_none() {
            // The error is kept by the read that has it.
            let _ = io::copy(&mut self, &mut io::sink());
        }
        Found { digest: self.hasher.finish(), size: self.size, error: self.error }
    }
}

impl<R: Read> Read for Tally<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.reader.read(buffer) {
            Ok(count) => {
                self.hasher.update(&buffer[..count]);
                self.size += count as u64;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.error.get_or_insert(error);
                Err(kind.into())
            }
        }
    }
}
