//! Commits of repositories as layers.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::thread;

use oxbox_builder::exec::Interrupt;
use oxbox_builder::op::git::GitError;
use oxbox_builder::plan::graph::{Git, Op};
use oxbox_builder::solve::SolveError;
use oxbox_testdata::elsewhere::{self, Daemon, Repository, Static};
use tempfile::TempDir;

use super::room::{Made, Room, Server, told};

/// Repositories in a folder, and who serves them.
struct Setting {
    base: TempDir,
    daemon: Daemon,
}

impl Setting {
    fn new() -> Self {
        let base = TempDir::new().unwrap();
        let daemon = Daemon::start(base.path());
        Self { base, daemon }
    }

    fn repository(&self, name: &str) -> Repository {
        Repository::new(self.base.path(), name)
    }

    fn git(&self, name: &str) -> Git {
        Git { remote: self.daemon.url(name), ..Git::default() }
    }

    fn at(&self, reference: &str) -> Git {
        Git { reference: Some(reference.to_owned()), ..self.git("a") }
    }
}

fn make(room: &Room, git: Git) -> Result<Made, GitError> {
    room.make(Op::Git(git), &Server::none()).map_err(|error| match error {
        SolveError::Git(error) => error,
        error => panic!("{error:?}"),
    })
}

#[test]
fn files_have_the_modes_of_git_and_one_time_whatever_the_umask() {
    let setting = Setting::new();
    let repository = setting.repository("a");
    repository.file("dir/run", "#!").file("private", "x");
    fs::set_permissions(repository.work.join("dir/run"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(repository.work.join("private"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink("dir/run", repository.work.join("link")).unwrap();
    repository.commit("first");
    let made = make(&Room::new(), setting.git("a")).unwrap();
    assert_eq!(made.tree(), ["dir 755 /", "dir/run 755 #!", "link -> dir/run", "private 644 x"]);
    assert!(made.files.iter().all(|(entry, _)| entry.mtime == 1_000_000_000));
}

#[test]
fn an_unchanged_repository_costs_one_question() {
    let setting = Setting::new();
    let repository = setting.repository("a");
    repository.file("f", "1").commit("first");
    let room = Room::new();
    assert_eq!(make(&room, setting.git("a")).unwrap().how, "made");
    setting.daemon.connections();
    assert_eq!(make(&room, setting.git("a")).unwrap().how, "cached");
    assert_eq!(setting.daemon.connections(), 1);
    // A whole commit is what it is.
    let commit = repository.git(&["rev-parse", "HEAD"]);
    assert_eq!(make(&room, setting.at(&commit)).unwrap().how, "cached");
    assert_eq!(setting.daemon.connections(), 0);
    repository.file("f", "2").commit("second");
    assert_eq!(make(&room, setting.git("a")).unwrap().tree(), ["f 644 2"]);
    // The first is still in the mirror.
    setting.daemon.connections();
    let kept = Git { folder: Some(".".to_owned()), ..setting.at(&commit) };
    assert_eq!(make(&room, kept).unwrap().tree(), ["f 644 1"]);
    assert_eq!(setting.daemon.connections(), 0);
}

#[test]
fn a_reference_is_a_branch_a_tag_a_commit_or_a_whole_name() {
    let setting = Setting::new();
    let repository = setting.repository("a");
    let first = repository.file("f", "1").commit("first");
    repository.git(&["tag", "light"]);
    repository.git(&["tag", "--annotate", "heavy", "--message", "m"]);
    repository.git(&["branch", "feature/x"]);
    repository.git(&["tag", "both"]);
    repository.file("f", "2").commit("second");
    repository.git(&["branch", "both"]);
    repository.show();
    let room = Room::new();
    for (reference, content) in [
        ("main", "2"),
        ("light", "1"),
        ("heavy", "1"),
        ("feature/x", "1"),
        ("both", "2"),
        ("refs/tags/both", "1"),
        (&first, "1"),
        (&first[..7], "1"),
        ("HEAD", "2"),
    ] {
        let made = make(&room, setting.at(reference)).unwrap();
        assert_eq!(made.tree(), [format!("f 644 {content}")], "{reference}");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let setting = Setting::new();
    setting.repository("a").file("f", "1").commit("first");
    setting.repository("empty");
    let (room, remote) = (Room::new(), setting.daemon.url("a"));
    for reference in ["none", "abcdef0", &"ab".repeat(20)] {
        let error = make(&room, setting.at(reference)).err().unwrap();
        assert_eq!(told(&error), format!("{remote} has no branch, tag or commit {reference:?}"));
    }
    let error = make(&room, setting.git("empty")).err().unwrap();
    assert!(matches!(error, GitError::Empty { .. }), "{error}");
    let error = make(&room, setting.git("nowhere")).err().unwrap();
    assert!(matches!(error, GitError::Failed { .. }), "{error}");
    let error = make(&room, Git { folder: Some("none".to_owned()), ..setting.git("a") }).err().unwrap();
    assert!(told(&error).contains("has no folder \"none\" at commit"), "{error}");
    assert_eq!(room.leftovers(), [""; 0]);
}

#[test]
fn nobody_is_asked_for_what_git_could_take_for_an_option() {
    let setting = Setting::new();
    setting.repository("a").file("f", "1").commit("first");
    let room = Room::new();
    for reference in ["--upload-pack=touch /tmp/x", "-x", "main..x", "a:b"] {
        let error = make(&room, setting.at(reference)).err().unwrap();
        assert!(matches!(error, GitError::Address(_)), "{error}");
    }
    let local = setting.base.path().join("a.git");
    for remote in
        [local.to_str().unwrap(), "file:///etc", "ext::sh -c true", "--upload-pack=x", "ssh://-oX=y/z"]
    {
        let error = make(&room, Git { remote: remote.to_owned(), ..Git::default() }).err().unwrap();
        assert!(matches!(error, GitError::Address(_)), "{error}");
    }
    assert_eq!(setting.daemon.connections(), 0);
}

#[test]
fn a_commit_that_is_not_the_promised_one_is_an_error() {
    let setting = Setting::new();
    let commit = setting.repository("a").file("f", "1").commit("first");
    let promised = |start: &str| Git { commit: Some(start.to_owned()), ..setting.git("a") };
    make(&Room::new(), promised(&commit[..8])).unwrap();
    let error = make(&Room::new(), promised("0123abc")).err().unwrap();
    let remote = setting.daemon.url("a");
    assert_eq!(error.to_string(), format!("{remote} is at commit {commit}, not 0123abc"));
}

#[test]
fn a_folder_is_one_within_the_repository() {
    let setting = Setting::new();
    let repository = setting.repository("a");
    repository.file("docs/en/page", "1").file("other", "2");
    symlink("docs/en", repository.work.join("short")).unwrap();
    symlink("/etc", repository.work.join("out")).unwrap();
    repository.commit("first");
    let room = Room::new();
    let folder = |folder: &str| make(&room, Git { folder: Some(folder.to_owned()), ..setting.git("a") });
    assert_eq!(folder("docs").unwrap().tree(), ["en 755 /", "en/page 644 1"]);
    assert_eq!(folder("short").unwrap().tree(), ["page 644 1"]);
    // No way leads out of the root.
    assert_eq!(folder("../..").unwrap().tree().len(), 6);
    for odd in ["out", "other", "docs/none"] {
        assert!(matches!(folder(odd), Err(GitError::NoFolder { .. })), "{odd}");
    }
}

#[test]
fn submodules_come_along_unless_they_are_not_wanted() {
    let setting = Setting::new();
    let (inner, middle, outer) =
        (setting.repository("inner"), setting.repository("middle"), setting.repository("a"));
    let take = |into: &Repository, path: &str, name: &str, url: &str| {
        let commit = setting.base.path().join(format!("{name}.git"));
        let commit = elsewhere::git(&commit, &["rev-parse", "main"]);
        into.file(".gitmodules", &format!("[submodule \"{name}\"]\n\tpath = {path}\n\turl = {url}\n"));
        into.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]);
        fs::create_dir_all(into.work.join(path)).unwrap();
        into.git(&["add", ".gitmodules"]);
        into.git(&["commit", "--quiet", "--message", "m"]);
        into.show();
    };
    inner.file("deep", "1").commit("first");
    middle.file("half", "2").commit("first");
    take(&middle, "in ner", "inner", &setting.daemon.url("inner"));
    outer.file("f", "3").commit("first");
    take(&outer, "lib/middle", "middle", "../middle.git");
    let made = make(&Room::new(), setting.git("a")).unwrap();
    let files: Vec<String> = made.tree().into_iter().filter(|line| !line.contains(".gitmodules")).collect();
    let expected = [
        "f 644 3",
        "lib 755 /",
        "lib/middle 755 /",
        "lib/middle/half 644 2",
        "lib/middle/in ner 755 /",
        "lib/middle/in ner/deep 644 1",
    ];
    assert_eq!(files, expected);
    let alone = make(&Room::new(), Git { without_submodules: true, ..setting.git("a") }).unwrap();
    assert_eq!(alone.tree().last().unwrap(), "lib/middle 755 /");
    // One that may not be fetched names the way there.
    take(&outer, "lib/middle", "middle", "file:///etc");
    let error = make(&Room::new(), setting.git("a")).err().unwrap();
    assert!(told(&error).contains("cannot get submodule \"lib/middle\""), "{}", told(&error));
    assert!(told(&error).contains("\"file:///etc\" is no address"), "{}", told(&error));
}

#[test]
fn a_kept_git_dir_is_a_clone_and_the_same_each_time() {
    let setting = Setting::new();
    let repository = setting.repository("a");
    repository.file("f", "1").commit("first");
    repository.file("f", "2").file("g", "3").commit("second");
    let kept = Git { keep_git_dir: true, ..setting.at("main") };
    let (fresh, used) = (Room::new(), Room::new());
    let first = make(&fresh, kept.clone()).unwrap();
    // The other's mirror came to its objects by another way.
    make(&used, setting.at(&repository.git(&["rev-parse", "HEAD~1"]))).unwrap();
    assert_eq!(make(&used, kept).unwrap().layers, first.layers);
    let clone = TempDir::new().unwrap();
    fresh.unpack(&first.layers[0], clone.path());
    let git = |arguments: &[&str]| elsewhere::git(clone.path(), arguments);
    assert_eq!(git(&["log", "--format=%s"]), "second");
    assert_eq!(git(&["rev-parse", "HEAD", "main"]), repository.git(&["rev-parse", "HEAD", "main"]));
    assert_eq!(git(&["status", "--porcelain"]), "");
    assert_eq!(git(&["fsck", "--strict"]), "");
    let config = fs::read_to_string(clone.path().join(".git/config")).unwrap();
    assert!(config.contains(&setting.daemon.url("a")), "{config}");
    assert!(!first.files.iter().any(|(entry, _)| entry.path.starts_with(b".git/hooks")));
}

#[test]
fn a_server_of_plain_files_will_do_and_credentials_are_shown_to_it_alone() {
    let setting = Setting::new();
    let repository = setting.repository("a");
    let first = repository.file("f", "1").commit("first");
    repository.file("f", "2").commit("second");
    // user:p@w
    let server = Static::start(setting.base.path(), Some("Basic dXNlcjpwQHc="));
    let room = Room::new();
    let git = |credentials: &str, reference: &str| Git {
        remote: server.url(credentials, "a"),
        reference: Some(reference.to_owned()),
        ..Git::default()
    };
    assert_eq!(make(&room, git("user:p%40w@", "main")).unwrap().tree(), ["f 644 2"]);
    assert_eq!(make(&room, git("user:p%40w@", &first[..8])).unwrap().tree(), ["f 644 1"]);
    let error = make(&Room::new(), git("user:wrong@", "main")).err().unwrap();
    assert!(!told(&error).contains("wrong"), "{error}");
    assert!(error.hint().unwrap().contains(".netrc"), "{error}");
    assert!(make(&Room::new(), git("", "main")).is_err());
}

#[test]
fn a_mirror_that_git_cannot_use_is_made_anew() {
    let setting = Setting::new();
    let repository = setting.repository("a");
    repository.file("f", "1").commit("first");
    let room = Room::new();
    make(&room, setting.git("a")).unwrap();
    let mirrors = fs::read_dir(room.state().join("git")).unwrap();
    let mirror = mirrors.map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap();
    for pack in fs::read_dir(mirror.join("objects/pack")).unwrap() {
        let pack = pack.unwrap().path();
        fs::set_permissions(&pack, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&pack, "rotten").unwrap();
    }
    fs::write(mirror.join("shallow.lock"), "").unwrap();
    let again = Git { folder: Some("./".to_owned()), ..setting.git("a") };
    assert_eq!(make(&room, again).unwrap().tree(), ["f 644 1"]);
}

#[test]
fn git_ends_with_the_build() {
    // It takes the question and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let interrupt = Interrupt::new();
    let stop = interrupt.clone();
    let asked = thread::spawn(move || {
        let connection = listener.accept().unwrap();
        stop.send(15);
        connection
    });
    let git = Git { remote: format!("git://{address}/a"), ..Git::default() };
    let error = Room::new().make_until(Op::Git(git), &Server::none(), &interrupt).err().unwrap();
    assert!(matches!(error, SolveError::Interrupted), "{error}");
    drop(asked.join().unwrap());
}

#[test]
fn builds_at_once_fetch_one_after_the_other_and_are_all_right() {
    let setting = Setting::new();
    let repository = setting.repository("a");
    let commits: Vec<String> =
        ["1", "2", "3", "4"].iter().map(|text| repository.file("f", text).commit(text)).collect();
    let room = Room::new();
    thread::scope(|scope| {
        for (commit, text) in commits.iter().zip(1..) {
            let (room, setting) = (&room, &setting);
            scope.spawn(move || {
                assert_eq!(make(room, setting.at(commit)).unwrap().tree(), [format!("f 644 {text}")]);
            });
        }
    });
}
