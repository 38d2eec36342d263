//! Parser directives: `# escape=`, `# syntax=` and `# check=` at the very top.
//!
//! ```text
//! #!/usr/bin/env buildctl          a first line for the kernel is skipped; no escape directive follows it
//! # syntax=docker/dockerfile:1     the first line that is not a known directive ends them, be it blank, a
//! # escape=`                       comment or an instruction
//!
//! // syntax=my/frontend            the forms of files for other readers, on the first line: nothing is
//! {"syntax": "my/frontend"}        fetched, and what follows is read as a Dockerfile
//! ```

use super::ast::{Directives, Escape, Word};
use super::error::{ParseError, ParseErrorKind};
use super::lines::{Lines, Physical};
use super::span::Span;

/// What begins a comment, and a directive.
const HASH: &str = "#";

/// The same in files for other readers.
const SLASHES: &str = "//";

/// Reads the directives and leaves `lines` at the line after them.
pub(super) fn read(lines: &mut Lines<'_>, errors: &mut Vec<ParseError>) -> Directives {
    let mut directives = Directives::default();
    let has_shebang = lines.peek().is_some_and(|line| line.text.starts_with("#!"));
    if has_shebang {
        lines.physical();
    }
    let mark = match lines.peek() {
        Some(line) if line.text.starts_with(SLASHES) => SLASHES,
        Some(line) if line.text.starts_with('{') => {
            directives.syntax = json_syntax(line);
            if directives.syntax.is_some() {
                lines.physical();
            }
            return directives;
        }
        _ => HASH,
    };
    let mut escape_seen = false;
    while let Some((key, value)) = lines.peek().and_then(|line| split(line, mark)) {
        let name = key.text.to_ascii_lowercase();
        let repeated = match name.as_str() {
            "syntax" => directives.syntax.replace(value).is_some(),
            "check" | "escape" if mark == SLASHES => false,
            "check" => directives.check.replace(value).is_some(),
            "escape" if has_shebang => false,
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

/// Reads `{"syntax": "…"}`; nothing if the line is something else.
fn json_syntax(line: Physical<'_>) -> Option<Word> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line.text).ok()?;
    let text = object.get("syntax")?.as_str()?.to_owned();
    // Written with escapes it is not found; then the whole line is meant.
    let span = match line.text.find(&text) {
        Some(at) => Span::new(line.start + at, line.start + at + text.len()),
        None => Span::new(line.start, line.start + line.text.len()),
    };
    Some(Word { text, span })
}

/// Splits `# key = value`; nothing if the line has another shape.
fn split(line: Physical<'_>, mark: &str) -> Option<(Word, Word)> {
    let (key, value) = line.text.trim().strip_prefix(mark)?.split_once('=')?;
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

    fn syntax(source: &str) -> Option<String> {
        directives(source).0.syntax.map(|syntax| syntax.text)
    }

    #[test]
    fn a_line_for_the_kernel_may_stand_above_them() {
        let (found, errors) =
            directives("#!/usr/bin/env x\n# escape=`\n# syntax=a\n# check=skip=all\nFROM a");
        assert_eq!((found.syntax.unwrap().text.as_str(), errors), ("a", 0));
        assert_eq!(found.check.unwrap().text, "skip=all");
        assert_eq!(found.escape, Escape::Backslash, "as in BuildKit");
        assert_eq!(syntax("# a\n#!/x\n# syntax=a"), None);
    }

    #[test]
    fn forms_of_other_files_tell_the_syntax_on_the_first_line() {
        assert_eq!(syntax("// syntax = a b\nFROM x").as_deref(), Some("a b"));
        assert_eq!(syntax("//escape=`\n//syntax=a").as_deref(), Some("a"));
        assert_eq!(syntax("{\"syntax\": \"a/b:1\", \"x\": [1]}\nFROM x").as_deref(), Some("a/b:1"));
        assert_eq!(syntax("#!/x\n{\"syntax\": \"\\u0061\"}").as_deref(), Some("a"));
        for source in
            ["# escape=`\n// syntax=a", "{\"syntax\": 1}", "{\"syntax\": \"a\"", "FROM x\n// syntax=a"]
        {
            assert_eq!(syntax(source), None, "{source}");
        }
    }

    #[test]
    fn a_syntax_knows_its_bytes() {
        for source in ["{\"syntax\": \"a/b\"}", "// syntax=a/b", "#!/x\n# syntax=a/b"] {
            let word = directives(source).0.syntax.unwrap();
            assert_eq!(&source[word.span.range()], "a/b");
        }
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
