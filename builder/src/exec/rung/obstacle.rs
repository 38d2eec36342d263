//! Why a rung does not hold, and how to mend that.

use std::fmt;
use std::fs;
use std::io;

use rustix::system::uname;

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
    MountAttributes,
    Proc,
    ProcOfContainer,
    Signals,
    Chroot,
    Fork,
}

impl Step {
    pub(super) const ALL: [Self; 12] = [
        Self::UserNamespace,
        Self::Map,
        Self::Namespaces,
        Self::Private,
        Self::Attributes,
        Self::Overlay,
        Self::MountAttributes,
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
            Self::MountAttributes => "cannot keep devices in a mount from being opened",
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
        let release = uname().release().to_string_lossy().into_owned();
        Self { rung, reason, hint: hint(rung, step, errno.0, &release) }
    }
}

fn hint(rung: Rung, step: Step, errno: i32, release: &str) -> Option<String> {
    let is_user = rung.is_in_user_namespace();
    let hint = match (step, errno) {
        (Step::Overlay, libc::EPERM | libc::EINVAL) if is_user && is_before(release, (5, 11)) => {
            "overlayfs is for the machine's root before Linux 5.11"
        }
        (Step::Overlay, libc::ENOSYS) => "it takes Linux 5.2",
        (Step::MountAttributes, libc::ENOSYS) => "it takes Linux 5.12",
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

/// Whether a kernel, by what it calls itself, is older than a version.
fn is_before(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(str::parse);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < version)
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

#[cfg(test)]
mod tests {
    use super::{Rung, Step, hint, is_before};

    #[test]
    fn old_kernels_are_told_from_bad_filesystems() {
        let of = |rung, errno, release| hint(rung, Step::Overlay, errno, release).unwrap_or_default();
        assert!(of(Rung::Rootless, libc::EPERM, "5.10.0-32-cloud-amd64").contains("before Linux 5.11"));
        // Some distributors let users have it, without its attributes in user.*.
        assert!(of(Rung::SingleId, libc::EINVAL, "5.4.0-26-generic").contains("before Linux 5.11"));
        assert!(of(Rung::Rootless, libc::EINVAL, "6.1.0-50-cloud-amd64").contains("volume"));
        assert!(of(Rung::Root, libc::EINVAL, "5.10.0").contains("volume"));
        assert!(hint(Rung::Root, Step::MountAttributes, libc::ENOSYS, "5.10.0").unwrap().contains("5.12"));
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let before = |release| is_before(release, (5, 11));
        assert_eq!(["4.19.0", "5.9", "5.10.1"].map(before), [true; 3]);
        assert_eq!(["5.11.0", "5.100.0", "6.1.0-50", "10.0", "", "odd"].map(before), [false; 6]);
    }
}
