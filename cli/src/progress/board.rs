//! Builds as a picture that people know from buildx.
//!
//! ```text
//! [+] Building 3.2s (2/4)
//!  => pull docker.io/library/debian:12                                   1.2s
//!  => CACHED [1/3] COPY motd /motd                                       0.0s
//!  => [2/3] RUN make                                                     2.0s
//!  => => # cc -o hello hello.c                 the last lines of what is under way
//! ```
//!
//! In the order in which they had their turns. Where there is not room for all, what is under way stays,
//! then what was over last; the last picture has everything.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oxbox_builder::progress::Event;

use super::blobs::moved;
use super::painter::Painter;
use super::record::{Record, Step, Verdict};
use super::spoken::{cut, width};
use super::transfer::Transfer;
use super::{Listener, News, seconds};
use crate::terminal::{self, Colour, Line, Size};

/// Lines of output that one step may show, as in buildx.
const MAX_OUTPUT: usize = 6;

/// Shows a build.
#[derive(Debug)]
pub(super) struct Board {
    record: Arc<Mutex<Record>>,
    painter: Painter,
}

impl Board {
    pub(super) fn new() -> Self {
        let record = Arc::new(Mutex::new(Record::new()));
        let shown = Arc::clone(&record);
        let painter = Painter::start(move |size| {
            let record = shown.lock().unwrap_or_else(PoisonError::into_inner);
            picture(&record, size, record.elapsed())
        });
        Self { record, painter }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Board {
    fn hear(&self, news: News<'_>) {
        let mut record = self.record();
        record.hear(news);
        if let News::Build(Event::Warning { .. }) = news {
            let warning = record.warnings.pop();
            drop(record);
            warning.iter().for_each(|warning| terminal::say(warning));
        }
    }

    fn end(&self) {
        self.painter.end(|size| {
            let record = self.record();
            all(&record, size, record.elapsed())
        });
        for step in self.record().failed() {
            step.tail.epitaph(&step.title).iter().for_each(|line| terminal::say(line));
        }
    }
}

/// Something that has had its turn.
#[derive(Clone, Copy)]
enum Row<'a> {
    Transfer(&'a Transfer),
    Step(&'a Step),
}

/// Draws what there is room for.
fn picture(record: &Record, size: Size, now: Duration) -> Vec<Line> {
    let columns = size.columns.saturating_sub(1);
    // One line for the header, one for the cursor.
    let room = size.rows.saturating_sub(2);
    let rows = chosen(rows(record), room);
    if rows.is_empty() {
        return Vec::new();
    }
    let speaking = rows.iter().filter(|row| row.lines() > 0).count().max(1);
    let each = ((room - rows.len()) / speaking).min(MAX_OUTPUT);
    let mut lines = vec![header(record, columns, now)];
    for row in rows {
        lines.push(row.line(columns, now));
        lines.extend(row.beneath(each, columns));
    }
    lines
}

/// Draws everything, for the last time. Nothing that happened is no picture.
fn all(record: &Record, size: Size, now: Duration) -> Vec<Line> {
    let columns = size.columns.saturating_sub(1);
    let rows = rows(record);
    if rows.is_empty() {
        return Vec::new();
    }
    let lines = rows.iter().map(|row| row.line(columns, now));
    std::iter::once(header(record, columns, now)).chain(lines).collect()
}

fn header(record: &Record, columns: usize, now: Duration) -> Line {
    let over = record.steps.iter().filter(|step| step.ended.is_some()).count();
    let total = record.steps.len();
    let how = match total {
        0 => "",
        _ if record.failed().next().is_some() => " FAILED",
        total if over == total => " FINISHED",
        _ => "",
    };
    let text = format!("[+] Building {} ({over}/{total}){how}", seconds(now));
    Line { text: cut(&text, columns), colour: Colour::Usual }
}

/// Returns all that has had its turn, in the order in which it had it.
fn rows(record: &Record) -> Vec<Row<'_>> {
    let transfers = record.transfers.iter().map(|transfer| (transfer.began, Row::Transfer(transfer)));
    let steps = record.steps.iter().filter_map(|step| Some((step.looked?, Row::Step(step))));
    let mut rows: Vec<_> = transfers.chain(steps).collect();
    rows.sort_by_key(|(began, _)| *began);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Leaves out what there is no room for.
fn chosen(rows: Vec<Row<'_>>, room: usize) -> Vec<Row<'_>> {
    if rows.len() <= room {
        return rows;
    }
    let mut ranked: Vec<usize> = (0..rows.len()).collect();
    // What is under way stands first, then what was over last.
    ranked.sort_by_key(|&at| std::cmp::Reverse((rows[at].ended().unwrap_or(Duration::MAX), at)));
    ranked.truncate(room);
    ranked.sort_unstable();
    ranked.into_iter().map(|at| rows[at]).collect()
}

impl Row<'_> {
    fn ended(&self) -> Option<Duration> {
        match self {
            Self::Transfer(transfer) => transfer.ended,
            Self::Step(step) => step.ended.as_ref().map(|(end, _)| *end),
        }
    }

    fn line(&self, columns: usize, now: Duration) -> Line {
        let (title, took, colour) = match self {
            Self::Transfer(transfer) => {
                let took = transfer.ended.unwrap_or(now).saturating_sub(transfer.began);
                let (mark, colour) = match transfer.ended {
                    Some(_) if transfer.is_done => ("", Colour::Blue),
                    Some(_) => ("ERROR ", Colour::Red),
                    None => ("", Colour::Usual),
                };
                (format!("{mark}{}", transfer.title), took, colour)
            }
            Self::Step(step) => {
                let (mark, colour) = mark(step);
                (format!("{mark}{}", step.title), step.took(now).unwrap_or_default(), colour)
            }
        };
        Line { text: justified(&format!(" => {title}"), &seconds(took), columns), colour }
    }

    /// How many lines it has to show beneath its own.
    fn lines(&self) -> usize {
        match self {
            Self::Transfer(transfer) => transfer.blobs.len(),
            Self::Step(step) if step.is_under_way() => step.tail.lines().len(),
            Self::Step(_) => 0,
        }
    }

    fn beneath(&self, most: usize, columns: usize) -> Vec<Line> {
        let faint = |text: String| Line { text: cut(&text, columns), colour: Colour::Faint };
        match self {
            Self::Transfer(transfer) => {
                let line = |blob| faint(format!(" => => {}", moved(blob)));
                transfer.blobs.iter().take(most).map(line).collect()
            }
            Self::Step(step) => {
                let lines = self.lines();
                let last = step.tail.lines().take(lines).skip(lines.saturating_sub(most));
                last.map(|line| faint(format!(" => => # {}", line.text.replace('\t', "    ")))).collect()
            }
        }
    }
}

fn mark(step: &Step) -> (&'static str, Colour) {
    match &step.ended {
        None => ("", Colour::Usual),
        Some((_, Verdict::Base | Verdict::Made)) => ("", Colour::Blue),
        Some((_, Verdict::Cached)) => ("CACHED ", Colour::Blue),
        Some((_, Verdict::Failed { .. })) => ("ERROR ", Colour::Red),
        Some((_, Verdict::Cancelled)) => ("CANCELED ", Colour::Yellow),
    }
}

/// Puts one text at each end of a line. Of the left one, as much as fits.
fn justified(left: &str, right: &str, columns: usize) -> String {
    let room = columns.saturating_sub(width(right) + 1);
    let left = cut(left, room);
    let gap = columns.saturating_sub(width(&left) + width(right));
    cut(&format!("{left}{}{right}", " ".repeat(gap)), columns)
}

#[cfg(test)]
mod tests;
