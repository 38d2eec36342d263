//! What the caller gives to every RUN besides what the Dockerfile says.
//!
//! None of it is part of a key, but what [`Machine`](crate::plan::graph::Machine) holds.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::exec::cgroup::Group;
use crate::exec::rung::{self, Rung};
use crate::exec::sandbox::Ulimit;
use crate::exec::{self, HostAddress, Mount, Process, Sandbox};
use crate::plan::graph::{Network, Run, Security};

/// What the caller gives to every RUN.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// What it may do and use.
    pub sandbox: Sandbox,
    /// What of the machine it sees, which may cover what the image has.
    pub volumes: Vec<Volume>,
    /// Limits of each process in the place of others that cannot be had; the caller's own win.
    pub fallbacks: Vec<Ulimit>,
    /// Folder of the state, where control groups are noted.
    pub state: PathBuf,
    /// Who is asked what to do where a command failed.
    pub on_failure: Option<Arc<dyn OnFailure>>,
}

/// Something of the machine that every RUN sees, and no layer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Volume {
    /// As it is.
    Mounted(Mount),
    /// A directory below another, empty one, that takes what a RUN changes and goes with it.
    Over {
        /// Absolute path on this machine.
        path: PathBuf,
        /// Absolute path in the image.
        target: String,
    },
}

/// Who is told of a command that failed, while all that it had is still there.
pub trait OnFailure: Send + Sync {
    /// May open a program in the same place; `place` is good for as long as this takes. Called on the thread
    /// of the step, perhaps on several at once.
    fn failed(&self, place: &Place<'_>);
}

/// The place where a command failed.
pub struct Place<'a> {
    /// The command as people know it.
    pub command: &'a str,
    /// How it ended.
    pub exit: exec::Exit,
    /// The last lines that it wrote.
    pub last: &'a [Vec<u8>],
    /// What it was, with its root and mounts.
    pub process: &'a Process,
    /// The SHELL of the stage.
    pub shell: &'a [String],
}

/// The last lines that a command wrote.
#[derive(Debug, Default)]
pub(super) struct Last(Vec<Vec<u8>>);

impl Last {
    /// As many as the progress shows of a step that failed.
    const LINES: usize = 10;
    /// Of a longer line the beginning.
    const BYTES: usize = 4096;

    pub(super) fn push(&mut self, line: &[u8]) {
        if self.0.len() == Self::LINES {
            self.0.remove(0);
        }
        self.0.push(line[..line.len().min(Self::BYTES)].to_vec());
    }

    pub(super) fn lines(&self) -> &[Vec<u8>] {
        &self.0
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("sandbox", &self.sandbox)
            .field("volumes", &self.volumes)
            .finish_non_exhaustive()
    }
}

impl Surroundings {
    /// Makes control groups for a process, if there is anything to limit, and puts it into them.
    pub(super) fn bound(&self, process: &mut Process) -> io::Result<Option<Group>> {
        if let Some(runtime) = &mut process.sandbox.runtime {
            let resources = &self.sandbox.resources;
            let (group, name, path) = Group::of_container(resources, &self.state)?;
            // Who is not root may have none, and runtimes make do if they were told of none.
            let is_told = rung::standing().rung == Rung::Root || resources.are_limited();
            (runtime.name, runtime.group) = (name, path.filter(|_| is_told));
            return Ok(Some(group));
        }
        if !self.sandbox.resources.are_limited() && self.sandbox.resources.parent.is_none() {
            return Ok(None);
        }
        // What they lack was told before anything was made.
        let (group, _) = Group::make(&self.sandbox.resources, &self.state)?;
        process.sandbox.groups = group.entrances();
        Ok(Some(group))
    }

    /// Gives a process what the caller and the RUN say of its sandbox.
    pub(super) fn give(&self, run: &Run, process: &mut Process) {
        process.sandbox = match run.security {
            Security::Sandbox => self.sandbox.clone(),
            Security::Insecure => self.sandbox.insecure(),
        };
        let sandbox = &mut process.sandbox;
        let said = |limit: &&Ulimit| run.machine.ulimits.iter().any(|other| other.resource == limit.resource);
        sandbox.ulimits = self.fallbacks.iter().filter(|limit| !said(limit)).copied().collect();
        sandbox.ulimits.extend(&run.machine.ulimits);
        sandbox.shm_bytes = run.machine.shm_bytes;
        process.network = match run.network {
            Network::Host => exec::Network::Host,
            Network::None => exec::Network::None,
            Network::Private => exec::Network::Private,
        };
        let address = |address: &HostAddress| address.of(process.network);
        let hosts = run.machine.hosts.iter();
        process.hosts = hosts.filter_map(|(name, at)| Some((name.clone(), address(at)?))).collect();
    }
}
