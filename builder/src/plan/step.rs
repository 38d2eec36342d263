//! One instruction to plan, and where its errors are shown.
//!
//! ```text
//! from the file           errors are shown at their own place
//! from a base's ONBUILD   errors are shown at the FROM that names the base, with the trigger's text
//! ```

use std::borrow::Cow;

use super::error::{PlanError, PlanErrorKind};
use crate::dockerfile::ast::Escape;
use crate::dockerfile::{ParseError, Span, Statement};

/// Where an instruction stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The escape of the text that it came from.
    pub(super) escape: Escape,
    /// Where all of it is shown if it is not of the file.
    shown_at: Option<Span>,
    /// Its text if it is not of the file.
    trigger: Option<String>,
}

impl Place {
    /// An instruction of the file.
    pub(super) fn file(escape: Escape) -> Self {
        Self { escape, shown_at: None, trigger: None }
    }

    /// A trigger of the image that a FROM names at `span`.
    pub(super) fn trigger(text: &str, span: Span) -> Self {
        Self { escape: Escape::default(), shown_at: Some(span), trigger: Some(text.to_owned()) }
    }

    /// Returns where people are shown `span`.
    pub(super) fn of(&self, span: Span) -> Span {
        self.shown_at.unwrap_or(span)
    }

    pub(super) fn error(&self, kind: PlanErrorKind, span: Span) -> PlanError {
        PlanError { kind, span: Some(self.of(span)), trigger: self.trigger.clone() }
    }

    pub(super) fn parse_error(&self, error: ParseError) -> PlanError {
        self.error(PlanErrorKind::Parse(error.kind), error.span)
    }
}

/// One instruction to plan.
#[derive(Debug, Clone)]
pub(super) struct Step<'f> {
    pub(super) statement: Cow<'f, Statement>,
    pub(super) place: Place,
    pub(super) origin: Origin,
    /// What it names: one for COPY with a `--from`, one for each `--mount` of a RUN. A mount without `from`
    /// names nothing.
    pub(super) names: Vec<Option<Named>>,
}

impl Step<'_> {
    /// Returns the stages that it names.
    pub(super) fn stages(&self) -> impl Iterator<Item = usize> {
        self.names.iter().flatten().filter_map(|named| match named {
            Named::Stage(stage) => Some(*stage),
            Named::Context(_) | Named::Image { .. } | Named::Scratch => None,
        })
    }
}

/// Who wrote an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The stage itself.
    Stage,
    /// ONBUILD of what the stage stands on.
    Trigger,
}

/// What `COPY --from` or `RUN --mount=from=` names.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Named {
    /// A folder by the name of its context.
    Context(String),
    /// An image.
    Image {
        /// Its place among the pulled ones.
        image: usize,
        /// As the file names it.
        name: String,
    },
    /// The empty image.
    Scratch,
    /// An earlier stage.
    Stage(usize),
}
