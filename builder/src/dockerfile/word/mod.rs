//! The second lexer: expansion of variables, quotes and escapes in one word.
//!
//! The first lexer (`parse/`) cuts a line into words and leaves them as written; this one runs when the
//! variables are known. Splitting and expanding in one pass would break `ENV a="x y" b=$c`.
//!
//! ```text
//! $x ${x}              the value, or nothing        'raw'   "text with $x"   \$  escaped
//! ${x-y}  ${x:-y}      y if x is unset (or empty)   ${x#p}  ${x##p}  cut the shortest / longest prefix p
//! ${x+y}  ${x:+y}      y if x is set (and filled)   ${x%p}  ${x%%p}  cut the shortest / longest suffix p
//! ${x?m}  ${x:?m}      error m if x is unset        ${x/p/r} ${x//p/r}  replace the first / every p
//! ```
//!
//! Operators are in `substitute.rs`, patterns in `pattern.rs`.
//! <https://docs.docker.com/reference/dockerfile/#environment-replacement>

mod lexer;
mod pattern;
mod substitute;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ops::Range;

use super::ast::{Escape, Word};
use super::error::{ParseError, ParseErrorKind};
pub(super) use lexer::shell_words;
use lexer::{Lexer, Quotes};

/// Nested `${a:-${b:-…}}` go this deep: far beyond use, far below the stack.
pub const MAX_NESTING: usize = 32;

/// The most one expansion may produce. `ENV a=$a$a` doubles with each line, so a limit there must be; this one
/// leaves room for a heredoc as large as a Dockerfile can be.
pub const MAX_EXPANDED_BYTES: usize = 4 << 20;

/// A variable's value, if it is set.
pub type Lookup<'e> = dyn Fn(&str) -> Option<&'e str> + 'e;

/// A word after expansion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The value.
    pub text: String,
    /// Variables that were set and looked at.
    pub used: BTreeSet<String>,
    /// Variables that were looked at and not set. Worth a warning, unless the word had a default for them.
    pub undefined: BTreeSet<String>,
}

/// A word after expansion into several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpandedWords {
    /// The values, none of them empty.
    pub words: Vec<String>,
    /// Variables that were set and looked at.
    pub used: BTreeSet<String>,
    /// Variables that were looked at and not set.
    pub undefined: BTreeSet<String>,
}

/// Why a word cannot be expanded, and which bytes of it are to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct WordError {
    /// What is wrong.
    pub kind: WordErrorKind,
    /// Offsets into the word.
    pub at: Range<usize>,
}

/// What is wrong with a word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum WordErrorKind {
    #[error("quote {quote} is never closed")]
    UnclosedQuote { quote: char },
    #[error("substitution is never closed by }}")]
    MissingBrace,
    #[error("substitution has no second /")]
    MissingSlash,
    #[error("substitution names no variable")]
    BadSubstitution,
    #[error("unsupported modifier {modifier} in substitution")]
    UnsupportedModifier { modifier: String },
    #[error("pattern escapes {found}, only \\* \\? and \\\\ are escapes there")]
    InvalidPatternEscape { found: String },
    #[error("pattern takes too long to match")]
    PatternTooCostly,
    #[error("{name}: {message}")]
    Required { name: String, message: String },
    #[error("substitutions are nested more than {MAX_NESTING} deep")]
    TooDeep,
    #[error("expansion is larger than {MAX_EXPANDED_BYTES} bytes")]
    TooLong,
}

impl WordErrorKind {
    fn at(self, at: Range<usize>) -> WordError {
        WordError { kind: self, at }
    }
}

/// Expands a word into one value; blanks within stay.
///
/// # Errors
///
/// Broken syntax, a `${x?}` whose variable is unset, or a limit. As in BuildKit, the word of an operator is
/// expanded whether or not it is used, so its errors are errors.
pub fn expand<'e>(word: &str, escape: Escape, lookup: &Lookup<'e>) -> Result<Expanded, WordError> {
    Lexer::new(word, escape, Quotes::Remove, lookup).expand()
}

/// Expands the content of a heredoc that COPY or ADD writes: variables and escapes, but quotes are text.
///
/// The escape is always `\`, whatever the directive says. It vanishes before any character, a line end too.
///
/// # Errors
///
/// As [`expand`].
pub fn expand_raw<'e>(content: &str, lookup: &Lookup<'e>) -> Result<Expanded, WordError> {
    Lexer::new(content, Escape::Backslash, Quotes::Keep, lookup).expand()
}

/// Expands a word and splits the value at blanks that are not quoted. EXPOSE does so.
///
/// # Errors
///
/// As [`expand`].
pub fn expand_words<'e>(word: &str, escape: Escape, lookup: &Lookup<'e>) -> Result<ExpandedWords, WordError> {
    Lexer::new(word, escape, Quotes::Remove, lookup).expand_words()
}

impl Word {
    /// Places an error of expansion in the file.
    pub fn error(&self, error: WordError) -> ParseError {
        let mut span = self.span;
        // A word with a continuation or JSON escapes inside is longer in the file: then all of it is marked.
        if self.text.len() == span.range().len() {
            span = super::Span::new(
                self.span.range().start + error.at.start,
                self.span.range().start + error.at.end,
            );
        }
        ParseErrorKind::Word(error.kind).at(span)
    }
}
