//! The small files of /etc that belong to the run and not to the image.

use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use serde::{Deserialize, Serialize};

use super::{Mount, Network, Process, Source, network};

/// The host's resolv.conf is a few lines; more than this is not one.
const MAX_RESOLVER_BYTES: u64 = 64 << 10;

/// An address of `--add-host`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HostAddress {
    /// This one.
    Is(IpAddr),
    /// The host's, as the sandbox reaches it: `host-gateway`.
    Gateway,
}

impl HostAddress {
    /// Returns the address for a sandbox with this network; `None` if the host cannot be reached from it.
    pub fn of(self, network: Network) -> Option<IpAddr> {
        match (self, network) {
            (Self::Is(address), _) => Some(address),
            // On the host's own network also what listens on loopback alone can be reached.
            (Self::Gateway, Network::Host) => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            (Self::Gateway, Network::None) => None,
            (Self::Gateway, Network::Private) => own_address(),
        }
    }
}

/// The address that the host would send from. Nothing is sent: a datagram socket only looks up its route.
fn own_address() -> Option<IpAddr> {
    /// Any address that is not near (RFC 5737).
    const FAR: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(FAR).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
}

/// Reads the host's resolv.conf. A host without one has no name service to pass on.
///
/// With the host's network a resolver at 127.0.0.53 is reachable, so nothing is filtered.
pub(super) fn resolver() -> String {
    let mut text = String::new();
    let read = fs::File::open("/etc/resolv.conf")
        .and_then(|file| file.take(MAX_RESOLVER_BYTES).read_to_string(&mut text));
    if let Err(error) = read {
        tracing::debug!(%error, "no resolv.conf on this host");
        text.clear();
    }
    text
}

/// Returns the mounts of `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`.
///
/// They are writable, as in a Docker container: what is written there ends with the run.
pub(super) fn mounts(process: &Process, resolver: &str) -> Vec<Mount> {
    let file = |target: &str, content: String| Mount {
        target: target.to_owned(),
        source: Source::File { content: content.into_bytes(), mode: 0o644 },
    };
    let mut mounts =
        vec![file("/etc/hosts", table(process)), file("/etc/hostname", format!("{}\n", process.hostname))];
    let resolver = match process.network {
        Network::Private => network::resolver(resolver),
        Network::Host | Network::None => resolver.to_owned(),
    };
    let resolver = process.sandbox.resolver.text(&resolver);
    mounts.extend(resolver.map(|text| file("/etc/resolv.conf", text)));
    mounts
}

fn table(process: &Process) -> String {
    let mut table =
        format!("127.0.0.1\tlocalhost {}\n::1\tlocalhost ip6-localhost ip6-loopback\n", process.hostname);
    for (name, address) in &process.hosts {
        table.push_str(&format!("{address}\t{name}\n"));
    }
    table
}
