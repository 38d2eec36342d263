//! Parser directives: `# escape=`, `# syntax=` and `# check=` at the very top.
//!
//! The first line that is not a known directive ends them, be it blank, a comment or an instruction.

use super::ast::{Directives, Escape, Word};
use super::error::{ParseError, ParseErrorKind};
use super::lines::{Lines, Physical};
use super::span::Span;

/// Reads the directives and leaves `lines` at the line after them.
pub(super) fn read(lines: &mut Lines<'_>, errors: &mut Vec<ParseError>) -> Directives {
    let mut directives = Directives::default();
    let mut escape_seen = false;
    while let Some((key, value)) = lines.peek().and_then(split) {
        let name = key.text.to_ascii_lowercase();
        let repeated = match name.as_str() {
            "check" => directives.check.replace(value).is_some(),
            "syntax" => directives.syntax.replace(value).is_some(),
            "escape" => {
                match Escape::from_directive(&value.text) {
                    Some(escape) => directives.escape = escape,
                    None => errors.push(ParseErrorKind::InvalidEscape { value: value.text }.at(value.span)),
                }
                std::mem::replace(&mut escape_seen, true)
            }
            _ => break,
        };
        if repeated {
            errors.push(ParseErrorKind::DuplicateDirective { name }.at(key.span));
        }
        lines.physical();
    }
    directives
}

/// Splits `# key = value`; nothing if the line has another shape.
fn split(line: Physical<'_>) -> Option<(Word, Word)> {
    let (key, value) = line.text.trim().strip_prefix('#')?.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let named = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.chars().all(|c| c.is_ascii_alphanumeric())
        && !value.is_empty();
    // Both are parts of `line.text`, so their addresses give their offsets.
    let locate = |part: &str| {
        let start = line.start + (part.as_ptr() as usize - line.text.as_ptr() as usize);
        Word { text: part.to_owned(), span: Span::new(start, start + part.len()) }
    };
    named.then(|| (locate(key), locate(value)))
}

#[cfg(test)]
mod tests {
    use super::{Directives, Escape, Lines, read};

    fn directives(source: &str) -> (Directives, usize) {
        let mut errors = Vec::new();
        let found = read(&mut Lines::new(source), &mut errors);
        (found, errors.len())
    }

    #[test]
    fn keys_ignore_case_and_blanks() {
        let (found, errors) = directives("  #  EsCape =  `  \n# syntax=docker/dockerfile:1\r\nFROM a");
        assert_eq!(found.escape, Escape::Backtick);
        assert_eq!(found.syntax.unwrap().text, "docker/dockerfile:1");
        assert_eq!(errors, 0);
    }

    #[test]
    fn an_unknown_directive_ends_them() {
        assert_eq!(directives("# foo=bar\n# escape=`").0.escape, Escape::Backslash);
    }

    #[test]
    fn a_blank_line_ends_them() {
        assert_eq!(directives("\n# escape=`").0.escape, Escape::Backslash);
    }

    #[test]
    fn a_repeated_directive_and_a_wrong_escape_are_errors() {
        assert_eq!(directives("# escape=`\n# escape=\\\n").1, 1);
        assert_eq!(directives("# escape=x\n").1, 1);
    }
}
