//! What a step said last.

use std::collections::VecDeque;
use std::time::Duration;

use super::spoken;

/// Lines of a step's output that are kept: enough for an error, too few to hide it.
pub(crate) const TAIL_LINES: usize = 30;

/// Characters of such a line that are kept: a program may write megabytes without a newline.
const MAX_LINE: usize = 2000;

/// Characters of a line of a step that went well: there may be thousands of steps.
const MAX_OLD_LINE: usize = 200;

/// The last lines of a step's output.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    lines: VecDeque<Spoken>,
    /// How many stood before them.
    pub(crate) dropped: usize,
}

/// A line of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spoken {
    /// How long after its step had begun.
    pub(crate) after: Duration,
    /// What it says, with nothing in it that drives a terminal.
    pub(crate) text: String,
}

impl Tail {
    /// Adds a line as a program wrote it.
    pub(crate) fn push(&mut self, after: Duration, line: &[u8]) {
        if self.lines.len() == TAIL_LINES {
            self.lines.pop_front();
            self.dropped += 1;
        }
        let mut text = spoken::plain(line);
        truncate(&mut text, MAX_LINE);
        self.lines.push_back(Spoken { after, text });
    }

    /// Keeps less of each line: nobody will have to look for an error.
    pub(crate) fn shorten(&mut self) {
        for line in &mut self.lines {
            truncate(&mut line.text, MAX_OLD_LINE);
            line.text.shrink_to_fit();
        }
    }

    /// Returns the lines, oldest first.
    pub(crate) fn lines(&self) -> impl DoubleEndedIterator<Item = &Spoken> + ExactSizeIterator {
        self.lines.iter()
    }

    /// Returns them as the last that a step had to say.
    pub(crate) fn epitaph(&self, title: &str) -> Vec<String> {
        if self.lines.is_empty() {
            return Vec::new();
        }
        let mut lines = vec!["------".to_owned(), format!(" > {title}:")];
        lines.extend(self.lines().map(|line| format!("{:.3} {}", line.after.as_secs_f32(), line.text)));
        lines.push("------".to_owned());
        lines
    }
}

fn truncate(text: &mut String, characters: usize) {
    if let Some((end, _)) = text.char_indices().nth(characters) {
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{TAIL_LINES, Tail};

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut tail = Tail::default();
        for number in 0..TAIL_LINES + 5 {
            tail.push(Duration::ZERO, format!("line {number}").as_bytes());
        }
        assert_eq!((tail.lines().len(), tail.dropped), (TAIL_LINES, 5));
        assert_eq!(tail.lines().next_back().unwrap().text, "line 34");
    }

    #[test]
    fn a_line_of_megabytes_is_cut_and_more_so_once_its_step_went_well() {
        let mut tail = Tail::default();
        tail.push(Duration::ZERO, "é".repeat(9000).as_bytes());
        let characters = |tail: &Tail| tail.lines().next().unwrap().text.chars().count();
        assert_eq!(characters(&tail), 2001);
        tail.shorten();
        assert_eq!(characters(&tail), 201);
    }

    #[test]
    fn silence_has_no_last_words() {
        assert!(Tail::default().epitaph("RUN true").is_empty());
    }
}
