//! Progress of builds as lines, in the form that people and scripts know from buildx.
//!
//! ```text
//! #2 [build 1/3] COPY . /src          a step begins, and has a number from then on
//! #2 DONE 0.1s
//! #3 [build 2/3] RUN make             steps that do not need each other go on at once
//! #3 0.214 cc -o hello hello.c        a line that its command wrote, and when
//! #3 DONE 1.2s
//! #4 [build 3/3] RUN make check
//! #4 CACHED
//! ```
//!
//! What a step wrote before it failed is shown again at the end if lines of others stand between.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use oxbox_builder::plan::VertexId;
use oxbox_builder::progress::{Event, Progress};

use crate::output::clean;
use crate::terminal::say;

/// Lines of a step's output that are shown once it has failed: enough for an error, too few to hide it.
const TAIL_LINES: usize = 30;

/// Shows a build.
pub(super) struct Building<W: Fn(&str) = fn(&str)> {
    write: W,
    steps: Mutex<BTreeMap<VertexId, Step>>,
}

/// A step under way, or one that failed.
struct Step {
    title: String,
    began: Instant,
    tail: Tail,
    /// Whether lines of others stand between its own, or below them.
    scattered: bool,
    failed: bool,
}

impl Building {
    pub(super) fn new() -> Self {
        Self { write: say, steps: Mutex::default() }
    }
}

impl<W: Fn(&str) + Send + Sync> Progress for Building<W> {
    fn event(&self, event: Event<'_>) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Planned { .. } => {}
            Event::Warning { message } => (self.write)(&warning(message)),
            Event::Started { vertex, title } => self.start(&mut steps, vertex, title),
            Event::Output { vertex, line } => {
                let Some(step) = steps.get_mut(&vertex) else { return };
                let line = format!("{:.3} {}", step.began.elapsed().as_secs_f32(), output(line));
                self.say(&mut steps, vertex, &line);
                steps.entry(vertex).and_modify(|step| step.tail.push(line));
            }
            Event::Cached { vertex, title } => self.end(&mut steps, vertex, title, "CACHED"),
            Event::Cancelled { vertex, title } => self.end(&mut steps, vertex, title, "CANCELLED"),
            Event::Done { vertex, title, elapsed } => {
                self.end(&mut steps, vertex, title, &format!("DONE {}", seconds(elapsed)));
            }
            Event::Failed { vertex, title, elapsed } => {
                if !steps.contains_key(&vertex) {
                    self.start(&mut steps, vertex, title);
                }
                self.say(&mut steps, vertex, &format!("FAILED {}", seconds(elapsed)));
                steps.entry(vertex).and_modify(|step| step.failed = true);
            }
        }
    }
}

impl<W: Fn(&str)> Building<W> {
    fn start(&self, steps: &mut BTreeMap<VertexId, Step>, vertex: VertexId, title: &str) {
        self.say(steps, vertex, &clean(title));
        let (title, began, tail) = (title.to_owned(), Instant::now(), Tail::default());
        steps.insert(vertex, Step { title, began, tail, scattered: false, failed: false });
    }

    fn end(&self, steps: &mut BTreeMap<VertexId, Step>, vertex: VertexId, title: &str, how: &str) {
        if steps.remove(&vertex).is_none() {
            self.say(steps, vertex, &clean(title));
        }
        self.say(steps, vertex, how);
    }

    /// Writes a line of a step below whatever the others have written.
    fn say(&self, steps: &mut BTreeMap<VertexId, Step>, vertex: VertexId, text: &str) {
        for (_, other) in steps.iter_mut().filter(|(other, _)| **other != vertex) {
            other.scattered |= !other.tail.is_empty();
        }
        (self.write)(&format!("{} {text}", number(vertex)));
    }
}

impl<W: Fn(&str)> Drop for Building<W> {
    fn drop(&mut self) {
        let steps = self.steps.get_mut().unwrap_or_else(PoisonError::into_inner);
        for step in std::mem::take(steps).into_values().filter(|step| step.failed && step.scattered) {
            step.tail.show(&step.title, &self.write);
        }
    }
}

/// The last lines of a step's output.
#[derive(Debug, Default)]
pub(super) struct Tail(VecDeque<String>);

impl Tail {
    pub(super) fn push(&mut self, line: String) {
        if self.0.len() == TAIL_LINES {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Shows them as the last that a step had to say.
    pub(super) fn show(&self, title: &str, write: &dyn Fn(&str)) {
        write("------");
        write(&format!(" > {}:", clean(title)));
        self.0.iter().for_each(|line| write(line));
        write("------");
    }
}

/// How a vertex is called: from 1 on.
pub(super) fn number(vertex: VertexId) -> String {
    format!("#{}", vertex.0 + 1)
}

/// A duration as people read it.
pub(super) fn seconds(elapsed: Duration) -> String {
    format!("{:.1}s", elapsed.as_secs_f32())
}

/// A warning, which may have several lines.
pub(super) fn warning(message: &str) -> String {
    message.lines().map(clean).collect::<Vec<_>>().join("\n")
}

/// A line that a command wrote: whatever drives a terminal is made visible, but for tabs.
pub(super) fn output(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    // Programs that draw their own progress write one line over and over.
    let last = text.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
    last.split('\t').map(clean).collect::<Vec<_>>().join("\t")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use oxbox_builder::plan::VertexId;
    use oxbox_builder::progress::{Event, Progress as _};

    use super::{Building, output};

    /// Shows events; returns the lines, with the times of output hidden.
    fn shown(events: &[Event<'_>]) -> Vec<String> {
        let lines = Mutex::new(Vec::new());
        let write = |line: &str| {
            let words = line.split(' ').map(|word| match word.parse::<f32>() {
                Ok(_) if word.contains('.') => "T",
                _ => word,
            });
            lines.lock().unwrap().push(words.collect::<Vec<_>>().join(" "));
        };
        let building = Building { write, steps: Mutex::default() };
        events.iter().for_each(|event| building.event(*event));
        drop(building);
        lines.into_inner().unwrap()
    }

    fn started(number: usize, title: &str) -> Event<'_> {
        Event::Started { vertex: VertexId(number), title }
    }

    fn said(number: usize, line: &str) -> Event<'_> {
        Event::Output { vertex: VertexId(number), line: line.as_bytes() }
    }

    fn failed(number: usize, title: &str) -> Event<'_> {
        Event::Failed { vertex: VertexId(number), title, elapsed: Duration::from_millis(1240) }
    }

    #[test]
    fn a_build_reads_like_one_of_buildx() {
        let (vertex, title) = (VertexId(0), "FROM scratch");
        let lines = shown(&[
            Event::Planned { vertices: 3 },
            Event::Done { vertex, title, elapsed: Duration::ZERO },
            Event::Cached { vertex: VertexId(1), title: "[1/2] COPY a b" },
            started(2, "[2/2] RUN make"),
            said(2, "cc"),
            Event::Done {
                vertex: VertexId(2),
                title: "[2/2] RUN make",
                elapsed: Duration::from_millis(1240),
            },
        ]);
        assert_eq!(
            lines,
            [
                "#1 FROM scratch",
                "#1 DONE 0.0s",
                "#2 [1/2] COPY a b",
                "#2 CACHED",
                "#3 [2/2] RUN make",
                "#3 T cc",
                "#3 DONE 1.2s"
            ]
        );
    }

    #[test]
    fn a_failure_whose_output_stands_last_is_not_told_twice() {
        let lines = shown(&[started(0, "RUN a"), said(0, "no"), failed(0, "RUN a")]);
        assert_eq!(lines, ["#1 RUN a", "#1 T no", "#1 FAILED 1.2s"]);
    }

    #[test]
    fn a_failure_among_the_lines_of_others_is_told_again_at_the_end() {
        let cancelled = Event::Cancelled { vertex: VertexId(1), title: "RUN b" };
        let begin = [started(0, "RUN a"), started(1, "RUN b")];
        for rest in [
            [said(0, "no"), said(1, "b"), failed(0, "RUN a"), cancelled],
            [said(1, "b"), said(0, "no"), failed(0, "RUN a"), cancelled],
        ] {
            let lines = shown(&[&begin[..], &rest].concat());
            assert_eq!(lines[lines.len() - 5..], ["#2 CANCELLED", "------", " > RUN a:", "T no", "------"]);
        }
    }

    #[test]
    fn a_step_that_fails_before_it_starts_has_its_title() {
        assert_eq!(shown(&[failed(4, "COPY x /")]), ["#5 COPY x /", "#5 FAILED 1.2s"]);
    }

    #[test]
    fn only_the_last_lines_are_told_again() {
        let many: Vec<String> = (0..100).map(|number| format!("line-{number}")).collect();
        let mut events = vec![started(0, "RUN a")];
        events.extend(many.iter().map(|line| said(0, line)));
        events.extend([failed(0, "RUN a"), started(1, "RUN b")]);
        let lines = shown(&events);
        assert_eq!(lines.len(), 1 + 100 + 1 + 1 + 33);
        assert_eq!(lines[lines.len() - 2], "T line-99");
    }

    #[test]
    fn a_line_that_was_written_over_shows_what_was_last() {
        assert_eq!(output(b"10%\r50%\r100%\r"), "100%");
    }

    #[test]
    fn a_program_cannot_drive_the_terminal_but_may_use_tabs() {
        assert_eq!(output(b"a\tb\x1b[2J"), "a\tb\\u{1b}[2J");
    }
}
