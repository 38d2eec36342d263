//! Decompression of whatever a layer turns out to be: the bytes tell, not the media type.
//!
//! ```text
//! 1f 8b         gzip    members one after the other; zero padding may follow, nothing else
//! 28 b5 2f fd   zstd    frames one after the other, skippable ones
//! 5? 2a 4d 18   zstd    that starts with a skippable frame
//! else          not compressed
//! ```
//!
//! Padding: GNU gzip ignores zeros behind the last member (tapes are read in records) and warns of
//! other bytes. Such bytes are an error here: nobody's digest may cover content that readers disagree on.
//! Behind a zstd frame only another frame may follow, as in zstd's own tool.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::GzDecoder;

use crate::oci::Compressed;

/// 64 KiB: zstd asks for up to 128 KiB at a time, gzip for less; larger showed no gain.
const BUFFER: usize = 64 << 10;

/// 128 MiB, the window that `zstd -d` accepts unless told otherwise: a frame may claim any.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Why bytes cannot be decompressed. It comes as the inner error of an [`io::Error`].
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not what the format allows.
    #[error("corrupt {format} data after {decoded} decompressed bytes")]
    Corrupt {
        /// Name of the format.
        format: &'static str,
        /// How much could be decompressed.
        decoded: u64,
        /// The decoder's word.
        #[source]
        source: io::Error,
    },
    /// The bytes end before the format does.
    #[error("{format} data ends too early, after {decoded} decompressed bytes")]
    Truncated {
        /// Name of the format.
        format: &'static str,
        /// How much could be decompressed.
        decoded: u64,
    },
    /// Something other than zeros follows the last gzip member.
    #[error("{format} data is followed by something else, after {decoded} decompressed bytes")]
    Trailing {
        /// Name of the format.
        format: &'static str,
        /// How much was decompressed.
        decoded: u64,
    },
    /// The content is larger than the reader will take.
    #[error("decompressed content is larger than {max_bytes} bytes")]
    TooLarge {
        /// What the reader will take.
        max_bytes: u64,
    },
}

/// A reader of decompressed bytes.
///
/// It ends only where the format ends: corrupt or truncated input is an error, of kind
/// [`io::ErrorKind::InvalidData`] or [`io::ErrorKind::UnexpectedEof`], that holds a [`DecodeError`].
/// Errors of the inner reader pass unchanged.
pub struct Decoder<R: Read> {
    format: Format<R>,
    decoded: u64,
    max_bytes: u64,
}

type Source<R> = BufReader<Chain<Cursor<Vec<u8>>, Inner<R>>>;

enum Format<R: Read> {
    Plain(Source<R>),
    Gzip(Box<Members<Source<R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Source<R>>>),
}

impl<R: Read> Decoder<R> {
    /// Reads the first bytes and decides.
    pub fn new(reader: R) -> io::Result<Self> {
        let mut reader = Inner(reader);
        let mut magic = Vec::with_capacity(4);
        reader.by_ref().take(4).read_to_end(&mut magic).map_err(unwrap_inner)?;
        let compressed = sniff(&magic);
        let source = BufReader::with_capacity(BUFFER, Cursor::new(magic).chain(reader));
        let format = match compressed {
            Compressed::None => Format::Plain(source),
            Compressed::Gzip => Format::Gzip(Box::new(Members::new(source))),
            Compressed::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Format::Zstd(Box::new(decoder))
            }
        };
        Ok(Self { format, decoded: 0, max_bytes: u64::MAX })
    }

    /// Makes content of more than `max_bytes` an error, as soon as it has come that far.
    pub fn limit(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Returns what the first bytes said.
    pub fn format(&self) -> Compressed {
        match self.format {
            Format::Plain(_) => Compressed::None,
            Format::Gzip(_) => Compressed::Gzip,
            Format::Zstd(_) => Compressed::Zstd,
        }
    }

    fn explain(&self, error: io::Error) -> io::Error {
        let decoded = self.decoded;
        let format = match self.format {
            Format::Plain(_) => return unwrap_inner(error),
            Format::Gzip(_) => "gzip",
            Format::Zstd(_) => "zstd",
        };
        if error.get_ref().is_some_and(|inner| inner.is::<InnerError>()) {
            return unwrap_inner(error);
        }
        if error.get_ref().is_some_and(|inner| inner.is::<TrailingBytes>()) {
            return io::Error::new(io::ErrorKind::InvalidData, DecodeError::Trailing { format, decoded });
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                io::Error::new(io::ErrorKind::UnexpectedEof, DecodeError::Truncated { format, decoded })
            }
            _ => io::Error::new(
                io::ErrorKind::InvalidData,
                DecodeError::Corrupt { format, decoded, source: error },
            ),
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = match &mut self.format {
            Format::Plain(reader) => reader.read(buffer),
            Format::Gzip(reader) => reader.read(buffer),
            Format::Zstd(reader) => reader.read(buffer),
        };
        let count = result.map_err(|error| self.explain(error))?;
        self.decoded += count as u64;
        if self.decoded > self.max_bytes {
            let error = DecodeError::TooLarge { max_bytes: self.max_bytes };
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(count)
    }
}

fn sniff(magic: &[u8]) -> Compressed {
    match magic {
        [0x1f, 0x8b, ..] => Compressed::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Compressed::Zstd,
        _ => Compressed::None,
    }
}

/// gzip members, one after the other.
struct Members<R> {
    // `None` only after the end, or after an error.
    member: Option<GzDecoder<R>>,
}

#[derive(Debug, thiserror::Error)]
#[error("bytes after the last gzip member")]
struct TrailingBytes;

impl<R: BufRead> Members<R> {
    fn new(source: R) -> Self {
        Self { member: Some(GzDecoder::new(source)) }
    }

    /// Goes on with what follows a member; `None` where nothing does.
    fn following(mut source: R) -> io::Result<Option<GzDecoder<R>>> {
        match source.fill_buf()?.first() {
            None => Ok(None),
            Some(0x1f) => Ok(Some(GzDecoder::new(source))),
            Some(_) => skip_zeros(source).map(|()| None),
        }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.member = match self.member.take() {
                Some(member) => Self::following(member.into_inner())?,
                None => None,
            };
        }
        Ok(0)
    }
}

fn skip_zeros(mut source: impl BufRead) -> io::Result<()> {
    loop {
        let bytes = source.fill_buf()?;
        if bytes.iter().any(|&byte| byte != 0) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, TrailingBytes));
        }
        match bytes.len() {
            0 => return Ok(()),
            count => source.consume(count),
        }
    }
}

/// The reader below, whose errors are marked so that they are not taken for the decoder's.
struct Inner<R>(R);

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct InnerError(io::Error);

impl<R: Read> Read for Inner<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            // Kept bare: the standard library's loops know it by its kind, and try again.
            io::ErrorKind::Interrupted => error,
            kind => io::Error::new(kind, InnerError(error)),
        })
    }
}

fn unwrap_inner(error: io::Error) -> io::Error {
    match error.downcast::<InnerError>() {
        Ok(InnerError(error)) | Err(error) => error,
    }
}
