//! `$name` and `${name…}`: names and operators.

use super::lexer::{Escapes, Lexer};
use super::pattern::Pattern;
use super::{MAX_NESTING, WordError, WordErrorKind};

/// Which operators take an empty variable for an unset one: those spelled with a colon.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    IsSet,
    IsUnset,
}

/// What `${x/p/r}` replaces.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Replace {
    First,
    All,
}

/// How much `#` and `%` cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Shortest,
    Longest,
}

impl Lexer<'_, '_> {
    /// Reads what follows a `$` that stood at `start` and returns its value.
    pub(super) fn dollar(&mut self, start: usize) -> Result<String, WordError> {
        if !self.eat('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(self.value(&name).unwrap_or_default().to_owned());
        }
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return Err(self.error(WordErrorKind::TooDeep, start));
        }
        let value = self.braces(start);
        self.depth -= 1;
        value
    }

    /// Reads a name: letters, digits and `_`; or only digits; or one special character.
    ///
    /// The last two are a shell's own parameters, which nobody sets: they expand to nothing.
    fn name(&mut self) -> String {
        match self.peek() {
            Some(c) if c.is_numeric() => self.take_while(char::is_numeric).to_owned(),
            Some(c) if "@*#?-$!".contains(c) => self.next().into_iter().collect(),
            _ => self.take_while(|c| c.is_alphanumeric() || c == '_').to_owned(),
        }
    }

    /// Reads the rest of a `${`.
    fn braces(&mut self, start: usize) -> Result<String, WordError> {
        if matches!(self.peek(), Some('{' | '}' | ':')) {
            self.next();
            return Err(self.error(WordErrorKind::BadSubstitution, start));
        }
        let name = self.name();
        match self.next() {
            None => Err(self.error(WordErrorKind::MissingBrace, start)),
            Some('}') => Ok(self.value(&name).unwrap_or_default().to_owned()),
            Some(':') => match self.next() {
                None => Err(self.error(WordErrorKind::MissingBrace, start)),
                Some(operator @ ('-' | '+' | '?')) => {
                    self.alternative(&name, operator, Empty::IsUnset, start)
                }
                Some(other) => Err(self.unsupported(format!(":{other}"), start)),
            },
            Some(operator @ ('-' | '+' | '?')) => self.alternative(&name, operator, Empty::IsSet, start),
            Some(operator @ ('#' | '%')) => self.cut(&name, operator, start),
            Some('/') => self.replace(&name, start),
            Some(other) => Err(self.unsupported(other.to_string(), start)),
        }
    }

    fn unsupported(&self, modifier: String, start: usize) -> WordError {
        self.error(WordErrorKind::UnsupportedModifier { modifier }, start)
    }

    /// Reads an inner word up to `stop`, which is consumed.
    fn inner(&mut self, stop: char, escapes: Escapes, start: usize) -> Result<String, WordError> {
        let mut text = String::new();
        while !self.eat(stop) {
            match self.piece(escapes)? {
                Some(piece) => self.append(&mut text, piece)?,
                None if stop == '/' => return Err(self.error(WordErrorKind::MissingSlash, start)),
                None => return Err(self.error(WordErrorKind::MissingBrace, start)),
            }
        }
        Ok(text)
    }

    /// `-`, `+` and `?`.
    fn alternative(
        &mut self,
        name: &str,
        operator: char,
        empty: Empty,
        start: usize,
    ) -> Result<String, WordError> {
        let word = self.inner('}', Escapes::Drop, start)?;
        if self.skim {
            return Ok(word);
        }
        let found = self.value(name);
        let value = found.filter(|value| !(value.is_empty() && empty == Empty::IsUnset));
        match (operator, value) {
            ('-', Some(value)) | ('?', Some(value)) => Ok(value.to_owned()),
            ('-', None) | ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, _) => {
                let fault =
                    if found.is_none() { "is not allowed to be unset" } else { "is not allowed to be empty" };
                let message = if word.is_empty() { fault.to_owned() } else { word };
                Err(self.error(WordErrorKind::Required { name: name.to_owned(), message }, start))
            }
        }
    }

    /// `#`, `##`, `%` and `%%`.
    fn cut(&mut self, name: &str, operator: char, start: usize) -> Result<String, WordError> {
        let word = self.inner('}', Escapes::Keep, start)?;
        if self.skim {
            return Ok(word);
        }
        let (extent, pattern) = match word.strip_prefix(operator) {
            Some(rest) => (Extent::Longest, rest),
            None => (Extent::Shortest, word.as_str()),
        };
        let value = self.value(name).unwrap_or_default();
        let pattern = Pattern::parse(pattern).map_err(|kind| self.error(kind, start))?;
        let cut = match operator {
            '#' => pattern.cut_prefix(value, extent),
            _ => pattern.cut_suffix(value, extent),
        };
        cut.map_err(|kind| self.error(kind, start))
    }

    /// `/` and `//`.
    fn replace(&mut self, name: &str, start: usize) -> Result<String, WordError> {
        let replace = if self.eat('/') { Replace::All } else { Replace::First };
        let pattern = self.inner('/', Escapes::Keep, start)?;
        let replacement = self.inner('}', Escapes::Keep, start)?;
        if self.skim {
            return Ok(replacement);
        }
        let value = self.value(name).unwrap_or_default();
        Pattern::parse(&pattern)
            .and_then(|pattern| pattern.replace(value, &replacement, replace))
            .map_err(|kind| self.error(kind, start))
    }
}
