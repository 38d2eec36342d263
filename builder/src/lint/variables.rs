//! What the checks know of variables, and how much they may do to know it.
//!
//! Each expansion is paid for: a file of a megabyte can ask for values of many gigabytes.

use std::cell::Cell;
use std::collections::BTreeSet;

use crate::dockerfile::ast::Escape;
use crate::dockerfile::word::{
    Expanded, ExpandedWords, MAX_EXPANDED_BYTES, WordError, WordErrorKind, expand, expand_raw, expand_words,
};
use crate::dockerfile::{Span, Word};
use crate::plan::scope::Scope;

/// Bytes that may be expanded and copied for one file. Real files need some hundred kilobytes.
const MAX_WORK_BYTES: usize = 64 << 20;

/// A suggestion is not looked for among more variables: each costs a comparison of words.
const MAX_CANDIDATES: usize = 500;

/// What is left to spend.
pub(super) struct Work {
    left: Cell<usize>,
}

impl Work {
    pub(super) fn new() -> Work {
        Work { left: Cell::new(MAX_WORK_BYTES) }
    }

    pub(super) fn spend(&self, bytes: usize) {
        // One byte more than nothing: empty words cost time too.
        self.left.set(self.left.get().saturating_sub(bytes + 1));
    }

    pub(super) fn is_done(&self) -> bool {
        self.left.get() == 0
    }
}

/// Expands words of one instruction; what fails is the plan's to tell.
pub(super) struct Variables<'v> {
    pub(super) scope: &'v Scope,
    pub(super) escape: Escape,
    pub(super) work: &'v Work,
}

impl Variables<'_> {
    pub(super) fn expand(&self, text: &str) -> Option<Expanded> {
        self.allow(text)?;
        let expanded = self.paid(expand(text, self.escape, &|name| self.scope.get(name)))?;
        self.work.spend(expanded.text.len());
        Some(expanded)
    }

    pub(super) fn expand_words(&self, text: &str) -> Option<ExpandedWords> {
        self.allow(text)?;
        let expanded = self.paid(expand_words(text, self.escape, &|name| self.scope.get(name)))?;
        self.work.spend(expanded.words.iter().map(String::len).sum());
        Some(expanded)
    }

    /// The content of a heredoc.
    pub(super) fn expand_raw(&self, text: &str) -> Option<Expanded> {
        self.allow(text)?;
        let expanded = self.paid(expand_raw(text, &|name| self.scope.get(name)))?;
        self.work.spend(expanded.text.len());
        Some(expanded)
    }

    /// What grew too long has cost what it may cost.
    fn paid<T>(&self, expanded: Result<T, WordError>) -> Option<T> {
        if matches!(&expanded, Err(error) if error.kind == WordErrorKind::TooLong) {
            self.work.spend(MAX_EXPANDED_BYTES);
        }
        expanded.ok()
    }

    fn allow(&self, text: &str) -> Option<()> {
        self.work.spend(text.len());
        (!self.work.is_done()).then_some(())
    }

    /// Of the names that a word looked up in vain, returns those that deserve a word.
    pub(super) fn missing(&self, text: &str, undefined: BTreeSet<String>) -> Vec<String> {
        if undefined.is_empty() {
            return Vec::new();
        }
        let answered = with_alternative(text);
        // `$1` and `$@` are a shell's own: they are empty here, and nobody means them.
        let is_name = |name: &str| name.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let told = |name: &String| {
            is_name(name) && !self.scope.is_declared(name) && !answered.contains(name.as_str())
        };
        undefined.into_iter().filter(told).collect()
    }

    /// Returns `, did you mean X?` if a variable has nearly this name.
    pub(super) fn meant(&self, name: &str) -> String {
        match self.scope.nearest(name, MAX_CANDIDATES) {
            Some(meant) => format!(", did you mean {meant}?"),
            None => String::new(),
        }
    }
}

/// Returns the names in `${name-…}` and other operators that say what an unset variable is.
fn with_alternative(text: &str) -> BTreeSet<&str> {
    let parts = text.split("${").skip(1);
    parts
        .filter_map(|part| {
            let end = part.find(|c: char| !c.is_alphanumeric() && c != '_')?;
            let (name, rest) = part.split_at(end);
            let operator = rest.strip_prefix(':').unwrap_or(rest);
            operator.starts_with(['-', '+', '?']).then_some(name)
        })
        .collect()
}

/// Returns where a word names a variable; the whole word if that cannot be told.
pub(super) fn place_of(word: &Word, name: &str) -> Span {
    // A word with a continuation inside is longer in the file.
    if word.text.len() != word.span.range().len() {
        return word.span;
    }
    let place = word.text.match_indices('$').find_map(|(dollar, _)| {
        let rest = &word.text[dollar + 1..];
        let bare = rest.strip_prefix('{').unwrap_or(rest);
        let after = bare.strip_prefix(name)?;
        let is_whole = !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let closed = usize::from(bare.len() < rest.len() && after.starts_with('}'));
        let end = word.text.len() - after.len() + closed;
        is_whole.then_some((dollar, end))
    });
    let start = word.span.range().start;
    place.map_or(word.span, |(from, to)| Span::new(start + from, start + to))
}

#[cfg(test)]
mod tests {
    use super::{place_of, with_alternative};
    use crate::dockerfile::{Span, Word};

    #[test]
    fn operators_count_only_at_the_name_itself() {
        let names = |text| with_alternative(text).into_iter().collect::<Vec<_>>();
        assert_eq!(names("a${x:-b}${y+c}${z?}"), ["x", "y", "z"]);
        assert!(names("$x-b ${xy} ${z%%-}").is_empty());
    }

    #[test]
    fn a_variable_is_found_in_its_word() {
        let word = |text: &str| Word { text: text.to_owned(), span: Span::new(10, 10 + text.len()) };
        assert_eq!(place_of(&word("a$xy$x/b"), "x"), Span::new(14, 16));
        assert_eq!(place_of(&word("a${x}b"), "x"), Span::new(11, 15));
        assert_eq!(place_of(&word("a${x%.c}"), "x"), Span::new(11, 14));
        assert_eq!(place_of(&word("nothing"), "x"), Span::new(10, 17));
        let continued = Word { span: Span::new(10, 40), ..word("a$x") };
        assert_eq!(place_of(&continued, "x"), Span::new(10, 40));
    }
}
