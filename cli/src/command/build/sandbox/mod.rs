//! What a RUN may use, and what it finds.
//!
//! Here: the command line. Not here: what counts for the cache (`plan::graph::Machine`), and how any of it is
//! enforced (`exec`).

mod hosts;
mod limits;
mod runtime;
mod security;
mod volumes;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use oxbox_builder::exec;
use oxbox_builder::exec::rung::{self, Isolation};
use oxbox_builder::op::run::{OnFailure, Surroundings};
use oxbox_builder::plan::{Entitlement, graph};

use super::failure::{OnError, Shell};
use super::secrets::{self, Given};
use hosts::Hosts;
use limits::Limits;
use runtime::RuntimeOptions;
use security::Security;
pub(crate) use security::SecurityError;
use volumes::Volume;
pub(crate) use volumes::VolumeError;

/// Options of RUN.
#[derive(Debug, Args)]
pub(super) struct Sandbox {
    /// Network of RUN.
    #[arg(long, value_enum, default_value_t = Network::Host)]
    network: Network,
    /// What the Dockerfile may ask for beyond the usual: network.host, security.insecure.
    #[arg(long, value_name = "WORD", value_delimiter = ',')]
    pub(super) allow: Vec<Entitlement>,
    /// How programs of RUN are kept apart: auto (the best that works), root, rootless (many ids), single-id, chroot
    /// (no namespaces), none (RUN is refused). `oxbox info` shows what works here, and why not the rest.
    #[arg(long, value_name = "HOW", default_value = "auto", env = "OXBOX_ISOLATION")]
    isolation: Isolation,
    /// A secret that RUN may mount: id=NAME,src=FILE or id=NAME,env=VARIABLE
    #[arg(long, value_name = "id=NAME,…", value_parser = secrets::parse)]
    pub(super) secret: Vec<Given>,
    /// An SSH agent that RUN may mount: default, NAME=SOCKET or NAME=KEY,…
    #[arg(long, value_name = "NAME[=SOCKET|KEY,…]")]
    pub(super) ssh: Vec<String>,
    /// What happens where a RUN failed: fail, or shell for a shell in its place, with its files, mounts and variables.
    #[arg(long, value_enum, default_value_t = OnError::Fail)]
    on_error: OnError,
    /// What buildx calls --on-error=shell.
    #[arg(long, hide = true, value_parser = ["on-error"], conflicts_with = "on_error")]
    invoke: Option<String>,
    #[command(flatten)]
    runtime: RuntimeOptions,
    #[command(flatten)]
    hosts: Hosts,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    security: Security,
    /// A file or folder of this machine that every RUN sees: HOST:TARGET, perhaps with :ro, or :O for a folder whose
    /// changes are thrown away after each RUN. Nothing of it gets into layers.
    #[arg(short, long, value_name = "HOST:TARGET[:OPTIONS]", value_parser = volumes::volume)]
    volume: Vec<Volume>,
    /// The same in Buildah's other form, or memory: type=bind,src=HOST,target=TARGET or type=tmpfs,target=TARGET.
    #[arg(long, value_name = "type=bind|tmpfs,…", value_parser = volumes::mount)]
    mount: Vec<Volume>,
}

/// Networks of RUN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Network {
    /// The host's.
    #[value(alias = "default")]
    Host,
    /// Loopback alone.
    None,
    /// One of its own, through pasta or slirp4netns: others can be reached, this machine's loopback cannot.
    #[value(alias = "slirp4netns", alias = "pasta")]
    Private,
}

impl Sandbox {
    /// Settles how programs will run. This process may enter a user namespace, so no thread can be there yet.
    pub(super) fn stand(&self, state: &Path) -> anyhow::Result<()> {
        // Its filesystem has a say in what works.
        std::fs::create_dir_all(state).with_context(|| format!("cannot make {}", state.display()))?;
        rung::stand(self.isolation, state)?;
        Ok(self.runtime.check()?)
    }

    pub(super) fn network(&self) -> graph::Network {
        match self.network {
            Network::Host => graph::Network::Host,
            Network::None => graph::Network::None,
            Network::Private => graph::Network::Private,
        }
    }

    /// Returns what RUN is told its machine is called.
    pub(super) fn hostname(&self) -> Option<String> {
        self.hosts.hostname.clone()
    }

    /// Returns what of the machine decides about the cache.
    pub(super) fn machine(&self) -> graph::Machine {
        graph::Machine {
            hosts: self.hosts.hosts(),
            ulimits: self.limits.ulimit.clone(),
            shm_bytes: self.limits.shm_size,
        }
    }

    /// Returns what is given to every RUN besides.
    pub(super) fn surroundings(&self, programs: &exec::Interrupt) -> anyhow::Result<Surroundings> {
        self.limits.check()?;
        let sandbox = exec::Sandbox {
            resolver: self.hosts.resolver(),
            resources: self.limits.resources(),
            runtime: self.runtime.find()?,
            ..self.security.sandbox()?
        };
        let volumes = self.volume.iter().chain(&self.mount).map(Volume::open);
        let volumes = volumes.collect::<Result<_, _>>()?;
        let on_failure: Option<Arc<dyn OnFailure>> = match self.on_error {
            OnError::Fail if self.invoke.is_none() => None,
            _ => Some(Arc::new(Shell::new(programs.clone())?)),
        };
        Ok(Surroundings { sandbox, volumes, on_failure, ..Surroundings::default() })
    }
}
