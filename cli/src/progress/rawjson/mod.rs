//! Progress as JSON lines, in the form that tools know from buildx: BuildKit's `SolveStatus`, one object
//! with what is new in each line.
//!
//! ```text
//! {"vertexes":[{"digest":"sha256:…","inputs":["sha256:…"],"name":"[1/2] COPY . /","started":"…"}]}
//! {"logs":[{"vertex":"sha256:…","stream":1,"data":"aGVsbG8K","timestamp":"…"}]}
//! {"statuses":[{"id":"sha256:…","vertex":"sha256:…","name":"moving","total":12,"current":3,"timestamp":"…"}]}
//! {"warnings":[{"level":1,"short":"bm8gdGFnCg==","detail":["…"]}]}
//! ```
//!
//! `docs/formats.md` says what is in it. What is not: `progressGroup`, and where warnings are from.

mod status;
mod transfer;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use oxbox_builder::plan::{self, Graph, VertexId};
use oxbox_builder::progress::Event;
use oxbox_layers::oci::Digest;

pub(super) use transfer::Copying;

use status::{Status, Vertex};
use transfer::Transfer;

use super::{Listener, Moving, News};
use crate::report;
use crate::terminal::say;

/// Shows a build.
pub(super) struct Building<W: Fn(&str) = fn(&str)> {
    write: W,
    clock: fn() -> Timestamp,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    vertices: BTreeMap<usize, Vertex>,
    transfers: BTreeMap<usize, Transfer>,
}

impl Building {
    pub(super) fn new() -> Self {
        Self { write: say, clock: Timestamp::now, known: Mutex::default() }
    }
}

impl<W: Fn(&str) + Send + Sync> Listener for Building<W> {
    fn hear(&self, news: News<'_>) {
        let now = (self.clock)();
        let status = match news {
            News::Build(event) => self.event(event, now),
            News::Transfer { transfer, title, event } => self.transfer(transfer, title, event, now),
        };
        status.iter().for_each(|status| (self.write)(&status.line()));
    }

    fn end(&self) {}
}

impl<W: Fn(&str)> Building<W> {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self, event: Event<'_>, now: Timestamp) -> Option<Status> {
        let mut known = self.known();
        let vertex = match event {
            Event::Planned { graph } => {
                known.vertices = planned(graph);
                return Some(Status::of_all(known.vertices.values()));
            }
            Event::Looking { vertex, title } => {
                let vertex = known.vertex(vertex, title);
                vertex.started = Some(now);
                vertex
            }
            // It had its turn before.
            Event::Started { .. } | Event::Explained { .. } | Event::Given { .. } => return None,
            Event::Output { vertex, line } => {
                let vertex = known.vertex(vertex, "").digest;
                return Some(Status::output(vertex, line, now));
            }
            Event::Cached { vertex, title, .. } => {
                let vertex = known.ended(vertex, title, now);
                vertex.cached = true;
                vertex
            }
            Event::Done { vertex, title, .. } => known.ended(vertex, title, now),
            Event::Failed { vertex, title, error, .. } => {
                let vertex = known.ended(vertex, title, now);
                vertex.error = report::sentence(error);
                vertex
            }
            Event::Cancelled { vertex, title } => {
                let vertex = known.ended(vertex, title, now);
                // As BuildKit words it; tools tell a vertex that was given up by it.
                vertex.error = "context canceled".to_owned();
                vertex
            }
            Event::Warning { message } => return Some(Status::warning(message)),
        };
        Some(Status::of(vertex))
    }

    fn transfer(&self, place: usize, title: &str, event: Moving<'_>, now: Timestamp) -> Option<Status> {
        let mut known = self.known();
        let new =
            || Transfer::new(title, Digest::sha256(format!("transfer\0{place}\0{title}").as_bytes()), now);
        let transfer = known.transfers.entry(place).or_insert_with(new);
        match event {
            Moving::Began => Some(transfer.status()),
            Moving::Moved(event) => transfer.moved(event, now),
            Moving::Ended => Some(transfer.ended(now)),
        }
    }
}

impl Known {
    fn vertex(&mut self, vertex: VertexId, title: &str) -> &mut Vertex {
        self.vertices.entry(vertex.0).or_insert_with(|| Vertex::new(digest(vertex.0, title), title))
    }

    fn ended(&mut self, vertex: VertexId, title: &str, now: Timestamp) -> &mut Vertex {
        let vertex = self.vertex(vertex, title);
        vertex.started.get_or_insert(now);
        vertex.completed = Some(now);
        vertex
    }
}

fn planned(graph: &Graph) -> BTreeMap<usize, Vertex> {
    let digests: Vec<Digest> =
        graph.vertices.iter().enumerate().map(|(at, vertex)| digest(at, &vertex.title)).collect();
    let vertex = |(at, vertex): (usize, &plan::Vertex)| {
        let inputs = vertex.op.inputs().iter().map(|input| digests[input.0]).collect();
        (at, Vertex { inputs, ..Vertex::new(digests[at], &vertex.title) })
    };
    graph.vertices.iter().enumerate().map(vertex).collect()
}

/// A name for a vertex that is the same in every build of the same Dockerfile.
fn digest(at: usize, title: &str) -> Digest {
    Digest::sha256(format!("{at}\0{title}").as_bytes())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use jiff::Timestamp;
    use oxbox_builder::progress::Event;
    use serde_json::{Value, json};

    use super::{Building, digest};
    use crate::progress::script::{branches, fail, pull};
    use crate::progress::{Listener as _, News};

    const NOW: &str = "1970-01-01T00:00:00Z";

    fn shown(tell: impl FnOnce(&mut dyn FnMut(News<'_>))) -> Vec<Value> {
        let lines = Mutex::new(Vec::new());
        let write = |line: &str| lines.lock().unwrap().push(serde_json::from_str(line).unwrap());
        let building = Building { write, clock: || Timestamp::UNIX_EPOCH, known: Mutex::default() };
        tell(&mut |news| building.hear(news));
        lines.into_inner().unwrap()
    }

    #[test]
    fn the_plan_comes_first_with_the_inputs_of_all() {
        let lines = shown(|hear| fail(|_, news| hear(news)));
        let graph = branches();
        let name = |at: usize| digest(at, &graph.vertices[at].title).to_string();
        assert_eq!(lines[0]["vertexes"].as_array().unwrap().len(), 6);
        assert_eq!(
            lines[0]["vertexes"][3],
            json!({"digest": name(3), "inputs": [name(2), name(1)], "name": "[stage-2 3/4] RUN false"})
        );
    }

    #[test]
    fn each_vertex_ends_with_its_verdict() {
        let lines = shown(|hear| fail(|_, news| hear(news)));
        let last = |name: &str| {
            let mut vertices = lines.iter().rev().filter_map(|line| line["vertexes"].get(0));
            vertices.find(|vertex| vertex["name"] == name).unwrap().clone()
        };
        let cached = last("[base 2/3] COPY motd /motd");
        assert_eq!((&cached["cached"], &cached["completed"]), (&json!(true), &json!(NOW)));
        let failed = last("[stage-2 3/4] RUN false");
        assert_eq!(failed["error"], "it broke: on purpose");
        assert_eq!(last("[other 2/2] RUN sleep 9")["error"], "context canceled");
        assert_eq!(last("[work 2/2] RUN make").get("cached"), None);
    }

    #[test]
    fn output_is_exactly_what_was_written() {
        let lines = shown(|hear| fail(|_, news| hear(news)));
        let logs: Vec<_> = lines.iter().filter_map(|line| line["logs"].get(0)).collect();
        // printf 'no luck\n' | base64
        assert_eq!(logs[2]["data"], "bm8gbHVjawo=");
        assert_eq!(logs[2]["vertex"], digest(3, "[stage-2 3/4] RUN false").to_string());
    }

    #[test]
    fn a_pull_is_a_vertex_whose_blobs_have_statuses() {
        let lines = shown(|hear| pull(|_, news| hear(news)));
        assert_eq!(lines[0]["vertexes"][0]["name"], "pull docker.io/library/busybox:1");
        let last = &lines.last().unwrap()["statuses"][0];
        assert_eq!((&last["current"], &last["total"]), (&json!(3_000_000), &json!(8_000_000)));
        assert_eq!(last["vertex"], lines[0]["vertexes"][0]["digest"]);
    }

    #[test]
    fn a_warning_has_its_first_line_apart() {
        let lines = shown(|hear| hear(News::Build(Event::Warning { message: "a\nb" })));
        assert_eq!(lines, [json!({"warnings": [{"level": 1, "short": "YQ==", "detail": ["Yg=="]}]})]);
    }
}
