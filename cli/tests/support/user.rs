//! The binary as a user that no machine has, with or without subordinate ids.
//!
//! In a mount namespace of its own other files lie over the machine's /etc/passwd, /etc/subuid and /etc/subgid,
//! which stay as they are.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::Command;

use super::Oxbox;

/// The user.
pub(crate) const USER: u32 = 61_234;

/// The ids that a user may have besides.
const SUBORDINATE: &str = "rungs:700000:65536\n";

const START: &str = "mount --bind \"$1/passwd\" /etc/passwd && mount --bind \"$1/subordinate\" /etc/subuid && \
    mount --bind \"$1/subordinate\" /etc/subgid && shift && \
    exec setpriv --reuid 61234 --regid 61234 --clear-groups --inh-caps=-all -- \"$@\"";

/// Whether the user has more than one id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ids {
    One,
    Many,
}

/// Makes a test's folder the user's, and the files that know who that is.
pub(crate) fn settle(oxbox: &Oxbox, ids: Ids) {
    let known = fs::read_to_string("/etc/passwd").unwrap();
    let line = format!("rungs:x:{USER}:{USER}::{}:/bin/sh\n", oxbox.path("home").display());
    fs::write(oxbox.path("passwd"), known + &line).unwrap();
    fs::write(oxbox.path("subordinate"), if ids == Ids::Many { SUBORDINATE } else { "" }).unwrap();
    fs::set_permissions(oxbox.folder(), Permissions::from_mode(0o755)).unwrap();
    chown(oxbox.folder(), Some(USER), Some(USER)).unwrap();
}

/// Returns the command that starts the binary as the user.
pub(crate) fn start(oxbox: &Oxbox, builder: &Command) -> Command {
    let mut command = oxbox.isolated(Command::new("unshare"));
    command.args(["--mount", "sh", "-c", START, "sh"]).arg(oxbox.folder());
    command.arg(builder.get_program()).args(builder.get_args());
    command.envs(builder.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}
