//! RUN `--mount` by the binary: caches that processes share or keep from each other, secrets that are found
//! nowhere, and agents.
//!
//! A RUN asks the test for leave to go on, by TCP: so two of them are at work at the same time, or are not.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::underway::Build;
use support::{Oxbox, Ran};

/// What a RUN in `build` says and asks: the files that its cache holds.
struct Asking(BufReader<TcpStream>);

impl Asking {
    fn accept(listener: &TcpListener) -> (Self, String) {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        let mut seen = String::new();
        stream.read_line(&mut seen).unwrap();
        (Self(stream), seen.trim().to_owned())
    }

    fn answer(mut self) {
        self.0.get_mut().write_all(b"go on\n").unwrap();
    }
}

/// Two Dockerfiles, `one` and `two`, whose RUNs put their names into a cache, tell what is in it, and wait.
fn two_builds(oxbox: &Oxbox, sharing: [&str; 2]) -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    oxbox.busybox();
    oxbox.dockerfile("FROM scratch\n");
    for (name, sharing) in ["one", "two"].into_iter().zip(sharing) {
        let text = format!(
            "FROM localhost/busybox\n\
             RUN --mount=type=cache,target=/c,sharing={sharing} touch /c/{name} && echo $(ls /c) | nc 127.0.0.1 {port}\n"
        );
        // `ls` and `nc` are applets of the one program that the image has.
        let text = text.replace("$(ls", "$(busybox ls").replace("| nc", "| busybox nc");
        fs::write(oxbox.path(&format!("context/{name}")), text).unwrap();
    }
    listener
}

fn start(oxbox: &Oxbox, name: &str) -> Build {
    Build::start(oxbox, &["--no-cache", "-f", &format!("context/{name}"), "context"])
}

fn cache_mounts(oxbox: &Oxbox) -> Vec<Value> {
    oxbox.json(["du", "--json"])["cacheMounts"].as_array().unwrap().clone()
}

#[test]
fn builds_that_lock_a_cache_wait_for_each_other() {
    let oxbox = Oxbox::new();
    let listener = two_builds(&oxbox, ["locked", "locked"]);
    let one = start(&oxbox, "one");
    let (asking, seen) = Asking::accept(&listener);
    assert_eq!(seen, "one");
    let mut two = start(&oxbox, "two");
    two.says("waiting for a cache mount");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "it runs only afterwards");
    listener.set_nonblocking(false).unwrap();
    asking.answer();
    let (asking, seen) = Asking::accept(&listener);
    assert_eq!(seen, "one two");
    asking.answer();
    one.succeeds();
    two.succeeds();
    assert_eq!(cache_mounts(&oxbox).len(), 1);
}

#[test]
fn a_lock_ends_with_the_build_that_has_it() {
    let oxbox = Oxbox::new();
    let listener = two_builds(&oxbox, ["locked", "locked"]);
    let one = start(&oxbox, "one");
    let (_asking, _) = Asking::accept(&listener);
    let mut two = start(&oxbox, "two");
    two.says("waiting for a cache mount");
    one.kill();
    let (asking, seen) = Asking::accept(&listener);
    assert_eq!(seen, "one two", "what was written stays");
    asking.answer();
    two.succeeds();
}

#[test]
fn builds_that_share_a_cache_see_each_others_files() {
    let oxbox = Oxbox::new();
    let listener = two_builds(&oxbox, ["shared", "shared"]);
    let one = start(&oxbox, "one");
    let (first, seen) = Asking::accept(&listener);
    assert_eq!(seen, "one");
    let two = start(&oxbox, "two");
    let (second, seen) = Asking::accept(&listener);
    assert_eq!(seen, "one two", "while the first is at work");
    first.answer();
    second.answer();
    one.succeeds();
    two.succeeds();
    assert_eq!(cache_mounts(&oxbox).len(), 1);
}

#[test]
fn builds_with_private_caches_see_their_own() {
    let oxbox = Oxbox::new();
    let listener = two_builds(&oxbox, ["private", "private"]);
    let one = start(&oxbox, "one");
    let (first, _) = Asking::accept(&listener);
    let two = start(&oxbox, "two");
    let (second, seen) = Asking::accept(&listener);
    assert_eq!(seen, "two");
    first.answer();
    second.answer();
    one.succeeds();
    two.succeeds();
    assert_eq!(cache_mounts(&oxbox).len(), 2);
}

/// Whether bytes are anywhere in a folder, in files or their names; compressed layers are looked into.
fn is_in(folder: &Path, needle: &[u8]) -> Option<PathBuf> {
    let has = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let found = fs::symlink_metadata(&path).unwrap();
        if has(path.as_os_str().as_encoded_bytes()) {
            return Some(path);
        }
        if found.is_dir() {
            if let Some(path) = is_in(&path, needle) {
                return Some(path);
            }
        } else if found.is_file() {
            let bytes = fs::read(&path).unwrap();
            let unpacked = match bytes.starts_with(&[0x1f, 0x8b]) {
                true => Command::new("gzip").arg("-dc").arg(&path).output().unwrap().stdout,
                false => Vec::new(),
            };
            if has(&bytes) || has(&unpacked) {
                return Some(path);
            }
        }
    }
    None
}

#[test]
fn a_secret_is_nowhere_when_the_build_is_over() {
    /// Neither a word nor encoded otherwise: nothing else has these bytes.
    const SECRET: &str = "xq7-Vf2bzW9kTn4c";
    let oxbox = Oxbox::new();
    oxbox.busybox();
    let dockerfile = "FROM localhost/busybox\n\
         RUN --mount=type=secret,id=token --mount=type=secret,id=token,env=TOKEN,target=/a/b \
             test \"$(cat /run/secrets/token)\" = \"$TOKEN\" && test \"$(cat /a/b)\" = \"$TOKEN\" && echo ${#TOKEN} > /length\n\
         COPY motd /\n";
    oxbox.dockerfile(dockerfile);
    fs::write(oxbox.path("given"), SECRET).unwrap();
    let mut said = Vec::new();
    for progress in ["plain", "rawjson"] {
        let (trace, report) = (format!("{progress}.trace"), format!("{progress}.html"));
        let ran: Ran = oxbox
            .command([
                "-D",
                "build",
                "--progress",
                progress,
                "--trace",
                &trace,
                "--report",
                &report,
                "--no-cache",
            ])
            .args(["--explain=json", "--secret", "id=token,src=given", "-t", "app", "context"])
            .output()
            .unwrap()
            .into();
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        said.extend([ran.stdout, ran.stderr]);
        said.extend([&trace, &report].map(|name| fs::read_to_string(oxbox.path(name)).unwrap()));
    }
    // What fails is told with its words, and not with the secret either.
    oxbox.dockerfile(
        "FROM localhost/busybox\nRUN --mount=type=secret,id=token,env=TOKEN test -z \"$TOKEN\"\n",
    );
    let mut command = oxbox.command(["build", "--secret", "id=token,env=GIVEN", "context"]);
    let ran: Ran = command.env("GIVEN", SECRET).output().unwrap().into();
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    said.extend([ran.stdout, ran.stderr]);
    for text in said {
        assert!(!text.contains(SECRET), "{text}");
    }
    assert_eq!(is_in(&oxbox.root(), SECRET.as_bytes()), None);
    assert!(is_in(&oxbox.root(), b"16\n").is_some(), "what is there is found");
}

#[test]
fn a_secret_that_is_not_given_is_told_with_how_to() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    oxbox.dockerfile("FROM localhost/busybox\nRUN --mount=type=secret,id=token,required true\n");
    oxbox.run(["build", "context"]).fails(1, &["secret \"token\" is required", "--secret id=ID,src=FILE"]);
    oxbox.run(["build", "--secret", "id=token,src=none", "context"]).fails(2, &["secret \"token\"", "none"]);
    oxbox.run(["build", "--secret", "token", "context"]).fails(2, &["--secret"]);
}

/// Puts a program of this machine, with the libraries that it loads, into a folder of the context.
fn transplant(oxbox: &Oxbox, program: &str) {
    let loaded = Command::new("ldd").arg(program).output().unwrap().stdout;
    let loaded = String::from_utf8(loaded).unwrap();
    let libraries = loaded.split_whitespace().filter(|word| word.starts_with('/'));
    for path in libraries.chain([program]) {
        let place = oxbox.path("context/root").join(&path[1..]);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(path, place).unwrap();
    }
}

#[test]
fn keys_of_an_agent_are_seen_in_the_sandbox_and_cannot_be_removed_there() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    let key = oxbox.path("key");
    let mut made = Command::new("ssh-keygen");
    made.args(["-q", "-t", "ed25519", "-N", "", "-C", "the test's key", "-f"]).arg(&key);
    if !made.status().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: this needs ssh-keygen, ssh-agent and ssh-add");
        return;
    }
    oxbox.dockerfile(
        "FROM localhost/busybox\nCOPY root /\n\
         RUN --mount=type=ssh,required /usr/bin/ssh-add -l && ! /usr/bin/ssh-add -D && /usr/bin/ssh-add -l\n\
         RUN --mount=type=ssh,id=none test ! -e $SSH_AUTH_SOCK\n",
    );
    transplant(&oxbox, "/usr/bin/ssh-add");
    let of_key = format!("default={}", key.display());
    let build =
        |option: &str| oxbox.run(["build", "--progress", "plain", "--no-cache", "--ssh", option, "context"]);
    let ran = build(&of_key);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("the test's key").count(), 2, "{}", ran.stderr);
    // An agent that runs already, and its socket.
    let socket = oxbox.path("agent");
    let mut agent = Command::new("ssh-agent");
    let mut agent = agent.args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    let added = || Command::new("ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket).status();
    while !added().unwrap().success() {}
    let ran = build(&format!("default={}", socket.display()));
    let by_variable = oxbox
        .command(["build", "--progress", "plain", "--no-cache", "--ssh", "default", "context"])
        .env("SSH_AUTH_SOCK", &socket)
        .output()
        .unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
    for ran in [ran, by_variable.into()] {
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(ran.stderr.matches("the test's key").count(), 2, "{}", ran.stderr);
    }
    build("default").fails(2, &["SSH_AUTH_SOCK is not set", "hint"]);
    assert_eq!(oxbox.run(["build", "context"]).code, Some(0), "who finds it made needs no agent");
    oxbox.run(["build", "--no-cache", "context"]).fails(1, &["ssh agent \"default\" is required", "--ssh"]);
}

#[test]
fn no_agent_of_a_builds_own_outlives_it() {
    let oxbox = Oxbox::new();
    oxbox.busybox();
    let key = oxbox.path("key");
    let mut made = Command::new("ssh-keygen");
    if !made
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!("SKIPPED: this needs ssh-keygen, ssh-agent and ssh-add");
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    oxbox.dockerfile(&format!("FROM localhost/busybox\nRUN echo hello | busybox nc 127.0.0.1 {port}\n"));
    let temporary = oxbox.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut command = oxbox.command(["build", "--ssh", &format!("default={}", key.display()), "context"]);
    let mut build = command.env("TMPDIR", &temporary).stderr(Stdio::null()).spawn().unwrap();
    let (_asking, _) = Asking::accept(&listener);
    let folder = fs::read_dir(&temporary).unwrap().map(|entry| entry.unwrap().path());
    let socket = folder.map(|folder| folder.join("agent")).find(|socket| socket.exists()).unwrap();
    build.kill().unwrap();
    build.wait().unwrap();
    // The agent takes its socket away when it ends.
    while std::os::unix::net::UnixStream::connect(&socket).is_ok() {}
}

#[test]
fn prune_removes_cache_mounts_that_nobody_uses() {
    let oxbox = Oxbox::new();
    let listener = two_builds(&oxbox, ["shared", "private"]);
    let one = start(&oxbox, "one");
    let (first, _) = Asking::accept(&listener);
    let two = start(&oxbox, "two");
    let (second, _) = Asking::accept(&listener);
    second.answer();
    two.succeeds();
    let mounts = cache_mounts(&oxbox);
    assert_eq!(mounts.len(), 2);
    assert!(
        mounts.iter().all(|mount| mount["id"] == "/c" && mount["bytes"].as_u64().unwrap() > 0),
        "{mounts:?}"
    );
    let told = oxbox.ok(["du", "--verbose"]);
    assert!(told.contains("cache mounts") && told.contains("/c"), "{told}");
    let prune =
        |arguments: &[&str]| oxbox.json([&["prune", "--json"], arguments].concat())["cacheMounts"].clone();
    assert_eq!(prune(&[]), 0);
    assert_eq!(prune(&["--filter", "until=24h"]), 0);
    assert_eq!(prune(&["--filter", "type=exec.cachemount", "--dry-run"]), 1, "the other one is in use");
    assert_eq!(prune(&["--filter", "type=exec.cachemount"]), 1);
    first.answer();
    one.succeeds();
    assert_eq!(cache_mounts(&oxbox).len(), 1);
    let layers = oxbox.json(["du", "--json"])["layers"].as_array().unwrap().len();
    assert!(layers > 0, "and nothing else");
    assert_eq!(prune(&["--filter", "type=regular"]), 0);
    assert_eq!(prune(&["--all"]), 1);
    assert_eq!(cache_mounts(&oxbox).len(), 0);
}
