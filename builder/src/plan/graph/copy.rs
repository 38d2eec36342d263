//! COPY and ADD in the graph.

use super::VertexId;
use crate::plan::mode::Mode;

/// COPY and ADD.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    /// `--exclude`: patterns of what is left out, relative to each source, as in an ignore file.
    pub exclude: Vec<String>,
    /// Where a source lands below the destination.
    pub placing: Placing,
    /// Which sources are unpacked.
    pub unpack: Unpack,
    /// Whose `/etc/passwd` and `/etc/group` tell the names of `chown`, if not those of what is below:
    /// `--link` copies onto nothing.
    pub names: Option<VertexId>,
}

/// Where a source lands below the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Placing {
    /// Under its own name.
    #[default]
    Name,
    /// `--parents`: under its path, or what of it follows the first `/./`.
    Path,
}

/// Which sources are unpacked if they are archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Unpack {
    /// None: COPY, and ADD `--unpack=false`.
    #[default]
    Nothing,
    /// Files of a context: ADD.
    Local,
    /// Downloads too: ADD `--unpack`.
    Everything,
}

/// Which of the two instructions a [`Copy`](struct@Copy) was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CopyInstruction {
    /// May unpack and download.
    Add,
    /// Copies bytes as they are.
    Copy,
}

/// Where one source of a [`Copy`](struct@Copy) comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
