//! Patterns over paths, in the two dialects that Dockerfiles know.
//!
//! ```text
//! COPY pattern     *  ?  [a-z]  [^a-z]  \x                 Go's filepath.Match, slashes never matched
//! ignore pattern   the same, ** for any number of components, and classes that may match a slash
//! ```
//!
//! Matching walks all ways through the pattern at once, so that its cost is bounded by pattern times
//! path: `a*a*a*a*b` on a long name is no way to hang a build.

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct Glob {
    dialect: Dialect,
    tokens: Vec<Token>,
    /// What stands before the first special token, for pruning.
    literal: String,
    /// How many tokens that are.
    literals: usize,
    /// What stands behind the last special token.
    suffix: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Dialect {
    Copy,
    Ignore,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// This character.
    Character(char),
    /// `?`: one character but a slash.
    Any,
    /// `*`: any run without a slash.
    Star,
    /// `**/`: nothing, or anything that ends in a slash.
    Components,
    /// `**` at the end: anything.
    Rest,
    /// `**` at the start and no slash after it: anything before.
    Anything,
    /// `[…]`.
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// There is nothing in it.
    #[error("the pattern is empty")]
    Empty,
    /// A `[` that is not closed, an empty class, or a range without an end.
    #[error("a [ is not closed, or holds nothing")]
    Class,
    /// A backslash with nothing behind it.
    #[error("it ends in a backslash")]
    TrailingBackslash,
    /// It is longer than any path.
    #[error("it is longer than {MAX_PATTERN} bytes")]
    TooLong,
}

/// Linux has no longer path than this.
const MAX_PATTERN: usize = 4096;

/// Whether a COPY source holds an unescaped special character.
pub fn has_wildcard(pattern: &str) -> bool {
    let mut bytes = pattern.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// Takes the backslashes out of a pattern without wildcards.
pub fn unescape(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        text.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
    }
    text
}

impl Glob {
    /// Compiles a pattern of COPY and ADD.
    pub fn copy_pattern(pattern: &str) -> Result<Self, GlobError> {
        Self::compile(pattern, Dialect::Copy)
    }

    /// Compiles a pattern of an ignore file.
    pub fn ignore_pattern(pattern: &str) -> Result<Self, GlobError> {
        Self::compile(pattern, Dialect::Ignore)
    }

    fn compile(pattern: &str, dialect: Dialect) -> Result<Self, GlobError> {
        if pattern.is_empty() {
            return Err(GlobError::Empty);
        }
        if pattern.len() > MAX_PATTERN {
            return Err(GlobError::TooLong);
        }
        let mut tokens = Vec::new();
        let mut rest = pattern;
        while let Some(character) = rest.chars().next() {
            let (token, after) = match character {
                '*' if dialect == Dialect::Ignore && rest.starts_with("**") => {
                    double_star(&rest[2..], tokens.is_empty())
                }
                '*' => (Token::Star, &rest[1..]),
                '?' => (Token::Any, &rest[1..]),
                '[' => class(&rest[1..])?,
                '\\' => {
                    let escaped = rest[1..].chars().next().ok_or(GlobError::TrailingBackslash)?;
                    (Token::Character(escaped), &rest[1 + escaped.len_utf8()..])
                }
                other => (Token::Character(other), &rest[other.len_utf8()..]),
            };
            tokens.push(token);
            rest = after;
        }
        let literal: String = tokens.iter().map_while(literally).collect();
        let literals = literal.chars().count();
        let suffix = tokens[literals..].iter().rev().map_while(literally).collect::<Vec<_>>();
        Ok(Self { dialect, literals, literal, suffix: suffix.into_iter().rev().collect(), tokens })
    }

    /// Whether the whole path matches.
    pub fn matches(&self, path: &[u8]) -> bool {
        // Nearly always decided here.
        let Some(path) = path.strip_prefix(self.literal.as_bytes()) else { return false };
        let tokens = &self.tokens[self.literals..];
        if tokens.is_empty() {
            return path.is_empty();
        }
        // Or here: `**/*.log`.
        if !path.ends_with(self.suffix.as_bytes()) {
            return false;
        }
        let mut states = States::at_start(tokens);
        let mut next = States::none(tokens);
        for chunk in path.utf8_chunks() {
            // A byte that is no UTF-8 counts as one character that no pattern names.
            let broken = chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER);
            for character in chunk.valid().chars().chain(broken) {
                if !states.step(character, self, &mut next) {
                    return false;
                }
                std::mem::swap(&mut states, &mut next);
            }
        }
        states.at_token(tokens.len())
    }

    /// Whether a path below `directory` could match; may say yes too often, never no.
    pub fn may_match_below(&self, directory: &[u8]) -> bool {
        let literal = self.literal.as_bytes();
        if self.literals == self.tokens.len() {
            return literal.starts_with(directory) && literal.get(directory.len()) == Some(&b'/');
        }
        let shared = literal.len().min(directory.len());
        literal[..shared] == directory[..shared]
    }
}

/// Returns the character that a token means and that paths have as its bytes.
fn literally(token: &Token) -> Option<char> {
    match token {
        // Also what a byte that is no character counts as: not to be compared by bytes.
        Token::Character(char::REPLACEMENT_CHARACTER) => None,
        Token::Character(character) => Some(*character),
        _ => None,
    }
}

/// The places in a pattern where a match may stand after some characters.
struct States {
    /// Before token `i`; one more than there are tokens.
    before: Vec<bool>,
    /// Within the run of a [`Token::Components`] that has not come to a slash.
    within: Vec<bool>,
}

impl States {
    fn none(tokens: &[Token]) -> Self {
        Self { before: vec![false; tokens.len() + 1], within: vec![false; tokens.len()] }
    }

    fn at_start(tokens: &[Token]) -> Self {
        let mut states = Self::none(tokens);
        states.enter(0, tokens);
        states
    }

    fn at_token(&self, index: usize) -> bool {
        self.before[index]
    }

    /// Stands before a token, and before those behind it if it may match nothing.
    fn enter(&mut self, mut index: usize, tokens: &[Token]) {
        while !std::mem::replace(&mut self.before[index], true)
            && matches!(
                tokens.get(index),
                Some(Token::Star | Token::Components | Token::Rest | Token::Anything)
            )
        {
            index += 1;
        }
    }

    /// Sets `next` to the places after one more character; says whether there are any.
    fn step(&self, character: char, glob: &Glob, next: &mut Self) -> bool {
        let tokens = &glob.tokens[glob.literals..];
        next.before.fill(false);
        next.within.fill(false);
        let mut any = false;
        for (index, token) in tokens.iter().enumerate() {
            if !self.before[index] && !self.within[index] {
                continue;
            }
            match token {
                Token::Character(wanted) if *wanted == character => next.enter(index + 1, tokens),
                Token::Any if character != '/' => next.enter(index + 1, tokens),
                Token::Class { negated, ranges } if character != '/' || glob.dialect == Dialect::Ignore => {
                    let listed = ranges.iter().any(|(low, high)| (*low..=*high).contains(&character));
                    if listed != *negated {
                        next.enter(index + 1, tokens);
                    }
                }
                Token::Star if character != '/' => next.enter(index, tokens),
                Token::Rest | Token::Anything => next.enter(index, tokens),
                Token::Components if character == '/' => next.enter(index, tokens),
                Token::Components => next.within[index] = true,
                _ => continue,
            }
            any = true;
        }
        any
    }
}

/// What follows a `**`, as Docker's matcher reads it: the slash behind it is eaten.
fn double_star(after: &str, at_start: bool) -> (Token, &str) {
    match (after.strip_prefix('/'), after) {
        (Some("") | None, "" | "/") => (Token::Rest, ""),
        (Some(rest), _) => (Token::Components, rest),
        // `**.md` matches at any depth; elsewhere `a**b` is `a`, anything up to a slash, `b`, and so it
        // is at the start if something else is special.
        (None, rest) if at_start && !rest.contains(['*', '?', '[', ']', '\\']) => (Token::Anything, rest),
        (None, rest) => (Token::Components, rest),
    }
}

/// Reads a class behind its `[`.
fn class(text: &str) -> Result<(Token, &str), GlobError> {
    let (negated, mut rest) = match text.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut ranges = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix(']')
            && !ranges.is_empty()
        {
            return Ok((Token::Class { negated, ranges }, after));
        }
        let (low, after) = class_character(rest)?;
        rest = after;
        let high = match rest.strip_prefix('-') {
            Some(after) => {
                let (high, after) = class_character(after)?;
                rest = after;
                high
            }
            None => low,
        };
        ranges.push((low, high));
    }
}

fn class_character(text: &str) -> Result<(char, &str), GlobError> {
    let mut characters = text.chars();
    match characters.next() {
        None | Some('-' | ']') => Err(GlobError::Class),
        Some('\\') => {
            let escaped = characters.next().ok_or(GlobError::Class)?;
            Ok((escaped, characters.as_str()))
        }
        Some(character) => Ok((character, characters.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use super::{Glob, GlobError, has_wildcard, unescape};

    fn copies(pattern: &str, path: &str) -> bool {
        Glob::copy_pattern(pattern).unwrap().matches(path.as_bytes())
    }

    #[test]
    fn copy_patterns_match_as_gos_filepath_match() {
        for (pattern, path, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "aäb", true),
            ("a[^a]b", "aäb", true),
            ("[a-ζ]*", "α", true),
            ("a?b", "a/b", false),
            ("a[/]b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[x\\-]", "-", true),
            ("**", "a", true),
            ("**", "a/b", false),
        ] {
            assert_eq!(copies(pattern, path), expected, "{pattern:?} on {path:?}");
        }
    }

    #[test]
    fn broken_patterns_are_refused() {
        for (pattern, error) in [
            ("", GlobError::Empty),
            ("[", GlobError::Class),
            ("[]a]", GlobError::Class),
            ("[a-]", GlobError::Class),
            ("[-a]", GlobError::Class),
            ("a\\", GlobError::TrailingBackslash),
        ] {
            assert_eq!(Glob::copy_pattern(pattern).unwrap_err(), error, "{pattern:?}");
        }
    }

    #[test]
    fn a_hostile_pattern_ends() {
        let pattern = "a*".repeat(300) + "b";
        assert!(!copies(&pattern, &"a".repeat(3000)));
    }

    #[test]
    fn a_backslash_takes_the_meaning_from_a_wildcard() {
        assert!(has_wildcard("a*") && has_wildcard("[x]") && has_wildcard("a?"));
        assert!(!has_wildcard("a\\*") && !has_wildcard("plain"));
        assert_eq!(unescape("a\\*b\\\\"), "a*b\\");
    }
}
