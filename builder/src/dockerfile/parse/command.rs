//! Commands in shell or JSON form: CMD, ENTRYPOINT, SHELL.

use super::super::ast::{Cmd, Entrypoint, Shell, ShellOrExec};
use super::super::error::{ParseError, ParseErrorKind};
use super::super::json;
use super::super::lines::Slice;
use super::statement::Parts;

/// An empty shell form is legal: BuildKit gives the shell an empty command.
pub(super) fn cmd(parts: &Parts<'_>) -> Result<Cmd, ParseError> {
    Ok(Cmd { command: command(parts.args)? })
}

pub(super) fn entrypoint(parts: &Parts<'_>) -> Result<Entrypoint, ParseError> {
    Ok(Entrypoint { command: command(parts.args)? })
}

pub(super) fn command(args: Slice<'_>) -> Result<ShellOrExec, ParseError> {
    Ok(match json::strings(args)? {
        Some(strings) => ShellOrExec::Exec(strings),
        None => ShellOrExec::Shell(args.word(), Vec::new()),
    })
}

pub(super) fn shell(parts: &Parts<'_>) -> Result<Shell, ParseError> {
    match json::strings(parts.args)? {
        Some(command) if !command.is_empty() => Ok(Shell { command }),
        Some(_) => Err(parts.missing(ParseErrorKind::NoArguments { instruction: "SHELL" })),
        None if parts.args.text().is_empty() => {
            Err(parts.missing(ParseErrorKind::NoArguments { instruction: "SHELL" }))
        }
        None => Err(ParseErrorKind::NotJson { instruction: "SHELL" }.at(parts.args.span())),
    }
}
