//! /dev: six devices, terminals, shared memory and message queues, all of this run only.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mkdirat, mknodat, openat, symlinkat};
use rustix::mount::{MountAttrFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::process::umask;

use crate::exec::failure::{Errno, Failure, OrFail};

use super::mounts::{mount_filesystem, quiet};

pub(super) const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

pub(super) const LINKS: [(&str, &str); 6] = [
    ("core", "/proc/kcore"),
    ("fd", "/proc/self/fd"),
    ("ptmx", "pts/ptmx"),
    ("stderr", "/proc/self/fd/2"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
];

/// Docker's sizes.
const DEV_OPTIONS: [(&str, &str); 2] = [("mode", "755"), ("size", "65536k")];
const SHM_OPTIONS: [(&str, &str); 2] = [("mode", "1777"), ("size", "65536k")];
const PTS_OPTIONS: [(&str, &str); 3] = [("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];

/// Clones of the host's devices, for who may make none; none for who may.
#[derive(Default)]
pub(super) struct HostDevices(Vec<OwnedFd>);

impl HostDevices {
    /// Clones them while they are in sight.
    pub(super) fn open() -> Result<Self, Failure> {
        let clone = |(name, ..): &(&str, u32, u32)| {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            open_tree(CWD, format!("/dev/{name}"), flags).or_fail("clone the host's /dev", name)
        };
        DEVICES.iter().map(clone).collect::<Result<_, _>>().map(Self)
    }

    /// Puts them into a /dev.
    fn place(&self, dev: &OwnedFd) -> Result<(), Failure> {
        for (mount, (name, ..)) in self.0.iter().zip(DEVICES) {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            drop(openat(dev, name, flags, Mode::from_raw_mode(0o666)).or_fail("make /dev", name)?);
            move_mount(mount, "", dev, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
                .or_fail("mount at /dev", name)?;
        }
        Ok(())
    }
}

/// Mounts /dev at `place`.
pub(super) fn mount(place: &OwnedFd, host: &HostDevices) -> Result<OwnedFd, Failure> {
    let dev = mount_filesystem("tmpfs", &DEV_OPTIONS, MountAttrFlags::MOUNT_ATTR_NOSUID, place)?;
    let before = umask(Mode::empty());
    let made = fill(&dev, host);
    umask(before);
    made?;
    let no_programs = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    mount_terminals(no_programs, &directory(&dev, "pts")?)?;
    mount_filesystem("tmpfs", &SHM_OPTIONS, quiet(), &directory(&dev, "shm")?)?;
    match mount_filesystem("mqueue", &[], quiet(), &directory(&dev, "mqueue")?) {
        // A kernel without message queues has no program that needs them.
        Ok(_) | Err(Failure::Io { errno: Errno(libc::ENODEV), .. }) => Ok(dev),
        Err(failure) => Err(failure),
    }
}

/// Mounts the terminals; of the group that usually has them, unless there is no such group.
fn mount_terminals(attributes: MountAttrFlags, place: &OwnedFd) -> Result<(), Failure> {
    match mount_filesystem("devpts", &PTS_OPTIONS, attributes, place) {
        Err(Failure::Io { errno: Errno(libc::EINVAL), .. }) => {
            mount_filesystem("devpts", &PTS_OPTIONS[..2], attributes, place).map(drop)
        }
        mounted => mounted.map(drop),
    }
}

fn fill(dev: &OwnedFd, host: &HostDevices) -> Result<(), Failure> {
    match host.0.is_empty() {
        true => make(dev)?,
        false => host.place(dev)?,
    }
    for (name, target) in LINKS {
        symlinkat(target, dev, name).or_fail("link /dev", name)?;
    }
    Ok(())
}

fn make(dev: &OwnedFd) -> Result<(), Failure> {
    for (name, major, minor) in DEVICES {
        let mode = Mode::from_raw_mode(0o666);
        mknodat(dev, name, FileType::CharacterDevice, mode, makedev(major, minor))
            .or_fail("make /dev", name)?;
    }
    Ok(())
}

fn directory(dev: &OwnedFd, name: &str) -> Result<OwnedFd, Failure> {
    mkdirat(dev, name, Mode::from_raw_mode(0o755)).or_fail("make /dev", name)?;
    openat(dev, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).or_fail("open /dev", name)
}
