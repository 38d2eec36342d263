//! One room for each kind of vertex: how its layer is made, and what of it enters its key.
//!
//! ```text
//! copy      COPY, ADD and WORKDIR: entries placed on the tree below, written straight into a tar
//! run       RUN: a command in a sandbox on a snapshot
//! archive   ADD of a local archive: its tar as a tree to copy from
//! http      a file from an HTTP server
//! git       a commit of a git repository          local     all of a folder
//! ```

pub mod archive;
pub mod copy;
pub mod git;
pub mod http;
pub mod local;
pub mod run;
