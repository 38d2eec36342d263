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
//! #5 ERROR: exited with code 2
//! ```
//!
//! What a step wrote before it failed is shown again at the end if lines of others stand between.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use oxbox_builder::plan::VertexId;
use oxbox_builder::progress::Event;

use super::tail::Tail;
use super::{Listener, Moving, News, lines, number, seconds, spoken};
use crate::output::clean;
use crate::report;
use crate::terminal::{say, wants_colours};

/// Shows a build.
pub(super) struct Steps<W: Fn(&str) = fn(&str)> {
    write: W,
    /// How a line that a program wrote is cleaned.
    clean: fn(&[u8]) -> String,
    /// Those under way, and those that failed.
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

impl Steps {
    pub(super) fn new() -> Self {
        let clean = if wants_colours() { spoken::coloured } else { spoken::plain };
        Self { write: say, clean, steps: Mutex::default() }
    }
}

impl<W: Fn(&str) + Send + Sync> Listener for Steps<W> {
    fn hear(&self, news: News<'_>) {
        match news {
            News::Build(event) => self.event(event),
            News::Transfer { title, event: Moving::Began, .. } => (self.write)(&clean(title)),
            News::Transfer { event: Moving::Moved(event), .. } => {
                lines::line(event).iter().for_each(|line| (self.write)(line));
            }
            News::Transfer { event: Moving::Ended, .. } => {}
        }
    }

    fn end(&self) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        for step in std::mem::take(&mut *steps).into_values().filter(|step| step.failed && step.scattered) {
            step.tail.epitaph(&step.title).iter().for_each(|line| (self.write)(line));
        }
    }
}

impl<W: Fn(&str)> Steps<W> {
    fn event(&self, event: Event<'_>) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Planned { .. } | Event::Looking { .. } | Event::Explained { .. } | Event::Given { .. } => {
            }
            Event::Warning { message } => message.lines().for_each(|line| (self.write)(&clean(line))),
            Event::Started { vertex, title, .. } => self.start(&mut steps, vertex, title),
            Event::Output { vertex, line } => self.output(&mut steps, vertex, line),
            Event::Cached { vertex, title, .. } => self.end_of(&mut steps, vertex, title, "CACHED"),
            Event::Cancelled { vertex, title } => self.end_of(&mut steps, vertex, title, "CANCELED"),
            Event::Done { vertex, title, elapsed, .. } => {
                self.end_of(&mut steps, vertex, title, &format!("DONE {}", seconds(elapsed)));
            }
            Event::Failed { vertex, title, error, .. } => {
                if !steps.contains_key(&vertex) {
                    self.start(&mut steps, vertex, title);
                }
                self.say(&mut steps, vertex, &format!("ERROR: {}", report::sentence(error)));
                steps.entry(vertex).and_modify(|step| step.failed = true);
            }
        }
    }

    fn start(&self, steps: &mut BTreeMap<VertexId, Step>, vertex: VertexId, title: &str) {
        let title = clean(title);
        self.say(steps, vertex, &title);
        let (began, tail) = (Instant::now(), Tail::default());
        steps.insert(vertex, Step { title, began, tail, scattered: false, failed: false });
    }

    fn output(&self, steps: &mut BTreeMap<VertexId, Step>, vertex: VertexId, line: &[u8]) {
        let Some(step) = steps.get_mut(&vertex) else { return };
        let after = step.began.elapsed();
        let text = (self.clean)(line);
        self.say(steps, vertex, &format!("{:.3} {text}", after.as_secs_f32()));
        steps.entry(vertex).and_modify(|step| step.tail.push(after, line));
    }

    fn end_of(&self, steps: &mut BTreeMap<VertexId, Step>, vertex: VertexId, title: &str, how: &str) {
        if steps.remove(&vertex).is_none() {
            self.say(steps, vertex, &clean(title));
        }
        self.say(steps, vertex, how);
    }

    /// Writes a line of a step below whatever the others have written.
    fn say(&self, steps: &mut BTreeMap<VertexId, Step>, vertex: VertexId, text: &str) {
        for (_, other) in steps.iter_mut().filter(|(other, _)| **other != vertex) {
            other.scattered |= other.tail.lines().len() > 0;
        }
        (self.write)(&format!("{} {text}", number(vertex)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use oxbox_builder::plan::VertexId;
    use oxbox_builder::progress::Event;

    use super::Steps;
    use crate::progress::script::{Broken, Cause, fail, pull};
    use crate::progress::spoken::coloured;
    use crate::progress::{Listener as _, News};

    const BROKEN: Broken = Broken(Cause);

    /// Shows events; returns the lines, with the times of output hidden.
    fn shown(tell: impl FnOnce(&mut dyn FnMut(News<'_>))) -> Vec<String> {
        let lines = Mutex::new(Vec::new());
        let write = |line: &str| {
            let words = line.split(' ').map(|word| match word.parse::<f32>() {
                Ok(_) if word.contains('.') => "T",
                _ => word,
            });
            lines.lock().unwrap().push(words.collect::<Vec<_>>().join(" "));
        };
        let steps = Steps { write, clean: coloured, steps: Mutex::default() };
        tell(&mut |news| steps.hear(news));
        steps.end();
        lines.into_inner().unwrap()
    }

    fn of(events: &[Event<'_>]) -> Vec<String> {
        shown(|hear| events.iter().for_each(|event| hear(News::Build(*event))))
    }

    fn started(number: usize, title: &str) -> Event<'_> {
        Event::Started { vertex: VertexId(number), title, why: None }
    }

    fn said(number: usize, line: &str) -> Event<'_> {
        Event::Output { vertex: VertexId(number), line: line.as_bytes() }
    }

    fn failed(number: usize, title: &str) -> Event<'_> {
        Event::Failed { vertex: VertexId(number), title, elapsed: Duration::ZERO, error: &BROKEN }
    }

    #[test]
    fn a_build_reads_like_one_of_buildx() {
        assert_eq!(
            shown(|hear| fail(|_, news| hear(news))),
            [
                "#1 [base 1/3] FROM busybox",
                "#1 DONE 0.0s",
                "#2 [base 2/3] COPY motd /motd",
                "#2 CACHED",
                "#5 [other 2/2] RUN sleep 9",
                "#3 [work 2/2] RUN make",
                "#3 T cc -o hello\thello.c",
                "#3 T \u{1b}[31mwarning\u{1b}[0m: unused\u{1b}[0m",
                "#3 DONE 0.0s",
                "#4 [stage-2 3/4] RUN false",
                "#4 T no luck",
                "#4 ERROR: it broke: on purpose",
                "#5 CANCELED",
                "------",
                " > [stage-2 3/4] RUN false:",
                "T no luck",
                "------"
            ]
        );
    }

    #[test]
    fn a_pull_is_named() {
        let lines = shown(|hear| pull(|_, news| hear(news)));
        assert_eq!(lines[..2], ["pull docker.io/library/busybox:1", "copying 2 blobs, T MB"]);
        assert!(lines[2].ends_with("copied"), "{lines:?}");
    }

    #[test]
    fn a_failure_whose_output_stands_last_is_not_told_twice() {
        let lines = of(&[started(0, "RUN a"), said(0, "no"), failed(0, "RUN a")]);
        assert_eq!(lines, ["#1 RUN a", "#1 T no", "#1 ERROR: it broke: on purpose"]);
    }

    #[test]
    fn a_step_that_fails_before_it_starts_has_its_title() {
        assert_eq!(of(&[failed(4, "COPY x /")]), ["#5 COPY x /", "#5 ERROR: it broke: on purpose"]);
    }

    #[test]
    fn only_the_last_lines_are_told_again() {
        let many: Vec<String> = (0..100).map(|number| format!("line-{number}")).collect();
        let mut events = vec![started(0, "RUN a")];
        events.extend(many.iter().map(|line| said(0, line)));
        events.extend([failed(0, "RUN a"), started(1, "RUN b")]);
        let lines = of(&events);
        assert_eq!(lines.len(), 1 + 100 + 1 + 1 + 33);
        assert_eq!(lines[lines.len() - 2], "T line-99");
    }
}
