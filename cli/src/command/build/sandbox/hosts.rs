//! Names and name servers of RUN.

use std::net::IpAddr;

use clap::Args;
use oxbox_builder::exec::HostAddress;
use oxbox_builder::exec::sandbox::resolver::{File, Resolver};

/// Names and name servers of RUN.
#[derive(Debug, Args)]
pub(crate) struct Hosts {
    /// A line for /etc/hosts of RUN: NAME:ADDRESS or NAME:host-gateway, the host as RUN reaches it.
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = host)]
    add_host: Vec<Names>,
    /// A name server for RUN in place of the host's; none leaves the image's own /etc/resolv.conf.
    #[arg(long, value_name = "ADDRESS", value_parser = server)]
    dns: Vec<Server>,
    /// A domain for RUN to search in place of the host's; a dot for none.
    #[arg(long, value_name = "DOMAIN", value_parser = word)]
    dns_search: Vec<String>,
    /// An option of resolv.conf for RUN, in place of the host's.
    #[arg(long, alias = "dns-opt", value_name = "OPTION", value_parser = word)]
    dns_option: Vec<String>,
    /// What RUN finds its machine called; buildkitsandbox unless told otherwise.
    #[arg(long, value_name = "NAME", value_parser = hostname)]
    pub(super) hostname: Option<String>,
}

/// Names with one address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Names {
    names: Vec<String>,
    address: HostAddress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    None,
    At(IpAddr),
}

impl Hosts {
    pub(super) fn hosts(&self) -> Vec<(String, HostAddress)> {
        let all =
            self.add_host.iter().flat_map(|one| one.names.iter().map(|name| (name.clone(), one.address)));
        all.collect()
    }

    pub(super) fn resolver(&self) -> Resolver {
        let servers = self.dns.iter().filter_map(|server| match server {
            Server::None => None,
            Server::At(address) => Some(*address),
        });
        Resolver {
            servers: servers.collect(),
            search: self.dns_search.clone(),
            options: self.dns_option.clone(),
            file: if self.dns.contains(&Server::None) { File::Image } else { File::Made },
        }
    }
}

/// Reads `a:192.0.2.1`, `a=192.0.2.1`, `a;b:::1`, `a:[::1]` and `a:host-gateway`.
fn host(text: &str) -> Result<Names, String> {
    let wrong = || "not NAME:ADDRESS or NAME:host-gateway".to_owned();
    let (names, address) = match (text.find('='), text.find(':')) {
        (Some(equals), Some(colon)) if equals < colon => text.split_at(equals),
        (Some(equals), None) => text.split_at(equals),
        (_, Some(colon)) => text.split_at(colon),
        (None, None) => return Err(wrong()),
    };
    let address = match address[1..].trim_start_matches('[').trim_end_matches(']') {
        "host-gateway" => HostAddress::Gateway,
        address => HostAddress::Is(address.parse().map_err(|_| wrong())?),
    };
    let names = names.split(';').map(word).collect::<Result<_, _>>().map_err(|_| wrong())?;
    Ok(Names { names, address })
}

fn server(text: &str) -> Result<Server, String> {
    if text == "none" {
        return Ok(Server::None);
    }
    text.parse().map(Server::At).map_err(|_| "not an address, nor none".to_owned())
}

/// Reads one word: what would begin another line is not.
fn word(text: &str) -> Result<String, String> {
    let plain =
        !text.is_empty() && !text.contains(|letter: char| letter.is_whitespace() || letter.is_control());
    if plain { Ok(text.to_owned()) } else { Err("not a word".to_owned()) }
}

/// Reads a name that the kernel takes.
fn hostname(text: &str) -> Result<String, String> {
    /// `HOST_NAME_MAX`.
    const MAX_BYTES: usize = 64;
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    match !text.is_empty() && text.len() <= MAX_BYTES && text.bytes().all(known) {
        true => Ok(text.to_owned()),
        false => Err("not a name of a machine: letters, digits, hyphens and dots, at most 64".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{HostAddress, Names, host, hostname, word};

    #[test]
    fn a_host_has_several_spellings() {
        let one = |text: &str| host(text).unwrap();
        let names = |names: &[&str], address: &str| Names {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            address: HostAddress::Is(address.parse().unwrap()),
        };
        assert_eq!(one("a:192.0.2.1"), names(&["a"], "192.0.2.1"));
        assert_eq!(one("a=192.0.2.1"), names(&["a"], "192.0.2.1"));
        assert_eq!(one("a:2001:db8::1"), names(&["a"], "2001:db8::1"));
        assert_eq!(one("a=[::1]"), names(&["a"], "::1"));
        assert_eq!(one("a;b:192.0.2.1"), names(&["a", "b"], "192.0.2.1"));
        assert_eq!(one("h:host-gateway").address, HostAddress::Gateway);
        for text in ["", "a", "a:", ":192.0.2.1", "a:b", "a b:192.0.2.1", "a:192.0.2.1\nb"] {
            assert!(host(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_would_be_another_line_is_no_word() {
        assert!(word("example.org").is_ok() && hostname("build-1.example").is_ok());
        assert!(word("a\nnameserver 192.0.2.1").is_err() && word("").is_err());
        assert!(hostname("a b").is_err() && hostname(&"x".repeat(65)).is_err());
    }
}
