//! Why a file cannot be planned, and what deserves a look though it can be.
//!
//! Both know their place in the Dockerfile; they are shown as errors of the parser are. What a base
//! image's ONBUILD does wrong is shown at the FROM that names the image.

use std::error::Error;
use std::fmt;

use oxbox_layers::oci::platform::PlatformError;
use oxbox_layers::oci::{Platform, ReferenceError};

use crate::dockerfile::report::{Report, Severity};
use crate::dockerfile::{ParseError, ParseErrorKind, Span, quote};
use crate::fetch::FetchError;

/// Why a file cannot be planned.
#[derive(Debug)]
pub struct PlanError {
    /// What is wrong.
    pub kind: PlanErrorKind,
    /// Where; nowhere if it is not the file that is wrong.
    pub span: Option<Span>,
    /// The ONBUILD trigger of the base image that it is about.
    pub trigger: Option<String>,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum PlanErrorKind {
    #[error("{0}")]
    Parse(ParseErrorKind),
    #[error("image of FROM is blank")]
    BlankImage { written: String },
    #[error("platform of FROM is blank")]
    BlankPlatform { written: String },
    #[error("{instruction} has a blank name")]
    BlankName { instruction: &'static str },
    #[error("platform cannot be used")]
    Platform {
        #[source]
        source: PlatformError,
    },
    #[error("{} is neither a stage nor an image", quote(.name))]
    Reference {
        name: String,
        meant: Option<Meant>,
        #[source]
        source: ReferenceError,
    },
    #[error("cannot use {}", quote(.name))]
    Base {
        name: String,
        meant: Option<Meant>,
        #[source]
        source: FetchError,
    },
    #[error("there is no stage {} to build", quote(.target))]
    UnknownTarget { target: String, meant: Option<Meant> },
    #[error("stage {} needs to be defined before it is copied from", quote(.name))]
    LaterStage { name: String },
    #[error("a stage cannot copy from itself")]
    SameStage,
    #[error("there is no stage {index}, the file has {stages}")]
    UnknownStageIndex { index: i64, stages: usize },
    #[error("{what} is not supported yet")]
    NotSupported { what: String },
    #[error("RUN needs {platform}, which does not run on {host}")]
    ForeignRun { platform: Platform, host: Platform },
    #[error("RUN asks for the host's network in a build that has none")]
    NetworkRefused,
    #[error("COPY cannot download {}", quote(.source_text))]
    RemoteCopy { source_text: String },
    #[error("--checksum is for remote files only")]
    ChecksumOfLocalFile,
    #[error("mode {} is neither octal up to 7777 nor symbolic", quote(.mode))]
    InvalidMode { mode: String },
    #[error("heredoc cannot be a file named {}", quote(.name))]
    InvalidHeredocName { name: String },
    #[error("{} is not a port", quote(.port))]
    InvalidPort { port: String },
    #[error("EXPOSE names more than {max} ports")]
    TooManyPorts { max: usize },
    #[error("{} is not a signal", quote(.signal))]
    InvalidSignal { signal: String },
    #[error("plan is larger than {max_bytes} bytes")]
    TooLarge { max_bytes: usize },
}

/// The stage that a name was perhaps meant for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meant {
    /// A stage of this name stands further down.
    Later(String),
    /// A stage has nearly this name.
    Similar(String),
}

impl Meant {
    fn hint(&self) -> String {
        match self {
            Self::Later(name) => format!("stage {name} needs to be defined before it is used: move it up"),
            Self::Similar(name) => format!("did you mean {name}?"),
        }
    }
}

impl PlanErrorKind {
    pub(super) fn at(self, span: Span) -> PlanError {
        PlanError { kind: self, span: Some(span), trigger: None }
    }

    pub(super) fn not_supported(what: impl Into<String>) -> Self {
        Self::NotSupported { what: what.into() }
    }

    /// Returns how to mend it, where that can be said in a line.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Parse(kind) => return kind.hint(),
            Self::BlankImage { written } | Self::BlankPlatform { written } => {
                return Some(format!("{written} is empty: an ARG before FROM can give it a value"));
            }
            Self::Reference { meant, .. } | Self::Base { meant, .. } | Self::UnknownTarget { meant, .. } => {
                return meant.as_ref().map(Meant::hint);
            }
            Self::LaterStage { .. } => "a stage can use earlier stages only: move it up",
            Self::UnknownStageIndex { .. } => "stages are counted from 0",
            Self::ForeignRun { .. } => "FROM --platform=$BUILDPLATFORM makes a stage run on this machine",
            Self::NetworkRefused => "build without --network=none",
            Self::RemoteCopy { .. } => "ADD downloads",
            Self::InvalidPort { .. } => "write port, port-port or either with /tcp, /udp or /sctp",
            Self::InvalidSignal { .. } => "write a name like SIGTERM or a number from 1 to 64",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl PlanError {
    /// Renders the error with its place, causes and hint; plain text, no line end at the end.
    ///
    /// `source` is the text of the file that was planned.
    pub fn render(&self, file_name: &str, source: &str) -> String {
        let mut causes = Vec::new();
        let mut cause = self.source();
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        let report =
            Report { severity: Severity::Error, message: self.to_string(), causes, hint: self.kind.hint() };
        report.render(self.span, file_name, source)
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        match &self.trigger {
            Some(trigger) => write!(f, ", in {} of the base image's ONBUILD", quote(trigger)),
            None => Ok(()),
        }
    }
}

impl Error for PlanError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}

impl From<ParseError> for PlanError {
    fn from(error: ParseError) -> Self {
        PlanErrorKind::Parse(error.kind).at(error.span)
    }
}

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
