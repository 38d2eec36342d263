//! Standard output: results, and nothing else.
//!
//! Each result is written at once. A reader that goes away (`oxbox images | head -1`) is no error.
//! Files that options ask for (`--digestfile`) are results too.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Why a result could not be printed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// Standard output failed.
    #[error("cannot write to standard output")]
    Stdout {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file failed.
    #[error("cannot write {path}", path = .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Prints bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), OutputError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(OutputError::Stdout { source: error }),
        _ => Ok(()),
    }
}

/// Writes a file.
pub(crate) fn file(path: &Path, content: &[u8]) -> Result<(), OutputError> {
    std::fs::write(path, content).map_err(|source| OutputError::File { path: path.to_owned(), source })
}

/// Prints one line.
pub(crate) fn line(text: &str) -> Result<(), OutputError> {
    bytes(format!("{text}\n").as_bytes())
}

/// Prints a value as JSON, for programs and for people.
pub(crate) fn json(value: &impl Serialize) -> Result<(), OutputError> {
    let text =
        serde_json::to_string_pretty(value).expect("because results hold no map with keys that are not text");
    line(&text)
}

/// Returns text from outside with what could drive a terminal made visible.
pub(crate) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            character if is_visible(character) => clean.push(character),
            character => clean.extend(character.escape_default()),
        }
    }
    clean
}

/// Whether a character may be shown as it is: controls drive terminals, and those of writing direction
/// make text look as what it is not.
pub(crate) fn is_visible(character: char) -> bool {
    let directs = matches!(character,
        '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !character.is_control() && !directs
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\nc\u{9b}ä"), "a\\u{1b}[31mb\\nc\\u{9b}ä");
    }

    #[test]
    fn text_cannot_turn_its_direction() {
        assert_eq!(clean("RUN \u{202e}x"), "RUN \\u{202e}x");
    }
}
