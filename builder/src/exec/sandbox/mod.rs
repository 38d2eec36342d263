//! What a sandbox allows and what it may use, beyond or below the usual.
//!
//! ```text
//! capability   names and sets of capabilities        ulimit     limits of a process, by Docker's names
//! resources    limits of all processes together      profile    seccomp profiles in Docker's form
//! device       device nodes of the host              resolver   what resolv.conf says
//! ```
//!
//! Here: plain data, read from the command line's words. Not here: how any of it is enforced
//! (`init/`, `cgroup/`, `network/`).

pub mod capability;
pub mod device;
pub mod profile;
pub mod resolver;
pub mod resources;
pub mod ulimit;

use std::path::PathBuf;

use rustix::termios::Winsize;
use serde::{Deserialize, Serialize};

pub use capability::Capabilities;
pub use device::Device;
pub use profile::Profile;
pub use resolver::Resolver;
pub use resources::Resources;
pub use ulimit::Ulimit;

use super::Runtime;

/// What a program may do and use. The default is Docker's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// What root may do.
    pub capabilities: Capabilities,
    /// Which system calls are refused.
    pub seccomp: Seccomp,
    /// Whether setuid programs work.
    pub privileges: Privileges,
    /// Whether paths of the host in /proc and /sys are hidden and locked.
    pub confinement: Confinement,
    /// Limits of each process.
    pub ulimits: Vec<Ulimit>,
    /// Size of /dev/shm; 64 MiB if absent.
    pub shm_bytes: Option<u64>,
    /// More device nodes.
    pub devices: Vec<Device>,
    /// What /etc/resolv.conf says.
    pub resolver: Resolver,
    /// Limits of all processes together: whoever runs it makes control groups for them.
    pub resources: Resources,
    /// A terminal in the place of streams, and its size: for [`interact`](super::interact()).
    pub terminal: Option<TerminalSize>,
    /// The entrances (`cgroup.procs`) of control groups to be in.
    pub groups: Vec<PathBuf>,
    /// Who makes the container, if not oxbox itself.
    pub runtime: Option<Runtime>,
}

/// How large a terminal is, in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Cells of a line.
    pub columns: u16,
}

impl From<Winsize> for TerminalSize {
    fn from(size: Winsize) -> Self {
        Self { rows: size.ws_row, columns: size.ws_col }
    }
}

impl From<TerminalSize> for Winsize {
    fn from(size: TerminalSize) -> Self {
        Self { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 }
    }
}

/// Which system calls are refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// Those that Docker refuses, given the capabilities.
    #[default]
    Usual,
    /// None.
    Unconfined,
    /// What a profile says.
    Profile(Box<Profile>),
}

/// Whether a program can become more than it was started as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Privileges {
    /// By setuid programs and file capabilities: `sudo` works.
    #[default]
    Gained,
    /// `no_new_privs` is set.
    Refused,
}

/// Whether paths of the host in /proc and /sys are hidden and locked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confinement {
    /// As Docker hides and locks them.
    #[default]
    Usual,
    /// They are there, and /sys is writable: `RUN --security=insecure`.
    None,
}

impl Sandbox {
    /// Returns the sandbox of `RUN --security=insecure`, with the limits and devices of this one.
    ///
    /// As in BuildKit: every capability that oxbox has, every system call, nothing hidden or locked, and
    /// the devices that such programs come for.
    pub fn insecure(&self) -> Self {
        let mut devices = Device::of_insecure();
        devices.extend(self.devices.iter().cloned());
        Self {
            capabilities: Capabilities::ALL,
            seccomp: Seccomp::Unconfined,
            privileges: Privileges::Gained,
            confinement: Confinement::None,
            devices,
            ..self.clone()
        }
    }
}

/// Cuts text from outside for a message.
fn cut(text: &str) -> String {
    text.chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::{Capabilities, Confinement, Privileges, Sandbox, Seccomp, Ulimit};

    #[test]
    fn an_insecure_sandbox_keeps_limits_and_loses_bars() {
        let limits = vec!["nofile=10:20".parse::<Ulimit>().unwrap()];
        let usual =
            Sandbox { ulimits: limits.clone(), privileges: Privileges::Refused, ..Sandbox::default() };
        let insecure = usual.insecure();
        assert_eq!((insecure.capabilities, insecure.ulimits), (Capabilities::ALL, limits));
        assert_eq!((insecure.seccomp, insecure.confinement), (Seccomp::Unconfined, Confinement::None));
        assert!(insecure.devices.iter().any(|device| device.target == "/dev/fuse"));
    }
}
