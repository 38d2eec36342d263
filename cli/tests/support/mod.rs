//! What the tests of the binary stand on: the binary itself with a root of its own, and images to feed it.
//!
//! ```text
//! Oxbox::new()              a temporary OXBOX_ROOT and HOME         .run([…]) ─▶ Ran { code, stdout, stderr }
//! image::Picture::of(…)     layers and a config, made by hand       .store(&layout) ─▶ descriptor
//! .serve()                  `oxbox serve` on a free port, until dropped
//! bases::Bases::open()     images from Debian's packages
//! suite::place(…)          those on a rung, and the cases of testdata/rungs
//! disk::Disk::mount(…)      a small filesystem, to be filled
//! ladder::Place            a builder on a rung of the executor's ladder
//! below::Below             the processes that a test started, and what they hold
//! user::start(…)           the binary as another user, with subordinate ids or without
//! terminal::Terminal        a terminal that it draws on
//! underway::Build           a build that is listened to while it lasts
//! ```
#![allow(dead_code, reason = "each test binary uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

pub(crate) mod bases;
pub(crate) mod below;
pub(crate) mod disk;
pub(crate) mod image;
pub(crate) mod ladder;
pub(crate) mod server;
pub(crate) mod suite;
pub(crate) mod terminal;
pub(crate) mod underway;
pub(crate) mod user;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use oxbox_layers::oci::Descriptor;
use oxbox_layers::store::Layout;
use tempfile::TempDir;

/// The binary with local state of its own.
pub(crate) struct Oxbox {
    folder: TempDir,
}

/// What a run of the binary came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Oxbox {
    /// A place with a Dockerfile on busybox.
    pub(crate) fn of_lines(lines: &str) -> Self {
        let oxbox = Self::new();
        oxbox.busybox();
        oxbox.dockerfile(&format!("FROM localhost/busybox\n{lines}"));
        oxbox
    }

    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    /// A folder for the test's own files, which goes with it.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// The local store, made if it is not there. Dropped soon, so that nobody is at work in it.
    pub(crate) fn store(&self) -> Layout {
        Layout::create(self.root().join("store")).unwrap()
    }

    /// Puts a small image under a whole name into the store.
    pub(crate) fn put(&self, name: &str, picture: &image::Picture) -> Descriptor {
        let layout = self.store();
        let image = picture.store(&layout);
        layout.tag(name, &image).unwrap();
        image
    }

    /// Writes the Dockerfile of a context with one file in it.
    pub(crate) fn dockerfile(&self, text: &str) -> &Self {
        std::fs::create_dir_all(self.path("context")).unwrap();
        std::fs::write(self.path("context/motd"), "hello\n").unwrap();
        std::fs::write(self.path("context/Dockerfile"), text).unwrap();
        self
    }

    /// An image that RUN works in: busybox alone, from Debian's static package.
    pub(crate) fn busybox(&self) {
        let busybox = std::fs::read("/bin/busybox").expect("busybox-static must be installed");
        let mut picture = image::Picture::of("bin/busybox", &busybox).user("root");
        for applet in ["sh", "cat", "sleep", "echo", "id", "touch"] {
            picture = picture.link(&format!("bin/{applet}"), "busybox");
        }
        self.put("localhost/busybox:latest", &picture);
    }

    /// The binary in an environment without anybody's configuration.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.isolated(Command::new(env!("CARGO_BIN_EXE_oxbox")));
        command.args(arguments).env("OXBOX_ROOT", self.root()).env("XDG_RUNTIME_DIR", self.path("run"));
        command
    }

    /// The binary started with a soft limit of open files.
    pub(crate) fn limited<A: AsRef<OsStr>>(
        &self,
        files: u64,
        arguments: impl IntoIterator<Item = A>,
    ) -> Command {
        let limited = self.command(arguments);
        let mut command = self.isolated(Command::new("/bin/sh"));
        command.args(["-c", &format!("ulimit -Sn {files}; exec \"$0\" \"$@\"")]).arg(limited.get_program());
        command.args(limited.get_args());
        command.envs(limited.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    /// A program in the test's folder, with nobody's configuration.
    pub(crate) fn isolated(&self, mut command: Command) -> Command {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .current_dir(self.folder());
        command
    }

    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    /// Runs what must succeed; returns what it printed.
    pub(crate) fn ok<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stdout
    }

    /// Runs what must succeed; returns the JSON it printed.
    pub(crate) fn json<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> serde_json::Value {
        serde_json::from_str(&self.ok(arguments)).unwrap()
    }
}

/// Returns the soft limit of open files of a process.
pub(crate) fn open_files(process: u32) -> u64 {
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

impl Ran {
    /// Asserts a clear failure: the code, an `error:` line, these words, and no result.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert!(self.stderr.lines().any(|line| line.starts_with("error: ")), "{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in\n{}", self.stderr);
        }
        assert_eq!(self.stdout, "", "a failure has no result");
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
