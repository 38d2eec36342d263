//! What deserves a look in a file that can be planned.

use std::collections::BTreeSet;

use super::arguments;
use super::options::Options;
use super::step::{Origin, Step};
use crate::dockerfile::report::{Report, Severity};
use crate::dockerfile::{File, Instruction, Span, quote};

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

/// A `# syntax`, or an argument in its place, asks for another reader of the file, which is never fetched.
pub(super) fn of_syntax(file: &File, options: &Options, warnings: &mut Warnings) {
    let written = file.directives.syntax.as_ref().map(|syntax| (syntax.text.as_str(), Some(syntax.span)));
    let given = options.build_args.get("BUILDKIT_SYNTAX").map(|text| (text.as_str(), None));
    let Some((text, span)) = given.or(written) else { return };
    let image = text.split_whitespace().next().unwrap_or_default();
    let name = image.split(['@', ':']).next().unwrap_or_default();
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    if !matches!(name, "docker/dockerfile" | "docker/dockerfile-upstream") {
        let message = "another syntax is not fetched, the file is read as a Dockerfile".to_owned();
        warnings.push(message, span);
    }
}

/// A `--build-arg` that no ARG of the file takes is probably a slip.
pub(super) fn of_build_args(
    file: &File,
    declared: &BTreeSet<String>,
    options: &Options,
    warnings: &mut Warnings,
) {
    let statements = file.statements.iter().map(|statement| &statement.instruction);
    let declared: BTreeSet<&str> =
        statements.flat_map(names_of).chain(declared.iter().map(String::as_str)).collect();
    for name in options.build_args.keys() {
        if !declared.contains(name.as_str()) && !arguments::is_predefined(name) {
            let message = format!("build argument {} is not used by any ARG", quote(name));
            warnings.push(message, None);
        }
    }
}

/// Returns the names that a trigger declares.
pub(super) fn declared<'s>(step: &'s Step<'_>) -> impl Iterator<Item = String> + 's {
    let is_trigger = step.origin == Origin::Trigger;
    is_trigger.then(|| names_of(&step.statement.instruction)).into_iter().flatten().map(str::to_owned)
}

/// Returns the names that an ARG declares.
fn names_of(instruction: &Instruction) -> impl Iterator<Item = &str> {
    let declarations = match instruction {
        Instruction::Arg(arg) => arg.declarations.as_slice(),
        _ => &[],
    };
    declarations.iter().map(|declaration| declaration.name.text.as_str())
}
