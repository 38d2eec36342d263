//! Which repositories a commit takes in, and where they come from.
//!
//! ```text
//! tree          mode 160000: a path and a commit
//! .gitmodules   submodule.<name>.path, submodule.<name>.url      a relative url stands on the repository's own
//! ```
//!
//! Git's own `submodule` command is not used: it runs what `.gitmodules` says in more ways than one has
//! thought of. Paths come from the tree, whose names git has checked.

use std::collections::BTreeMap;

use super::GitError;
use super::mirror::Mirror;
use super::program::{Program, arguments};

/// A repository within another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Submodule {
    pub(super) path: String,
    pub(super) commit: String,
    /// `None` if `.gitmodules` does not say.
    pub(super) url: Option<String>,
}

/// Lists the submodules of a commit of the repository at `address`.
pub(super) fn list(
    mirror: &Mirror,
    program: &Program<'_>,
    address: &str,
    commit: &str,
) -> Result<Vec<Submodule>, GitError> {
    let blob = format!("{commit}:.gitmodules");
    let pattern = r"^submodule\..*\.(path|url)$";
    let settings =
        mirror.ask(program, &arguments(["config", "-z", "--blob", &blob, "--get-regexp", pattern]))?;
    // Without one, git too leaves these folders empty.
    let Some(settings) = settings else { return Ok(Vec::new()) };
    let urls = urls(&settings, address);
    let listing = arguments(["ls-tree", "-r", "-z", "--full-tree", commit]);
    let listing = mirror.call(program, "list the files of", &listing, &[])?;
    let links = listing.split(|&byte| byte == 0).filter_map(link);
    Ok(links.map(|(path, commit)| Submodule { url: urls.get(&path).cloned(), path, commit }).collect())
}

/// Reads `160000 commit <id>\t<path>`.
fn link(line: &[u8]) -> Option<(String, String)> {
    let line = std::str::from_utf8(line).ok()?;
    let (commit, path) = line.strip_prefix("160000 commit ")?.split_once('\t')?;
    Some((path.to_owned(), commit.to_owned()))
}

/// Returns urls by path.
fn urls(settings: &[u8], address: &str) -> BTreeMap<String, String> {
    let (mut paths, mut urls) = (BTreeMap::new(), BTreeMap::new());
    for setting in settings.split(|&byte| byte == 0) {
        let text = String::from_utf8_lossy(setting);
        let Some((key, value)) = text.split_once('\n') else { continue };
        let Some((name, field)) = key.rsplit_once('.') else { continue };
        let map = if field == "path" { &mut paths } else { &mut urls };
        map.insert(name.to_owned(), value.to_owned());
    }
    let found = paths.into_iter().filter_map(|(name, path)| Some((path, urls.get(&name)?)));
    found.map(|(path, url)| (path.trim_end_matches('/').to_owned(), resolved(url, address))).collect()
}

/// Resolves a relative url, as `git submodule` does: each `../` takes a component off the repository's own.
fn resolved(url: &str, address: &str) -> String {
    if !url.starts_with("./") && !url.starts_with("../") {
        return url.to_owned();
    }
    let (mut base, mut rest) = (address.trim_end_matches('/'), url);
    let mut joint = "/";
    loop {
        if let Some(after) = rest.strip_prefix("./") {
            rest = after;
        } else if let Some(after) = rest.strip_prefix("../") {
            rest = after;
            match base.rfind(['/', ':']) {
                Some(at) => {
                    joint = &base[at..=at];
                    base = &base[..at];
                }
                None => base = "",
            }
        } else {
            return format!("{base}{joint}{rest}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{link, resolved, urls};

    #[test]
    fn a_relative_url_stands_on_the_repositorys_own() {
        for (url, address, expected) in [
            ("../b.git", "https://q.io/team/a.git", "https://q.io/team/b.git"),
            ("../../x/b", "https://q.io/team/a.git/", "https://q.io/x/b"),
            ("./b", "https://q.io/a", "https://q.io/a/b"),
            ("../b", "git@q.io:a", "git@q.io:b"),
            ("../b", "git@q.io:team/a", "git@q.io:team/b"),
            ("https://else.io/b", "https://q.io/a", "https://else.io/b"),
        ] {
            assert_eq!(resolved(url, address), expected);
        }
    }

    #[test]
    fn only_links_are_submodules() {
        let commit = "a".repeat(40);
        assert_eq!(
            link(format!("160000 commit {commit}\tdir/sub").as_bytes()),
            Some(("dir/sub".into(), commit))
        );
        assert_eq!(link(b"100644 blob abc\tfile"), None);
        assert_eq!(link(b""), None);
    }

    #[test]
    fn urls_are_found_by_path() {
        let settings = b"submodule.a.b.path\ndir/sub/\0submodule.a.b.url\n../s\0submodule.c.path\nx\0";
        let urls = urls(settings, "git://q.io/a");
        assert_eq!(urls.into_iter().collect::<Vec<_>>(), [("dir/sub".into(), "git://q.io/s".into())]);
    }
}
