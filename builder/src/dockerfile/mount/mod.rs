//! RUN `--mount`: the option list as written, and the typed mount it means once variables are known.
//!
//! Values may hold variables (all but `from`), so the file keeps a [`MountFlag`]; without variables it is
//! checked at once. Formats of single values (sizes, modes) are here, directories and ids of users are the plan's.
//! <https://docs.docker.com/reference/dockerfile/#run---mount>

mod resolve;
#[cfg(test)]
mod tests;
mod value;

use super::ast::{Escape, Word};
use super::error::{ParseError, ParseErrorKind};
use super::suggest;
use super::word::{Expanded, WordError, expand};

/// A `--mount` as written.
#[derive(Clone, Debug, PartialEq)]
pub struct MountFlag {
    /// The whole value of the flag, quotes removed.
    pub text: Word,
    /// Its comma-separated options, in order.
    pub options: Vec<MountOption>,
}

/// One option of a `--mount`.
#[derive(Clone, Debug, PartialEq)]
pub struct MountOption {
    /// What it is.
    pub key: MountKey,
    /// What follows `=`, before expansion.
    pub value: Option<String>,
}

/// The options of a mount; aliases are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as they are written")]
pub enum MountKey {
    Env,
    From,
    Gid,
    Id,
    Mode,
    /// `readonly`, `ro`
    ReadOnly,
    /// `readwrite`, `rw`
    ReadWrite,
    Required,
    Sharing,
    Size,
    /// `source`, `src`
    Source,
    /// `target`, `dst`, `destination`
    Target,
    Type,
    Uid,
}

const KEYS: [(&str, MountKey); 19] = [
    ("destination", MountKey::Target),
    ("dst", MountKey::Target),
    ("env", MountKey::Env),
    ("from", MountKey::From),
    ("gid", MountKey::Gid),
    ("id", MountKey::Id),
    ("mode", MountKey::Mode),
    ("readonly", MountKey::ReadOnly),
    ("readwrite", MountKey::ReadWrite),
    ("required", MountKey::Required),
    ("ro", MountKey::ReadOnly),
    ("rw", MountKey::ReadWrite),
    ("sharing", MountKey::Sharing),
    ("size", MountKey::Size),
    ("source", MountKey::Source),
    ("src", MountKey::Source),
    ("target", MountKey::Target),
    ("type", MountKey::Type),
    ("uid", MountKey::Uid),
];

impl MountKey {
    /// Returns the name messages use.
    fn name(self) -> &'static str {
        // The longest spelling is the plain one, but `destination` yields to `target`.
        let spelled = |&&(name, key): &&(&'static str, MountKey)| key == self && name != "destination";
        KEYS.iter().filter(spelled).map(|&(name, _)| name).max_by_key(|name| name.len()).unwrap_or_default()
    }
}

/// A mount of one RUN.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is the type of that name, described at its struct")]
pub enum Mount {
    Bind(BindMount),
    Cache(CacheMount),
    Secret(SecretMount),
    Ssh(SshMount),
    Tmpfs(TmpfsMount),
}

/// `type=bind`: files of the build context, a stage or an image. What is written to it is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindMount {
    /// Where in the stage; the working directory if empty.
    pub target: String,
    /// Stage, image or named context; the build context if absent.
    pub from: Option<String>,
    /// Which path of `from`; its root if absent.
    pub source: Option<String>,
    /// True unless `rw` is given.
    pub read_only: bool,
}

/// `type=cache`: a directory that outlives the build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheMount {
    /// Where in the stage; the working directory if empty.
    pub target: String,
    /// Which cache; the target if absent.
    pub id: Option<String>,
    /// What fills a new cache.
    pub from: Option<String>,
    /// Which path of `from`.
    pub source: Option<String>,
    /// False unless `ro` is given.
    pub read_only: bool,
    /// What builds at the same time do.
    pub sharing: Sharing,
    /// Mode, owner and group of a new cache.
    pub owner: FileOwner,
}

/// How builds at the same time use one cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// Together.
    #[default]
    Shared,
    /// Each with its own.
    Private,
    /// One after the other.
    Locked,
}

/// `type=secret`: a secret as a file, an environment variable, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretMount {
    /// Which secret: `id`, else `source`, else the last component of `target`.
    pub id: String,
    /// The file, if given.
    pub target: Option<String>,
    /// The variable, if given.
    pub env: Option<String>,
    /// Whether a missing secret is an error.
    pub required: bool,
    /// Mode, owner and group of the file.
    pub owner: FileOwner,
}

/// `type=ssh`: the socket of an SSH agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshMount {
    /// Which agent; `default` if absent.
    pub id: Option<String>,
    /// The socket, if given.
    pub target: Option<String>,
    /// Whether a missing agent is an error.
    pub required: bool,
    /// Mode, owner and group of the socket.
    pub owner: FileOwner,
}

/// `type=tmpfs`: an empty directory in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TmpfsMount {
    /// Where in the stage; the working directory if empty.
    pub target: String,
    /// The most it may hold, in bytes.
    pub size: Option<u64>,
}

/// Mode and numeric owner of what a mount creates; each has the mount's own default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FileOwner {
    /// Permission bits.
    pub mode: Option<u32>,
    /// User.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

/// What is wrong with a mount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum MountErrorKind {
    #[error("mount has a quote that is not closed or not around a whole option")]
    BadQuotes,
    #[error("mount has no option {key:?}")]
    UnknownOption { key: String, suggestion: Option<&'static str> },
    #[error("mount option {key} needs a value")]
    MissingValue { key: &'static str },
    #[error("mount option {key} cannot be {value:?}")]
    InvalidValue { key: &'static str, value: String, expected: &'static str },
    #[error("mount option {key} has no meaning for type {kind}")]
    NotForType { key: &'static str, kind: &'static str },
    #[error("secret mount needs an id or a target")]
    UnnamedSecret,
    #[error("secret mount has both id and source")]
    BothIdAndSource,
}

impl MountErrorKind {
    /// How to mend it.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            MountErrorKind::UnknownOption { suggestion: Some(meant), .. } => {
                Some(format!("did you mean {meant}?"))
            }
            MountErrorKind::InvalidValue { expected, .. } => Some(format!("it must be {expected}")),
            MountErrorKind::BothIdAndSource => Some("they mean the same: keep id".into()),
            MountErrorKind::MissingValue { key } => Some(format!("write {key}=VALUE")),
            _ => None,
        }
    }
}

/// Splits comma-separated options as CSV: one in quotes may hold commas, and `""` is a quote there. Nothing if
/// a quote is not closed, or stands inside a bare option. Command lines have the same form.
pub fn fields(text: &str) -> Option<Vec<String>> {
    value::split_fields(text)
}

/// What expands a value: a closure over the stage's variables.
pub type Expand<'a> = dyn FnMut(&str) -> Result<String, WordError> + 'a;

impl MountFlag {
    /// Splits a flag's value and, if it has no variables, checks all of it.
    pub(super) fn parse(text: Word, escape: Escape) -> Result<MountFlag, ParseError> {
        let fields = value::split_fields(&text.text).ok_or_else(|| at(&text, MountErrorKind::BadQuotes))?;
        let options = fields.iter().map(|field| option(field, &text)).collect::<Result<Vec<_>, _>>()?;
        let flag = MountFlag { text, options };
        if !flag.text.text.contains('$') {
            flag.resolve(&mut |value| expand(value, escape, &|_| None).map(|Expanded { text, .. }| text))?;
        }
        Ok(flag)
    }

    /// Expands the values and returns the mount they describe.
    ///
    /// # Errors
    ///
    /// An option of the wrong kind, a value out of its range, or an expansion that fails.
    pub fn resolve(&self, expand: &mut Expand<'_>) -> Result<Mount, ParseError> {
        let mut values = Vec::new();
        for option in &self.options {
            let expanded = option.value.as_deref().map(&mut *expand).transpose();
            let value = expanded.map_err(|error| ParseErrorKind::Word(error.kind).at(self.text.span))?;
            values.push((option.key, value));
        }
        resolve::mount(values).map_err(|kind| at(&self.text, kind))
    }
}

fn option(field: &str, text: &Word) -> Result<MountOption, ParseError> {
    let (name, value) = match field.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (field, None),
    };
    let lower = name.to_ascii_lowercase();
    let Some(&(name, key)) = KEYS.iter().find(|(known, _)| *known == lower) else {
        let suggestion = suggest::nearest(&lower, &KEYS.map(|(known, _)| known));
        return Err(at(text, MountErrorKind::UnknownOption { key: name.to_owned(), suggestion }));
    };
    let may_stand_alone = matches!(key, MountKey::ReadOnly | MountKey::ReadWrite | MountKey::Required);
    if value.is_none() && !may_stand_alone {
        return Err(at(text, MountErrorKind::MissingValue { key: name }));
    }
    if key == MountKey::From && value.is_some_and(super::parse::has_variable) {
        return Err(ParseErrorKind::VariableInFrom.at(text.span));
    }
    Ok(MountOption { key, value: value.map(str::to_owned) })
}

fn at(text: &Word, kind: MountErrorKind) -> ParseError {
    ParseErrorKind::Mount(kind).at(text.span)
}
