//! What a runtime said before it failed.
//!
//! It writes where the program will write: both have the same descriptors, since it is the runtime that becomes the
//! program. So its words are the last of what came there, and are known on the builder's side only.

use std::collections::VecDeque;

use crate::exec::{ExecError, Failure, Process, Stream};

/// A runtime says one long line, or a few.
const MAX_LINES: usize = 4;
/// Of each line.
const MAX_LINE_CHARS: usize = 512;

/// The last lines of standard error, if a runtime may have written them.
#[derive(Debug)]
pub(in crate::exec) struct Words {
    by_runtime: bool,
    lines: VecDeque<String>,
}

impl Words {
    pub(in crate::exec) fn of(process: &Process) -> Self {
        Self { by_runtime: process.sandbox.runtime.is_some(), lines: VecDeque::new() }
    }

    pub(in crate::exec) fn hear(&mut self, stream: Stream, line: &[u8]) {
        if !self.by_runtime || stream != Stream::Stderr {
            return;
        }
        let cut = &line[..line.len().min(4 * MAX_LINE_CHARS)];
        let text: String = String::from_utf8_lossy(cut).chars().take(MAX_LINE_CHARS).collect();
        if self.lines.len() == MAX_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(text.replace(char::is_control, " "));
    }

    /// Adds the words to a runtime's failure.
    pub(in crate::exec) fn explain(self, error: ExecError) -> ExecError {
        match error {
            ExecError::Failed(Failure::Runtime { runtime, how, said }) if said.is_empty() => {
                let lines: Vec<_> =
                    self.lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
                ExecError::Failed(Failure::Runtime { runtime, how, said: lines.join("; ") })
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ExecError, Failure, Stream, Words};

    fn said(lines: &[&[u8]]) -> String {
        let mut words = Words { by_runtime: true, lines: Default::default() };
        lines.iter().for_each(|line| words.hear(Stream::Stderr, line));
        words.hear(Stream::Stdout, b"not this");
        let failure =
            Failure::Runtime { runtime: "runc".to_owned(), how: "failed".to_owned(), said: String::new() };
        match words.explain(ExecError::Failed(failure)) {
            ExecError::Failed(Failure::Runtime { said, .. }) => said,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn the_last_lines_are_the_words() {
        assert_eq!(said(&[b"one", b"", b"two\x1b[31m"]), "one; two [31m");
        assert_eq!(said(&[b"1", b"2", b"3", b"4", b"5"]), "2; 3; 4; 5");
        assert_eq!(said(&[]), "");
    }

    #[test]
    fn words_have_a_bound() {
        let long = "\u{e9}".repeat(100_000);
        assert_eq!(said(&[long.as_bytes()]).chars().count(), super::MAX_LINE_CHARS);
    }

    #[test]
    fn without_a_runtime_nothing_is_kept() {
        let mut words = Words { by_runtime: false, lines: Default::default() };
        words.hear(Stream::Stderr, b"the program's");
        assert!(words.lines.is_empty());
    }
}
