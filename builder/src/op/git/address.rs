//! What of an address reaches git: nothing that git or ssh could take for an option or a command.
//!
//! Reading addresses is the plan's; here is what holds for each of them, whoever read it, those of
//! submodules too. Protocols are https, http, ssh and git: a `file:` or an `ext::` would let a Dockerfile
//! or a stranger's repository read this machine or run programs on it.

use crate::fetch::shown;

/// Longest address that is taken; git's own commands take no longer ones on most machines.
const MAX_ADDRESS: usize = 8 << 10;

/// Protocols that git may speak, as `GIT_ALLOW_PROTOCOL` has them.
pub(super) const PROTOCOLS: &str = "https:http:ssh:git";

/// Why the address of a repository cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Something that no git reference may be.
    #[error("{reference:?} is no branch, tag or commit of {remote}")]
    Reference {
        /// What was written, cut.
        reference: String,
        /// Of which repository.
        remote: String,
    },
    /// No host, or one that git could take for an option, or another protocol.
    #[error("{remote:?} is no address of a git repository (https, ssh, git and user@host:path are)")]
    Remote {
        /// What was written, without credentials.
        remote: String,
    },
    /// A start of a commit that is none.
    #[error("{commit:?} is not the start of a commit's id")]
    Commit {
        /// What was written, cut.
        commit: String,
    },
}

/// Checks an address without fragment and query, whoever wrote it.
pub(super) fn check(remote: &str) -> Result<(), AddressError> {
    let odd = || AddressError::Remote { remote: quoted(&shown(remote)) };
    let authority = match remote.split_once("://") {
        Some(("http" | "https" | "git" | "ssh", rest)) => rest.split('/').next().unwrap_or_default(),
        Some(_) => return Err(odd()),
        None if is_scp(remote) => remote.split(':').next().unwrap_or_default(),
        None => return Err(odd()),
    };
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let is_plain = |text: &str| !text.chars().any(|one| one.is_control() || one.is_whitespace());
    let is_sound = !host.is_empty() && !host.starts_with('-') && !user.starts_with('-') && is_plain(remote);
    if is_sound && remote.len() <= MAX_ADDRESS { Ok(()) } else { Err(odd()) }
}

/// Checks a branch, tag, commit or whole name: what git could take for an option, a range, a pattern or
/// a walk through history is none.
pub(super) fn check_reference(reference: &str, remote: &str) -> Result<(), AddressError> {
    let is_odd = |one: char| one.is_control() || " ~^:?*[\\".contains(one);
    let is_sound = !reference.is_empty()
        && reference.len() <= MAX_ADDRESS
        && !reference.starts_with(['-', '/', '.'])
        && !reference.ends_with(['/', '.'])
        && !reference.contains(is_odd)
        && !["..", "//", "@{", "/.", ".lock/"].iter().any(|part| reference.contains(part))
        && !reference.ends_with(".lock");
    match is_sound {
        true => Ok(()),
        false => Err(AddressError::Reference { reference: quoted(reference), remote: shown(remote) }),
    }
}

/// Checks the start of a commit's id.
pub(super) fn check_commit(commit: &str) -> Result<(), AddressError> {
    match is_commit_start(commit) {
        true => Ok(()),
        false => Err(AddressError::Commit { commit: quoted(commit) }),
    }
}

/// Whether a text may be the start of a commit's id.
pub(super) fn is_commit_start(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether it is `user@host:path`, which a Windows path or a name with an @ is not.
fn is_scp(text: &str) -> bool {
    let Some((authority, path)) = text.split_once(':') else { return false };
    let Some((user, host)) = authority.split_once('@') else { return false };
    let is_name = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    is_name(user) && is_name(host) && !host.starts_with('-') && !path.is_empty()
}

fn quoted(text: &str) -> String {
    text.chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::{AddressError, check, check_reference};

    #[test]
    fn repositories_are_elsewhere() {
        for remote in [
            "https://q.io/a/b.git",
            "http://user:pw@q.io:80/b",
            "ssh://git@q.io/b",
            "git://q.io/b",
            "git@q.io:b",
        ] {
            check(remote).unwrap();
        }
        for remote in
            ["file:///etc", "/etc", "ext::sh -c x", "fd::3", "a/b", "ftp://q.io/b", "https://", "user@:x", ""]
        {
            assert!(matches!(check(remote), Err(AddressError::Remote { .. })), "{remote}");
        }
    }

    #[test]
    fn nothing_that_git_or_ssh_could_take_for_an_option_gets_through() {
        for remote in [
            "ssh://-oProxyCommand=x/b",
            "git://-x/b",
            "ssh://-u@q.io/b",
            "-u@q.io:b",
            "a@-q.io:b",
            "-x",
            "https://q.io/a b.git",
            "https://q.io/a\n.git",
            "--upload-pack=x",
        ] {
            assert!(matches!(check(remote), Err(AddressError::Remote { .. })), "{remote}");
        }
        for reference in [
            "--upload-pack=x",
            "-x",
            "a..b",
            "a b",
            "a^{}",
            "a:b",
            "HEAD~1",
            "a@{1}",
            "*",
            "x.lock",
            "/a",
            "a/",
            "",
        ] {
            let result = check_reference(reference, "git://q.io/b");
            assert!(matches!(result, Err(AddressError::Reference { .. })), "{reference}");
        }
        for good in ["main", "v1.0", "refs/pull/1/head", "feature/x-y", "a@b", "HEAD", "release/1.x"] {
            check_reference(good, "git://q.io/b").unwrap();
        }
    }

    #[test]
    fn credentials_are_not_told() {
        let error = check("ftp://user:pw@q.io/b").unwrap_err();
        assert!(!error.to_string().contains("pw"), "{error}");
    }
}
