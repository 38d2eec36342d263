//! Why a rung does not hold, and how to mend that.

use std::fmt;
use std::fs;
use std::io;

use super::Rung;
use crate::exec::Errno;

/// Why a rung does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// Which rung.
    pub rung: Rung,
    /// What failed.
    pub reason: String,
    /// How to mend it, if that is known.
    pub hint: Option<String>,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Obstacle {}

/// What a trial does, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Step {
    UserNamespace,
    Map,
    Namespaces,
    Private,
    Attributes,
    Overlay,
    Proc,
    ProcOfContainer,
    Signals,
    Chroot,
    Fork,
}

impl Step {
    pub(super) const ALL: [Self; 11] = [
        Self::UserNamespace,
        Self::Map,
        Self::Namespaces,
        Self::Private,
        Self::Attributes,
        Self::Overlay,
        Self::Proc,
        Self::ProcOfContainer,
        Self::Signals,
        Self::Chroot,
        Self::Fork,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::UserNamespace => "cannot make a user namespace",
            Self::Map => "cannot map an id into a user namespace",
            Self::Namespaces => "cannot make mount, pid, ipc and uts namespaces",
            Self::Private => "cannot make mounts private",
            Self::Attributes => "cannot set the attributes that overlayfs needs (trusted.*)",
            Self::Overlay => "cannot mount overlayfs over the state folder",
            Self::Proc => "cannot mount a fresh /proc",
            Self::ProcOfContainer => "cannot bind the container's /proc",
            Self::Signals => "cannot keep a program from signalling others (Landlock of Linux 6.12)",
            Self::Chroot => "cannot change the root directory",
            Self::Fork => "cannot start a process to try it",
        }
    }
}

impl Obstacle {
    /// Says that something is missing before anything is tried.
    pub(in crate::exec) fn missing(rung: Rung, reason: impl Into<String>, hint: &str) -> Self {
        Self { rung, reason: reason.into(), hint: Some(hint.to_owned()) }
    }

    /// Says what the kernel refused.
    pub(super) fn refused(rung: Rung, step: Step, errno: Errno) -> Self {
        let reason = format!("{}: {}", step.words(), io::Error::from_raw_os_error(errno.0));
        Self { rung, reason, hint: hint(step, errno.0) }
    }
}

fn hint(step: Step, errno: i32) -> Option<String> {
    let hint = match (step, errno) {
        (Step::UserNamespace | Step::Map | Step::Namespaces, _) => return Some(namespaces(errno)),
        (Step::Private, libc::EINVAL) => {
            "the root directory here is no mount point, as in a chroot: bind-mount it onto itself first"
        }
        (Step::Attributes, libc::EPERM) => "this is root of a user namespace, not of the machine",
        (Step::Overlay, libc::ENODEV) => "the kernel has no overlayfs: modprobe overlay",
        (Step::Overlay, libc::EINVAL) => {
            "its filesystem cannot hold the upper directory, as another overlayfs cannot: put the state on a \
             volume (--root, OXBOX_ROOT)"
        }
        (Step::Proc, libc::EPERM) => {
            "parts of /proc are masked, as in a container: start it with --security-opt unmask=all (podman) or \
             systempaths=unconfined (docker)"
        }
        (Step::Chroot, libc::EPERM) => "start the container with CAP_SYS_CHROOT",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Says which of the kernel's guards keeps namespaces from being made.
fn namespaces(errno: i32) -> String {
    let is = |path: &str, value: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
    if is("/proc/sys/user/max_user_namespaces", "0") {
        return "user namespaces are switched off: sysctl user.max_user_namespaces=15000".to_owned();
    }
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return "user namespaces are for root only: sysctl kernel.unprivileged_userns_clone=1".to_owned();
    }
    if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        return "AppArmor keeps user namespaces from programs without a profile: sysctl \
                kernel.apparmor_restrict_unprivileged_userns=0, or give oxbox a profile"
            .to_owned();
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if status.lines().any(|line| line.starts_with("Seccomp:") && line.ends_with('2')) {
        return "a seccomp filter forbids it, as in a container: start it with --security-opt seccomp=unconfined"
            .to_owned();
    }
    match errno {
        libc::ENOSPC => "there are too many namespaces already, or too many in one another".to_owned(),
        _ => "run it as root, or in a container with more rights".to_owned(),
    }
}
