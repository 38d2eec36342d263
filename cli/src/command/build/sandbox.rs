//! What a RUN may use.

use std::path::Path;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use oxbox_builder::exec::rung::{self, Isolation};
use oxbox_builder::plan::{Entitlement, graph};

use super::secrets::{self, Given};

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
}

/// Networks of RUN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Network {
    /// The host's.
    #[value(alias = "default")]
    Host,
    /// Loopback alone.
    None,
}

impl Sandbox {
    /// Settles how programs will run. This process may enter a user namespace, so no thread can be there yet.
    pub(super) fn stand(&self, state: &Path) -> anyhow::Result<()> {
        // Its filesystem has a say in what works.
        std::fs::create_dir_all(state).with_context(|| format!("cannot make {}", state.display()))?;
        Ok(rung::stand(self.isolation, state)?)
    }

    pub(super) fn network(&self) -> graph::Network {
        match self.network {
            Network::Host => graph::Network::Host,
            Network::None => graph::Network::None,
        }
    }
}
