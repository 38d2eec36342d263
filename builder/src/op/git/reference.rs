//! Which commit a name stands for.
//!
//! ```text
//! 40 or 64 hexadecimal digits     that commit, and nobody is asked
//! nothing                         HEAD
//! name                            refs/heads/name, refs/tags/name, refs/name, name: the first that is there
//! start of a commit               if there is no such name: all of the history is fetched
//! ```
//!
//! A tag that is an object of its own stands for the commit that it names.

use super::address::{self, is_commit_start};
use super::program::{Call, arguments};
use super::{GitError, Remote, Repositories};
use crate::plan::graph::Git;

/// The fewest digits that are taken for the start of a commit.
const MIN_START: usize = 4;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The commit's whole id.
    pub commit: String,
    /// The whole name by which it was found.
    pub name: Option<String>,
}

impl Repositories {
    pub(super) fn find(&self, git: &Git, remote: &Remote) -> Result<Resolved, GitError> {
        let Some(reference) = git.reference.as_deref() else {
            let found = self.list(remote, "HEAD")?;
            return found.ok_or_else(|| GitError::Empty { remote: remote.shown.clone() });
        };
        address::check_reference(reference, &git.remote)?;
        if is_whole_commit(reference) {
            return Ok(Resolved { commit: reference.to_owned(), name: None });
        }
        if let Some(found) = self.list(remote, reference)? {
            return Ok(found);
        }
        let commit = match is_commit_start(reference) && reference.len() >= MIN_START {
            true => self.mirror(remote, None)?.commit_that_starts(&self.program(remote), reference)?,
            false => None,
        };
        let missing =
            || GitError::NoReference { remote: remote.shown.clone(), reference: reference.to_owned() };
        Ok(Resolved { commit: commit.ok_or_else(missing)?, name: None })
    }

    fn list(&self, remote: &Remote, reference: &str) -> Result<Option<Resolved>, GitError> {
        // The second is what an annotated tag names.
        let peeled = format!("{reference}^{{}}");
        let call = Call {
            verb: "list the references of",
            arguments: &arguments(["ls-remote", "--quiet", "--", &remote.address, reference, &peeled]),
            environment: &[],
        };
        let listed = self.program(remote).run(&call)?;
        Ok(pick(&String::from_utf8_lossy(&listed), reference))
    }
}

/// Whether a text is a whole commit id.
pub(super) fn is_whole_commit(text: &str) -> bool {
    is_commit_start(text) && matches!(text.len(), 40 | 64)
}

/// Picks what a name stands for: git lists all names that end in it.
fn pick(listed: &str, reference: &str) -> Option<Resolved> {
    let commit_of = |name: &str| {
        let lines = listed.lines().filter_map(|line| line.split_once('\t'));
        lines
            .filter(|(_, listed)| *listed == name)
            .map(|(commit, _)| commit.trim())
            .find(|id| is_whole_commit(id))
    };
    let whole = ["refs/heads/", "refs/tags/", "refs/", ""].map(|prefix| format!("{prefix}{reference}"));
    whole.into_iter().find_map(|name| {
        let commit = commit_of(&format!("{name}^{{}}")).or_else(|| commit_of(&name))?;
        Some(Resolved { commit: commit.to_owned(), name: Some(name) })
    })
}

#[cfg(test)]
mod tests {
    use super::{is_whole_commit, pick};

    fn line(digit: char, name: &str) -> String {
        format!("{}\t{name}\n", digit.to_string().repeat(40))
    }

    fn picked(listed: &[String], reference: &str) -> Option<(char, String)> {
        let resolved = pick(&listed.concat(), reference)?;
        Some((resolved.commit.chars().next()?, resolved.name?))
    }

    #[test]
    fn a_branch_comes_before_a_tag_and_longer_names_do_not_count() {
        let listed = [
            line('1', "refs/heads/other/main"),
            line('2', "refs/tags/main"),
            line('3', "refs/heads/main"),
            line('4', "refs/pull/1/head"),
        ];
        assert_eq!(picked(&listed, "main"), Some(('3', "refs/heads/main".to_owned())));
        assert_eq!(picked(&listed, "refs/tags/main"), Some(('2', "refs/tags/main".to_owned())));
        assert_eq!(picked(&listed, "pull/1/head"), Some(('4', "refs/pull/1/head".to_owned())));
        assert_eq!(picked(&listed, "head"), None);
    }

    #[test]
    fn an_annotated_tag_stands_for_its_commit() {
        let listed = [line('1', "refs/tags/v1"), line('2', "refs/tags/v1^{}")];
        assert_eq!(picked(&listed, "v1"), Some(('2', "refs/tags/v1".to_owned())));
    }

    #[test]
    fn only_whole_commits_need_no_asking() {
        assert!(is_whole_commit(&"a".repeat(40)) && is_whole_commit(&"a".repeat(64)));
        assert!(!is_whole_commit(&"a".repeat(39)) && !is_whole_commit(&"g".repeat(40)));
        assert_eq!(picked(&["junk\trefs/heads/main\n".to_owned()], "main"), None);
    }
}
