//! `--device HOST[:CONTAINER[:rwm]]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::cut;

/// What BuildKit gives to insecure programs besides the usual devices, and the first loop devices.
const OF_INSECURE: [&str; 14] = [
    "/dev/kmsg",
    "/dev/cuse",
    "/dev/fuse",
    "/dev/kvm",
    "/dev/net/tun",
    "/dev/loop-control",
    "/dev/loop0",
    "/dev/loop1",
    "/dev/loop2",
    "/dev/loop3",
    "/dev/loop4",
    "/dev/loop5",
    "/dev/loop6",
    "/dev/loop7",
];

/// A device node of the host, or a folder of them, and where a program finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// On the host.
    pub source: PathBuf,
    /// In the sandbox.
    pub target: String,
    /// What may be done with it.
    pub access: Access,
    /// What becomes of one that the host has not.
    pub presence: Presence,
}

/// What may be done with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// It can be read.
    Read,
    /// It can be written.
    Write,
    /// Both.
    ReadWrite,
}

/// What becomes of a device that the host has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Presence {
    /// The program is not started.
    Required,
    /// It is left out.
    IfThere,
}

/// A text that names no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not HOST[:CONTAINER[:PERMISSIONS]], with absolute paths and permissions out of r, w and m"
)]
pub struct DeviceError {
    /// As it was written, cut.
    pub text: String,
}

impl Device {
    pub(super) fn of_insecure() -> Vec<Self> {
        let device = |path: &&str| Self {
            source: PathBuf::from(path),
            target: (*path).to_owned(),
            access: Access::ReadWrite,
            presence: Presence::IfThere,
        };
        OF_INSECURE.iter().map(device).collect()
    }
}

impl std::str::FromStr for Device {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, permissions) = match *parts.as_slice() {
            [source] => (source, source, None),
            [source, second] if second.starts_with('/') => (source, second, None),
            [source, second] => (source, source, Some(second)),
            [source, target, permissions] => (source, target, Some(permissions)),
            _ => return Err(DeviceError { text: cut(text) }),
        };
        let access = permissions.map_or(Some(Access::ReadWrite), access);
        match access {
            Some(access) if source.starts_with('/') && target.starts_with('/') => Ok(Self {
                source: PathBuf::from(source),
                target: target.to_owned(),
                access,
                presence: Presence::Required,
            }),
            _ => Err(DeviceError { text: cut(text) }),
        }
    }
}

/// Reads `rwm`; m, the right to make such a node, goes with `CAP_MKNOD` here.
fn access(permissions: &str) -> Option<Access> {
    let known = !permissions.is_empty() && permissions.chars().all(|letter| "rwm".contains(letter));
    match (permissions.contains('r'), permissions.contains('w')) {
        _ if !known => None,
        (true, false) => Some(Access::Read),
        (false, true) => Some(Access::Write),
        _ => Some(Access::ReadWrite),
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, Device};

    #[test]
    fn the_second_part_is_a_path_or_permissions() {
        let device = |text: &str| {
            let device: Device = text.parse().unwrap();
            (device.source.display().to_string(), device.target, device.access)
        };
        let fuse = || "/dev/fuse".to_owned();
        assert_eq!(device("/dev/fuse"), (fuse(), fuse(), Access::ReadWrite));
        assert_eq!(device("/dev/fuse:r"), (fuse(), fuse(), Access::Read));
        assert_eq!(device("/dev/fuse:/dev/x:wm"), (fuse(), "/dev/x".to_owned(), Access::Write));
    }

    #[test]
    fn what_is_no_device_is_said() {
        for text in
            ["", "fuse", "/dev/fuse:x", "/dev/fuse:/dev/x:", "/dev/a:/dev/b:r:w", "vendor.com/class=x"]
        {
            assert!(text.parse::<Device>().is_err(), "{text}");
        }
    }
}
