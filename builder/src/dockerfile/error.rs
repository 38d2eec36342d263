//! What is wrong with a Dockerfile, as data. How it is shown is in `report.rs`.

use std::fmt;

use super::mount::MountErrorKind;
use super::report::{Report, Severity};
use super::span::Span;
use super::word::WordErrorKind;
use super::{MAX_ERRORS, MAX_FILE_BYTES};

/// Text of the file that a message quotes is cut here: a minified line must not fill the terminal.
const MAX_QUOTED_CHARS: usize = 60;

/// An error and where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// Where.
    pub span: Span,
}

/// All errors found in one file, in its order; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseErrors {
    /// The errors, at most [`MAX_ERRORS`].
    pub errors: Vec<ParseError>,
}

impl std::error::Error for ParseErrors {}

impl fmt::Display for ParseErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.as_slice() {
            [error] => write!(f, "{error}"),
            [error, rest @ ..] => write!(f, "{error} (and {} more)", rest.len()),
            [] => write!(f, "dockerfile is invalid"),
        }
    }
}

impl ParseErrors {
    /// Renders every error as [`ParseError::render`] does.
    pub fn render(&self, file_name: &str, source: &str) -> String {
        let mut text: Vec<String> = self.errors.iter().map(|error| error.render(file_name, source)).collect();
        if self.errors.len() == MAX_ERRORS {
            text.push(format!("error: only the first {MAX_ERRORS} errors are shown"));
        }
        text.join("\n\n")
    }
}

/// What is wrong with a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ParseErrorKind {
    #[error("dockerfile of {bytes} bytes is larger than {MAX_FILE_BYTES}")]
    FileTooLarge { bytes: usize },
    #[error("dockerfile is not UTF-8: byte {byte:#04x}")]
    NotUtf8 { byte: u8 },
    #[error("dockerfile has no instructions")]
    NoInstructions,
    #[error("dockerfile has no FROM")]
    NoStage,
    #[error("{instruction} stands before the first FROM")]
    BeforeFrom { instruction: &'static str },
    #[error("unknown instruction {}", quote(.name))]
    UnknownInstruction { name: String, suggestion: Option<&'static str>, lost_heredoc: bool },
    #[error("directive {name} is given twice")]
    DuplicateDirective { name: String },
    #[error("escape directive cannot be {}", quote(.value))]
    InvalidEscape { value: String },
    #[error("{instruction} needs at least one argument")]
    NoArguments { instruction: &'static str },
    #[error("{instruction} needs an argument")]
    NoArgument { instruction: &'static str },
    #[error("{instruction} needs a source and a destination")]
    NoDestination { instruction: &'static str },
    #[error("FROM takes an image, or an image, AS and a name")]
    FromArguments,
    #[error("stage cannot be named {}", quote(.name))]
    InvalidStageName { name: String },
    #[error("{instruction} has no flag --{}", cut(.flag))]
    UnknownFlag { instruction: &'static str, flag: String, suggestion: Option<&'static str> },
    #[error("flag --{flag} is given twice")]
    DuplicateFlag { flag: String },
    #[error("flag --{flag} needs a value")]
    FlagWithoutValue { flag: String },
    #[error("flag --{flag} is true or false, not {}", quote(.value))]
    NotABoolean { flag: String, value: String },
    #[error("flag --{flag} cannot be {}", quote(.value))]
    InvalidFlagValue { flag: &'static str, value: String, expected: &'static str },
    #[error("flag --{flag} is {}, shorter than a millisecond", quote(.value))]
    DurationTooShort { flag: &'static str, value: String },
    #[error("stage or image to copy from cannot be a variable")]
    VariableInFrom,
    #[error("JSON form holds something that is not a string")]
    NotAString,
    #[error("{instruction} takes the JSON form only")]
    NotJson { instruction: &'static str },
    #[error("{} has no =", quote(.word))]
    MissingEquals { word: String },
    #[error("{instruction} {} has no value", quote(.name))]
    MissingValue { instruction: &'static str, name: String },
    #[error("{instruction} has a blank name")]
    BlankName { instruction: &'static str },
    #[error("VOLUME has a blank path")]
    BlankVolume,
    #[error("heredoc {} is never closed", quote(.name))]
    UnterminatedHeredoc { name: String },
    #[error("{instruction} cannot have a heredoc as its destination")]
    HeredocAsDestination { instruction: &'static str },
    #[error("ONBUILD cannot trigger {instruction}")]
    InvalidTrigger { instruction: &'static str },
    #[error("text holds more than one instruction")]
    MoreThanOneInstruction,
    #[error("HEALTHCHECK cannot be {}", quote(.kind))]
    UnknownHealthcheck { kind: String },
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthcheckNoneArguments,
    #[error("HEALTHCHECK CMD needs a command")]
    HealthcheckWithoutCommand,
    #[error("{0}")]
    Mount(MountErrorKind),
    #[error("{0}")]
    Word(WordErrorKind),
}

impl ParseErrorKind {
    pub(super) fn at(self, span: Span) -> ParseError {
        ParseError { kind: self, span }
    }

    /// Returns how to mend it, where that can be said in a line.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            ParseErrorKind::UnknownInstruction { lost_heredoc: true, .. } => {
                "if a heredoc was meant above: <<NAME must begin a word, and quotes on its line must close"
            }
            ParseErrorKind::UnknownInstruction { suggestion, .. } => {
                return suggestion.map(|meant| format!("did you mean {meant}?"));
            }
            ParseErrorKind::UnknownFlag { suggestion, .. } => {
                return suggestion.map(|meant| format!("did you mean --{meant}?"));
            }
            ParseErrorKind::InvalidFlagValue { expected, .. } => {
                return Some(format!("it must be {expected}"));
            }
            ParseErrorKind::FlagWithoutValue { flag } => return Some(format!("write --{flag}=VALUE")),
            ParseErrorKind::Mount(kind) => return kind.hint(),
            ParseErrorKind::NoStage | ParseErrorKind::NoInstructions => {
                "begin a stage with FROM, perhaps FROM scratch"
            }
            ParseErrorKind::NotUtf8 { .. } => {
                "save the file as UTF-8; iconv -f latin1 -t utf-8 turns older files into it"
            }
            ParseErrorKind::BeforeFrom { .. } => "only ARG may stand there",
            ParseErrorKind::InvalidEscape { .. } => "it must be \\ or `",
            ParseErrorKind::FromArguments => "write FROM image AS name",
            ParseErrorKind::InvalidStageName { .. } => {
                "a name begins with a letter; letters, digits, - _ and . follow"
            }
            ParseErrorKind::NoDestination { .. } => "the last argument is the destination",
            ParseErrorKind::VariableInFrom => "name a stage for it: FROM $IMAGE AS name, then use that name",
            ParseErrorKind::NotAString => "put every element in double quotes",
            ParseErrorKind::NotJson { .. } => "write [\"program\", \"argument\"]",
            ParseErrorKind::MissingEquals { .. } => "write name=value, and quote a value that has blanks",
            ParseErrorKind::MissingValue { .. } => "write name=value",
            ParseErrorKind::UnterminatedHeredoc { .. } => {
                "its name must stand alone on a line, without blanks around it"
            }
            ParseErrorKind::UnknownHealthcheck { .. } => "it must be CMD or NONE",
            ParseErrorKind::Word(WordErrorKind::UnclosedQuote { .. }) => {
                "escape the quote, or use the JSON form for a path with blanks"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl ParseError {
    /// Renders the error with its file name, line, caret and hint; plain text, no line end at the end.
    ///
    /// `source` is the file the error came from.
    pub fn render(&self, file_name: &str, source: &str) -> String {
        let (message, hint) = (self.kind.to_string(), self.kind.hint());
        let report = Report { severity: Severity::Error, message, hint, causes: Vec::new() };
        report.render(Some(self.span), file_name, source)
    }
}

/// Quotes text of the file, control characters escaped, and cuts it.
pub(crate) fn quote(text: &str) -> String {
    format!("{:?}", cut(text))
}

/// Cuts text of the file.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
