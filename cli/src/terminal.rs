//! Standard error as a terminal: lines that stay, and below them some that are drawn over and over.
//!
//! ```text
//! #1 DONE 0.1s                     what was said stays, and scrolls away
//! [+] Building 3.2s (3/5)          ┐
//!  => [2/3] RUN make        3.1s   │ painted: taken away before anything else is said, and put back
//!  => => # cc -o hello             ┘
//! ▏                                the cursor rests here, and is never hidden: whatever kills the process,
//!                                  the terminal is as it was
//! ```

use std::env;
use std::io::{self, Write, stderr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::progress::spoken;

/// The process has one terminal, and so one picture on it.
static PAINTED: Mutex<Vec<Line>> = Mutex::new(Vec::new());

/// What waits to be said while somebody else has the terminal. Taken after `PAINTED` only.
static HELD: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// Of what waits: some thousand lines.
const MAX_WAITING_BYTES: usize = 1 << 20;

/// What a terminal that does not tell its size has.
const USUAL: Size = Size { columns: 80, rows: 24 };

/// How large a terminal is, in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// Cells of a line.
    pub(crate) columns: usize,
    /// Lines.
    pub(crate) rows: usize,
}

/// A line of a picture: no control characters, and no wider than the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// What it says.
    pub(crate) text: String,
    /// In which colour.
    pub(crate) colour: Colour,
}

/// Colours of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// The terminal's own.
    Usual,
    /// Less than that.
    Faint,
    /// What is over.
    Blue,
    /// What was given up.
    Yellow,
    /// What failed.
    Red,
}

/// Returns how large standard error is.
pub(crate) fn size() -> Size {
    match rustix::termios::tcgetwinsize(stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            Size { columns: size.ws_col.into(), rows: size.ws_row.into() }
        }
        _ => USUAL,
    }
}

/// Whether anything may have colours (no-color.org).
pub(crate) fn wants_colours() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Keeps the terminal for somebody else: nothing is painted, and what is said waits.
pub(crate) fn hold() -> Held {
    let mut painted = painted();
    let _ = stderr().lock().write_all((back_over(&painted, size().columns) + "\x1b[J").as_bytes());
    painted.clear();
    *held() = Some(Vec::new());
    Held
}

/// The terminal is kept until this is dropped; then what was said meanwhile is written.
#[derive(Debug)]
pub(crate) struct Held;

impl Held {
    /// Writes a line at once.
    pub(crate) fn say(&self, line: &str) {
        let _ = stderr().lock().write_all(format!("{line}\n").as_bytes());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _painted = painted();
        let waiting = held().take().unwrap_or_default();
        let _ = stderr().lock().write_all(&waiting);
    }
}

/// Puts a picture in place of the one that is there.
pub(crate) fn paint(lines: Vec<Line>) {
    let mut painted = painted();
    if held().is_some() {
        return;
    }
    let mut text = back_over(&painted, size().columns);
    text.extend(lines.iter().flat_map(|line| [drawn(line), "\x1b[K\n".to_owned()]));
    text.push_str("\x1b[J");
    // Whoever closed standard error does not want to know.
    let _ = stderr().lock().write_all(text.as_bytes());
    *painted = lines;
}

/// Leaves the picture where it is: what is said from now on stands below it.
pub(crate) fn keep() {
    painted().clear();
}

/// Writes a line.
pub(crate) fn say(line: &str) {
    let _ = Lines.write_all(format!("{line}\n").as_bytes());
}

/// Standard error for whole lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let painted = painted();
        if let Some(waiting) = &mut *held() {
            // What is said beyond it is lost: the record has it.
            let room = MAX_WAITING_BYTES.saturating_sub(waiting.len());
            waiting.extend_from_slice(&bytes[..bytes.len().min(room)]);
            return Ok(bytes.len());
        }
        if painted.is_empty() {
            stderr().lock().write_all(bytes)?;
            return Ok(bytes.len());
        }
        // In one piece, or the picture would flicker.
        let mut text = back_over(&painted, size().columns).into_bytes();
        text.extend_from_slice(b"\x1b[J");
        text.extend_from_slice(bytes);
        text.extend(painted.iter().flat_map(|line| (drawn(line) + "\n").into_bytes()));
        stderr().lock().write_all(&text)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
}

fn painted() -> MutexGuard<'static, Vec<Line>> {
    PAINTED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn held() -> MutexGuard<'static, Option<Vec<u8>>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Moves to the beginning of the picture. A terminal that became narrower has broken its lines.
fn back_over(painted: &[Line], columns: usize) -> String {
    let rows = |line: &Line| spoken::width(&line.text).div_ceil(columns).max(1);
    match painted.iter().map(rows).sum::<usize>() {
        0 => String::new(),
        rows => format!("\r\x1b[{rows}A"),
    }
}

fn drawn(line: &Line) -> String {
    let code = match line.colour {
        Colour::Usual => return line.text.clone(),
        _ if !wants_colours() => return line.text.clone(),
        Colour::Faint => 2,
        Colour::Blue => 34,
        Colour::Yellow => 33,
        Colour::Red => 31,
    };
    format!("\x1b[{code}m{}\x1b[0m", line.text)
}

#[cfg(test)]
mod tests {
    use super::{Colour, Line, back_over};

    #[test]
    fn a_terminal_that_became_narrower_has_more_lines() {
        let line = |text: &str| Line { text: text.to_owned(), colour: Colour::Usual };
        let picture = [line(&"x".repeat(79)), line(""), line("漢字漢字")];
        assert_eq!(back_over(&picture, 80), "\r\x1b[3A");
        assert_eq!(back_over(&picture, 20), "\r\x1b[6A");
        assert_eq!(back_over(&picture[..0], 20), "");
    }
}
