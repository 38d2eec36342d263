//! What a registry's name means: where its API is, and whether plain HTTP may be tried there.
//!
//! ```text
//! reference      API                    key of the credentials         certs.d
//! docker.io      registry-1.docker.io   https://index.docker.io/v1/    docker.io
//! host[:port]    host[:port]            host[:port]                    host[:port]
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far a registry's identity is checked.
///
/// | | HTTPS | plain HTTP |
/// |---|---|---|
/// | `Verified` | certificate must be good | only at a loopback host, and only if HTTPS is not spoken there |
/// | `Strict` | certificate must be good | never |
/// | `Unverified` | any certificate | if HTTPS is not spoken |
///
/// Loopback hosts are `localhost`, names below `.localhost`, `127.0.0.0/8` and `[::1]`. A bad
/// certificate never leads to plain HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Trust {
    /// The default.
    #[default]
    Verified,
    /// `--tls-verify=true`.
    Strict,
    /// `--tls-verify=false`.
    Unverified,
}

/// Whether plain HTTP may be spoken with a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlainHttp {
    IfNoTls,
    Never,
}

impl Trust {
    /// Returns what `--tls-verify` means; `None` if it was not given.
    pub fn of_flag(tls_verify: Option<bool>) -> Self {
        match tls_verify {
            None => Self::Verified,
            Some(true) => Self::Strict,
            Some(false) => Self::Unverified,
        }
    }

    /// Returns whether plain HTTP may be spoken with the registry `domain`.
    pub(crate) fn plain_http(self, domain: &str) -> PlainHttp {
        match self {
            Self::Unverified => PlainHttp::IfNoTls,
            Self::Verified if is_loopback(host_of(domain)) => PlainHttp::IfNoTls,
            Self::Verified | Self::Strict => PlainHttp::Never,
        }
    }
}

/// Returns the host and port of the API of the registry `domain`.
pub(crate) fn api_authority(domain: &str) -> &str {
    // docker.io itself leads to a shop window.
    if domain == "docker.io" { "registry-1.docker.io" } else { domain }
}

/// Returns the host of `host:port`, brackets of IPv6 included.
fn host_of(domain: &str) -> &str {
    match domain.rfind(':') {
        Some(colon) if !domain[colon..].contains(']') => &domain[..colon],
        _ => domain,
    }
}

/// Whether a host, as URLs write it, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    // A dot at the end says only that nothing is to be searched for.
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost") || literal(&host).is_some_and(|ip| ip.is_loopback())
}

/// Whether a host is a literal address that only this machine or its hypervisor answers on: no public
/// registry has a reason to send anybody there. 169.254.169.254 hands out cloud credentials.
pub(crate) fn is_inward(host: &str) -> bool {
    is_loopback(host)
        || literal(host).is_some_and(|ip| match ip {
            IpAddr::V4(ip) => is_inward_v4(ip),
            IpAddr::V6(ip) => is_inward_v6(ip),
        })
}

fn is_inward_v4(ip: Ipv4Addr) -> bool {
    ip.is_loopback() || ip.is_link_local() || ip.is_unspecified()
}

fn is_inward_v6(ip: Ipv6Addr) -> bool {
    let link_local = ip.segments()[0] & 0xffc0 == 0xfe80;
    ip.is_loopback() || link_local || ip.is_unspecified() || ip.to_ipv4_mapped().is_some_and(is_inward_v4)
}

fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{PlainHttp, Trust, api_authority, is_inward};

    #[test]
    fn docker_io_is_served_elsewhere() {
        assert_eq!(api_authority("docker.io"), "registry-1.docker.io");
        assert_eq!(api_authority("quay.io"), "quay.io");
    }

    #[test]
    fn only_loopback_hosts_may_speak_plain_http_by_default() {
        for domain in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000", "[::1]"] {
            assert_eq!(Trust::Verified.plain_http(domain), PlainHttp::IfNoTls, "{domain}");
            assert_eq!(Trust::Strict.plain_http(domain), PlainHttp::Never, "{domain}");
        }
        for domain in ["quay.io", "localhost.example.com", "10.0.0.1:5000", "[::2]:5000", "registry:5000"] {
            assert_eq!(Trust::Verified.plain_http(domain), PlainHttp::Never, "{domain}");
            assert_eq!(Trust::Unverified.plain_http(domain), PlainHttp::IfNoTls, "{domain}");
        }
    }

    #[test]
    fn the_metadata_service_is_inward() {
        for host in [
            "169.254.169.254",
            "127.0.0.1",
            "localhost",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
            "localhost.",
        ] {
            assert!(is_inward(host), "{host}");
        }
        assert!(!is_inward("10.0.0.1"));
        assert!(!is_inward("cdn.example.com"));
    }
}
