//! A commit of a git repository as files, by way of the git binary.
//!
//! ```text
//! reference ─ls-remote─▶ commit = key ─hit─▶ layer                        nothing else is asked
//!                                    └miss─▶ mirror ─fetch what is new─▶ checked out ─▶ layer, or context
//!
//! address    what may reach git          program     the binary: environment, bounds, interruption
//! mirror     state/git: what was fetched of each repository      reference   what a name stands for
//! checkout   a commit's files, its submodules, its .git
//! ```
//!
//! Files are 0644 or 0755 and directories 0755 whatever the umask, and as old as the commit. Filters and
//! Git LFS are not run: what they stand for are the files in the repository. `.gitattributes` counts
//! for line ends.

mod address;
mod checkout;
mod error;
mod mirror;
mod program;
mod reference;
mod submodule;

use std::path::{Path, PathBuf};

use base64::Engine as _;

pub use address::AddressError;
pub use checkout::CheckedOut;
pub use error::GitError;
pub(crate) use mirror::{count, forget};
pub use reference::Resolved;

use self::program::Program;
use crate::context::Scratch;
use crate::exec::Interrupt;
use crate::fetch::shown;
use crate::lent::Lent;
use crate::plan::graph::Git;
use crate::solve::{Key, KeyHasher};

/// What was fetched of repositories, and how to fetch more.
#[derive(Debug, Clone)]
pub struct Repositories {
    state: PathBuf,
    folder: PathBuf,
    interrupt: Interrupt,
    lent: Lent,
}

/// A repository elsewhere, taken apart.
struct Remote {
    /// As errors name it.
    shown: String,
    /// Without credentials, if they can be given otherwise.
    address: String,
    /// Origin, and value of `Authorization` there.
    authorization: Option<(String, String)>,
}

impl Repositories {
    /// Keeps what is fetched below a state folder.
    pub fn new(state: &Path, interrupt: &Interrupt) -> Self {
        let (folder, interrupt, lent) = (state.join("git"), interrupt.clone(), Lent::default());
        Self { state: state.to_owned(), folder, interrupt, lent }
    }

    /// Takes credentials from secrets, where addresses have none, and ssh's keys from the usual agent.
    #[must_use]
    pub fn lending(self, lent: Lent) -> Self {
        Self { lent, ..self }
    }

    /// Returns the commit that is meant.
    ///
    /// # Errors
    ///
    /// [`GitError::NoReference`] if there is none, [`GitError::Commit`] if it is not the promised one.
    pub fn resolve(&self, git: &Git) -> Result<Resolved, GitError> {
        let remote = self.remote(&git.remote)?;
        if let Some(commit) = &git.commit {
            address::check_commit(commit)?;
        }
        let resolved = self.find(git, &remote)?;
        match &git.commit {
            Some(start) if !resolved.commit.starts_with(start.as_str()) => Err(GitError::Commit {
                remote: remote.shown,
                expected: start.clone(),
                actual: resolved.commit,
            }),
            _ => Ok(resolved),
        }
    }

    /// Returns an empty folder to check something out into.
    pub fn scratch(&self) -> Result<Scratch, GitError> {
        Scratch::new(&self.state).map_err(GitError::io("make a folder in", &self.state))
    }

    /// Takes an address that the user or the Dockerfile names apart.
    fn remote(&self, text: &str) -> Result<Remote, GitError> {
        let mut remote = Remote::read(text)?;
        if remote.authorization.is_none()
            && let Some(origin) = origin(&remote.address)
        {
            let value = self.lent.secrets.of_repository(&remote.address)?;
            remote.authorization = value.map(|value| (origin, value));
        }
        Ok(remote)
    }

    fn program<'p>(&'p self, remote: &'p Remote) -> Program<'p> {
        let authorization = remote.authorization.as_ref();
        Program {
            remote: &remote.shown,
            authorization: authorization.map(|(origin, value)| (origin.as_str(), value.as_str())),
            agent: self.lent.agents.usual(),
            interrupt: &self.interrupt,
        }
    }
}

impl Remote {
    fn read(text: &str) -> Result<Self, GitError> {
        address::check(text)?;
        let (address, authorization) = without_credentials(text);
        Ok(Self { shown: shown(text), address, authorization })
    }
}

/// Returns the key of the layer that holds a commit's files.
pub fn key(git: &Git, resolved: &Resolved, epoch: i64) -> Key {
    let mut hasher = KeyHasher::new("git");
    hasher.field("commit", &resolved.commit).field("epoch", epoch.to_le_bytes());
    hasher.field("folder", git.folder.as_deref().unwrap_or_default());
    hasher.field("submodules", [u8::from(!git.without_submodules)]);
    if git.keep_git_dir {
        // Both are in there.
        hasher.field("remote", without_credentials(&git.remote).0);
        hasher.field("name", resolved.name.as_deref().unwrap_or_default());
    }
    hasher.finish()
}

/// Cuts the credentials of a web address off; those of ssh are only a user, and are needed.
fn without_credentials(text: &str) -> (String, Option<(String, String)>) {
    let Some((scheme @ ("http" | "https"), rest)) = text.split_once("://") else {
        return (text.to_owned(), None);
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some((credentials, host)) = authority.rsplit_once('@') else { return (text.to_owned(), None) };
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let pair = [decoded(user), b":".to_vec(), decoded(password)].concat();
    let value = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    (format!("{scheme}://{host}{path}"), Some((format!("{scheme}://{host}/"), value)))
}

/// Returns the origin of a web address without credentials, as git's settings have it.
fn origin(address: &str) -> Option<String> {
    let (scheme @ ("http" | "https"), rest) = address.split_once("://")? else { return None };
    let host = rest.split('/').next().filter(|host| !host.is_empty())?;
    Some(format!("{scheme}://{host}/"))
}

/// Undoes percent signs; a broken one stands for itself.
fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        let value = digits.filter(|_| byte == b'%').and_then(|pair| u8::from_str_radix(pair, 16).ok());
        out.push(value.unwrap_or(byte));
        at += if value.is_some() { 3 } else { 1 };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Git, Resolved, key, without_credentials};

    #[test]
    fn credentials_of_a_web_address_become_a_header_of_its_origin() {
        let (address, authorization) = without_credentials("https://us%40er:p@q.io:8443/a.git");
        assert_eq!(address, "https://q.io:8443/a.git");
        // us@er:p
        let expected = ("https://q.io:8443/".to_owned(), "Basic dXNAZXI6cA==".to_owned());
        assert_eq!(authorization, Some(expected));
        for untouched in ["https://q.io/a@b.git", "ssh://git@q.io/a.git", "git@q.io:a.git"] {
            assert_eq!(without_credentials(untouched), (untouched.to_owned(), None));
        }
    }

    #[test]
    fn the_key_is_of_the_commit_and_not_of_who_has_it() {
        let resolved = |name: &str| Resolved { commit: "ab".repeat(20), name: Some(name.to_owned()) };
        let git = |remote: &str| Git { remote: remote.to_owned(), ..Git::default() };
        let one = key(&git("git://a/b"), &resolved("refs/heads/main"), 0);
        assert_eq!(one, key(&git("https://c/d.git"), &resolved("refs/tags/1"), 0));
        let other = Resolved { commit: "ba".repeat(20), name: None };
        assert_ne!(one, key(&git("git://a/b"), &other, 0));
        let part = Git { folder: Some("docs".to_owned()), ..git("git://a/b") };
        assert_ne!(one, key(&part, &resolved("refs/heads/main"), 0));
        let alone = Git { without_submodules: true, ..git("git://a/b") };
        assert_ne!(one, key(&alone, &resolved("refs/heads/main"), 0));
        let kept = |remote: &str| Git { keep_git_dir: true, ..git(remote) };
        let with_git = key(&kept("https://user:pw@a/b.git"), &resolved("refs/heads/main"), 0);
        assert_eq!(with_git, key(&kept("https://a/b.git"), &resolved("refs/heads/main"), 0));
        assert_ne!(with_git, key(&kept("https://c/b.git"), &resolved("refs/heads/main"), 0));
        assert_ne!(with_git, one);
    }
}
