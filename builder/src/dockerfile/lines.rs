//! Physical lines to logical lines: continuations, comments between them, CRLF; and raw bodies of heredocs.
//!
//! ```text
//! RUN apt-get update \      ┐
//!     # why                 │ one logical line "RUN apt-get update     && true"
//!     && true               ┘ pieces: (0 ▸ byte 0) (19 ▸ byte 33)
//! ```
//!
//! A logical line remembers which source byte each piece came from, so every word keeps its span.
//! Only the first physical line loses its leading blanks; continued lines keep theirs.
//! What a line means is in `parse/`; parser directives are in `directive.rs`.

use super::ast::Word;
use super::span::{Span, byte_order_mark};

/// A physical line: its text without the line end, and where it lies.
#[derive(Clone, Copy)]
pub(super) struct Physical<'s> {
    pub(super) text: &'s str,
    /// Offset of `text` in the source.
    pub(super) start: usize,
    /// Offset of the next line.
    pub(super) next: usize,
}

/// Reads a Dockerfile line by line.
pub(super) struct Lines<'s> {
    source: &'s str,
    at: usize,
    /// Where the text of the last line read ends.
    end: usize,
}

impl<'s> Lines<'s> {
    /// Starts after a byte order mark, if there is one.
    pub(super) fn new(source: &'s str) -> Lines<'s> {
        let at = byte_order_mark(source);
        Lines { source, at, end: at }
    }

    /// Returns the next physical line without moving past it.
    pub(super) fn peek(&self) -> Option<Physical<'s>> {
        let rest = &self.source[self.at..];
        if rest.is_empty() {
            return None;
        }
        let length = rest.find('\n').map_or(rest.len(), |newline| newline + 1);
        let text = rest[..length].trim_end_matches(['\r', '\n']);
        Some(Physical { text, start: self.at, next: self.at + length })
    }

    /// Returns the next physical line.
    pub(super) fn physical(&mut self) -> Option<Physical<'s>> {
        let line = self.peek()?;
        self.at = line.next;
        self.end = line.start + line.text.len();
        Some(line)
    }

    /// Returns the offset where the text of the last line read ends.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// Returns the source bytes of a physical line with its line end.
    pub(super) fn with_line_end(&self, line: Physical<'s>) -> &'s str {
        &self.source[line.start..line.next]
    }

    /// Returns the next logical line that is neither blank nor a comment.
    pub(super) fn logical(&mut self, escape: char) -> Option<Line> {
        let mut comments = Vec::new();
        while let Some(physical) = self.physical() {
            let text = physical.text.trim_start();
            if let Some(comment) = text.strip_prefix('#') {
                comments.push(comment.trim().to_owned());
            } else if text.is_empty() {
                comments.clear();
            } else {
                let mut line = Line { comments, ..Line::default() };
                self.join(&mut line, text, physical, escape);
                return Some(line);
            }
        }
        None
    }

    /// Gathers the physical lines that continue `first`.
    fn join(&mut self, line: &mut Line, first: &str, physical: Physical<'s>, escape: char) {
        let indent = physical.text.len() - first.len();
        let (text, mut continues) = cut_continuation(first, escape);
        line.push(text, physical.start + indent);
        while continues {
            let Some(next) = self.physical() else { return };
            let trimmed = next.text.trim_start();
            if trimmed.is_empty() {
                line.blank_continuations.push(Span::new(next.start, next.next));
            } else if !trimmed.starts_with('#') {
                let text;
                (text, continues) = cut_continuation(next.text, escape);
                line.push(text, next.start);
            }
        }
    }
}

/// Cuts a trailing continuation character and the blanks after it.
///
/// A doubled escape is an escaped escape: the line ends there.
pub(super) fn cut_continuation(text: &str, escape: char) -> (&str, bool) {
    match text.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(kept) if !kept.ends_with(escape) => (kept, true),
        _ => (text, false),
    }
}

/// One instruction's text, continuations joined, heredoc bodies not included.
#[derive(Default)]
pub(super) struct Line {
    text: String,
    pieces: Vec<Piece>,
    /// The comment lines directly above, `#` and outer blanks cut.
    pub(super) comments: Vec<String>,
    /// Blank lines inside the continuation.
    pub(super) blank_continuations: Vec<Span>,
}

/// From offset `logical` of the text on, bytes come from offset `source` of the file.
struct Piece {
    logical: usize,
    source: usize,
}

impl Line {
    fn push(&mut self, text: &str, source: usize) {
        self.pieces.push(Piece { logical: self.text.len(), source });
        self.text.push_str(text);
    }

    /// Returns the whole line with outer blanks cut.
    pub(super) fn slice(&self) -> Slice<'_> {
        Slice { line: self, start: 0, end: self.text.len() }.trim()
    }

    fn source_of(&self, logical: usize) -> usize {
        let after = self.pieces.partition_point(|piece| piece.logical <= logical);
        let piece = &self.pieces[after.saturating_sub(1)];
        piece.source + (logical - piece.logical)
    }
}

/// Part of a logical line that knows its place in the source.
#[derive(Clone, Copy)]
pub(super) struct Slice<'l> {
    line: &'l Line,
    start: usize,
    end: usize,
}

impl<'l> Slice<'l> {
    /// Returns the text.
    pub(super) fn text(self) -> &'l str {
        &self.line.text[self.start..self.end]
    }

    /// Returns the part `start..end`, offsets relative to this one.
    pub(super) fn part(self, start: usize, end: usize) -> Slice<'l> {
        Slice { line: self.line, start: self.start + start, end: self.start + end }
    }

    /// Returns what follows offset `start`.
    pub(super) fn from(self, start: usize) -> Slice<'l> {
        self.part(start, self.end - self.start)
    }

    /// Cuts blanks on both sides.
    pub(super) fn trim(self) -> Slice<'l> {
        let text = self.text();
        let start = text.len() - text.trim_start().len();
        self.part(start, start + text.trim().len())
    }

    /// Returns the bytes of the file this text came from.
    pub(super) fn span(self) -> Span {
        let start = self.line.source_of(self.start);
        // The end is found from the last byte: what follows may be pieces further down the file.
        let end = if self.end > self.start { self.line.source_of(self.end - 1) + 1 } else { start };
        Span::new(start, end)
    }

    /// Returns the text with its span.
    pub(super) fn word(self) -> Word {
        Word { text: self.text().to_owned(), span: self.span() }
    }

    /// Splits at the first run of blanks into the first word and the rest.
    pub(super) fn split_first(self) -> (Slice<'l>, Slice<'l>) {
        let text = self.text();
        let first = text.find(is_blank).unwrap_or(text.len());
        let rest = text[first..].find(|c| !is_blank(c)).map_or(text.len(), |skip| first + skip);
        (self.part(0, first), self.from(rest))
    }

    /// Returns the words between blanks; quotes have no meaning here.
    pub(super) fn words(self) -> Vec<Slice<'l>> {
        let mut words = Vec::new();
        let mut rest = self.trim();
        while !rest.text().is_empty() {
            let (word, after) = rest.split_first();
            words.push(word);
            rest = after;
        }
        words
    }
}

/// What separates words of one logical line. Not every Unicode space does: a no-break space is part of a name.
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

#[cfg(test)]
mod tests {
    use super::{Line, Lines};

    fn lines(source: &str) -> Vec<Line> {
        let mut lines = Lines::new(source);
        std::iter::from_fn(|| lines.logical('\\')).collect()
    }

    fn texts(source: &str) -> Vec<String> {
        lines(source).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_continued_line_keeps_its_leading_blanks() {
        assert_eq!(texts("  RUN a\\\n   b"), ["RUN a   b"]);
    }

    #[test]
    fn blanks_after_the_escape_still_continue() {
        assert_eq!(texts("RUN a \\ \t\nb"), ["RUN a b"]);
    }

    #[test]
    fn a_doubled_escape_ends_the_line() {
        assert_eq!(texts("RUN a \\\\\nRUN b"), ["RUN a \\\\", "RUN b"]);
    }

    #[test]
    fn comments_and_blank_lines_inside_a_continuation_vanish() {
        assert_eq!(texts("RUN a \\\n  # no \\\n\n b\nUSER c"), ["RUN a  b", "USER c"]);
        assert_eq!(lines("RUN a \\\n\n b")[0].blank_continuations.len(), 1);
    }

    #[test]
    fn crlf_and_a_byte_order_mark_are_not_text() {
        assert_eq!(texts("\u{feff}RUN a \\\r\n b\r\n"), ["RUN a  b"]);
    }

    #[test]
    fn a_continuation_at_the_end_of_the_file_is_cut() {
        assert_eq!(texts("RUN a \\"), ["RUN a "]);
    }

    #[test]
    fn spans_skip_over_what_was_joined() {
        let source = "RUN one \\\n# gone\n  two three";
        let lines = lines(source);
        let words = lines[0].slice().words();
        let found: Vec<_> = words.iter().map(|word| &source[word.span().range()]).collect();
        assert_eq!(found, ["RUN", "one", "two", "three"]);
    }

    #[test]
    fn a_word_broken_by_a_continuation_spans_both_halves() {
        let source = "RUN on\\\ne two";
        let lines = lines(source);
        let words = lines[0].slice().words();
        assert_eq!(words[1].text(), "one");
        assert_eq!(&source[words[1].span().range()], "on\\\ne");
    }

    #[test]
    fn only_comments_directly_above_belong_to_a_line() {
        let lines = lines("# far\n\n# near\n#  two \nRUN a");
        assert_eq!(lines[0].comments, ["near", "two"]);
    }
}
