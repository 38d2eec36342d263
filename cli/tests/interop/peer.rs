//! Other tools' programs: run in an environment of their own, and expected to succeed.

use std::ffi::OsStr;
use std::process::Command;

use crate::support::Oxbox;

/// A program with what it is always told.
pub(crate) struct Peer<'a> {
    oxbox: &'a Oxbox,
    program: &'static str,
    always: Vec<String>,
}

impl<'a> Peer<'a> {
    pub(crate) fn new(oxbox: &'a Oxbox, program: &'static str, always: &[&str]) -> Self {
        Self { oxbox, program, always: always.iter().map(|&word| word.to_owned()).collect() }
    }

    /// A program of the containers project, with storage below the test's folder.
    pub(crate) fn with_storage(oxbox: &'a Oxbox, program: &'static str) -> Self {
        let path = |name: &str| oxbox.path(name).to_str().unwrap().to_owned();
        let words =
            ["--storage-driver", "vfs", "--root", &path("storage"), "--runroot", &path("storage-run")];
        Self::new(oxbox, program, &words)
    }

    /// Runs it; returns what it printed.
    #[track_caller]
    pub(crate) fn ok<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        let mut command = self.oxbox.isolated(Command::new(self.program));
        command.args(&self.always).args(arguments);
        let output =
            command.output().unwrap_or_else(|error| panic!("{} must be installed: {error}", self.program));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }
}
