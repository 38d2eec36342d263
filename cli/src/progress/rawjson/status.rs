//! The lines themselves: BuildKit's `SolveStatus`, as its client writes it in JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use oxbox_layers::oci::Digest;
use serde::Serialize;

/// Where a program wrote: both of its streams are one, and count as the first.
const STREAM: u8 = 1;

/// A line.
#[derive(Debug, Default, Serialize)]
pub(super) struct Status {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vertexes: Vec<Vertex>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    statuses: Vec<Moved>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logs: Vec<Log>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warning>,
}

/// What is known of a vertex by now.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Vertex {
    pub(super) digest: Digest,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) inputs: Vec<Digest>,
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) started: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) completed: Option<Timestamp>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) cached: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) error: String,
}

/// How far a blob of a vertex has moved.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Moved {
    pub(super) id: Digest,
    pub(super) vertex: Digest,
    pub(super) name: &'static str,
    pub(super) total: u64,
    pub(super) current: u64,
    pub(super) timestamp: Timestamp,
    pub(super) started: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) completed: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct Log {
    vertex: Digest,
    stream: u8,
    data: String,
    timestamp: Timestamp,
}

#[derive(Debug, Serialize)]
struct Warning {
    level: u8,
    short: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    detail: Vec<String>,
}

impl Status {
    /// Tells of one vertex.
    pub(super) fn of(vertex: &Vertex) -> Self {
        Self { vertexes: vec![vertex.clone()], ..Self::default() }
    }

    /// Tells of several.
    pub(super) fn of_all<'a>(vertices: impl Iterator<Item = &'a Vertex>) -> Self {
        Self { vertexes: vertices.cloned().collect(), ..Self::default() }
    }

    /// Tells how far a blob has moved.
    pub(super) fn of_blob(blob: &Moved) -> Self {
        Self { statuses: vec![blob.clone()], ..Self::default() }
    }

    /// Tells what a program wrote.
    pub(super) fn output(vertex: Digest, line: &[u8], timestamp: Timestamp) -> Self {
        let data = BASE64.encode([line, b"\n"].concat());
        Self { logs: vec![Log { vertex, stream: STREAM, data, timestamp }], ..Self::default() }
    }

    /// Warns.
    pub(super) fn warning(message: &str) -> Self {
        let mut lines = message.lines().map(|line| BASE64.encode(line));
        let short = lines.next().unwrap_or_default();
        Self { warnings: vec![Warning { level: 1, short, detail: lines.collect() }], ..Self::default() }
    }

    /// Returns it as a line, without its end.
    pub(super) fn line(&self) -> String {
        serde_json::to_string(self).expect("because a status has neither maps nor numbers that JSON lacks")
    }
}

impl Vertex {
    /// Returns a vertex of which nothing is known but its name.
    pub(super) fn new(digest: Digest, name: &str) -> Self {
        Self {
            digest,
            inputs: Vec::new(),
            name: name.to_owned(),
            started: None,
            completed: None,
            cached: false,
            error: String::new(),
        }
    }
}
