//! Builds that never happened, for tests of what shows them.

use std::time::Duration;

use oxbox_builder::plan::graph::{
    Graph, Mount, MountFiles, MountTree, Network, Op, Run, Security, Vertex, VertexId,
};
use oxbox_builder::progress::Event;
use oxbox_copy::progress as copy;
use oxbox_copy::transfer::Outcome;
use oxbox_layers::layer::Layer;
use oxbox_layers::oci::{Descriptor, DiffId, Digest, MediaType, Platform};

use super::record::Record;
use super::{Moving, News};

/// What fails a step.
#[derive(Debug, thiserror::Error)]
#[error("it broke")]
pub(crate) struct Broken(#[source] pub(crate) Cause);

/// Why.
#[derive(Debug, thiserror::Error)]
#[error("on purpose")]
pub(crate) struct Cause;

/// Makes a graph: FROM is a base, all else a RUN that stands on its first input and sees the others.
pub(crate) fn graph(vertices: &[(&str, &[usize])]) -> Graph {
    let vertex = |(at, (title, inputs)): (usize, &(&str, &[usize]))| {
        let op = match inputs.split_first() {
            Some((below, others)) if !title.contains("FROM") => Op::Run(run(*below, others)),
            _ => Op::Scratch,
        };
        Vertex { op, title: (*title).to_owned(), line: at + 1, exported: true }
    };
    Graph { vertices: vertices.iter().enumerate().map(vertex).collect(), ..Graph::default() }
}

fn run(below: usize, others: &[usize]) -> Run {
    let mount = |other: &usize| Mount::Bind {
        target: "/x".to_owned(),
        files: MountFiles { tree: MountTree::Vertex(VertexId(*other)), path: String::new() },
        read_only: true,
    };
    Run {
        below: VertexId(below),
        args: Vec::new(),
        env: Vec::new(),
        env_outside_key: Vec::new(),
        cwd: "/".to_owned(),
        user: String::new(),
        network: Network::Host,
        files: Vec::new(),
        mounts: others.iter().map(mount).collect(),
        security: Security::Sandbox,
        platform: Platform::host(),
        hostname: None,
        shell: Vec::new(),
        machine: Default::default(),
    }
}

/// A layer of so many bytes, once compressed.
pub(crate) fn layer(size: u64) -> Layer {
    let content = size.to_le_bytes();
    let mut descriptor = Descriptor::of(MediaType::OCI_LAYER_GZIP, &content);
    descriptor.size = size;
    Layer { descriptor, diff_id: DiffId(Digest::sha256(&content)) }
}

/// A graph of two branches that meet in a step which fails, and one step that hears of it:
///
/// ```text
/// 0 FROM ─▶ 1 COPY (cached) ─┐
///        └▶ 2 RUN make ──────┴▶ 3 RUN false    4 RUN sleep (cancelled)   5 never has its turn
/// ```
pub(crate) fn branches() -> Graph {
    graph(&[
        ("[base 1/3] FROM busybox", &[]),
        ("[base 2/3] COPY motd /motd", &[0]),
        ("[work 2/2] RUN make", &[0]),
        ("[stage-2 3/4] RUN false", &[2, 1]),
        ("[other 2/2] RUN sleep 9", &[0]),
        ("[stage-2 4/4] RUN true", &[3]),
    ])
}

/// The whole of such a build, with its times in milliseconds, as a listener hears it.
pub(crate) fn fail(mut hear: impl FnMut(Duration, News<'_>)) {
    let graph = branches();
    let title = |at: usize| graph.vertices[at].title.as_str();
    let mut tell = |milliseconds: u64, event: Event<'_>| {
        hear(Duration::from_millis(milliseconds), News::Build(event));
    };
    let (looking, started) = (
        |at| Event::Looking { vertex: VertexId(at), title: title(at) },
        |at| Event::Started { vertex: VertexId(at), title: title(at), why: None },
    );
    let (cached, made) = (layer(1000), layer(2_500_000));
    let elapsed = Duration::from_millis(1);
    tell(500, Event::Planned { graph: &graph });
    tell(500, looking(0));
    tell(1000, Event::Done { vertex: VertexId(0), title: title(0), elapsed, layer: None });
    tell(1000, looking(1));
    tell(1000, looking(2));
    tell(1100, Event::Cached { vertex: VertexId(1), title: title(1), layer: Some(&cached) });
    tell(1100, looking(4));
    tell(1100, started(4));
    let why = Some("no step with this text was built before");
    tell(1200, Event::Started { vertex: VertexId(2), title: title(2), why });
    tell(1500, Event::Output { vertex: VertexId(2), line: b"cc -o hello\thello.c" });
    tell(1600, Event::Output { vertex: VertexId(2), line: b"\x1b[31mwarning\x1b[0m: \x1b[2Junused" });
    tell(2500, Event::Done { vertex: VertexId(2), title: title(2), elapsed, layer: Some(&made) });
    tell(2500, looking(3));
    tell(3000, started(3));
    tell(4214, Event::Output { vertex: VertexId(3), line: b"no luck" });
    let error = Broken(Cause);
    tell(6000, Event::Failed { vertex: VertexId(3), title: title(3), elapsed, error: &error });
    tell(6100, Event::Cancelled { vertex: VertexId(4), title: title(4) });
}

/// The pull of a base image before anything else, up to the middle of its second blob.
pub(crate) fn pull(mut hear: impl FnMut(Duration, News<'_>)) {
    let mut tell = |milliseconds: u64, event: Moving<'_>| {
        hear(
            Duration::from_millis(milliseconds),
            News::Transfer { transfer: 0, title: "pull docker.io/library/busybox:1", event },
        );
    };
    let (first, second) = (layer(2_000_000).descriptor, layer(8_000_000).descriptor);
    tell(0, Moving::Began);
    tell(100, Moving::Moved(&copy::Event::Planned { blobs: 2, bytes: 10_000_000 }));
    tell(100, Moving::Moved(&copy::Event::Started(first.clone())));
    tell(100, Moving::Moved(&copy::Event::Started(second.clone())));
    tell(200, Moving::Moved(&copy::Event::Advanced { digest: first.digest, bytes: 2_000_000 }));
    tell(200, Moving::Moved(&copy::Event::Finished { descriptor: first, outcome: Outcome::Copied }));
    tell(300, Moving::Moved(&copy::Event::Advanced { digest: second.digest, bytes: 3_000_000 }));
}

/// The record of the build that fails.
pub(crate) fn failing() -> Record {
    let mut record = Record::new();
    fail(|now, news| record.hear_at(now, news));
    record
}
