//! Runs one program in a sandbox of its own, over a root made of layers.
//!
//! ```text
//! builder ──socket: plan, then signals──▶ oxbox-init          new mount namespace; root; mount points; user
//!    ▲                                       └▶ process 1      new pid, ipc, uts, cgroup (, net) namespaces; /proc /sys /dev
//!    │                                            └▶ program   capabilities, seccomp, user, execve
//!    ├──pipes: stdout, stderr────────────────────────┘
//!    └──socket: report─────────────────────── oxbox-init       mount points taken away again
//! ```
//!
//! The init is this same binary started again under another name ([`init_main`] must be the first
//! call of `main`), because only a process with one thread may change its namespaces, and because a
//! mount made inside its namespace ends with it: kill -9 leaves no mount and no process behind.
//!
//! What the sandbox allows is what Docker allows by default: 14 capabilities, its seccomp profile,
//! masked and read-only paths in /proc, a small /dev. `no_new_privs` stays off, so `sudo` works.
//!
//! Where that is not allowed there are other ways, see `rung/`; a user namespace is entered by the builder itself
//! (`userns.rs`), so that the picture above is the same in there. An OCI runtime may make the container in the place of
//! process 1, see `runtime/`.
//!
//! Not here: what a layer is (`snapshot/`), what a RUN means (`op/`).

pub mod accounts;
pub mod cgroup;
pub mod descriptors;
pub mod failure;
pub mod given;
mod hosts;
mod init;
mod interact;
mod interrupt;
pub mod memory;
pub mod network;
mod output;
mod plan;
mod programs;
mod run;
pub mod rung;
pub mod runtime;
pub mod sandbox;
mod sys;
pub mod user;
pub mod userns;

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use failure::{Errno, Failure};
pub use hosts::HostAddress;
pub use init::init_main;
pub use interact::{Seat, interact};
pub use interrupt::Interrupt;
pub use output::MAX_LINE_BYTES;
pub use run::{ExecError, run};
pub use runtime::Runtime;
pub use sandbox::Sandbox;

use crate::lent::Secret;

/// A program and all that it is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The file system it sees.
    pub root: Root,
    /// The program and its arguments; a program without a slash is looked for in `PATH`.
    pub args: Vec<String>,
    /// `NAME=value`; nothing of the builder's own environment is added, only `HOME` if it lacks.
    pub env: Vec<String>,
    /// Variables that nobody else may see; they take the place of those in `env`.
    pub secrets: Vec<SecretVariable>,
    /// Where it starts; made, owned by the user, if the image lacks it.
    pub cwd: String,
    /// `name|uid[:group|gid]`, looked up in the image's own files; empty for root.
    pub user: String,
    /// What `hostname` prints.
    pub hostname: String,
    /// What it can reach.
    pub network: Network,
    /// More lines for `/etc/hosts`.
    pub hosts: Vec<(String, IpAddr)>,
    /// More mounts, in this order, after `/proc`, `/sys` and `/dev`.
    pub mounts: Vec<Mount>,
    /// What it may do and use, beyond or below the usual.
    pub sandbox: Sandbox,
}

/// Where the file system of a program comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// A directory as it is.
    Directory(PathBuf),
    /// Layers stacked by overlayfs.
    Overlay(Overlay),
}

/// What the kernel stacks; it is mounted in the init's namespace only, so nobody has to unmount it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// What the other paths are relative to. The kernel takes 255 bytes for each, which a state
    /// directory deep in a home may exceed by itself.
    pub directory: PathBuf,
    /// Read-only directories, topmost first.
    pub lowers: Vec<PathBuf>,
    /// Takes what the program changes.
    pub upper: PathBuf,
    /// Empty, on the file system of `upper`.
    pub work: PathBuf,
    /// An empty directory to mount at.
    pub mountpoint: PathBuf,
}

/// What a program can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// All that the host can.
    Host,
    /// Its own loopback interface.
    None,
    /// Others through an interface of its own, and not what listens on the host's loopback.
    Private,
}

/// Something mounted into the sandbox. A mount point that had to be made is taken away afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path in the image; symbolic links in it are followed inside the image.
    pub target: String,
    /// What is seen there.
    pub source: Source,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A file or directory of the host, with all that is mounted below it.
    Bind {
        /// Absolute path on the host.
        path: PathBuf,
        /// Whether the program may write there.
        access: Access,
    },
    /// Something of a root that is made for this mount alone.
    Tree {
        /// The root; what is written there is its upper directory's.
        root: Root,
        /// Path in it, relative; symbolic links are followed inside that root. Empty for all of it.
        path: String,
        /// Whether the program may write there.
        access: Access,
    },
    /// An empty directory in memory, of the mode that the image's own directory has there, else 1777.
    Tmpfs {
        /// The most it may hold; without, half of the memory.
        size_bytes: Option<u64>,
    },
    /// A file in memory that exists only for this run.
    File {
        /// What is read from it.
        content: Vec<u8>,
        /// Permission bits.
        mode: u32,
    },
    /// A file in memory that exists only for this run, nobody may write to, and no message shows.
    Secret(SecretFile),
}

/// A secret as a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretFile {
    /// What is read from it.
    pub content: Secret,
    /// Permission bits.
    pub mode: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// A secret as a variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretVariable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Secret,
}

/// Whether a program may write to a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// It may not.
    ReadOnly,
    /// It may.
    ReadWrite,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
}

/// Which of its two outputs a program wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}
