//! What a check found, and the place where findings are gathered: there `# check=` is obeyed.

use std::collections::HashMap;

use super::directive::{Checks, DirectiveError, in_comment, unknown_rule};
use super::rule::Rule;
use crate::dockerfile::report::{Report, Severity};
use crate::dockerfile::{File, Span, Statement};
use crate::plan::{MAX_WARNINGS, Warning};

/// So many findings are kept: one habit can repeat on every line of a long file.
pub const MAX_FINDINGS: usize = 1000;

/// Longer lines are named, not shown: the renderer reads all of a line for each of a thousand findings in it.
const MAX_RENDERED_LINE_BYTES: usize = 16 << 10;

/// Something that a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which check.
    pub rule: Rule,
    /// What, without a full stop.
    pub message: String,
    /// Where.
    pub span: Span,
    /// Whether `# check=error=true` holds there.
    pub level: Level,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// It stops nothing.
    Warning,
    /// It fails the build.
    Error,
}

impl Finding {
    /// Renders the finding with its line, a caret and the address of its page; no line end at the end.
    pub fn render(&self, file_name: &str, source: &str) -> String {
        let severity = match self.level {
            Level::Warning => Severity::Warning,
            Level::Error => Severity::Error,
        };
        let report = Report {
            severity,
            message: format!("{}: {}", self.rule, self.message),
            causes: Vec::new(),
            hint: Some(format!("see {}", self.rule.url())),
        };
        let (start, end) = (self.span.range().start, self.span.range().end);
        let line = source[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = source[end..].find('\n').map_or(source.len(), |newline| end + newline);
        if line_end - line <= MAX_RENDERED_LINE_BYTES {
            return report.render(Some(self.span), file_name, source);
        }
        let number = source[..line].matches('\n').count() + 1;
        let column = source[line..start].chars().count() + 1;
        let text = report.render(None, file_name, source);
        text.replacen('\n', &format!("\n --> {file_name}:{number}:{column}\n"), 1)
    }
}

/// Findings under way.
pub(super) struct Sink {
    file: Checks,
    /// What the comment above an instruction says, by where the instruction begins.
    own: HashMap<u32, Checks>,
    findings: Vec<Finding>,
    /// What is wrong with the checks themselves, or was left out.
    pub(super) notes: Vec<Warning>,
}

impl Sink {
    /// `given` is what `--build-arg` says; it takes the place of the directive.
    pub(super) fn new(file: &File, given: Option<&str>) -> Result<Sink, DirectiveError> {
        let (text, span) = match (given, &file.directives.check) {
            (Some(text), _) => (text, None),
            (None, Some(word)) => (word.text.as_str(), Some(word.span)),
            (None, None) => ("", None),
        };
        let checks = Checks::parse(text).map_err(|kind| DirectiveError { kind, span })?;
        let mut sink = Sink { file: checks, own: HashMap::new(), findings: Vec::new(), notes: Vec::new() };
        for name in std::mem::take(&mut sink.file.unknown) {
            sink.note(unknown_rule(&name), span);
        }
        for statement in &file.statements {
            sink.read_comments(statement);
        }
        Ok(sink)
    }

    /// A sink that keeps nothing.
    pub(super) fn silent() -> Sink {
        let file = Checks::parse("skip=all").unwrap_or_default();
        Sink { file, own: HashMap::new(), findings: Vec::new(), notes: Vec::new() }
    }

    fn read_comments(&mut self, statement: &Statement) {
        let span = Some(statement.keyword.span);
        for text in statement.comments.iter().filter_map(|comment| in_comment(comment)) {
            match Checks::parse(text) {
                Ok(mut checks) => {
                    for name in std::mem::take(&mut checks.unknown) {
                        self.note(unknown_rule(&name), span);
                    }
                    self.own.insert(statement.span.start, checks);
                }
                // It may be prose.
                Err(kind) => self.note(format!("comment above is not obeyed: {kind}"), span),
            }
        }
    }

    /// Adds a note, once.
    pub(super) fn note(&mut self, message: String, span: Option<Span>) {
        let is_new = self.notes.iter().all(|note| note.message != message);
        if is_new && self.notes.len() < MAX_WARNINGS {
            self.notes.push(Warning { message, span });
        }
    }

    /// Whether a finding about this statement would be kept.
    pub(super) fn wants(&self, rule: Rule, statement: &Statement) -> bool {
        let wanted = match self.own.get(&statement.span.start) {
            Some(own) => self.file.runs_with(own, rule),
            None => self.file.runs(rule),
        };
        wanted && self.findings.len() < MAX_FINDINGS
    }

    /// Adds a finding about a statement.
    pub(super) fn report(&mut self, rule: Rule, statement: &Statement, span: Span, message: String) {
        if !self.wants(rule, statement) {
            return;
        }
        let own_error = self.own.get(&statement.span.start).is_some_and(|own| own.error);
        let level = if self.file.error || own_error { Level::Error } else { Level::Warning };
        self.findings.push(Finding { rule, message, span, level });
    }

    /// Returns the findings in the order of the file, and the notes.
    pub(super) fn finish(mut self) -> (Vec<Finding>, Vec<Warning>) {
        if self.findings.len() >= MAX_FINDINGS {
            self.note(format!("only the first {MAX_FINDINGS} findings are listed"), None);
        }
        self.findings.sort_by_key(|finding| (finding.span.start, finding.rule));
        (self.findings, self.notes)
    }
}
