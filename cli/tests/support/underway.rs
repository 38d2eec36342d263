//! A build under way, which is listened to while it lasts.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Stdio};

use super::{Oxbox, Ran};

/// A build under way, and what it says.
pub(crate) struct Build {
    pub(crate) child: Child,
    told: BufReader<ChildStderr>,
}

impl Build {
    pub(crate) fn start(oxbox: &Oxbox, arguments: &[&str]) -> Self {
        let mut command = oxbox.command([&["build"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let told = BufReader::new(child.stderr.take().unwrap());
        Self { child, told }
    }

    /// Reads until it says this.
    pub(crate) fn says(&mut self, text: &str) {
        let mut all = String::new();
        while !all.contains(text) {
            let mut line = String::new();
            assert_ne!(self.told.read_line(&mut line).unwrap(), 0, "it never said {text:?}: {all}");
            all.push_str(&line);
        }
    }

    /// Waits for its end; returns what it came to, with what was not read yet of what it said.
    pub(crate) fn end(mut self) -> Ran {
        let mut stderr = String::new();
        self.told.read_to_string(&mut stderr).unwrap();
        let output = self.child.wait_with_output().unwrap();
        Ran { code: output.status.code(), stdout: String::from_utf8(output.stdout).unwrap(), stderr }
    }

    #[track_caller]
    pub(crate) fn succeeds(self) -> Ran {
        let ran = self.end();
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran
    }

    /// Kills its main process.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
