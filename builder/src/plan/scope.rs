//! What a variable is at one line of a stage: ENV and ARG in the order in which they were declared.
//!
//! ```text
//! ENV A=1    A is 1
//! ARG A=2    A is 2 from here, but the image still says 1
//! ENV A=3    A is 3, and the image says so
//! ```
//!
//! Expansion of words with a scope is here too; the image's own environment is in `metadata.rs`. That a
//! variable is set nowhere is for the lint to tell.

use std::collections::{BTreeSet, HashMap};

use super::error::PlanError;
use super::step::Place;
use crate::dockerfile::word::{expand, expand_raw, expand_words};
use crate::dockerfile::{Heredoc, Word, suggest};

/// The variables of a stage.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    variables: Vec<(String, String)>,
    by_name: HashMap<String, usize>,
    /// Names of ARGs, each once, in the order of their first declaration.
    declared: Vec<String>,
    is_declared: BTreeSet<String>,
}

impl Scope {
    /// Sets a variable; a new one comes last.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        match self.by_name.get(name) {
            Some(&at) => value.clone_into(&mut self.variables[at].1),
            None => {
                self.by_name.insert(name.to_owned(), self.variables.len());
                self.variables.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    /// Forgets a variable, as if it had never been set.
    pub(super) fn unset(&mut self, name: &str) {
        self.variables.retain(|(known, _)| known != name);
        let places = self.variables.iter().enumerate();
        self.by_name = places.map(|(place, (name, _))| (name.clone(), place)).collect();
    }

    /// Remembers that an ARG declares this name, with or without a value.
    pub(crate) fn declare(&mut self, name: &str) {
        if self.is_declared.insert(name.to_owned()) {
            self.declared.push(name.to_owned());
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).map(|&at| self.variables[at].1.as_str())
    }

    /// Returns `NAME=value` for every variable.
    pub(crate) fn environment(&self) -> Vec<String> {
        self.variables.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// Returns `NAME=value` for every declared argument; one without a value is empty.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let value = |name| self.get(name).unwrap_or_default();
        self.declared.iter().map(|name| format!("{name}={}", value(name))).collect()
    }

    /// Returns roughly how many bytes it holds.
    pub(crate) fn size(&self) -> usize {
        let variables: usize = self.variables.iter().map(|(name, value)| 2 * name.len() + value.len()).sum();
        let declared: usize = self.declared.iter().map(|name| 2 * name.len()).sum();
        variables + declared
    }

    /// Whether an ARG declares this name.
    pub(crate) fn is_declared(&self, name: &str) -> bool {
        self.is_declared.contains(name)
    }

    /// Returns the variable that was perhaps meant, if there are not more than `most` to choose from.
    pub(crate) fn nearest(&self, name: &str, most: usize) -> Option<&str> {
        if self.variables.len() > most {
            return None;
        }
        let names: Vec<&str> = self.variables.iter().map(|(name, _)| name.as_str()).collect();
        suggest::nearest(name, &names)
    }
}

/// Expands words of one instruction.
pub(super) struct Expander<'e> {
    pub(super) scope: &'e Scope,
    pub(super) place: &'e Place,
}

impl Expander<'_> {
    /// Expands a word into one value.
    pub(super) fn word(&self, word: &Word) -> Result<String, PlanError> {
        let expanded = expand(&word.text, self.place.escape, &|name| self.scope.get(name))
            .map_err(|error| self.place.parse_error(word.error(error)))?;
        Ok(expanded.text)
    }

    pub(super) fn optional(&self, word: Option<&Word>) -> Result<Option<String>, PlanError> {
        word.map(|word| self.word(word)).transpose()
    }

    /// Expands a word into any number of values.
    pub(super) fn words(&self, word: &Word) -> Result<Vec<String>, PlanError> {
        let expanded = expand_words(&word.text, self.place.escape, &|name| self.scope.get(name))
            .map_err(|error| self.place.parse_error(word.error(error)))?;
        Ok(expanded.words)
    }

    /// Expands the body of a heredoc, unless its name is quoted.
    pub(super) fn heredoc(&self, heredoc: &Heredoc) -> Result<String, PlanError> {
        let content = heredoc.content();
        if !heredoc.expand {
            return Ok(content);
        }
        let body = Word { text: content, span: heredoc.body_span };
        let expanded = expand_raw(&body.text, &|name| self.scope.get(name))
            .map_err(|error| self.place.parse_error(body.error(error)))?;
        Ok(expanded.text)
    }
}

#[cfg(test)]
mod tests {
    use super::Scope;

    #[test]
    fn a_variable_set_again_keeps_its_place() {
        let mut scope = Scope::default();
        for (name, value) in [("A", "1"), ("B", "2"), ("A", "3")] {
            scope.set(name, value);
        }
        assert_eq!(scope.environment(), ["A=3", "B=2"]);
    }

    #[test]
    fn a_variable_that_is_unset_leaves_the_others_where_they_are() {
        let mut scope = Scope::default();
        for (name, value) in [("A", "1"), ("B", "2"), ("C", "3")] {
            scope.set(name, value);
        }
        scope.unset("A");
        scope.set("C", "4");
        assert_eq!((scope.get("A"), scope.environment()), (None, vec!["B=2".to_owned(), "C=4".to_owned()]));
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
}
