//! What a variable is at one line of a stage: ENV and ARG in the order in which they were declared.
//!
//! ```text
//! ENV A=1    A is 1
//! ARG A=2    A is 2 from here, but the image still says 1
//! ENV A=3    A is 3, and the image says so
//! ```
//!
//! Expansion of words with a scope is here too; the image's own environment is in `metadata.rs`.

use std::collections::{BTreeSet, HashMap};

use super::error::{PlanError, Warnings};
use super::step::Place;
use crate::dockerfile::word::{expand, expand_raw, expand_words};
use crate::dockerfile::{Heredoc, Word, quote, suggest};

/// The variables of a stage.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    variables: Vec<(String, String)>,
    by_name: HashMap<String, usize>,
    /// Names of ARGs, each once, in the order of their first declaration.
    declared: Vec<String>,
    is_declared: BTreeSet<String>,
}

impl Scope {
    /// Sets a variable; a new one comes last.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        match self.by_name.get(name) {
            Some(&at) => value.clone_into(&mut self.variables[at].1),
            None => {
                self.by_name.insert(name.to_owned(), self.variables.len());
                self.variables.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    /// Remembers that an ARG declares this name, with or without a value.
    pub(super) fn declare(&mut self, name: &str) {
        if self.is_declared.insert(name.to_owned()) {
            self.declared.push(name.to_owned());
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).map(|&at| self.variables[at].1.as_str())
    }

    /// Returns `NAME=value` for every variable.
    pub(super) fn environment(&self) -> Vec<String> {
        self.variables.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// Returns `NAME=value` for every declared argument; one without a value is empty.
    pub(super) fn arguments(&self) -> Vec<String> {
        let value = |name| self.get(name).unwrap_or_default();
        self.declared.iter().map(|name| format!("{name}={}", value(name))).collect()
    }

    /// Returns roughly how many bytes it holds.
    pub(super) fn size(&self) -> usize {
        let variables: usize = self.variables.iter().map(|(name, value)| 2 * name.len() + value.len()).sum();
        let declared: usize = self.declared.iter().map(|name| 2 * name.len()).sum();
        variables + declared
    }

    fn nearest(&self, name: &str) -> Option<&str> {
        let names: Vec<&str> = self.variables.iter().map(|(name, _)| name.as_str()).collect();
        suggest::nearest(name, &names)
    }
}

/// Expands words of one instruction.
pub(super) struct Expander<'e> {
    pub(super) scope: &'e Scope,
    pub(super) place: &'e Place,
    pub(super) warnings: &'e mut Warnings,
}

impl Expander<'_> {
    /// Expands a word into one value.
    pub(super) fn word(&mut self, word: &Word) -> Result<String, PlanError> {
        let expanded = expand(&word.text, self.place.escape, &|name| self.scope.get(name))
            .map_err(|error| self.place.parse_error(word.error(error)))?;
        self.warn(&expanded.undefined, word);
        Ok(expanded.text)
    }

    pub(super) fn optional(&mut self, word: Option<&Word>) -> Result<Option<String>, PlanError> {
        word.map(|word| self.word(word)).transpose()
    }

    /// Expands a word into any number of values.
    pub(super) fn words(&mut self, word: &Word) -> Result<Vec<String>, PlanError> {
        let expanded = expand_words(&word.text, self.place.escape, &|name| self.scope.get(name))
            .map_err(|error| self.place.parse_error(word.error(error)))?;
        self.warn(&expanded.undefined, word);
        Ok(expanded.words)
    }

    /// Expands the body of a heredoc, unless its name is quoted.
    pub(super) fn heredoc(&mut self, heredoc: &Heredoc) -> Result<String, PlanError> {
        let content = heredoc.content();
        if !heredoc.expand {
            return Ok(content);
        }
        let body = Word { text: content, span: heredoc.body_span };
        let expanded = expand_raw(&body.text, &|name| self.scope.get(name))
            .map_err(|error| self.place.parse_error(body.error(error)))?;
        self.warn(&expanded.undefined, &Word { span: heredoc.span, ..body });
        Ok(expanded.text)
    }

    /// A variable that nothing sets is empty; worth a word unless the file says what it is then.
    fn warn(&mut self, undefined: &BTreeSet<String>, word: &Word) {
        for name in undefined {
            if self.warnings.is_full() {
                return;
            }
            // `$1` and `$@` are a shell's own: they are empty here, and nobody means them.
            let is_name = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
            if !is_name || self.scope.is_declared.contains(name) || has_alternative(&word.text, name) {
                continue;
            }
            let hint = match self.scope.nearest(name) {
                Some(meant) => format!(", did you mean {meant}?"),
                None => String::new(),
            };
            let message = format!("variable {} is not defined{hint}", quote(name));
            self.warnings.push(message, Some(self.place.of(word.span)));
        }
    }
}

/// Whether the text holds `${name-…}` or another operator that says what an unset variable is.
fn has_alternative(text: &str, name: &str) -> bool {
    text.match_indices("${").any(|(at, _)| {
        let rest = text[at + 2..].strip_prefix(name);
        rest.is_some_and(|rest| rest.trim_start_matches(':').starts_with(['-', '+', '?']))
    })
}

#[cfg(test)]
mod tests {
    use super::{Scope, has_alternative};

    #[test]
    fn a_variable_set_again_keeps_its_place() {
        let mut scope = Scope::default();
        for (name, value) in [("A", "1"), ("B", "2"), ("A", "3")] {
            scope.set(name, value);
        }
        assert_eq!(scope.environment(), ["A=3", "B=2"]);
    }

    #[test]
    fn arguments_are_listed_once_in_the_order_of_declaration() {
        let mut scope = Scope::default();
        for name in ["B", "A", "B"] {
            scope.declare(name);
        }
        scope.set("B", "x");
        assert_eq!(scope.arguments(), ["B=x", "A="]);
    }

    #[test]
    fn operators_count_only_at_the_name_itself() {
        assert!(has_alternative("a${x:-b}", "x") && has_alternative("${x+b}", "x"));
        assert!(!has_alternative("$x-b", "x") && !has_alternative("${xy:-b}", "x"));
    }
}
