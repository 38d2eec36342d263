//! AST → graph: what must be made, in which order, and what the image will say of itself.
//!
//! ```text
//! stages    FROM lines resolved to images and other stages; what the target does not need is dropped
//! scope     ARG and ENV: what a variable is at each line
//! metadata  instructions that only change the config, and the history they leave
//! lower     instructions that change the filesystem, as vertices
//! graph     the result
//! ```

pub mod graph;

pub use graph::{Graph, Op, StageResult, Vertex, VertexId};
