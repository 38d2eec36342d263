//! What a RUN may use.

use clap::{Args, ValueEnum};
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
    pub(super) fn network(&self) -> graph::Network {
        match self.network {
            Network::Host => graph::Network::Host,
            Network::None => graph::Network::None,
        }
    }
}
