//! What goes wrong between us, git, and a repository elsewhere.

use std::io;
use std::path::PathBuf;

use super::AddressError;
use crate::lent::HeaderError;

/// Why a repository cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The address or the reference cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A secret that is for this repository cannot be used.
    #[error(transparent)]
    Authorization(#[from] HeaderError),
    /// Git is not there.
    #[error("git is not installed, which {remote} needs")]
    Missing {
        /// What was wanted.
        remote: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Git ended with an error.
    #[error("cannot {what}: git says {said:?}")]
    Failed {
        /// What was tried.
        what: String,
        /// The last lines of what it said.
        said: String,
    },
    /// The repository has no such reference.
    #[error("{remote} has no branch, tag or commit {reference:?}")]
    NoReference {
        /// Which repository.
        remote: String,
        /// What was asked for.
        reference: String,
    },
    /// The repository has no commits.
    #[error("{remote} has no HEAD: it is empty")]
    Empty {
        /// Which repository.
        remote: String,
    },
    /// The commit is not the one that was promised.
    #[error("{remote} is at commit {actual}, not {expected}")]
    Commit {
        /// Which repository.
        remote: String,
        /// Start of what was promised.
        expected: String,
        /// What came.
        actual: String,
    },
    /// The repository has no such folder.
    #[error("{remote} has no folder {folder:?} at commit {commit}")]
    NoFolder {
        /// Which repository.
        remote: String,
        /// Which folder.
        folder: String,
        /// At which commit.
        commit: String,
    },
    /// A submodule that cannot be had.
    #[error("cannot get submodule {path:?} of {remote}")]
    Submodule {
        /// Where it belongs.
        path: String,
        /// In which repository.
        remote: String,
        /// Why not.
        #[source]
        source: Box<GitError>,
    },
    /// A submodule whose repository nobody names.
    #[error(".gitmodules does not say where it comes from")]
    NoUrl,
    /// Submodules within submodules without end.
    #[error("{remote} has submodules more than {limit} deep")]
    TooDeep {
        /// Which repository.
        remote: String,
        /// How deep they may be.
        limit: usize,
    },
    /// Git told more than anything honest does.
    #[error("git tells more than {limit} bytes about {remote}")]
    TooMuch {
        /// Which repository.
        remote: String,
        /// How much is read.
        limit: u64,
    },
    /// The build was given up.
    #[error("git was stopped")]
    Interrupted,
    /// The system refused.
    #[error("cannot {verb} {}", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl GitError {
    /// Returns how to mend it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing { .. } => Some("install git: it fetches repositories for ADD and for contexts"),
            Self::Failed { said, .. } if is_about_login(said) => Some(
                "private repositories are reached by ssh with an agent (SSH_AUTH_SOCK), by ~/.netrc, or by https://TOKEN@host/…",
            ),
            Self::Submodule { source, .. } => source.hint(),
            _ => None,
        }
    }

    pub(super) fn io(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { verb, path, source }
    }
}

fn is_about_login(said: &str) -> bool {
    ["could not read Username", "could not read Password", "Authentication failed", "Permission denied"]
        .iter()
        .any(|words| said.contains(words))
}
