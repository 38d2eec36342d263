//! The scanner of words: quotes, escapes, plain characters; `$` goes to `substitute.rs`.

use std::collections::BTreeSet;
use std::ops::Range;

use super::super::ast::Escape;
use super::{Expanded, ExpandedWords, Lookup, MAX_EXPANDED_BYTES, WordError, WordErrorKind};

/// What quotes are in the text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Quotes {
    /// Syntax, not part of the value.
    Remove,
    /// Ordinary characters.
    Keep,
}

/// What becomes of escape characters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    /// They are dropped, the escaped character stays.
    Drop,
    /// Both stay: patterns read them again.
    Keep,
}

/// The next bit of a word.
pub(super) enum Piece {
    /// A plain character; a blank separates words.
    Plain(char),
    /// Quoted or escaped text; blanks in it do not separate words.
    Protected(String),
    /// The value of a substitution; blanks in it separate words.
    Value(String),
}

pub(super) struct Lexer<'w, 'e> {
    word: &'w str,
    pub(super) at: usize,
    pub(super) escape: char,
    quotes: Quotes,
    lookup: &'w Lookup<'e>,
    pub(super) depth: usize,
    /// Only where pieces end matters, not what they are worth: nothing is evaluated.
    pub(super) skim: bool,
    produced: usize,
    used: BTreeSet<String>,
    undefined: BTreeSet<String>,
}

impl<'w, 'e> Lexer<'w, 'e> {
    pub(super) fn new(word: &'w str, escape: Escape, quotes: Quotes, lookup: &'w Lookup<'e>) -> Self {
        let (used, undefined) = (BTreeSet::new(), BTreeSet::new());
        let escape = escape.char();
        Lexer { word, at: 0, escape, quotes, lookup, depth: 0, skim: false, produced: 0, used, undefined }
    }

    pub(super) fn expand(mut self) -> Result<Expanded, WordError> {
        let mut text = String::new();
        while let Some(piece) = self.piece(Escapes::Drop)? {
            self.append(&mut text, piece)?;
        }
        Ok(Expanded { text, used: self.used, undefined: self.undefined })
    }

    pub(super) fn expand_words(mut self) -> Result<ExpandedWords, WordError> {
        let mut words = Vec::new();
        let mut word = String::new();
        while let Some(piece) = self.piece(Escapes::Drop)? {
            let splitting = match piece {
                Piece::Plain(c) => c.to_string(),
                Piece::Value(value) => value,
                protected @ Piece::Protected(_) => {
                    self.append(&mut word, protected)?;
                    continue;
                }
            };
            self.account(splitting.len())?;
            let mut parts = splitting.split(char::is_whitespace);
            word.push_str(parts.next().unwrap_or_default());
            for part in parts {
                words.push(std::mem::replace(&mut word, part.to_owned()));
            }
        }
        words.push(word);
        words.retain(|word| !word.is_empty());
        Ok(ExpandedWords { words, used: self.used, undefined: self.undefined })
    }

    pub(super) fn append(&mut self, text: &mut String, piece: Piece) -> Result<(), WordError> {
        let before = text.len();
        match piece {
            Piece::Plain(c) => text.push(c),
            Piece::Protected(part) | Piece::Value(part) => text.push_str(&part),
        }
        self.account(text.len() - before)
    }

    /// Counts bytes produced, those of inner substitutions too.
    fn account(&mut self, bytes: usize) -> Result<(), WordError> {
        self.produced += bytes;
        if self.produced > MAX_EXPANDED_BYTES {
            Err(self.error(WordErrorKind::TooLong, self.at))
        } else {
            Ok(())
        }
    }

    /// Reads the next piece; nothing at the end.
    pub(super) fn piece(&mut self, escapes: Escapes) -> Result<Option<Piece>, WordError> {
        let start = self.at;
        let Some(c) = self.next() else { return Ok(None) };
        let piece = match c {
            '$' => Piece::Value(self.dollar(start)?),
            '\'' if self.quotes == Quotes::Remove => Piece::Protected(self.single_quoted(start)?),
            '"' if self.quotes == Quotes::Remove => Piece::Protected(self.double_quoted(start, escapes)?),
            c if c == self.escape => Piece::Protected(self.escaped(escapes)),
            c => Piece::Plain(c),
        };
        Ok(Some(piece))
    }

    /// An escape outside quotes protects any character; at the very end it protects nothing and is dropped.
    fn escaped(&mut self, escapes: Escapes) -> String {
        let mut text = String::new();
        if escapes == Escapes::Keep {
            text.push(self.escape);
        }
        text.extend(self.next());
        text
    }

    fn single_quoted(&mut self, start: usize) -> Result<String, WordError> {
        let rest = &self.word[self.at..];
        let Some(length) = rest.find('\'') else {
            self.at = self.word.len();
            return Err(self.error(WordErrorKind::UnclosedQuote { quote: '\'' }, start));
        };
        self.at += length + 1;
        Ok(rest[..length].to_owned())
    }

    /// Inside double quotes an escape protects `"`, `$` and itself; before anything else it is text.
    fn double_quoted(&mut self, start: usize, escapes: Escapes) -> Result<String, WordError> {
        let mut text = String::new();
        loop {
            let at = self.at;
            match self.next() {
                None => return Err(self.error(WordErrorKind::UnclosedQuote { quote: '"' }, start)),
                Some('"') => return Ok(text),
                Some('$') => {
                    let value = self.dollar(at)?;
                    self.append(&mut text, Piece::Value(value))?;
                }
                Some(c) if c == self.escape => {
                    if escapes == Escapes::Keep {
                        text.push(c);
                    }
                    match self.peek() {
                        Some(next) if next == '"' || next == '$' || next == self.escape => {
                            text.extend(self.next())
                        }
                        Some(_) => text.push(c),
                        None => {}
                    }
                }
                Some(c) => text.push(c),
            }
        }
    }

    /// Returns a variable's value and remembers that it was looked at.
    pub(super) fn value(&mut self, name: &str) -> Option<&'e str> {
        let value = (self.lookup)(name);
        let seen = if value.is_some() { &mut self.used } else { &mut self.undefined };
        if !seen.contains(name) {
            seen.insert(name.to_owned());
        }
        value
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.word[self.at..].chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    pub(super) fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    pub(super) fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'w str {
        let rest = &self.word[self.at..];
        let length = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    pub(super) fn error(&self, kind: WordErrorKind, start: usize) -> WordError {
        kind.at(start..self.at)
    }
}

/// Splits text as a shell does, quotes and substitutions kept whole, and returns where the words lie.
///
/// The escape is always `\`: so BuildKit looks for heredocs. Blanks after `<<` are part of its word.
///
/// # Errors
///
/// An unclosed quote or brace.
pub(in super::super) fn shell_words(text: &str) -> Result<Vec<Range<usize>>, WordError> {
    let nothing = |_: &str| None;
    let mut lexer = Lexer { skim: true, ..Lexer::new(text, Escape::Backslash, Quotes::Remove, &nothing) };
    let mut words = Vec::new();
    let mut word: Option<Range<usize>> = None;
    loop {
        let start = lexer.at;
        match lexer.piece(Escapes::Keep)? {
            None => break,
            Some(Piece::Plain(c)) if c.is_whitespace() => words.extend(word.take()),
            Some(Piece::Plain('<')) if text[lexer.at..].starts_with('<') => {
                let rest = text[lexer.at..].strip_prefix('<').unwrap_or_default();
                lexer.at = text.len() - rest.trim_start().len();
                word = Some(word.map_or(start, |word| word.start)..lexer.at);
            }
            Some(_) => word = Some(word.map_or(start, |word| word.start)..lexer.at),
        }
    }
    words.extend(word);
    Ok(words)
}
