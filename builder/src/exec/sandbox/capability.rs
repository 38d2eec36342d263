//! Capabilities by name, and Docker's fourteen.

use serde::{Deserialize, Serialize};

use super::cut;

/// By number (`linux/capability.h`).
pub(in crate::exec) const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What root in a container may do by default (moby's `oci/caps/defaults.go`).
const DOCKER: u64 = 0xa804_25fb;

/// A set of capabilities: bit n is the one with number n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities(u64);

/// A word that is no capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no capability {text:?}")]
pub struct CapabilityError {
    /// As it was written, cut.
    pub text: String,
}

/// One capability, or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named(Capabilities);

impl Default for Capabilities {
    fn default() -> Self {
        Self(DOCKER)
    }
}

impl Capabilities {
    /// Every one that there is.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// Returns this set with some added and some taken away.
    ///
    /// `ALL` is done first, whatever the order: what is named by itself stays as it is said.
    pub fn changed(self, added: &[Named], dropped: &[Named]) -> Self {
        let union = |named: &[Named], all: bool| {
            let some = named.iter().filter(|named| (named.0 == Self::ALL) == all);
            some.fold(0, |bits, named| bits | named.0.0)
        };
        let bits = (self.0 | union(added, true)) & !union(dropped, true);
        Self((bits | union(added, false)) & !union(dropped, false))
    }

    /// Returns this set without the one of this name.
    pub fn without(self, name: &str) -> Self {
        name.parse::<Named>().map_or(self, |named| Self(self.0 & !named.0.0))
    }

    /// Whether the one of this name is in the set; `CAP_` before it changes nothing.
    pub fn has(self, name: &str) -> bool {
        name.parse::<Named>().is_ok_and(|named| self.0 & named.0.0 == named.0.0)
    }

    /// Returns bit n for the capability with number n.
    pub fn bits(self) -> u64 {
        self.0
    }
}

impl std::str::FromStr for Named {
    type Err = CapabilityError;

    /// Reads `NET_ADMIN`, `CAP_NET_ADMIN`, `net_admin` or `ALL`.
    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if name == "ALL" {
            return Ok(Self(Capabilities::ALL));
        }
        let number = NAMES.iter().position(|known| *known == name);
        let number = number.ok_or_else(|| CapabilityError { text: cut(text) })?;
        Ok(Self(Capabilities(1 << number)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Capabilities, Named};

    fn named(names: &[&str]) -> Vec<Named> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn a_name_has_three_spellings() {
        assert_eq!(named(&["CAP_MKNOD", "mknod"]), named(&["MKNOD", "MKNOD"]));
        assert!("CAP_NONE".parse::<Named>().is_err() && "".parse::<Named>().is_err());
    }

    #[test]
    fn the_usual_ones_are_dockers() {
        let usual = Capabilities::default();
        let held = ["CHOWN", "NET_RAW", "AUDIT_WRITE", "SETFCAP"];
        assert!(held.iter().all(|name| usual.has(name)));
        assert!(!usual.has("SYS_ADMIN") && !usual.has("CAP_NET_ADMIN"));
        assert_eq!(usual.bits().count_ones(), 14);
    }

    #[test]
    fn all_comes_before_what_is_named() {
        let one = Capabilities::default().changed(&named(&["CHOWN"]), &named(&["ALL"]));
        assert!(one.has("CHOWN") && one.bits().count_ones() == 1);
        let most = Capabilities::default().changed(&named(&["ALL"]), &named(&["SYS_ADMIN"]));
        assert!(!most.has("SYS_ADMIN") && most.has("BPF"));
    }
}
