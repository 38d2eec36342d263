//! Flags of instructions: `--name`, `--name=value`, before the arguments.
//!
//! Quotes around a flag's parts are removed here and `\` escapes in it, whatever the escape directive says:
//! so does BuildKit. Each instruction's parser takes the flags it knows; what is left over is an error.

use super::ast::Word;
use super::error::{ParseError, ParseErrorKind};
use super::lines::Slice;
use super::span::Span;
use super::suggest;

/// A flag as written, quotes removed.
struct Flag {
    name: String,
    value: Option<Word>,
    span: Span,
}

/// The flags of one instruction, taken one by one.
pub(super) struct Flags {
    flags: Vec<Flag>,
    /// Every name asked for: what the instruction knows.
    known: Vec<&'static str>,
    errors: Vec<ParseError>,
}

impl Flags {
    /// Cuts the flags from the front of an instruction's text and returns the arguments too.
    pub(super) fn extract(text: Slice<'_>) -> (Flags, Slice<'_>) {
        let mut flags = Vec::new();
        let mut rest = text.trim();
        while rest.text().starts_with("--") {
            let (flag, after) = flag(rest);
            rest = after.trim();
            match flag {
                Some(flag) => flags.push(flag),
                None => break,
            }
        }
        (Flags { flags, known: Vec::new(), errors: Vec::new() }, rest)
    }

    /// Takes a flag that may occur any number of times.
    pub(super) fn all(&mut self, name: &'static str) -> Vec<Word> {
        self.occurrences(name).into_iter().filter_map(|flag| self.valued(flag)).collect()
    }

    /// Takes a flag that may occur once and has a value.
    pub(super) fn one(&mut self, name: &'static str) -> Option<Word> {
        let flag = self.single(name)?;
        self.valued(flag)
    }

    /// Takes a flag that may occur once and is `true` without a value.
    pub(super) fn switch(&mut self, name: &'static str) -> Option<bool> {
        let flag = self.single(name)?;
        let Some(value) = flag.value else { return Some(true) };
        match value.text.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                let kind = ParseErrorKind::NotABoolean { flag: flag.name, value: value.text };
                self.errors.push(kind.at(value.span));
                None
            }
        }
    }

    /// Returns the errors; flags nobody took are among them.
    pub(super) fn finish(mut self, instruction: &'static str) -> Vec<ParseError> {
        for flag in self.flags {
            let suggestion = suggest::nearest(&flag.name, &self.known);
            let kind = ParseErrorKind::UnknownFlag { instruction, flag: flag.name, suggestion };
            self.errors.push(kind.at(flag.span));
        }
        self.errors
    }

    fn occurrences(&mut self, name: &'static str) -> Vec<Flag> {
        self.known.push(name);
        self.flags.extract_if(.., |flag| flag.name == name).collect()
    }

    fn single(&mut self, name: &'static str) -> Option<Flag> {
        let mut found = self.occurrences(name).into_iter();
        let first = found.next();
        for again in found {
            self.errors.push(ParseErrorKind::DuplicateFlag { flag: again.name }.at(again.span));
        }
        first
    }

    fn valued(&mut self, flag: Flag) -> Option<Word> {
        if flag.value.is_none() {
            self.errors.push(ParseErrorKind::FlagWithoutValue { flag: flag.name }.at(flag.span));
        }
        flag.value
    }
}

/// Reads one flag and returns what follows it; a bare `--` is no flag but their end.
fn flag(text: Slice<'_>) -> (Option<Flag>, Slice<'_>) {
    let mut word = String::new();
    let mut equals = None;
    let mut quote = None;
    let mut end = text.text().len();
    let mut chars = text.text().char_indices();
    while let Some((at, mut c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                end = at;
                break;
            }
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                continue;
            }
            Some(open) if c == open => {
                quote = None;
                continue;
            }
            _ if c == '\\' => {
                let Some((_, escaped)) = chars.next() else { break };
                c = escaped;
            }
            _ if c == '=' && equals.is_none() => equals = Some((word.len(), at)),
            _ => {}
        }
        word.push(c);
    }
    let span = text.part(0, end).span();
    let rest = text.from(end);
    if word == "--" {
        return (None, rest);
    }
    let flag = match equals {
        None => Flag { name: word[2..].to_owned(), value: None, span },
        Some((split, at)) => {
            let value = Word { text: word[split + 1..].to_owned(), span: text.part(at + 1, end).span() };
            Flag { name: word[2..split].to_owned(), value: Some(value), span }
        }
    };
    (Some(flag), rest)
}

#[cfg(test)]
mod tests {
    use super::super::lines::Lines;
    use super::Flags;

    fn extract(source: &str) -> (Flags, String) {
        let line = Lines::new(source).logical('\\').unwrap();
        let (flags, rest) = Flags::extract(line.slice());
        (flags, rest.text().to_owned())
    }

    #[test]
    fn quotes_and_escapes_in_flags_are_removed() {
        let (mut flags, rest) = extract(r#"--a="x y" --b=p\ q'r s' z"#);
        assert_eq!(flags.one("a").unwrap().text, "x y");
        assert_eq!(flags.one("b").unwrap().text, "p qr s");
        assert_eq!(rest, "z");
        assert!(flags.finish("RUN").is_empty());
    }

    #[test]
    fn a_value_knows_its_bytes() {
        let source = "--a=one --b=\"two\" z";
        let (mut flags, _) = extract(source);
        assert_eq!(&source[flags.one("a").unwrap().span.range()], "one");
        assert_eq!(&source[flags.one("b").unwrap().span.range()], "\"two\"");
    }

    #[test]
    fn flags_end_at_the_first_other_word_and_at_two_dashes() {
        assert_eq!(extract("--a=1 b --c").1, "b --c");
        assert_eq!(extract("--a=1 -- --c").1, "--c");
        assert_eq!(extract("-a").1, "-a");
    }

    #[test]
    fn a_switch_is_true_alone_and_refuses_odd_values() {
        let (mut flags, _) = extract("--a --b=FALSE --c=1 --d=");
        assert_eq!((flags.switch("a"), flags.switch("b")), (Some(true), Some(false)));
        assert_eq!((flags.switch("c"), flags.switch("d")), (None, None));
        assert_eq!(flags.finish("RUN").len(), 2);
    }

    #[test]
    fn repeated_missing_and_unknown_are_errors() {
        let (mut flags, _) = extract("--a=1 --a=2 --b --c=3 --c=4 --x");
        assert_eq!(flags.one("a").unwrap().text, "1");
        assert_eq!(flags.one("b"), None);
        assert_eq!(flags.all("c").len(), 2);
        assert_eq!(flags.finish("RUN").len(), 3);
    }
}
