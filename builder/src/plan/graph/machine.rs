//! What the caller says of the machine that every RUN finds, as far as it decides about the cache.
//!
//! As in BuildKit: names of hosts count, and not their addresses; so do limits of a process, and the size of
//! shared memory. What BuildKit does not know (capabilities, seccomp profiles, volumes, devices, name
//! servers) does not count here either, nor do limits of memory, processors and processes, which make a
//! RUN fail or slow, but not different.

use crate::exec::HostAddress;
use crate::exec::sandbox::Ulimit;
use crate::solve::KeyHasher;

/// What the caller says of the machine that every RUN finds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Machine {
    /// More names in `/etc/hosts`.
    pub hosts: Vec<(String, HostAddress)>,
    /// Limits of each process.
    pub ulimits: Vec<Ulimit>,
    /// Size of /dev/shm; 64 MiB if absent.
    pub shm_bytes: Option<u64>,
}

impl Machine {
    /// Adds it to a key; nothing if the caller said nothing.
    pub fn fields(&self, hasher: &mut KeyHasher) {
        for (name, _) in &self.hosts {
            hasher.field("host", name);
        }
        for limit in &self.ulimits {
            hasher.field("ulimit", limit.to_string());
        }
        if let Some(bytes) = self.shm_bytes {
            hasher.field("shm", bytes.to_le_bytes());
        }
    }
}
