//! Why a file cannot be planned.
//!
//! Errors know their place in the Dockerfile; they are shown as errors of the parser are. What a base
//! image's ONBUILD does wrong is shown at the FROM that names the image.

use std::error::Error;
use std::fmt;

use oxbox_layers::oci::platform::PlatformError;
use oxbox_layers::oci::{DigestError, Platform, ReferenceError};

use super::remote::RemoteError;
use crate::dockerfile::report::{Report, Severity};
use crate::dockerfile::{MAX_ERRORS, ParseError, ParseErrorKind, Span, quote};
use crate::fetch::FetchError;

/// Why a file cannot be planned: all that can be told without guessing, in the file's order.
#[derive(Debug)]
pub struct PlanErrors {
    /// At least one, at most [`MAX_ERRORS`].
    pub errors: Vec<PlanError>,
}

/// One thing that is wrong, and where.
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
    #[error("stage {} needs to be defined before it is used", quote(.name))]
    LaterStage { name: String },
    #[error("a stage cannot use itself")]
    SameStage,
    #[error("context {} stands for stage {}, which is not there", quote(.name), quote(.stage))]
    ContextOfNoStage { name: String, stage: String, meant: Option<Meant> },
    #[error("there is no stage {index}, the file has {stages}")]
    UnknownStageIndex { index: i64, stages: usize },
    #[error("{what} is not supported yet")]
    NotSupported { what: String },
    #[error("RUN needs {platform}, which does not run on {host}")]
    ForeignRun { platform: Platform, host: Platform },
    #[error("RUN asks for the host's network in a build that has none")]
    NetworkRefused,
    #[error("RUN asks for more than a sandbox")]
    InsecureRefused,
    #[error("a mount cannot take the place of the root")]
    MountOnRoot,
    #[error("COPY cannot download {}", quote(.source_text))]
    RemoteCopy { source_text: String },
    #[error("--checksum is for remote files only")]
    ChecksumOfLocalFile,
    #[error("--checksum is for one source, not {sources}")]
    ChecksumOfSeveral { sources: usize },
    #[error("{} is not the digest of a file", quote(.text))]
    InvalidDigest {
        text: String,
        #[source]
        source: DigestError,
    },
    #[error("{} cannot be fetched", quote(.source_text))]
    Remote {
        source_text: String,
        #[source]
        source: RemoteError,
    },
    #[error("--checksum is {}, and the address says {}", quote(.flag), quote(.address))]
    TwoChecksums { flag: String, address: String },
    #[error("--keep-git-dir={flag}, and the address says {address}")]
    TwoGitDirs { flag: bool, address: bool },
    #[error("SOURCE_DATE_EPOCH cannot be {}", quote(.text))]
    InvalidEpoch { text: String },
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
            Self::Reference { meant, .. }
            | Self::Base { meant, .. }
            | Self::ContextOfNoStage { meant, .. }
            | Self::UnknownTarget { meant, .. } => return meant.as_ref().map(Meant::hint),
            Self::LaterStage { .. } => "a stage can use earlier stages only: move it up",
            Self::UnknownStageIndex { .. } => "stages are counted from 0",
            Self::ForeignRun { platform, .. } => {
                let architecture = &platform.architecture;
                return Some(format!(
                    "install qemu-user-static, whose binfmt_misc handler runs {architecture}; or let the stage run \
                     here: FROM --platform=$BUILDPLATFORM"
                ));
            }
            Self::MountOnRoot => "give it another target; without one it is at the WORKDIR",
            Self::InsecureRefused => "build with --allow security.insecure if you trust the file",
            Self::ChecksumOfLocalFile => "it is checked for URLs and repositories",
            Self::ChecksumOfSeveral { .. } => "write an ADD for each",
            Self::InvalidDigest { .. } => "write sha256: and 64 hexadecimal digits",
            Self::InvalidEpoch { .. } => "write seconds since 1970, or context",
            Self::InvalidMode { .. } => "write 0644, or u=rwX,go=rX",
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
    /// Something that is wrong with what the caller said, not with the file.
    pub(super) fn nowhere(kind: PlanErrorKind) -> Self {
        Self { kind, span: None, trigger: None }
    }

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

impl PlanErrors {
    /// Renders every error as [`PlanError::render`] does.
    pub fn render(&self, file_name: &str, source: &str) -> String {
        let mut text: Vec<String> = self.errors.iter().map(|error| error.render(file_name, source)).collect();
        if self.errors.len() == MAX_ERRORS {
            text.push(format!("error: only the first {MAX_ERRORS} errors are shown"));
        }
        text.join("\n\n")
    }

    /// Whether nothing is wrong with the file: only base images cannot be had.
    pub fn are_of_bases(&self) -> bool {
        self.errors.iter().all(|error| matches!(error.kind, PlanErrorKind::Base { .. }))
    }
}

impl fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.as_slice() {
            [error] => write!(f, "{error}"),
            [error, rest @ ..] => write!(f, "{error} (and {} more)", rest.len()),
            [] => write!(f, "dockerfile cannot be planned"),
        }
    }
}

impl Error for PlanErrors {}

impl From<PlanError> for PlanErrors {
    fn from(error: PlanError) -> Self {
        Self { errors: vec![error] }
    }
}

/// Errors under way.
#[derive(Debug, Default)]
pub(super) struct Errors {
    list: Vec<PlanError>,
}

impl Errors {
    /// Whether nothing more is worth telling.
    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= MAX_ERRORS
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Keeps an error, once: for several platforms the same one comes up again.
    pub(super) fn push(&mut self, error: PlanError) {
        let same = |known: &PlanError| known.span == error.span && known.to_string() == error.to_string();
        if !self.is_full() && !self.list.iter().any(same) {
            self.list.push(error);
        }
    }

    /// Returns what went well, and keeps what went wrong.
    pub(super) fn keep<T>(&mut self, result: Result<T, PlanError>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// Returns the errors, if there are any.
    pub(super) fn finish(mut self) -> Result<(), PlanErrors> {
        if self.list.is_empty() {
            return Ok(());
        }
        self.list.sort_by_key(|error| error.span.map(|span| span.start));
        Err(PlanErrors { errors: self.list })
    }
}
