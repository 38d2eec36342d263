//! Standard error as a terminal: lines go above the bars, if there are any.

use std::io::{self, Write, stderr};
use std::sync::OnceLock;

use indicatif::MultiProgress;

/// The process has one terminal, and so one stack of bars.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// Returns the stack of bars, which is empty at first.
pub(crate) fn bars() -> &'static MultiProgress {
    BARS.get_or_init(MultiProgress::new)
}

/// Writes a line.
pub(crate) fn say(line: &str) {
    // Whoever closed standard error does not want to know.
    let _ = Lines.write_all(format!("{line}\n").as_bytes());
}

/// Standard error for whole lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write = || stderr().lock().write_all(bytes).map(|()| bytes.len());
        match BARS.get() {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
}
