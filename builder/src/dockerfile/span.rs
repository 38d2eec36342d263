//! Where things stand in a Dockerfile: byte spans, and lines and columns for people.
//!
//! Rendering of errors is in `error.rs`; joining continued lines is in `lines.rs`.

use std::fmt;
use std::ops::Range;

/// A range of bytes in the Dockerfile, end exclusive.
///
/// 32 bits suffice: a file is at most [`MAX_FILE_BYTES`](super::MAX_FILE_BYTES).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset one past the last byte.
    pub end: u32,
}

impl Span {
    /// Returns the span of `start..end`.
    pub fn new(start: usize, end: usize) -> Span {
        let clip = |offset| u32::try_from(offset).unwrap_or(u32::MAX);
        Span { start: clip(start), end: clip(end) }
    }

    /// Returns the bytes covered, as an index into the source.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Returns the smallest span that covers both.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}..{}", self.start, self.end)
    }
}

/// A place as people say it; both numbers count from one, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line number.
    pub line: usize,
    /// Character within the line.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A Dockerfile's name and text, with its line starts indexed for look-ups.
#[derive(Clone, Debug)]
pub struct SourceFile {
    name: String,
    text: String,
    line_starts: Vec<usize>,
}

impl SourceFile {
    /// Indexes `text`; `name` is what messages call the file.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> SourceFile {
        let text = text.into();
        let line_starts =
            std::iter::once(0).chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect();
        SourceFile { name: name.into(), text, line_starts }
    }

    /// Returns the name given at creation.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the text under `span`, or nothing if the span is of another file.
    pub fn slice(&self, span: Span) -> Option<&str> {
        self.text.get(span.range())
    }

    /// Returns the line and column of a byte offset; offsets past the end are the end.
    pub fn position(&self, offset: u32) -> Position {
        let offset = (offset as usize).min(self.text.len());
        let line = self.line_starts.partition_point(|&start| start <= offset);
        let mut start = self.line_starts[line - 1];
        if start == 0 {
            start = byte_order_mark(&self.text).min(offset);
        }
        let column =
            self.text.as_bytes()[start..offset].iter().filter(|&&byte| !is_continuation(byte)).count();
        Position { line, column: column + 1 }
    }
}

/// Returns the length of the byte order mark at the start of a file: it is no column.
pub(super) fn byte_order_mark(text: &str) -> usize {
    if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 }
}

/// Whether this byte is inside a UTF-8 sequence rather than at its start.
fn is_continuation(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}

#[cfg(test)]
mod tests {
    use super::{Position, SourceFile, Span};

    #[test]
    fn columns_count_characters_not_bytes() {
        let file = SourceFile::new("Dockerfile", "FROM a\n# né X\n");
        assert_eq!(file.position(12), Position { line: 2, column: 5 });
    }

    #[test]
    fn a_byte_order_mark_is_no_column() {
        let file = SourceFile::new("Dockerfile", "\u{feff}FROM a");
        assert_eq!(file.position(3), Position { line: 1, column: 1 });
        assert_eq!(file.position(0), Position { line: 1, column: 1 });
    }

    #[test]
    fn the_offset_after_a_newline_begins_the_next_line() {
        let file = SourceFile::new("Dockerfile", "a\nb");
        assert_eq!(file.position(1), Position { line: 1, column: 2 });
        assert_eq!(file.position(2), Position { line: 2, column: 1 });
    }

    #[test]
    fn an_offset_past_the_end_is_the_end() {
        let file = SourceFile::new("Dockerfile", "a\n");
        assert_eq!(file.position(900), Position { line: 2, column: 1 });
        assert_eq!(file.slice(Span::new(5, 9)), None);
    }
}
