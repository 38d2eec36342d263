//! What deserves a look in a file that can be planned.

use crate::dockerfile::Span;
use crate::dockerfile::report::{Report, Severity};

/// Warnings kept; one slip can repeat on every line of a long file.
pub const MAX_WARNINGS: usize = 100;

/// Something that deserves a look and stops nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What, without a full stop.
    pub message: String,
    /// Where; nowhere if it is about an option.
    pub span: Option<Span>,
}

impl Warning {
    /// Renders the warning as errors are rendered.
    pub fn render(&self, file_name: &str, source: &str) -> String {
        let report = Report {
            severity: Severity::Warning,
            message: self.message.clone(),
            causes: Vec::new(),
            hint: None,
        };
        report.render(self.span, file_name, source)
    }
}

/// Warnings under way: each is told once.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    pub(super) list: Vec<Warning>,
}

impl Warnings {
    /// Whether another one would be dropped.
    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= MAX_WARNINGS
    }

    pub(super) fn push(&mut self, message: String, span: Option<Span>) {
        let warning = Warning { message, span };
        if !self.is_full() && !self.list.contains(&warning) {
            self.list.push(warning);
        }
    }
}
