//! What is known of a build so far: each vertex with its times, its verdict and its last words.
//!
//! ```text
//! 0          looked      started                 ended       since the build began
//! │            ├─ key ─────┼─ made ────────────────┤
//!                          └ never, if the cache had it or it failed before
//! ```
//!
//! Filled with news as they come; views of the build, its trace and its report are drawn from it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use oxbox_builder::plan::graph::{Op, Vertex};
use oxbox_builder::plan::{Graph, VertexId};
use oxbox_builder::progress::Event;
use oxbox_layers::layer::Layer;

use super::tail::Tail;
use super::transfer::Transfer;
use super::{Moving, News};
use crate::output::clean;
use crate::report;

/// A build.
#[derive(Debug)]
pub(crate) struct Record {
    began: Instant,
    /// When it began.
    pub(crate) at: Timestamp,
    /// Every vertex, by its place.
    pub(crate) steps: Vec<Step>,
    /// Images that moved, in the order in which they began.
    pub(crate) transfers: Vec<Transfer>,
    /// What was warned of.
    pub(crate) warnings: Vec<String>,
}

/// A vertex.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// What it is called.
    pub(crate) title: String,
    /// Its line in the Dockerfile; 0 where there is none.
    pub(crate) line: usize,
    /// What it does.
    pub(crate) kind: Kind,
    /// Places of what it needs.
    pub(crate) inputs: Vec<usize>,
    /// When its turn came.
    pub(crate) looked: Option<Duration>,
    /// When it began to be made.
    pub(crate) started: Option<Duration>,
    /// When it was over, and how.
    pub(crate) ended: Option<(Duration, Verdict)>,
    /// Its own layer.
    pub(crate) layer: Option<Layer>,
    /// Why the cache did not have it.
    pub(crate) why: Option<String>,
    /// What it said last.
    pub(crate) tail: Tail,
}

/// What a vertex does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Kind {
    /// It is there already: a base image, nothing at all, a named context.
    #[default]
    Base,
    /// COPY, ADD.
    Copy,
    /// What an ADD names by its URL.
    Fetch,
    /// What a COPY `--link` made, put on top of what is below: nothing is made for it.
    Link,
    /// RUN.
    Run,
    /// WORKDIR.
    Workdir,
}

/// How a vertex ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is what a stage stands on.
    Base,
    /// The cache had it.
    Cached,
    /// It was made.
    Made,
    /// It could not be made.
    Failed {
        /// Why not.
        error: String,
    },
    /// It was given up.
    Cancelled,
}

impl Record {
    /// Begins.
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            at: Timestamp::now(),
            steps: Vec::new(),
            transfers: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Returns how long the build has gone on.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Notes what has just happened.
    pub(crate) fn hear(&mut self, news: News<'_>) {
        self.hear_at(self.elapsed(), news);
    }

    /// Notes what happened so long after the beginning.
    pub(crate) fn hear_at(&mut self, now: Duration, news: News<'_>) {
        match news {
            News::Build(event) => self.event(now, event),
            News::Transfer { transfer, title, event } => self.transfer(now, transfer, title, event),
        }
    }

    /// Returns the steps that failed, with what they said.
    pub(crate) fn failed(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| matches!(step.ended, Some((_, Verdict::Failed { .. }))))
    }

    fn event(&mut self, now: Duration, event: Event<'_>) {
        match event {
            Event::Planned { graph } => self.steps = planned(graph),
            Event::Looking { vertex, title } => self.step(vertex, title).looked = Some(now),
            Event::Started { vertex, title, why } => {
                let step = self.step(vertex, title);
                step.looked.get_or_insert(now);
                (step.started, step.why) = (Some(now), why.map(str::to_owned));
            }
            Event::Output { vertex, line } => {
                if let Some(step) = self.steps.get_mut(vertex.0) {
                    let after = now.saturating_sub(step.began().unwrap_or(now));
                    step.tail.push(after, line);
                }
            }
            Event::Cached { vertex, title, layer } => {
                self.end(now, vertex, title, Verdict::Cached).layer = layer.cloned();
            }
            Event::Done { vertex, title, layer, .. } => {
                let step = self.end(now, vertex, title, Verdict::Made);
                match step.kind {
                    // The layer is another step's.
                    Kind::Base | Kind::Link => step.ended = Some((now, Verdict::Base)),
                    _ => step.layer = layer.cloned(),
                }
            }
            Event::Failed { vertex, title, error, .. } => {
                let error = report::sentence(error);
                self.end(now, vertex, title, Verdict::Failed { error });
            }
            Event::Cancelled { vertex, title } => drop(self.end(now, vertex, title, Verdict::Cancelled)),
            Event::Explained { .. } | Event::Given { .. } => {}
            Event::Warning { message } => {
                self.warnings.push(message.lines().map(clean).collect::<Vec<_>>().join("\n"))
            }
        }
    }

    fn end(&mut self, now: Duration, vertex: VertexId, title: &str, verdict: Verdict) -> &mut Step {
        let step = self.step(vertex, title);
        step.looked.get_or_insert(now);
        if !matches!(verdict, Verdict::Failed { .. }) {
            step.tail.shorten();
        }
        step.ended = Some((now, verdict));
        step
    }

    /// Returns a step; one that nobody planned is put in its place.
    fn step(&mut self, vertex: VertexId, title: &str) -> &mut Step {
        if self.steps.len() <= vertex.0 {
            self.steps.resize_with(vertex.0 + 1, Step::default);
        }
        let step = &mut self.steps[vertex.0];
        if step.title.is_empty() {
            step.title = clean(title);
        }
        step
    }

    fn transfer(&mut self, now: Duration, transfer: usize, title: &str, event: Moving<'_>) {
        if self.transfers.len() <= transfer {
            self.transfers.resize_with(transfer + 1, Transfer::default);
        }
        let transfer = &mut self.transfers[transfer];
        match event {
            Moving::Began => (transfer.title, transfer.began) = (clean(title), now),
            Moving::Moved(event) => transfer.moved(now, event),
            Moving::Ended => (transfer.ended, transfer.blobs) = (Some(now), Vec::new()),
        }
    }
}

fn planned(graph: &Graph) -> Vec<Step> {
    let step = |vertex: &Vertex| Step {
        title: clean(&vertex.title),
        line: vertex.line,
        kind: Kind::of(&vertex.op),
        inputs: vertex.op.inputs().iter().map(|input| input.0).collect(),
        ..Step::default()
    };
    graph.vertices.iter().map(step).collect()
}

impl Kind {
    fn of(op: &Op) -> Self {
        match op {
            Op::Image(_) | Op::Local(_) | Op::Scratch => Self::Base,
            Op::Copy(_) => Self::Copy,
            Op::Git(_) | Op::Http(_) => Self::Fetch,
            Op::Merge(_) => Self::Link,
            Op::Run(_) => Self::Run,
            Op::Workdir(_) => Self::Workdir,
        }
    }
}

impl Step {
    /// Returns when its turn came.
    pub(crate) fn began(&self) -> Option<Duration> {
        self.started.or(self.looked)
    }

    /// Returns how long it has taken until now, or took.
    pub(crate) fn took(&self, now: Duration) -> Option<Duration> {
        let end = self.ended.as_ref().map_or(now, |(end, _)| *end);
        Some(end.saturating_sub(self.looked?))
    }

    /// Returns whether it has its turn now.
    pub(crate) fn is_under_way(&self) -> bool {
        self.looked.is_some() && self.ended.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Kind, Verdict};
    use crate::progress::script;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_step_has_its_times_and_its_inputs() {
        let record = script::failing();
        let step = &record.steps[3];
        assert_eq!((step.line, step.kind, &step.inputs[..]), (4, Kind::Run, &[2, 1][..]));
        assert_eq!((step.looked, step.started), (Some(Duration::from_millis(2500)), Some(seconds(3))));
        assert_eq!(step.took(seconds(99)), Some(Duration::from_millis(3500)));
        assert!(
            matches!(&step.ended, Some((_, Verdict::Failed { error })) if error == "it broke: on purpose")
        );
        assert_eq!(record.steps[0].ended, Some((seconds(1), Verdict::Base)));
    }
}
