//! One statement: its keyword, flags and heredocs, and who parses the rest.

use super::super::ast::{Instruction, Maintainer, Onbuild, Statement, Stopsignal, User, Word, Workdir};
use super::super::error::{ParseError, ParseErrorKind};
use super::super::flags::Flags;
use super::super::heredoc::{self, Heredoc};
use super::super::json;
use super::super::lines::{Lines, Slice};
use super::super::span::Span;
use super::super::suggest;
use super::{Context, command, copy, from, healthcheck, pairs, plain, run};

/// Every keyword, in alphabetical order.
const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// An instruction's text, cut into what every instruction has.
pub(super) struct Parts<'l> {
    /// The keyword in capitals.
    pub(super) keyword: &'static str,
    /// The keyword as written.
    pub(super) written: Word,
    pub(super) flags: Flags,
    /// What follows the flags, outer blanks cut.
    pub(super) args: Slice<'l>,
    /// The arguments of the JSON form, if it is that form.
    pub(super) json: Option<Vec<Word>>,
    /// The heredocs of the line with the places of their markers in `args`.
    pub(super) heredocs: Vec<(std::ops::Range<usize>, Heredoc)>,
}

impl Parts<'_> {
    /// An error at the keyword: something is missing.
    pub(super) fn missing(&self, kind: ParseErrorKind) -> ParseError {
        kind.at(self.written.span)
    }
}

/// Parses a logical line and reads the heredoc bodies below it.
pub(super) fn parse(
    line: Slice<'_>,
    lines: &mut Lines<'_>,
    context: &mut Context,
) -> Result<Statement, ParseError> {
    let mut parts = split(line, context)?;
    if parts.keyword == "ONBUILD" {
        return onbuild(line, parts, lines, context);
    }
    let mut span = line.span();
    if matches!(parts.keyword, "ADD" | "COPY" | "RUN") {
        parts.json = json::strings(parts.args)?;
        if parts.json.is_none() {
            heredocs(&mut parts, lines, context)?;
        }
        if !parts.heredocs.is_empty() {
            span = Span::new(span.range().start, lines.end());
        }
    }
    let (keyword, instruction) = instruction(parts, context)?;
    Ok(Statement { span, keyword, text: line.text().to_owned(), comments: Vec::new(), instruction })
}

/// Reads the bodies that the line's markers announce.
fn heredocs(parts: &mut Parts<'_>, lines: &mut Lines<'_>, context: &mut Context) -> Result<(), ParseError> {
    let markers = heredoc::markers(parts.args);
    context.lost_heredoc |= markers.is_empty() && parts.args.text().contains("<<");
    for marker in markers {
        let heredoc = marker.body(parts.args, lines)?;
        parts.heredocs.push((marker.range, heredoc));
    }
    Ok(())
}

/// Cuts the keyword and the flags off.
fn split<'l>(line: Slice<'l>, context: &mut Context) -> Result<Parts<'l>, ParseError> {
    let (written, rest) = line.split_first();
    let written = written.word();
    let upper = written.text.to_ascii_uppercase();
    let Some(&keyword) = KEYWORDS.iter().find(|keyword| **keyword == upper) else {
        let suggestion = suggest::nearest(&upper, &KEYWORDS);
        let lost_heredoc = context.lost_heredoc;
        return Err(ParseErrorKind::UnknownInstruction { name: written.text, suggestion, lost_heredoc }
            .at(written.span));
    };
    context.lost_heredoc = false;
    context.stage_seen |= keyword == "FROM";
    let (flags, args) = Flags::extract(rest);
    Ok(Parts { keyword, written, flags, args, json: None, heredocs: Vec::new() })
}

/// Parses the arguments, takes the flags, and reports those left over.
fn instruction(mut parts: Parts<'_>, context: &mut Context) -> Result<(Word, Instruction), ParseError> {
    // Not `?` at once: wrong flags are told beside a wrong argument.
    let parsed = arguments(&mut parts, context);
    context.errors.extend(parts.flags.finish(parts.keyword));
    parsed.map(|instruction| (parts.written, instruction))
}

fn arguments(parts: &mut Parts<'_>, context: &mut Context) -> Result<Instruction, ParseError> {
    Ok(match parts.keyword {
        "ADD" => Instruction::Add(copy::add(parts)?),
        "ARG" => Instruction::Arg(pairs::arg(parts, context)?),
        "CMD" => Instruction::Cmd(command::cmd(parts)?),
        "COPY" => Instruction::Copy(copy::copy(parts)?),
        "ENTRYPOINT" => Instruction::Entrypoint(command::entrypoint(parts)?),
        "ENV" => Instruction::Env(pairs::env(parts, context)?),
        "EXPOSE" => Instruction::Expose(plain::expose(parts)?),
        "FROM" => Instruction::From(from::from(parts)?),
        "HEALTHCHECK" => Instruction::Healthcheck(healthcheck::healthcheck(parts, context)?),
        "LABEL" => Instruction::Label(pairs::label(parts, context)?),
        "MAINTAINER" => Instruction::Maintainer(Maintainer { author: plain::text(parts)? }),
        "RUN" => Instruction::Run(run::run(parts, context)?),
        "SHELL" => Instruction::Shell(command::shell(parts)?),
        "STOPSIGNAL" => Instruction::Stopsignal(Stopsignal { signal: plain::text(parts)? }),
        "USER" => Instruction::User(User { user: plain::text(parts)? }),
        "VOLUME" => Instruction::Volume(plain::volume(parts)?),
        _ => Instruction::Workdir(Workdir { path: plain::text(parts)? }),
    })
}

/// ONBUILD holds another instruction; one level, so this does not recurse further.
fn onbuild(
    line: Slice<'_>,
    parts: Parts<'_>,
    lines: &mut Lines<'_>,
    context: &mut Context,
) -> Result<Statement, ParseError> {
    if parts.args.text().is_empty() {
        return Err(parts.missing(ParseErrorKind::NoArguments { instruction: "ONBUILD" }));
    }
    let Parts { written, flags, args, .. } = parts;
    context.errors.extend(flags.finish("ONBUILD"));
    // Checked before it is parsed: ONBUILD within ONBUILD would nest without end.
    let (first, _) = args.split_first();
    forbid(&first.text().to_ascii_uppercase(), &first.word())?;
    let trigger = Box::new(parse(args, lines, context)?);
    let span = line.span().to(trigger.span);
    let text = line.text().to_owned();
    let instruction = Instruction::Onbuild(Onbuild { trigger });
    Ok(Statement { span, keyword: written, text, comments: Vec::new(), instruction })
}

/// Whether an instruction may be a trigger at all.
pub(super) fn check_trigger(statement: &Statement) -> Result<(), ParseError> {
    forbid(statement.instruction.keyword(), &statement.keyword)
}

fn forbid(keyword: &str, written: &Word) -> Result<(), ParseError> {
    let forbidden = ["FROM", "MAINTAINER", "ONBUILD"].into_iter().find(|forbidden| *forbidden == keyword);
    match forbidden {
        Some(instruction) => Err(ParseErrorKind::InvalidTrigger { instruction }.at(written.span)),
        None => Ok(()),
    }
}

impl Instruction {
    /// Returns the keyword in capitals.
    pub fn keyword(&self) -> &'static str {
        match self {
            Instruction::Add(_) => "ADD",
            Instruction::Arg(_) => "ARG",
            Instruction::Cmd(_) => "CMD",
            Instruction::Copy(_) => "COPY",
            Instruction::Entrypoint(_) => "ENTRYPOINT",
            Instruction::Env(_) => "ENV",
            Instruction::Expose(_) => "EXPOSE",
            Instruction::From(_) => "FROM",
            Instruction::Healthcheck(_) => "HEALTHCHECK",
            Instruction::Label(_) => "LABEL",
            Instruction::Maintainer(_) => "MAINTAINER",
            Instruction::Onbuild(_) => "ONBUILD",
            Instruction::Run(_) => "RUN",
            Instruction::Shell(_) => "SHELL",
            Instruction::Stopsignal(_) => "STOPSIGNAL",
            Instruction::User(_) => "USER",
            Instruction::Volume(_) => "VOLUME",
            Instruction::Workdir(_) => "WORKDIR",
        }
    }
}
