//! How an error or a warning about a Dockerfile is shown to people.
//!
//! ```text
//! error: unknown instruction "FORM"
//!  --> Dockerfile:1:1
//!   |
//! 1 | FORM alpine
//!   | ^^^^
//!   |
//!   = hint: did you mean FROM?
//! ```
//!
//! What can be wrong is in `error.rs` here and in the plan.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::span::{Span, byte_order_mark};

/// A marked region longer than this shows its first line only.
const MAX_SHOWN_BYTES: usize = 2000;

/// Columns a rendered line may take; longer lines are cut around the caret.
const RENDER_COLUMNS: usize = 140;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    Error,
    Warning,
}

/// What is to be told.
pub(crate) struct Report {
    pub(crate) severity: Severity,
    pub(crate) message: String,
    /// Why it came so, outermost first.
    pub(crate) causes: Vec<String>,
    /// How to mend it.
    pub(crate) hint: Option<String>,
}

impl Report {
    /// Renders the report, with the line and a caret if it has a place; no line end at the end.
    pub(crate) fn render(&self, span: Option<Span>, file_name: &str, source: &str) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let Some(span) = span else { return self.placeless() };
        let title = level.primary_title(self.message.as_str());
        let mut group = title.element(snippet(span, file_name, source));
        for cause in &self.causes {
            group = group.element(Level::NOTE.with_name("cause").message(cause.as_str()));
        }
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
        }
        Renderer::plain().term_width(RENDER_COLUMNS).render(&[group]).to_string()
    }

    /// Without a line of the file the renderer would draw an empty margin.
    fn placeless(&self) -> String {
        let level = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut text = format!("{level}: {}", self.message);
        for cause in &self.causes {
            text.push_str(&format!("\n  cause: {cause}"));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("\n  hint: {hint}"));
        }
        text
    }
}

/// The lines concerned, and only they: the renderer reads all it gets.
fn snippet<'s>(
    span: Span,
    file_name: &'s str,
    source: &'s str,
) -> Snippet<'s, annotate_snippets::Annotation<'s>> {
    let (start, end) = region(span, source);
    let head = byte_order_mark(source).min(start);
    let first = source[..start].rfind('\n').map_or(head, |newline| newline + 1);
    let last = source[end..].find('\n').map_or(source.len(), |newline| end + newline);
    let line = source[..first].matches('\n').count() + 1;
    Snippet::source(&source[first..last])
        .path(file_name)
        .line_start(line)
        .annotation(AnnotationKind::Primary.span(start - first..end - first))
}

/// Returns the region to mark: on character boundaries, without a line end, and not too long.
fn region(span: Span, source: &str) -> (usize, usize) {
    let boundary = |mut offset: usize| {
        offset = offset.min(source.len());
        while !source.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    };
    let start = boundary(span.range().start);
    let mut end = boundary(span.range().end).max(start);
    if end - start > MAX_SHOWN_BYTES {
        end = boundary(start + MAX_SHOWN_BYTES);
        end = source[start..end].find('\n').map_or(end, |newline| start + newline);
    }
    let marked = source[start..end].trim_end_matches(['\r', '\n']);
    (start, start + marked.len())
}
