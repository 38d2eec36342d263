//! Decompression of what ADD unpacks: the layers' formats, and the two more that Docker knows.
//!
//! ```text
//! fd 37 7a 58 5a 00   xz       streams one after the other
//! 42 5a 68            bzip2    streams one after the other ("BZh")
//! else                         as layers are: gzip, zstd or nothing
//! ```

use std::io::{self, BufReader, Read};

use bzip2::bufread::MultiBzDecoder;
use lzma_rust2::XzReader;
use oxbox_layers::compress::{DecodeError, Decoder};

/// Both decoders read byte by byte.
const BUFFER: usize = 64 << 10;

/// The largest dictionary of `xz -9` is 64 MiB; twice that is what zstd may take here too. A header may
/// claim 4 GiB.
const XZ_MEMORY_KIB: u32 = (128 << 10) + XZ_OVERHEAD_KIB;
/// What the decoder counts beside its dictionary.
const XZ_OVERHEAD_KIB: u32 = 1 << 10;

const XZ: &[u8] = b"\xfd7zXZ\0";
const BZIP2: &[u8] = b"BZh";

/// Decompresses by what the first bytes say.
pub(super) fn open<'a>(mut content: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut start = Vec::new();
    content.by_ref().take(XZ.len() as u64).read_to_end(&mut start)?;
    let is = |magic| start.starts_with(magic);
    let (is_xz, is_bzip2) = (is(XZ), is(BZIP2));
    let whole = io::Cursor::new(start).chain(content);
    Ok(if is_xz {
        Box::new(XzReader::new_mem_limit(BufReader::with_capacity(BUFFER, whole), true, XZ_MEMORY_KIB))
    } else if is_bzip2 {
        Box::new(MultiBzDecoder::new(BufReader::with_capacity(BUFFER, whole)))
    } else {
        Box::new(Decoder::new(whole)?)
    })
}

/// A reader of at most so many bytes: one more is an error.
pub(super) struct Bounded<R> {
    reader: R,
    read: u64,
    max_bytes: u64,
}

impl<R> Bounded<R> {
    pub(super) fn new(reader: R, max_bytes: u64) -> Self {
        Self { reader, read: 0, max_bytes }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.read += length as u64;
        if self.read > self.max_bytes {
            let error = DecodeError::TooLarge { max_bytes: self.max_bytes };
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read as _};

    use super::{Bounded, open};

    /// `printf content | xz` and `| bzip2`.
    const XZ: &[u8] = include_bytes!("testdata/content.xz");
    const BZIP2: &[u8] = include_bytes!("testdata/content.bz2");
    /// The header of `xz --lzma2=dict=1GiB`, and what follows.
    const XZ_OF_1_GIB: &[u8] = include_bytes!("testdata/dictionary-1GiB.xz");

    fn decompressed(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        open(bytes)?.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn each_format_is_known_by_its_first_bytes() {
        assert_eq!(decompressed(XZ).unwrap(), b"content");
        assert_eq!(decompressed(BZIP2).unwrap(), b"content");
        assert_eq!(decompressed(b"plain").unwrap(), b"plain");
        assert_eq!(decompressed(b"").unwrap(), b"");
    }

    #[test]
    fn streams_one_after_the_other_are_one() {
        assert_eq!(decompressed(&[XZ, XZ].concat()).unwrap(), b"contentcontent");
        assert_eq!(decompressed(&[BZIP2, BZIP2].concat()).unwrap(), b"contentcontent");
    }

    #[test]
    fn damage_is_an_error_at_any_length() {
        for whole in [XZ, BZIP2] {
            for length in 6..whole.len() {
                decompressed(&whole[..length]).unwrap_err();
            }
        }
    }

    #[test]
    fn a_dictionary_that_needs_too_much_memory_is_refused_before_it_is_made() {
        assert_eq!(decompressed(XZ_OF_1_GIB).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    }

    #[test]
    fn more_than_the_bound_is_an_error() {
        let read = |max_bytes| io::copy(&mut Bounded::new(&b"four"[..], max_bytes), &mut io::sink());
        assert_eq!(read(4).unwrap(), 4);
        assert_eq!(read(3).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
