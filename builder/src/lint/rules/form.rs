//! Forms of writing that are on their way out.

use super::super::Rule;
use super::super::finding::Sink;
use crate::dockerfile::ast::PairForm;
use crate::dockerfile::{File, Instruction, Statement};

/// Empty lines in continued instructions; told once for each instruction.
pub(super) fn of_continuations(file: &File, sink: &mut Sink) {
    let mut told = None;
    for &span in &file.blank_continuations {
        let after = file.statements.partition_point(|statement| statement.span.start <= span.start);
        let Some(number) = after.checked_sub(1) else { continue };
        if told.replace(number) != Some(number) {
            let message = "continued instruction has an empty line".to_owned();
            sink.report(Rule::NoEmptyContinuation, &file.statements[number], span, message);
        }
    }
}

pub(super) fn of_statement(statement: &Statement, sink: &mut Sink) {
    let legacy = match &statement.instruction {
        Instruction::Env(env) => env.form == PairForm::Legacy,
        Instruction::Label(label) => label.form == PairForm::Legacy,
        Instruction::Maintainer(_) => {
            let message = "MAINTAINER is deprecated, LABEL org.opencontainers.image.authors= says the same";
            let span = statement.keyword.span;
            sink.report(Rule::MaintainerDeprecated, statement, span, message.to_owned());
            false
        }
        _ => false,
    };
    if legacy {
        let keyword = statement.instruction.keyword();
        let message = format!("{keyword} name=value should be used instead of {keyword} name value");
        sink.report(Rule::LegacyKeyValueFormat, statement, statement.span, message);
    }
}
