//! Patterns of `#`, `%` and `/`: `*`, `?` and escapes; `[` is an ordinary character.
//!
//! Matching follows all alternatives at once, one step per character, so no pattern backtracks;
//! the steps of one substitution are counted and bounded all the same. `*` and `?` stop at a line end,
//! as BuildKit's do.

use super::substitute::{Extent, Replace};
use super::{MAX_EXPANDED_BYTES, WordErrorKind};

/// Steps one substitution may take: a tenth of a second or so.
const MAX_STEPS: usize = 1 << 24;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Many,
}

pub(super) struct Pattern {
    tokens: Vec<Token>,
}

/// Counts down the steps left.
struct Budget(usize);

impl Budget {
    fn spend(&mut self, steps: usize) -> Result<(), WordErrorKind> {
        self.0 = self.0.checked_sub(steps).ok_or(WordErrorKind::PatternTooCostly)?;
        Ok(())
    }
}

impl Pattern {
    /// Reads a pattern. `\*`, `\?` and `\\` are escapes; so are `\}` and `\/`, which the lexer needs.
    pub(super) fn parse(text: &str) -> Result<Pattern, WordErrorKind> {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Many,
                '?' => Token::One,
                '\\' => match chars.next() {
                    Some(c @ ('*' | '?' | '\\' | '}' | '/')) => Token::Char(c),
                    other => {
                        let found = format!("\\{}", other.map(String::from).unwrap_or_default());
                        return Err(WordErrorKind::InvalidPatternEscape { found });
                    }
                },
                c => Token::Char(c),
            });
        }
        Ok(Pattern { tokens })
    }

    /// Returns `value` without the prefix that matches.
    pub(super) fn cut_prefix(&self, value: &str, extent: Extent) -> Result<String, WordErrorKind> {
        let chars: Vec<char> = value.chars().collect();
        let end = self.match_at(&chars, 0, extent, &mut Budget(MAX_STEPS))?.unwrap_or(0);
        Ok(chars[end..].iter().collect())
    }

    /// Returns `value` without the suffix that matches: the same, seen in a mirror.
    pub(super) fn cut_suffix(&self, value: &str, extent: Extent) -> Result<String, WordErrorKind> {
        let mirrored = Pattern { tokens: self.tokens.iter().rev().copied().collect() };
        let chars: Vec<char> = value.chars().rev().collect();
        let end = mirrored.match_at(&chars, 0, extent, &mut Budget(MAX_STEPS))?.unwrap_or(0);
        Ok(chars[end..].iter().rev().collect())
    }

    /// Returns `value` with its leftmost longest match, or all that do not overlap, replaced.
    pub(super) fn replace(&self, value: &str, by: &str, replace: Replace) -> Result<String, WordErrorKind> {
        let chars: Vec<char> = value.chars().collect();
        let mut budget = Budget(MAX_STEPS);
        let mut text = String::new();
        let mut at = 0;
        let mut after_match = false;
        while at <= chars.len() {
            let found = self.match_at(&chars, at, Extent::Longest, &mut budget)?;
            // Nothing is not replaced directly after a match, or `*` would match twice.
            if let Some(end) = found.filter(|&end| end > at || !after_match) {
                text.push_str(by);
                if replace == Replace::First {
                    text.extend(&chars[end..]);
                    return Ok(text);
                }
                after_match = end > at;
                if after_match {
                    at = end;
                    continue;
                }
            }
            after_match = false;
            text.extend(chars.get(at));
            at += 1;
            if text.len() > MAX_EXPANDED_BYTES {
                return Err(WordErrorKind::TooLong);
            }
        }
        Ok(text)
    }

    /// Returns where a match that begins at `start` ends.
    fn match_at(
        &self,
        chars: &[char],
        start: usize,
        extent: Extent,
        budget: &mut Budget,
    ) -> Result<Option<usize>, WordErrorKind> {
        // `reached[i]`: the first `i` tokens can match what was read so far.
        let mut reached = vec![false; self.tokens.len() + 1];
        reached[0] = true;
        self.skip_many(&mut reached);
        let mut found = None;
        let mut at = start;
        loop {
            budget.spend(reached.len())?;
            if reached[self.tokens.len()] {
                found = Some(at);
                if extent == Extent::Shortest {
                    return Ok(found);
                }
            }
            let Some(&c) = chars.get(at) else { return Ok(found) };
            let mut next = vec![false; reached.len()];
            for (i, token) in self.tokens.iter().enumerate().filter(|&(i, _)| reached[i]) {
                match token {
                    Token::Many => next[i] |= c != '\n',
                    Token::One => next[i + 1] |= c != '\n',
                    Token::Char(wanted) => next[i + 1] |= c == *wanted,
                }
            }
            if !next.contains(&true) {
                return Ok(found);
            }
            self.skip_many(&mut next);
            reached = next;
            at += 1;
        }
    }

    /// `*` may match nothing.
    fn skip_many(&self, reached: &mut [bool]) {
        for (i, token) in self.tokens.iter().enumerate() {
            reached[i + 1] |= reached[i] && *token == Token::Many;
        }
    }
}
