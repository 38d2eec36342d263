//! RUN.

use super::super::ast::{Network, Run, Security, ShellOrExec, Word};
use super::super::error::{ParseError, ParseErrorKind};
use super::super::mount::MountFlag;
use super::Context;
use super::statement::Parts;

pub(super) fn run(parts: &mut Parts<'_>, context: &mut Context) -> Result<Run, ParseError> {
    let devices = parts.flags.all("device");
    let mut mounts = Vec::new();
    for text in parts.flags.all("mount") {
        match MountFlag::parse(text, context.escape) {
            Ok(mount) => mounts.push(mount),
            Err(error) => context.errors.push(error),
        }
    }
    let network = choice(parts, context, "network", "default, none or host", network);
    let security = choice(parts, context, "security", "sandbox or insecure", security);
    let command = match parts.json.take() {
        Some(strings) => ShellOrExec::Exec(strings),
        None => {
            let heredocs = parts.heredocs.drain(..).map(|(_, heredoc)| heredoc).collect();
            ShellOrExec::Shell(parts.args.word(), heredocs)
        }
    };
    Ok(Run { devices, mounts, network, security, command })
}

/// Reads a flag that names one of a few choices.
fn choice<T: Default>(
    parts: &mut Parts<'_>,
    context: &mut Context,
    flag: &'static str,
    expected: &'static str,
    read: fn(&str) -> Option<T>,
) -> T {
    let Some(Word { text: value, span }) = parts.flags.one(flag) else { return T::default() };
    read(&value).unwrap_or_else(|| {
        context.errors.push(ParseErrorKind::InvalidFlagValue { flag, value, expected }.at(span));
        T::default()
    })
}

fn network(value: &str) -> Option<Network> {
    match value {
        "default" => Some(Network::Default),
        "none" => Some(Network::None),
        "host" => Some(Network::Host),
        _ => None,
    }
}

fn security(value: &str) -> Option<Security> {
    match value {
        "sandbox" => Some(Security::Sandbox),
        "insecure" => Some(Security::Insecure),
        _ => None,
    }
}
