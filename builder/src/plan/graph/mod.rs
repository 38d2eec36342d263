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

mod copy;
mod machine;
mod remote;
mod run;

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use oxbox_layers::oci::{Config, Descriptor};

pub use copy::{Copy, CopyInstruction, Placing, Source, Unpack};
pub use machine::Machine;
pub use remote::{Git, Http, Local};
pub use run::{Mount, MountFiles, MountTree, Network, Run, RunFile, Security};

/// Place of a vertex in [`Graph::vertices`]. A vertex only names earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VertexId(pub usize);

/// All that must be made for a target, in an order in which it can be made.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Graph {
    /// What is made; what a vertex names stands before it.
    pub vertices: Vec<Vertex>,
    /// Lines, besides its own, of instructions that a vertex is too: they would do the same.
    pub shared: BTreeSet<(VertexId, usize)>,
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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Op {
    /// Files from a context, a vertex or the Dockerfile itself, and archives unpacked.
    Copy(Copy),
    /// A commit of a git repository.
    Git(Git),
    /// A file from an HTTP server.
    Http(Http),
    /// The layers of a base image.
    Image(Image),
    /// The files of a named context.
    Local(Local),
    /// One vertex's layer on top of another's: COPY `--link`.
    Merge(Merge),
    /// A command.
    Run(Run),
    /// Nothing at all.
    Scratch,
    /// A directory that must exist.
    Workdir(Workdir),
}

/// The layers of a base image. Two names for one manifest are one image.
#[derive(Debug, Clone)]
pub struct Image {
    /// As the Dockerfile names it.
    pub name: String,
    /// Its manifest in the local store.
    pub manifest: Descriptor,
}

/// One vertex's own layers on top of another vertex, unseen by each other: COPY `--link`, whose files
/// are laid out on nothing, so that they are made at any time and outlive a change of what is below.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Merge {
    /// What it stands on.
    pub below: VertexId,
    /// Whose own layers are put on top: a vertex that stands on [`Op::Scratch`].
    pub above: VertexId,
}

/// WORKDIR: `mkdir -p`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        self.manifest == other.manifest
    }
}

impl Eq for Image {}

impl Hash for Image {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Hash::hash(&self.manifest.digest, state);
    }
}

impl Op {
    /// Returns the vertex that this one stands on.
    pub fn below(&self) -> Option<VertexId> {
        match self {
            Self::Copy(copy) => Some(copy.below),
            Self::Merge(merge) => Some(merge.below),
            Self::Run(run) => Some(run.below),
            Self::Workdir(workdir) => Some(workdir.below),
            Self::Git(_) | Self::Http(_) | Self::Image(_) | Self::Local(_) | Self::Scratch => None,
        }
    }

    /// Returns every vertex that must be made first: what it stands on, then the others in the order in
    /// which its fields name them.
    pub fn inputs(&self) -> Vec<VertexId> {
        let mut inputs: Vec<VertexId> = self.below().into_iter().collect();
        match self {
            Self::Copy(copy) => {
                inputs.extend(copy.names);
                inputs.extend(copy.sources.iter().filter_map(|source| match source {
                    Source::Vertex { vertex, .. } => Some(*vertex),
                    Source::Context { .. } | Source::Inline { .. } => None,
                }));
            }
            Self::Merge(merge) => inputs.push(merge.above),
            Self::Run(run) => inputs.extend(run.mounts.iter().filter_map(Mount::vertex)),
            _ => {}
        }
        inputs
    }
}
