//! What programs write, made fit for a view that it must not break.
//!
//! ```text
//! \x1b[31mno\x1b[0m      ─plain▶ no          ─coloured▶ as it is, and plain again at the end of the line
//! \x1b[2J \x1b]0;t\x07   ─▶ nothing          what moves, erases or names windows is meant for a terminal of its own
//! 10%\r50%\r100%\r       ─▶ 100%             programs that draw progress write one line over and over
//! \x1b[ and no end, \0   ─▶ \u{1b}[ and so on: visible
//! ```
//!
//! Escape sequences are those of ECMA-48, as far as a terminal would take them.

use std::iter::Peekable;
use std::str::Chars;

use unicode_width::UnicodeWidthChar as _;

use crate::output::is_visible;

/// A sequence that is longer is none.
const MAX_SEQUENCE: usize = 256;

/// Whether colours stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colours {
    Kept,
    Dropped,
}

/// Returns a line as text alone.
pub(crate) fn plain(line: &[u8]) -> String {
    read(line, Colours::Dropped)
}

/// Returns a line with its colours, which end where it ends.
pub(crate) fn coloured(line: &[u8]) -> String {
    read(line, Colours::Kept)
}

/// Returns as much of a text as fits into so many cells of a terminal, with a mark where it is cut.
pub(crate) fn cut(text: &str, cells: usize) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    let mut room = cells.saturating_sub(1);
    let fits = |character: &char| {
        let needed = character.width().unwrap_or(0);
        let fits = needed <= room;
        room = room.saturating_sub(needed);
        fits
    };
    let mut text: String = text.chars().take_while(fits).collect();
    if cells > 0 {
        text.push('…');
    }
    text
}

/// Returns how many cells of a terminal a text without control characters takes.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(|character| character.width().unwrap_or(0)).sum()
}

fn read(line: &[u8], colours: Colours) -> String {
    let text = String::from_utf8_lossy(line);
    let mut shown = String::new();
    for part in text.split('\r') {
        let part = of_part(part, colours);
        // A carriage return at the end, or before an erasure, takes nothing away.
        if !part.is_empty() {
            shown = part;
        }
    }
    shown
}

fn of_part(part: &str, colours: Colours) -> String {
    let mut shown = String::with_capacity(part.len());
    // Up to where no backspace reaches: the end of the last colour.
    let mut coloured = 0;
    let mut characters = part.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' => match sequence(&characters) {
                Some((length, is_colour)) => {
                    let rest = characters.by_ref().take(length);
                    if is_colour && colours == Colours::Kept {
                        shown.push('\x1b');
                        shown.extend(rest);
                        coloured = shown.len();
                    } else {
                        rest.for_each(drop);
                    }
                }
                None => shown.extend(character.escape_default()),
            },
            '\x08' if shown.len() > coloured => drop(shown.pop()),
            '\x08' | '\x07' => {}
            '\t' => shown.push('\t'),
            character if is_visible(character) => shown.push(character),
            character => shown.extend(character.escape_default()),
        }
    }
    if coloured > 0 {
        shown.push_str("\x1b[0m");
    }
    shown
}

/// Returns how many characters after an escape belong to it, and whether it sets a colour.
fn sequence(after: &Peekable<Chars<'_>>) -> Option<(usize, bool)> {
    let mut rest = after.clone().take(MAX_SEQUENCE).enumerate();
    let (_, first) = rest.next()?;
    match first {
        '[' => {
            let (at, last) = rest.find(|(_, character)| !matches!(character, '\x20'..='\x3f'))?;
            let is_colour = last == 'm' && after.clone().take(at).skip(1).all(is_digit);
            matches!(last, '\x40'..='\x7e').then_some((at + 1, is_colour))
        }
        // Texts for the terminal itself, up to a bell or a string terminator.
        ']' | 'P' | 'X' | '^' | '_' => {
            let mut before = first;
            let (at, _) = rest.find(|&(_, character)| {
                let is_end = character == '\x07' || (before == '\x1b' && character == '\\');
                before = character;
                is_end
            })?;
            Some((at + 1, false))
        }
        '\x20'..='\x2f' => {
            let (at, last) = rest.find(|(_, character)| !matches!(character, '\x20'..='\x2f'))?;
            matches!(last, '\x30'..='\x7e').then_some((at + 1, false))
        }
        '\x30'..='\x7e' => Some((1, false)),
        _ => None,
    }
}

fn is_digit(character: char) -> bool {
    matches!(character, '0'..='9' | ';' | ':')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{coloured, cut, plain, width};

    #[test]
    fn a_line_that_was_written_over_shows_what_was_last() {
        assert_eq!(plain(b"10%\r50%\r100%\r"), "100%");
        assert_eq!(plain(b"working\r\x1b[K"), "working");
        assert_eq!(plain(b"|\x08/\x08-"), "-");
    }

    #[test]
    fn a_program_cannot_drive_the_terminal_but_may_use_tabs_and_colours() {
        let line = b"a\tb\x1b[2J\x1b[31mred\x1b[0m\x1b]0;title\x07\x1bc\x1b(B!\x1b[1;38:5:9mx";
        assert_eq!(plain(line), "a\tbred!x");
        assert_eq!(coloured(line), "a\tb\x1b[31mred\x1b[0m!\x1b[1;38:5:9mx\x1b[0m");
    }

    #[test]
    fn what_is_no_sequence_is_made_visible() {
        assert_eq!(plain(b"\x1b["), "\\u{1b}[");
        assert_eq!(plain(b"\x1b]0;never ends"), "\\u{1b}]0;never ends");
        assert_eq!(plain("\u{9b}2J\0\u{202e}".as_bytes()), "\\u{9b}2J\\u{0}\\u{202e}");
        assert_eq!(plain(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn a_cut_counts_cells_and_not_characters() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("漢字漢字", 5), "漢字…");
        assert_eq!(cut("漢字漢字", 4), "漢…");
        assert_eq!(cut("abc", 0), "");
    }

    proptest! {
        #[test]
        fn nothing_that_drives_a_terminal_is_left(line in proptest::collection::vec(
            prop_oneof![any::<u8>(), Just(0x1b), Just(b'['), Just(b']'), Just(b'm'), Just(b'\r')], 0..60,
        )) {
            let text = plain(&line);
            prop_assert!(text.chars().all(|character| !character.is_control() || character == '\t'), "{:?}", text);
            let text = coloured(&line);
            for (at, _) in text.match_indices('\x1b') {
                let end = text[at + 2..].find(|character| !super::is_digit(character)).unwrap();
                prop_assert!(text[at + 1..].starts_with('['));
                prop_assert!(text[at + 2 + end..].starts_with('m'));
            }
        }

        #[test]
        fn what_is_cut_fits(text in "[a-z漢字é…]{0,20}", cells in 0_usize..24) {
            prop_assert!(width(&cut(&text, cells)) <= cells);
        }
    }
}
