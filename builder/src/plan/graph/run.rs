//! RUN in the graph.

use oxbox_layers::oci::Platform;

use super::{Machine, VertexId};
use crate::dockerfile::mount::{FileOwner, Sharing};

/// RUN.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    /// `--mount`, in order.
    pub mounts: Vec<Mount>,
    /// `--security`.
    pub security: Security,
    /// What the machine is called, if the caller or `BUILDKIT_SANDBOX_HOSTNAME` says.
    pub hostname: Option<String>,
    /// The SHELL of the stage: for whoever wants to look at the place, and no part of a key.
    pub shell: Vec<String>,
    /// What else the caller says of the machine.
    pub machine: Machine,
    /// What it runs on.
    pub platform: Platform,
}

/// What a RUN may do to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Security {
    /// What Docker lets a container do.
    #[default]
    Sandbox,
    /// Anything; only a build that allows it runs it.
    Insecure,
}

/// Something that a RUN sees and the layer does not. Targets are absolute and clean.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Mount {
    /// Files of a context or of another vertex; what is written to it is lost.
    Bind {
        /// Where.
        target: String,
        /// What.
        files: MountFiles,
        /// Whether it can be written to.
        read_only: bool,
    },
    /// A directory that outlives the build.
    Cache {
        /// Where.
        target: String,
        /// Which; the target unless told otherwise, with `BUILDKIT_CACHE_MOUNT_NS` before it.
        id: String,
        /// What fills a new one.
        files: Option<MountFiles>,
        /// Whether it can be written to.
        read_only: bool,
        /// What builds at the same time do.
        sharing: Sharing,
        /// Mode, owner and group of a new one.
        owner: FileOwner,
    },
    /// A secret as a file, a variable, or both.
    Secret {
        /// Which.
        id: String,
        /// The file: `/run/secrets/<id>` unless told otherwise; none if only a variable is asked for.
        target: Option<String>,
        /// The variable.
        env: Option<String>,
        /// Whether a missing one fails the RUN.
        required: bool,
        /// Mode, owner and group of the file.
        owner: FileOwner,
    },
    /// The socket of an SSH agent.
    Ssh {
        /// Which agent: `default` unless told otherwise.
        id: String,
        /// The socket: `/run/buildkit/ssh_agent.<n>` unless told otherwise.
        target: String,
        /// Whether a missing one fails the RUN.
        required: bool,
        /// Mode, owner and group of the socket.
        owner: FileOwner,
    },
    /// Memory.
    Tmpfs {
        /// Where.
        target: String,
        /// At most this much; half of the machine's if absent.
        max_bytes: Option<u64>,
    },
}

/// Files that a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MountFiles {
    /// Whose.
    pub tree: MountTree,
    /// Which path of it, relative and clean; empty for all.
    pub path: String,
}

/// Whose files a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MountTree {
    /// The main build context if it has no name.
    Context(Option<String>),
    /// Nobody's: an empty directory.
    Nothing,
    /// Those of another vertex.
    Vertex(VertexId),
}

/// A file that a RUN sees and the layer does not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunFile {
    /// Name below `/dev/pipes`.
    pub name: String,
    /// Content; the mode is 0755.
    pub content: String,
}

/// Networks of a RUN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Network {
    /// The host's.
    #[default]
    Host,
    /// Loopback alone.
    None,
    /// One of its own, from which others can be reached.
    Private,
}

impl Mount {
    /// Returns the vertex whose files it shows.
    pub fn vertex(&self) -> Option<VertexId> {
        let files = match self {
            Self::Bind { files, .. } => files,
            Self::Cache { files: Some(files), .. } => files,
            _ => return None,
        };
        match files.tree {
            MountTree::Vertex(vertex) => Some(vertex),
            MountTree::Context(_) | MountTree::Nothing => None,
        }
    }
}
