//! Addresses and what they mean.

use super::{Remote, RemoteError, Repository, parse, parse_context};

fn git(text: &str) -> Repository {
    match parse(text) {
        Ok(Some(Remote::Git(repository))) => repository,
        other => panic!("{text}: {other:?}"),
    }
}

fn name(url: &str) -> String {
    match parse(url) {
        Ok(Some(Remote::Http { name, .. })) => name,
        other => panic!("{url}: {other:?}"),
    }
}

fn at(remote: &str, reference: &str, folder: &str) -> Repository {
    let filled = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Repository {
        remote: remote.to_owned(),
        reference: filled(reference),
        folder: filled(folder),
        ..Repository::default()
    }
}

#[test]
fn repositories_are_told_from_files_and_from_paths() {
    for text in ["git@host:a/b.git", "git://h/x", "ssh://u@h:22/x", "https://h/x.git", "HTTPS://h/x.git"] {
        assert!(matches!(parse(text), Ok(Some(Remote::Git(_)))), "{text}");
    }
    for text in ["https://h/x.tar", "http://h", "https://h/x.git/y", "https://h/x#.git", "https://h/x?y=.git"]
    {
        assert!(matches!(parse(text), Ok(Some(Remote::Http { .. }))), "{text}");
    }
    for text in [
        "x.git",
        "./git@h:x",
        "a@b/c",
        "a b@c:d",
        "@h:x",
        "ftp://h/x",
        "HTTP://h/x",
        "github.com/a/b",
        "a/b:c",
        "",
        "://x",
        "u@h x:y",
    ] {
        assert_eq!(parse(text), Ok(None), "{text}");
    }
}

#[test]
fn a_fragment_is_a_reference_and_a_folder() {
    assert_eq!(git("https://h/x.git#v1:a/b"), at("https://h/x.git", "v1", "a/b"));
    assert_eq!(git("https://h/x.git#:a"), at("https://h/x.git", "", "a"));
    assert_eq!(git("https://h/x.git#feature/one"), at("https://h/x.git", "feature/one", ""));
    assert_eq!(git("git@h:a/b.git#v1:/../c/"), at("git@h:a/b.git", "v1", "c"));
    assert_eq!(git("ssh://git@h/x#"), at("ssh://git@h/x", "", ""));
    assert_eq!(git("https://h/x.git#v%2B1"), at("https://h/x.git", "v+1", ""));
}

#[test]
fn a_query_says_the_same_by_name() {
    assert_eq!(git("https://h/x.git?ref=v1&subdir=a%2Fb"), at("https://h/x.git", "v1", "a/b"));
    assert_eq!(git("https://h/x.git?tag=v1"), at("https://h/x.git", "refs/tags/v1", ""));
    assert_eq!(git("https://h/x.git?branch=refs/heads/m"), at("https://h/x.git", "refs/heads/m", ""));
    assert_eq!(git("git@h:x?branch=b"), at("git@h:x", "refs/heads/b", ""));
    assert_eq!(git("https://h/x.git?ref=v1#v1"), at("https://h/x.git", "v1", ""), "said twice alike");
    let all = git("https://h/x.git?checksum=1A2b&keep-git-dir&submodules=false&mtime=commit");
    assert_eq!(all.commit.as_deref(), Some("1a2b"));
    assert_eq!((all.keep_git_dir, all.submodules), (Some(true), Some(false)));
}

#[test]
fn a_commit_can_be_fetched_by_its_whole_id_only() {
    let id = "0123456789abcdef0123456789abcdef01234567";
    let found = git(&format!("https://h/x.git?branch=b&fetch-by-commit=1&commit={id}"));
    assert_eq!((found.reference.as_deref(), found.commit.as_deref()), (Some(id), Some(id)));
    assert!(parse("https://h/x.git?fetch-by-commit=1&commit=0123").is_err());
    assert_eq!(git("https://h/x.git?fetch-by-commit=0&commit=0123").reference, None);
}

#[test]
fn queries_that_make_no_sense_are_errors() {
    let text = |text: &str| text.to_owned();
    for (query, error) in [
        ("depth=1", RemoteError::UnknownQuery { key: text("depth") }),
        ("ref=", RemoteError::NoValue { key: text("ref") }),
        ("tag", RemoteError::NoValue { key: text("tag") }),
        ("ref=a&ref=b", RemoteError::Twice { key: text("ref") }),
        ("ref=a#b", RemoteError::Conflict { first: text("b"), second: text("a") }),
        (
            "tag=a&branch=b",
            RemoteError::Conflict { first: text("refs/heads/b"), second: text("refs/tags/a") },
        ),
        ("submodules=maybe", RemoteError::InvalidValue { key: "submodules", value: text("maybe") }),
        ("mtime=now", RemoteError::InvalidValue { key: "mtime", value: text("now") }),
        ("checksum=xyz", RemoteError::NotACommit { text: text("xyz") }),
    ] {
        assert_eq!(parse(&format!("https://h/x.git?{query}")), Err(error), "{query}");
    }
}

#[test]
fn a_file_is_named_after_the_last_part_of_its_path() {
    for (url, wanted) in [
        ("https://h/a/b.tar.gz", "b.tar.gz"),
        ("https://h/a/b/?q=/c#d/e", "b"),
        ("https://h/a%20b", "a b"),
        ("https://h/a%2Fb", "b"),
        ("https://h", "__unnamed__"),
        ("https://h/", "__unnamed__"),
        ("https://h?x=/y", "__unnamed__"),
        ("https://h/a/..", "__unnamed__"),
        ("https://h/%zz", "__unnamed__"),
        ("https://h/%", "__unnamed__"),
        ("https://h/%C3", "__unnamed__"),
    ] {
        assert_eq!(name(url), wanted, "{url}");
    }
}

#[test]
fn only_a_context_takes_github_without_a_scheme() {
    let context = parse_context("github.com/a/b#main:docs").unwrap();
    assert_eq!(context, Some(Remote::Git(at("https://github.com/a/b", "main", "docs"))));
    assert_eq!(parse_context("dir"), Ok(None));
}
