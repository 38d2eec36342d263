//! What can be wrong with an archive, read or written.

use std::fmt;
use std::io;

/// Why an archive cannot be read or written. Offsets count bytes of the uncompressed stream.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// A header's stated and computed sums differ: this is no tar archive, or a damaged one.
    #[error("tar header at byte {offset} has the sum {computed} but states {stated}")]
    Checksum {
        /// Where the header starts.
        offset: u64,
        /// What the header says.
        stated: u64,
        /// What its bytes add up to, taken as unsigned.
        computed: u64,
    },
    /// The source of an entry's content failed.
    #[error("cannot read the content of {}", Quoted(.path))]
    Content {
        /// The entry.
        path: Vec<u8>,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// An entry's content went on after the stated size; a file that grew while it was read.
    #[error("content of {} is longer than the {expected} bytes announced", Quoted(.path))]
    ContentLong {
        /// The entry.
        path: Vec<u8>,
        /// The entry's size.
        expected: u64,
    },
    /// An entry's content ended early; a file that shrank while it was read.
    #[error("content of {} ended after {actual} of {expected} bytes", Quoted(.path))]
    ContentShort {
        /// The entry.
        path: Vec<u8>,
        /// The entry's size.
        expected: u64,
        /// Bytes that came.
        actual: u64,
    },
    /// An extension header is followed by no entry.
    #[error("tar archive ends at byte {offset} between an extension header and its entry")]
    Dangling {
        /// Where the archive ends.
        offset: u64,
    },
    /// A path climbs out with `..`.
    #[error("path {} contains \"..\"", Quoted(.path))]
    DotDot {
        /// The path as the archive has it.
        path: Vec<u8>,
    },
    /// A link without a target.
    #[error("link {} points to nothing", Quoted(.path))]
    EmptyLink {
        /// The link.
        path: Vec<u8>,
    },
    /// The underlying stream failed.
    #[error("cannot {verb} tar archive at byte {offset}")]
    Io {
        /// `read` or `write`.
        verb: &'static str,
        /// Where.
        offset: u64,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// An entry of a type that no layer may hold.
    #[error("{} has the unknown type flag {:?} at byte {offset}", Quoted(.path), char::from(*.flag))]
    Kind {
        /// Where the header starts.
        offset: u64,
        /// The entry.
        path: Vec<u8>,
        /// The type flag.
        flag: u8,
    },
    /// One of the limits of [`super::limit`] was passed.
    #[error("{what} takes {size} at byte {offset}, more than {limit}")]
    Limit {
        /// What is limited.
        what: &'static str,
        /// Where.
        offset: u64,
        /// What was asked for.
        size: u64,
        /// What is allowed.
        limit: u64,
    },
    /// One block of zeros is followed by something else: readers disagree on what that means.
    #[error("single block of zeros before byte {offset} is neither an entry nor the end")]
    LoneZero {
        /// Where the block after it starts.
        offset: u64,
    },
    /// An entry to be written has a path that is not in the form [`super::Entry::path`] asks for.
    #[error("path {} is not relative and normal", Quoted(.path))]
    NotNormal {
        /// The path.
        path: Vec<u8>,
    },
    /// A path or link holds a NUL byte.
    #[error("path {} contains a NUL byte", Quoted(.path))]
    Nul {
        /// The path as the archive has it.
        path: Vec<u8>,
    },
    /// A numeric field holds no number, or one out of range.
    #[error("{field} at byte {offset} is {}, not a number in range", Quoted(.text))]
    Number {
        /// Where the header starts.
        offset: u64,
        /// Which field.
        field: &'static str,
        /// What it holds.
        text: Vec<u8>,
    },
    /// An extended header that is no list of `length key=value` lines.
    #[error("PAX header at byte {offset} has the malformed record {}", Quoted(.text))]
    Record {
        /// Where the header's content starts.
        offset: u64,
        /// The record, from its start.
        text: Vec<u8>,
    },
    /// A sparse map that does not describe the file.
    #[error("sparse map at byte {offset} {fault}")]
    Sparse {
        /// Where the entry's header starts.
        offset: u64,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The archive ends inside an entry.
    #[error("tar archive ends at byte {offset}, {missing} bytes too early")]
    Truncated {
        /// Where it ends.
        offset: u64,
        /// At least so many bytes are missing.
        missing: u64,
    },
    /// The entry before this one failed, so its bytes are in the archive in part.
    #[error("tar archive is broken at byte {offset} by an entry that failed")]
    Unfinished {
        /// How far the archive got.
        offset: u64,
    },
    /// An extended attribute's name that PAX cannot carry.
    #[error("extended attribute {} of {} cannot be written", Quoted(.name), Quoted(.path))]
    XattrName {
        /// The entry.
        path: Vec<u8>,
        /// The attribute.
        name: Vec<u8>,
    },
}

/// Bytes of text from outside that an error message shows: a line on a terminal.
const SHOWN_BYTES: usize = 120;

/// Bytes from outside, quoted, escaped and cut.
pub(crate) struct Quoted<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get(..SHOWN_BYTES) {
            Some(start) if self.0.len() > SHOWN_BYTES => write!(formatter, "\"{}…\"", start.escape_ascii()),
            _ => write!(formatter, "\"{}\"", self.0.escape_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Quoted;

    #[test]
    fn text_from_outside_is_escaped_and_cut() {
        assert_eq!(Quoted(b"a\x1b[1m\n").to_string(), r#""a\x1b[1m\n""#);
        assert_eq!(Quoted(&[b'a'; 4000]).to_string(), format!("\"{}…\"", "a".repeat(120)));
    }
}
