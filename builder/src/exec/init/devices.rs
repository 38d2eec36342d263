//! /dev: six devices, terminals, shared memory and message queues, all of this run only.
//!
//! ```text
//! tmpfs of nodes   null zero full … fuse     detached: only its nodes are mounted, one by one
//!                    │ each a mount of its own
//! /dev (nodev)     null zero full … fuse  pts/  shm/  mqueue/
//! ```
//!
//! Nothing else is mounted with working devices, neither the root nor /dev itself: with `CAP_MKNOD`, which
//! Docker gives too, a program could otherwise make itself the host's disk. Docker forbids the use of such a
//! node by a cgroup of devices, which is not always to be had. In a user namespace no node can be made, and
//! the host's own are mounted instead.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    CWD, FileType, Gid, Mode, OFlags, Uid, chownat, makedev, mkdirat, mknodat, openat, symlinkat,
};
use rustix::io::Errno as Kernel;
use rustix::mount::{
    MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount,
};
use rustix::process::{fchdir, umask};

use crate::exec::failure::{Errno, Failure, OrFail};
use crate::exec::rung::Rung;
use crate::exec::sandbox::Sandbox;
use crate::exec::sandbox::device::{Access, Device, Presence};

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
pub(super) const DEV_OPTIONS: [(&str, &str); 2] = [("mode", "755"), ("size", "65536k")];
pub(super) const SHM_BYTES: u64 = 64 << 20;
pub(super) const PTS_OPTIONS: [(&str, &str); 3] = [("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];

/// A folder of devices that is given as one: /dev/bus/usb and its kin have some dozens.
const MAX_NODES: usize = 1024;

/// Device nodes to be had, found while the host is in sight.
pub(super) struct Nodes(Vec<Node>);

pub(super) struct Node {
    /// In the sandbox.
    pub(super) target: String,
    /// On the host.
    source: PathBuf,
    pub(super) file_type: FileType,
    pub(super) number: u64,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    /// The host's node itself, where none can be made.
    pub(super) host: Option<OwnedFd>,
}

impl Nodes {
    /// Finds the usual devices and those that are asked for.
    pub(super) fn find(devices: &[Device], rung: Rung) -> Result<Self, Failure> {
        let mut nodes = Vec::new();
        for (name, major, minor) in DEVICES {
            let path = format!("/dev/{name}");
            nodes.push(Node {
                target: path.clone(),
                source: PathBuf::from(path),
                file_type: FileType::CharacterDevice,
                number: makedev(major, minor),
                mode: 0o666,
                owner: (0, 0),
                host: None,
            });
        }
        for device in devices {
            find(&device.source, &device.target, device, &mut nodes)?;
        }
        // The last one that is asked for at a place is the one.
        let mut seen = BTreeSet::new();
        nodes.reverse();
        nodes.retain(|node| seen.insert(node.target.clone()));
        nodes.reverse();
        // In a user namespace nobody can make any.
        if rung.is_in_user_namespace() {
            for node in &mut nodes {
                node.host = Some(of_host(&node.source)?);
            }
        }
        Ok(Self(nodes))
    }

    /// Returns those that are not what every sandbox has.
    pub(super) fn unusual(self) -> impl Iterator<Item = Node> {
        let is_usual = |node: &Node| {
            DEVICES.iter().any(|&(name, major, minor)| {
                node.target == format!("/dev/{name}") && node.number == makedev(major, minor)
            })
        };
        self.0.into_iter().filter(move |node| !is_usual(node))
    }

    /// Takes those that are not to lie in /dev.
    pub(super) fn elsewhere(&mut self) -> Result<Vec<(String, OwnedFd)>, Failure> {
        let (inside, outside) = std::mem::take(&mut self.0).into_iter().partition(|node: &Node| {
            Path::new(&node.target).parent().is_some_and(|at| at.starts_with("/dev"))
        });
        self.0 = inside;
        let nodes = outside.into_iter();
        nodes.map(|node| of_host(&node.source).map(|mount| (node.target, mount))).collect()
    }
}

/// Adds the device at `source`, or those below it.
fn find(source: &Path, target: &str, device: &Device, nodes: &mut Vec<Node>) -> Result<(), Failure> {
    let refused = |errno| Failure::Device { path: source.display().to_string(), errno };
    let metadata = match fs::metadata(source) {
        Ok(metadata) => metadata,
        Err(_) if device.presence == Presence::IfThere => return Ok(()),
        Err(error) => return Err(refused(Errno::from(error))),
    };
    if metadata.is_dir() {
        let entries = fs::read_dir(source).map_err(|error| refused(Errno::from(error)))?;
        for entry in entries {
            let name = entry.map_err(|error| refused(Errno::from(error)))?.file_name();
            let Some(text) = name.to_str() else { continue };
            // As Docker: of a folder the devices, and no links.
            let path = source.join(&name);
            let kind = fs::symlink_metadata(&path).map(|found| found.file_type());
            if kind.is_ok_and(|kind| kind.is_dir() || is_device(kind)) {
                find(&path, &format!("{}/{text}", target.trim_end_matches('/')), device, nodes)?;
            }
        }
        return Ok(());
    }
    if !is_device(metadata.file_type()) || nodes.len() >= MAX_NODES {
        return Err(refused(Errno(libc::ENODEV)));
    }
    nodes.push(node(source, target, device.access, &metadata));
    Ok(())
}

fn is_device(kind: fs::FileType) -> bool {
    kind.is_char_device() || kind.is_block_device()
}

fn node(source: &Path, target: &str, access: Access, metadata: &Metadata) -> Node {
    let mask = match access {
        Access::Read => 0o444,
        Access::Write => 0o222,
        Access::ReadWrite => 0o666,
    };
    Node {
        target: target.to_owned(),
        source: source.to_owned(),
        file_type: match metadata.file_type().is_block_device() {
            true => FileType::BlockDevice,
            false => FileType::CharacterDevice,
        },
        number: metadata.rdev(),
        mode: metadata.mode() & mask,
        owner: (metadata.uid(), metadata.gid()),
        host: None,
    }
}

fn of_host(source: &Path) -> Result<OwnedFd, Failure> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, source, flags)
        .map_err(|error| Failure::Device { path: source.display().to_string(), errno: Errno::from(error) })
}

/// Mounts /dev at `place`; the working directory is `root`.
pub(super) fn mount(
    root: &OwnedFd,
    place: &OwnedFd,
    nodes: Nodes,
    sandbox: &Sandbox,
) -> Result<OwnedFd, Failure> {
    let before = umask(Mode::empty());
    let made = make(root, place, nodes);
    umask(before);
    let dev = made?;
    let no_programs = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    mount_terminals(no_programs, &directory(&dev, "pts")?)?;
    let size = sandbox.shm_bytes.unwrap_or(SHM_BYTES).to_string();
    let shm = [("mode", "1777"), ("size", size.as_str())];
    mount_filesystem("tmpfs", &shm, quiet(), &directory(&dev, "shm")?)?;
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

fn make(root: &OwnedFd, place: &OwnedFd, nodes: Nodes) -> Result<OwnedFd, Failure> {
    let mounts = materialise(root, place, nodes)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let dev = mount_filesystem("tmpfs", &DEV_OPTIONS, attributes, place)?;
    for (target, mount) in mounts {
        let path = Path::new(&target).strip_prefix("/dev").unwrap_or(Path::new(&target));
        parents(&dev, path)?;
        mknodat(&dev, path, FileType::RegularFile, Mode::from_raw_mode(0o600), 0).or_fail("make", &target)?;
        move_mount(&mount, "", &dev, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .or_fail("mount at", &target)?;
    }
    for (name, target) in LINKS {
        symlinkat(target, &dev, name).or_fail("link /dev", name)?;
    }
    Ok(dev)
}

/// Makes the nodes in a tmpfs of their own and returns a mount of each.
///
/// It is attached for a moment, where /dev will be: before Linux 6.15 nothing can be cloned from a mount that
/// is not part of the namespace.
fn materialise(root: &OwnedFd, place: &OwnedFd, nodes: Nodes) -> Result<Vec<(String, OwnedFd)>, Failure> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let shelf = mount_filesystem("tmpfs", &DEV_OPTIONS, attributes, place)?;
    let mut mounts = Vec::new();
    for (number, node) in nodes.0.into_iter().enumerate() {
        let Node { target, host, .. } = &node;
        if let Some(host) = host {
            let clone = host.try_clone().or_fail("keep", target)?;
            mounts.push((target.clone(), clone));
            continue;
        }
        let name = number.to_string();
        let mode = Mode::from_raw_mode(node.mode);
        mknodat(&shelf, &name, node.file_type, mode, node.number).or_fail("make the device", target)?;
        let (uid, gid) = (Uid::from_raw(node.owner.0), Gid::from_raw(node.owner.1));
        if node.owner != (0, 0) {
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            chownat(&shelf, &name, Some(uid), Some(gid), flags).or_fail("own the device", target)?;
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        mounts.push((node.target, open_tree(&shelf, &name, flags).or_fail("clone the device", &name)?));
    }
    fchdir(&shelf).or_fail("enter", "the devices")?;
    unmount(".", UnmountFlags::DETACH).or_fail("detach", "the devices")?;
    fchdir(root).or_fail("enter", "the root")?;
    Ok(mounts)
}

/// Makes the directories above a path in /dev.
fn parents(dev: &OwnedFd, path: &Path) -> Result<(), Failure> {
    let above = path.parent().unwrap_or(Path::new("")).ancestors().collect::<Vec<_>>();
    for directory in above.into_iter().rev().filter(|path| !path.as_os_str().is_empty()) {
        match mkdirat(dev, directory, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Kernel::EXIST) => {}
            Err(error) => return Err(error).or_fail("make /dev", directory),
        }
    }
    Ok(())
}

fn directory(dev: &OwnedFd, name: &str) -> Result<OwnedFd, Failure> {
    parents(dev, &Path::new(name).join("below"))?;
    openat(dev.as_fd(), name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).or_fail("open /dev", name)
}
