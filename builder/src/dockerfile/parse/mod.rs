//! A file's statements, and the rules about their order.
//!
//! One statement is in `statement.rs`; each family of instructions has its own file.

mod command;
mod copy;
mod duration;
mod from;
mod healthcheck;
mod pairs;
mod plain;
mod run;
mod statement;

use super::ast::{Escape, File, Instruction, Statement};
use super::directive;
use super::error::{ParseError, ParseErrorKind, ParseErrors};
use super::lines::Lines;
use super::span::Span;
use super::{MAX_ERRORS, MAX_FILE_BYTES};

/// What the parsers of one file share.
struct Context {
    escape: Escape,
    errors: Vec<ParseError>,
    /// Whether a FROM was seen, be it a broken one.
    stage_seen: bool,
    /// Whether an instruction had `<<` and no heredoc was found: its body may follow as unknown instructions.
    lost_heredoc: bool,
}

impl Context {
    fn new(escape: Escape, errors: Vec<ParseError>) -> Context {
        Context { escape, errors, stage_seen: false, lost_heredoc: false }
    }
}

/// Returns a file's text.
///
/// # Errors
///
/// [`ParseErrorKind::FileTooLarge`], or [`ParseErrorKind::NotUtf8`] at the first byte that is not.
pub fn decode(bytes: &[u8]) -> Result<&str, ParseError> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(ParseErrorKind::FileTooLarge { bytes: bytes.len() }.at(Span::default()));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let start = error.valid_up_to();
        ParseErrorKind::NotUtf8 { byte: bytes[start] }
            .at(Span::new(start, start + error.error_len().unwrap_or(1)))
    })
}

/// Parses a Dockerfile.
///
/// # Errors
///
/// Every error that can be told without guessing, up to [`MAX_ERRORS`], in the file's order.
pub fn parse(source: &str) -> Result<File, ParseErrors> {
    if source.len() > MAX_FILE_BYTES {
        let error = ParseErrorKind::FileTooLarge { bytes: source.len() }.at(Span::default());
        return Err(ParseErrors { errors: vec![error] });
    }
    let mut lines = Lines::new(source);
    let mut errors = Vec::new();
    let directives = directive::read(&mut lines, &mut errors);
    let mut context = Context::new(directives.escape, errors);
    let (statements, blank_continuations) = statements(&mut lines, &mut context);
    if !context.stage_seen && context.errors.is_empty() {
        let kind =
            if statements.is_empty() { ParseErrorKind::NoInstructions } else { ParseErrorKind::NoStage };
        context.errors.push(kind.at(Span::new(source.len(), source.len())));
    }
    finish(context.errors)?;
    Ok(File { directives, statements, blank_continuations })
}

/// Parses one instruction that an image recorded for ONBUILD.
///
/// # Errors
///
/// What is wrong with it, or that it is none or several.
pub fn parse_trigger(text: &str) -> Result<Statement, ParseErrors> {
    let mut context = Context::new(Escape::default(), Vec::new());
    context.stage_seen = true;
    let (mut statements, _) = statements(&mut Lines::new(text), &mut context);
    let whole = Span::new(0, text.len());
    match statements.as_slice() {
        [only] => context.errors.extend(statement::check_trigger(only).err()),
        [] if context.errors.is_empty() => context.errors.push(ParseErrorKind::NoInstructions.at(whole)),
        [] => {}
        _ => context.errors.push(ParseErrorKind::MoreThanOneInstruction.at(whole)),
    }
    finish(context.errors)?;
    Ok(statements.remove(0))
}

fn finish(mut errors: Vec<ParseError>) -> Result<(), ParseErrors> {
    if errors.is_empty() {
        return Ok(());
    }
    errors.sort_by_key(|error| error.span.start);
    errors.truncate(MAX_ERRORS);
    Err(ParseErrors { errors })
}

/// Reads statements to the end of the file, or until there are errors enough.
fn statements(lines: &mut Lines<'_>, context: &mut Context) -> (Vec<Statement>, Vec<Span>) {
    let mut statements = Vec::new();
    let mut blank_continuations = Vec::new();
    while context.errors.len() < MAX_ERRORS {
        let Some(mut line) = lines.logical(context.escape.char()) else { break };
        blank_continuations.append(&mut line.blank_continuations);
        let comments = std::mem::take(&mut line.comments);
        match statement::parse(line.slice(), lines, context) {
            Ok(mut statement) => {
                statement.comments = comments;
                check_order(&statement, context);
                statements.push(statement);
            }
            Err(error) => context.errors.push(error),
        }
    }
    (statements, blank_continuations)
}

/// Nothing but ARG may precede the first FROM; said once.
fn check_order(statement: &Statement, context: &mut Context) {
    let early = !matches!(statement.instruction, Instruction::Arg(_) | Instruction::From(_));
    if early && !context.stage_seen {
        let instruction = statement.instruction.keyword();
        context.errors.push(ParseErrorKind::BeforeFrom { instruction }.at(statement.keyword.span));
        context.stage_seen = true;
    }
}

/// Whether text holds what looks like a variable.
pub(super) fn has_variable(text: &str) -> bool {
    text.find('$').is_some_and(|dollar| dollar + 1 < text.len())
}
