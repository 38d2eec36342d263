//! The graph of a build: vertices that each make one filesystem out of others.
//!
//! ```text
//! Image ─▶ Workdir ─▶ Copy ─▶ Run ─▶ Copy          a vertex stands on the one `below` it
//!                      ▲               ▲
//!                   context       another vertex    and may read from others
//! ```
//!
//! Every vertex yields the stack of layers beneath it plus at most one layer of its own. What an
//! operation needs is data on it: nobody asks an operation questions. Everything here is expanded:
//! no variable is left.

use oxbox_layers::oci::{Config, Descriptor};

use super::mode::Mode;

/// Place of a vertex in [`Graph::vertices`]. A vertex only names earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VertexId(pub usize);

/// All that must be made for a target, in an order in which it can be made.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Graph {
    /// What is made; what a vertex names stands before it.
    pub vertices: Vec<Vertex>,
}

/// One thing to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Vertex {
    /// How it is made.
    pub op: Op,
    /// What people see: `[build 2/5] RUN make`.
    pub title: String,
    /// Line of the Dockerfile, from 1; 0 where there is none.
    pub line: usize,
    /// Whether its layer will be part of an exported image, and so is worth compressing.
    pub exported: bool,
}

/// The kinds of vertex.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Files from a context, a vertex or the Dockerfile itself, and archives unpacked.
    Copy(Copy),
    /// The layers of a base image.
    Image(Image),
    /// A command.
    Run(Run),
    /// Nothing at all.
    Scratch,
    /// A directory that must exist.
    Workdir(Workdir),
}

/// The layers of a base image.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// As the Dockerfile names it.
    pub name: String,
    /// Its manifest in the local store.
    pub manifest: Descriptor,
}

/// COPY and ADD.
#[derive(Debug, Clone, PartialEq)]
pub struct Copy {
    /// What it stands on.
    pub below: VertexId,
    /// What is copied, in order.
    pub sources: Vec<Source>,
    /// Destination as written but absolute: WORKDIR joined. A trailing slash is kept: it says "into".
    pub destination: String,
    /// `--chown`: `user[:group]`, names or numbers.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<Mode>,
    /// Which instruction it was.
    pub instruction: CopyInstruction,
}

/// Which of the two instructions a [`Copy`](struct@Copy) was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyInstruction {
    /// Unpacks local archives, downloads URLs.
    Add,
    /// Copies bytes as they are.
    Copy,
}

/// Where one source of a [`Copy`](struct@Copy) comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// Paths or patterns of the build context, or of a named one.
    Context {
        /// `None` is the main context.
        name: Option<String>,
        /// Pattern as written.
        pattern: String,
    },
    /// Paths or patterns of another vertex's filesystem.
    Vertex {
        /// Which vertex.
        vertex: VertexId,
        /// Pattern as written.
        pattern: String,
    },
    /// A heredoc: a file that the Dockerfile holds.
    Inline {
        /// File name: the heredoc's delimiter.
        name: String,
        /// Content, expanded unless the delimiter was quoted.
        content: String,
    },
}

/// RUN.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What it stands on.
    pub below: VertexId,
    /// What is executed: the shell and its line, or the exec form.
    pub args: Vec<String>,
    /// `NAME=value`: the image's environment and the ARGs in scope.
    pub env: Vec<String>,
    /// Names in `env` that must not decide about the cache: proxies that no ARG declares.
    pub env_outside_key: Vec<String>,
    /// Where it runs, absolute.
    pub cwd: String,
    /// `user[:group]`; empty for root.
    pub user: String,
    /// Which network it has.
    pub network: Network,
    /// Files that exist only while it runs: heredocs with a `#!` line, at `/dev/pipes/<name>`.
    pub files: Vec<RunFile>,
}

/// A file that a RUN sees and the layer does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFile {
    /// Name below `/dev/pipes`.
    pub name: String,
    /// Content; the mode is 0755.
    pub content: String,
}

/// Networks of a RUN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// The host's.
    #[default]
    Host,
    /// Loopback alone.
    None,
}

/// WORKDIR: `mkdir -p`.
#[derive(Debug, Clone, PartialEq)]
pub struct Workdir {
    /// What it stands on.
    pub below: VertexId,
    /// Absolute and clean.
    pub path: String,
    /// `user[:group]` that owns every directory that must be made; empty for root.
    pub user: String,
}

/// What a stage is once its last vertex is made.
#[derive(Debug, Clone, PartialEq)]
pub struct StageResult {
    /// Its filesystem.
    pub vertex: VertexId,
    /// Its config: the base's with all changes, but for `rootfs`, `history` and `created`.
    pub config: Config,
    /// The history that the stage adds to its base's, in order.
    pub history: Vec<HistoryLine>,
}

/// One line of history that a build adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryLine {
    /// As BuildKit writes it: `RUN /bin/sh -c make # buildkit`.
    pub created_by: String,
    /// The vertex whose layer this line stands for; `None` makes no layer.
    pub vertex: Option<VertexId>,
}

impl Op {
    /// Returns the vertex that this one stands on.
    pub fn below(&self) -> Option<VertexId> {
        match self {
            Self::Copy(copy) => Some(copy.below),
            Self::Run(run) => Some(run.below),
            Self::Workdir(workdir) => Some(workdir.below),
            Self::Image(_) | Self::Scratch => None,
        }
    }

    /// Returns every vertex that must be made first.
    pub fn inputs(&self) -> Vec<VertexId> {
        let mut inputs: Vec<VertexId> = self.below().into_iter().collect();
        if let Self::Copy(copy) = self {
            inputs.extend(copy.sources.iter().filter_map(|source| match source {
                Source::Vertex { vertex, .. } => Some(*vertex),
                _ => None,
            }));
        }
        inputs
    }
}
