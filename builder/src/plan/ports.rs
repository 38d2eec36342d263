//! EXPOSE: `[[ip:]port:]port[-port][/protocol]`, of which the last part counts.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::error::PlanErrorKind;

/// Ports that one EXPOSE may name, repeated ones counted: every port of every protocol, and some.
const MAX_PORTS: usize = 1 << 18;

/// Reads one specification and returns its ports as `port/protocol`, in order; nothing if it is none.
fn parse(text: &str) -> Option<Vec<String>> {
    let (head, container) = match text.rsplit_once(':') {
        Some((head, container)) => (Some(head), container),
        None => (None, text),
    };
    let (container, protocol) = container.split_once('/').unwrap_or((container, ""));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "" | "tcp" => "tcp",
        "udp" => "udp",
        "sctp" => "sctp",
        _ => return None,
    };
    let (first, last) = range(container)?;
    if let Some(head) = head {
        let (address, host) = head.rsplit_once(':').unwrap_or(("", head));
        is_address(address).then_some(())?;
        if !host.is_empty() {
            let (host_first, host_last) = range(host)?;
            // One port may stand for any of a range of the host's.
            (first == last || host_last - host_first == last - first).then_some(())?;
        }
    }
    Some((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// The ports of one EXPOSE, each listed once.
#[derive(Default)]
pub(super) struct Ports {
    /// As `port/protocol`, in the order in which they were named.
    pub(super) list: Vec<String>,
    seen: BTreeSet<String>,
    read: usize,
}

impl Ports {
    /// Adds what a word names.
    ///
    /// # Errors
    ///
    /// A word that is no port, or ranges that name every port many times over.
    pub(super) fn add(&mut self, word: &str) -> Result<(), PlanErrorKind> {
        let found = parse(word).ok_or_else(|| PlanErrorKind::InvalidPort { port: word.to_owned() })?;
        self.read += found.len();
        if self.read > MAX_PORTS {
            return Err(PlanErrorKind::TooManyPorts { max: MAX_PORTS });
        }
        self.list.extend(found.into_iter().filter(|port| self.seen.insert(port.clone())));
        Ok(())
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (port(first)?, port(last)?);
    (first <= last).then_some((first, last))
}

fn is_address(text: &str) -> bool {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    text.is_empty() || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::error::PlanErrorKind;
    use super::{Ports, parse};

    #[test]
    fn ranges_are_spelled_out_and_protocols_are_lowercase() {
        assert_eq!(parse("80-82/UDP").unwrap(), ["80/udp", "81/udp", "82/udp"]);
        assert_eq!(parse("80").unwrap(), ["80/tcp"]);
        assert_eq!(parse("80/").unwrap(), ["80/tcp"]);
    }

    #[test]
    fn what_the_host_would_publish_is_dropped() {
        for text in ["8080:80", "127.0.0.1:8080:80", "[::1]:8080:80", "::1:8080:80", "1000-2000:80", ":80"] {
            assert_eq!(parse(text).unwrap(), ["80/tcp"], "{text}");
        }
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for text in
            ["", "x", "-1", "+1", "65536", "82-80", "80/xyz", "1-2:3-5", "x:80", "nowhere:1:80", "1-2-3"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    fn add(words: &[&str]) -> Result<Vec<String>, PlanErrorKind> {
        let mut ports = Ports::default();
        words.iter().try_for_each(|word| ports.add(word))?;
        Ok(ports.list)
    }

    #[test]
    fn a_port_named_twice_is_listed_once() {
        assert_eq!(add(&["80", "79-81"]).unwrap(), ["80/tcp", "79/tcp", "81/tcp"]);
    }

    #[test]
    fn every_port_can_be_named_but_not_without_end() {
        assert_eq!(add(&["0-65535/tcp", "0-65535/udp", "0-65535/sctp"]).unwrap().len(), 3 * 65536);
        assert!(matches!(add(&["0-65535"; 5]), Err(PlanErrorKind::TooManyPorts { .. })));
    }
}
