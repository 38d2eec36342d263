//! What `/etc/resolv.conf` says: the host's, or what the caller wants.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What a program's resolver is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// Name servers in place of the host's.
    pub servers: Vec<IpAddr>,
    /// Domains to search in place of the host's; a single `.` for none.
    pub search: Vec<String>,
    /// Options in place of the host's.
    pub options: Vec<String>,
    /// Whose file it is.
    pub file: File,
}

/// Whose `/etc/resolv.conf` a program finds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum File {
    /// One made for the run.
    #[default]
    Made,
    /// The image's own: `--dns none`.
    Image,
}

impl Resolver {
    /// Returns the file, or none if the image's stays. `host` is the host's.
    pub fn text(&self, host: &str) -> Option<String> {
        if self.file == File::Image {
            return None;
        }
        let said = !(self.servers.is_empty() && self.search.is_empty() && self.options.is_empty());
        if !said {
            return Some(host.to_owned());
        }
        let of_host = |word: &str| -> Vec<String> {
            let lines = host.lines().map(str::trim);
            lines.filter(|line| line.split_whitespace().next() == Some(word)).map(str::to_owned).collect()
        };
        let mut lines = match self.servers.as_slice() {
            [] => of_host("nameserver"),
            servers => servers.iter().map(|server| format!("nameserver {server}")).collect(),
        };
        match self.search.as_slice() {
            // As Docker has it.
            [none] if none == "." => {}
            [] => lines.extend([of_host("search"), of_host("domain")].concat()),
            domains => lines.push(format!("search {}", domains.join(" "))),
        }
        match self.options.as_slice() {
            [] => lines.extend(of_host("options")),
            options => lines.push(format!("options {}", options.join(" "))),
        }
        Some(lines.join("\n") + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::{File, Resolver};

    const HOST: &str = "# made by hand\nnameserver 192.0.2.53\nsearch example.org\noptions edns0\n";

    #[test]
    fn the_hosts_file_is_passed_on_as_it_is() {
        assert_eq!(Resolver::default().text(HOST).as_deref(), Some(HOST));
    }

    #[test]
    fn what_is_said_takes_the_place_of_the_hosts() {
        let resolver = Resolver {
            servers: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            options: vec!["ndots:2".to_owned(), "rotate".to_owned()],
            ..Resolver::default()
        };
        let text = resolver.text(HOST).unwrap();
        assert_eq!(
            text,
            "nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch example.org\noptions ndots:2 rotate\n"
        );
        let nowhere = Resolver { search: vec![".".to_owned()], ..Resolver::default() };
        assert_eq!(nowhere.text(HOST).unwrap(), "nameserver 192.0.2.53\noptions edns0\n");
    }

    #[test]
    fn the_images_own_file_stays() {
        assert_eq!(Resolver { file: File::Image, ..Resolver::default() }.text(HOST), None);
    }
}
