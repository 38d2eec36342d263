//! CMD, ENTRYPOINT and HEALTHCHECK: their form, and how many a stage has.

use super::super::Rule;
use super::super::walk::{State, Walk};
use crate::dockerfile::ast::ShellOrExec;
use crate::dockerfile::{Instruction, Statement};

pub(super) fn of_statement<'f>(walk: &mut Walk<'_, 'f>, state: &mut State<'f>, statement: &'f Statement) {
    let (place, command) = match &statement.instruction {
        Instruction::Cmd(cmd) => (0, Some(&cmd.command)),
        Instruction::Entrypoint(entrypoint) => (1, Some(&entrypoint.command)),
        Instruction::Healthcheck(_) => (2, None),
        _ => return,
    };
    let keyword = statement.instruction.keyword();
    // Whoever gives a SHELL wants the shell form.
    if let Some(ShellOrExec::Shell(line, _)) = command
        && !state.has_shell
        && !line.text.is_empty()
    {
        let message =
            format!("{keyword} in shell form keeps signals from the program, the JSON form does not");
        walk.sink.report(Rule::JSONArgsRecommended, statement, statement.span, message);
    }
    // Told at the one that is lost.
    if let Some(lost) = state.commands[place].replace(statement) {
        let message = format!("{keyword} has no effect: the stage has another one further down");
        walk.sink.report(Rule::MultipleInstructionsDisallowed, lost, lost.span, message);
    }
}
