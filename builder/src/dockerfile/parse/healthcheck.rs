//! HEALTHCHECK.

use std::time::Duration;

use super::super::ast::{Check, Healthcheck, ShellOrExec, Word};
use super::super::error::{ParseError, ParseErrorKind};
use super::statement::Parts;
use super::{Context, command, duration};

/// What the engine can time.
const MIN_DURATION: Duration = Duration::from_millis(1);

pub(super) fn healthcheck(parts: &mut Parts<'_>, context: &mut Context) -> Result<Healthcheck, ParseError> {
    let check_flags = flags(parts, context);
    let (kind, args) = parts.args.split_first();
    match kind.text().to_ascii_uppercase().as_str() {
        "" => Err(parts.missing(ParseErrorKind::NoArguments { instruction: "HEALTHCHECK" })),
        "NONE" if args.text().is_empty() => Ok(Healthcheck::None),
        "NONE" => Err(ParseErrorKind::HealthcheckNoneArguments.at(args.span())),
        "CMD" => {
            let command = command::command(args)?;
            let empty = match &command {
                ShellOrExec::Shell(line, _) => line.text.is_empty(),
                ShellOrExec::Exec(words) => words.is_empty(),
            };
            if empty {
                return Err(ParseErrorKind::HealthcheckWithoutCommand.at(kind.span()));
            }
            Ok(Healthcheck::Check(Check { command, ..check_flags }))
        }
        other => Err(ParseErrorKind::UnknownHealthcheck { kind: other.to_owned() }.at(kind.span())),
    }
}

/// Reads the flags into a check without a command.
fn flags(parts: &mut Parts<'_>, context: &mut Context) -> Check {
    Check {
        interval: interval(parts, context, "interval"),
        timeout: interval(parts, context, "timeout"),
        start_period: interval(parts, context, "start-period"),
        start_interval: interval(parts, context, "start-interval"),
        retries: retries(parts, context),
        command: ShellOrExec::Exec(Vec::new()),
    }
}

/// Zero means the default, as if the flag were absent.
fn interval(parts: &mut Parts<'_>, context: &mut Context, flag: &'static str) -> Option<Duration> {
    let Word { text: value, span } = parts.flags.one(flag)?;
    let kind = match duration::parse(&value) {
        Some(Duration::ZERO) => return None,
        Some(interval) if interval >= MIN_DURATION => return Some(interval),
        Some(_) => ParseErrorKind::DurationTooShort { flag, value },
        None => ParseErrorKind::InvalidFlagValue { flag, value, expected: "a duration such as 30s or 1m30s" },
    };
    context.errors.push(kind.at(span));
    None
}

fn retries(parts: &mut Parts<'_>, context: &mut Context) -> Option<u32> {
    let Word { text: value, span } = parts.flags.one("retries")?;
    match value.parse::<i32>().ok().and_then(|retries| u32::try_from(retries).ok()) {
        Some(0) => None,
        Some(retries) => Some(retries),
        None => {
            let expected = "a number from 0 up";
            context
                .errors
                .push(ParseErrorKind::InvalidFlagValue { flag: "retries", value, expected }.at(span));
            None
        }
    }
}
