//! Where COPY and ADD read from.
//!
//! ```text
//! tree        the contract: a read-only filesystem, seen from its root
//! directory   a folder of this machine behind an ignore file
//!   look      what one instruction sees of it          listing    one directory, one call for each name
//!   known     which states of files held what          state      when a state tells a content
//!   unchanged reading what must still be the same
//! layers      the filesystem of an image or of another stage, from its layers' tars
//! brought     a folder of what comes from elsewhere: tar, URL, git repository
//! scratch     a folder for what comes from elsewhere, for as long as it is used
//! find        which Dockerfile and ignore file are meant
//! ignore      .dockerignore          glob   the two pattern languages
//! ```

pub mod brought;
pub mod directory;
pub mod find;
pub(crate) mod fingerprints;
pub mod glob;
pub mod ignore;
mod known;
pub mod layers;
mod listing;
pub mod look;
pub mod scratch;
mod state;
pub mod tree;
mod unchanged;

pub use brought::{Accept, BringError, Bringer, Brought};
pub use directory::Directory;
pub use ignore::Ignore;
pub use layers::LayerTree;
pub use look::Look;
pub use scratch::Scratch;
pub use tree::{FileContents, FileTree, Node, Paths, TreeError};
pub(crate) use unchanged::hash;
