//! A network of its own from which others can be reached: `--network=private`.
//!
//! ```text
//! init ─fork─▶ keeper (the host's network) ─▶ pasta or slirp4netns ─┐ an interface, from outside
//!  └ new network namespace: lo, tap0 10.0.2.100/24 ◀────────────────┘
//!                           gateway 10.0.2.2, names at 10.0.2.3
//! ```
//!
//! Both programs speak for the sandbox with sockets of their own, so that nothing of the host is set up and
//! no privilege is needed. What listens on the host's loopback cannot be reached. The keeper ends the program
//! when the init ends, however it does: neither would notice.

mod keeper;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::programs;

pub(super) use keeper::Keeper;

/// The interface in the sandbox.
const INTERFACE: &str = "tap0";

/// The addresses that slirp4netns uses unless told otherwise, and QEMU before it.
const ADDRESS: &str = "10.0.2.100";
const PREFIX: &str = "24";
const GATEWAY: &str = "10.0.2.2";
const NAMES: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

/// A program that connects a network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connector {
    kind: Kind,
    program: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    Pasta,
    Slirp,
}

/// There is no program that connects a network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a private network needs pasta or slirp4netns, and neither is installed")]
pub struct NoConnector;

impl Connector {
    /// Returns those that are installed, the better one first.
    ///
    /// # Errors
    ///
    /// [`NoConnector`].
    pub fn find() -> Result<Vec<Self>, NoConnector> {
        let found = |(kind, name)| programs::find(name).map(|program| Self { kind, program });
        let found: Vec<_> =
            [(Kind::Pasta, "pasta"), (Kind::Slirp, "slirp4netns")].into_iter().filter_map(found).collect();
        if found.is_empty() { Err(NoConnector) } else { Ok(found) }
    }

    /// Returns its arguments to connect the network namespace at `netns`.
    fn arguments(&self, netns: &str, is_root: bool) -> Vec<String> {
        let words: Vec<&str> = match self.kind {
            Kind::Pasta => {
                let mut words = vec!["--foreground", "--quiet", "--ipv4-only", "--config-net"];
                words.extend(["--address", ADDRESS, "--netmask", PREFIX, "--gateway", GATEWAY]);
                words.extend(["--ns-ifname", INTERFACE, "--dns-forward", "10.0.2.3", "--no-map-gw"]);
                words.extend(["-t", "none", "-u", "none", "-T", "none", "-U", "none"]);
                // Else it becomes nobody, who may not enter.
                words.extend(if is_root { &["--runas", "0:0"][..] } else { &[] });
                words.extend(["--netns", netns]);
                words
            }
            Kind::Slirp => {
                let words = ["--configure", "--mtu=65520", "--disable-host-loopback", "--netns-type=path"];
                words.into_iter().chain([netns, INTERFACE]).collect()
            }
        };
        words.into_iter().map(str::to_owned).collect()
    }
}

/// Returns the name server of a private network, in the form of a resolv.conf, with the host's domains.
///
/// The host's own may listen where the sandbox does not reach: systemd-resolved is at 127.0.0.53.
pub(super) fn resolver(host: &str) -> String {
    let lines = host.lines().filter(|line| !line.trim_start().starts_with("nameserver"));
    let kept: String = lines.map(|line| format!("{line}\n")).collect();
    format!("nameserver {}\n{kept}", IpAddr::V4(NAMES))
}

#[cfg(test)]
mod tests {
    use super::resolver;

    #[test]
    fn names_are_asked_of_the_network_and_the_hosts_domains_stay() {
        let host = "nameserver 127.0.0.53\nsearch example.org\n nameserver 192.0.2.1\n";
        assert_eq!(resolver(host), "nameserver 10.0.2.3\nsearch example.org\n");
    }
}
