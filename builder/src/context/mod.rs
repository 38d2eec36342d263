//! Where COPY and ADD read from.
//!
//! ```text
//! tree        the contract: a read-only filesystem, seen from its root
//! directory   a folder of this machine behind an ignore file
//! layers      the filesystem of an image or of another stage, from its layers' tars
//! find        which Dockerfile and ignore file are meant
//! ignore      .dockerignore          glob   the two pattern languages
//! ```

pub mod directory;
pub mod find;
pub mod glob;
pub mod ignore;
pub mod layers;
pub mod tree;

pub use directory::Directory;
pub use ignore::Ignore;
pub use layers::LayerTree;
pub use tree::{FileContents, FileTree, Node, TreeError};
