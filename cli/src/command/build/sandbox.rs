//! What a RUN may use.

use clap::{Args, ValueEnum};
use oxbox_builder::plan::{Entitlement, graph};

/// Options of RUN.
#[derive(Debug, Args)]
pub(super) struct Sandbox {
    /// Network of RUN.
    #[arg(long, value_enum, default_value_t = Network::Host)]
    network: Network,
    /// What the Dockerfile may ask for beyond the usual: network.host, security.insecure.
    #[arg(long, value_name = "WORD", value_delimiter = ',')]
    pub(super) allow: Vec<Entitlement>,
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
