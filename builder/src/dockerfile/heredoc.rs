//! Heredocs: their markers on an instruction's line, their bodies below it, and what RUN makes of them.
//!
//! ```text
//! COPY <<one <<-"two" /dir/      a marker: [descriptor]<<[-]word, at the start of a shell word; << word too
//! body of one                    expanded, as no part of the word is quoted
//! one                            the word alone on a line ends the body
//! <TAB>body of two               not expanded; `-` drops leading tabs
//! <TAB>two
//! ```
//!
//! Which instructions take heredocs is decided in `parse/statement.rs`.

use std::ops::Range;

use super::ast::{Run, ShellOrExec};
use super::error::{ParseError, ParseErrorKind};
use super::lines::{Lines, Slice};
use super::span::Span;
use super::word::shell_words;

/// A file, or part of a command, written in the Dockerfile itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Heredoc {
    /// The word that ends the body, quotes removed. COPY and ADD name the file so.
    pub name: String,
    /// The number before `<<`.
    pub descriptor: Option<u32>,
    /// Whether COPY and ADD expand variables in the body: unless the word is quoted.
    pub expand: bool,
    /// Whether it is `<<-`: leading tabs are dropped.
    pub strip_tabs: bool,
    /// The lines as written, with their line ends; see [`Heredoc::content`].
    pub body: String,
    /// The marker.
    pub span: Span,
    /// The body, without the line that ends it.
    pub body_span: Span,
}

impl Heredoc {
    /// Returns the body, without leading tabs if `<<-` asks so.
    pub fn content(&self) -> String {
        if !self.strip_tabs {
            return self.body.clone();
        }
        self.body.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }
}

/// What a RUN in shell form has the shell do. Nothing in it is expanded by the builder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// One argument for the shell.
    Inline(String),
    /// The whole command is a heredoc that begins with `#!`: write it to an executable file of this name
    /// and run that.
    File {
        /// The heredoc's name.
        name: String,
        /// The file's content.
        content: String,
    },
}

impl Run {
    /// Returns what the shell is given; nothing for the exec form.
    pub fn script(&self) -> Option<Script> {
        let ShellOrExec::Shell(line, heredocs) = &self.command else { return None };
        let [heredoc, rest @ ..] = heredocs.as_slice() else {
            return Some(Script::Inline(line.text.clone()));
        };
        if rest.is_empty() && heredoc.span == line.span {
            let content = heredoc.content();
            if content.starts_with("#!") {
                return Some(Script::File { name: heredoc.name.clone(), content });
            }
            return Some(Script::Inline(content));
        }
        // The shell reads the heredocs itself: give it back what was cut off.
        let mut script = line.text.clone();
        for heredoc in heredocs {
            script.push('\n');
            script.push_str(&heredoc.body);
            script.push_str(&heredoc.name);
        }
        Some(Script::Inline(script))
    }
}

/// A marker on the line, its body not yet read.
pub(super) struct Marker {
    /// Where it lies in the arguments.
    pub(super) range: Range<usize>,
    name: String,
    descriptor: Option<u32>,
    expand: bool,
    strip_tabs: bool,
}

/// Finds the markers of a line.
///
/// A line whose quotes do not close has none: BuildKit ignores the error here, and the shell or the
/// expansion reports it later.
pub(super) fn markers(args: Slice<'_>) -> Vec<Marker> {
    let text = args.text();
    if !text.contains("<<") {
        return Vec::new();
    }
    let words = shell_words(text).unwrap_or_default();
    words.into_iter().filter_map(|range| marker(&text[range.clone()], range)).collect()
}

/// Reads `[descriptor]<<[-]word`. A further `<` makes it something else, such as a here-string.
fn marker(word: &str, range: Range<usize>) -> Option<Marker> {
    let (descriptor, rest) = word.split_once("<<")?;
    let descriptor = match descriptor {
        "" => None,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().unwrap_or(u32::MAX))
        }
        _ => return None,
    };
    let (strip_tabs, quoted) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, rest.trim_start()),
    };
    if quoted.contains('<') {
        return None;
    }
    let name = unquote(quoted);
    if name.is_empty() {
        return None;
    }
    let quotes = |text: &str| text.matches(['"', '\'']).count();
    let expand = quotes(quoted) == quotes(&name);
    Some(Marker { range, name, descriptor, expand, strip_tabs })
}

/// Removes quotes and escapes. Variables stay as they are: the word is a name, not a value.
fn unquote(word: &str) -> String {
    let mut name = String::new();
    let mut quote = None;
    let mut chars = word.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None, '\\') => name.extend(chars.next()),
            (Some('"'), '\\') if matches!(chars.peek(), Some('"' | '$' | '\\')) => name.extend(chars.next()),
            _ => name.push(c),
        }
    }
    name
}

impl Marker {
    /// Reads the body from the lines that follow.
    ///
    /// # Errors
    ///
    /// The file ends first.
    pub(super) fn body(&self, args: Slice<'_>, lines: &mut Lines<'_>) -> Result<Heredoc, ParseError> {
        let span = args.part(self.range.start, self.range.end).span();
        let mut body = String::new();
        let mut body_span: Option<Span> = None;
        while let Some(line) = lines.physical() {
            let text = if self.strip_tabs { line.text.trim_start_matches('\t') } else { line.text };
            if text == self.name {
                let body_span = body_span.unwrap_or(Span::new(line.start, line.start));
                return Ok(self.heredoc(body, span, body_span));
            }
            body.push_str(lines.with_line_end(line));
            let here = Span::new(line.start, line.next);
            body_span = Some(body_span.map_or(here, |before| before.to(here)));
        }
        Err(ParseErrorKind::UnterminatedHeredoc { name: self.name.clone() }.at(span))
    }

    fn heredoc(&self, body: String, span: Span, body_span: Span) -> Heredoc {
        Heredoc {
            name: self.name.clone(),
            descriptor: self.descriptor,
            expand: self.expand,
            strip_tabs: self.strip_tabs,
            body,
            span,
            body_span,
        }
    }
}
