//! What is mounted into the root: /proc, /sys and /dev, the files of the run, the caller's mounts.
//!
//! Three times are kept apart. In the host's view the sources of bind mounts are cloned. In the root
//! without mounts the mount points are found or made. In process 1's namespaces all is mounted: /proc
//! shows the pid namespace of whoever mounts it.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use oxbox_layers::tree::recorded;
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Uid, XattrFlags, chmodat, chownat, fsetxattr, openat,
    openat2, statat,
};
use rustix::io::Errno as Kernel;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};
use rustix::process::fchdir;

use crate::exec::failure::{Errno, Failure, OrFail};
use crate::exec::rung::Rung;
use crate::exec::sandbox::{Confinement, Sandbox};
use crate::exec::{Access, Mount, Root, SecretFile, Source, sys};

use super::devices::{self, Nodes};
use super::mountpoint::{Kind, Mountpoints};
use super::outer::open_place;
use super::root;

/// Docker's masked paths: what tells of the host or lets root change it, although no namespace covers
/// it. The thermal counters of each processor, which Docker masks too, would be one mount for each.
pub(super) const MASKED_PROC: [&str; 10] = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
];
pub(super) const MASKED_SYS: [&str; 2] = ["devices/virtual/powercap", "firmware"];

/// Docker's read-only paths.
pub(super) const READ_ONLY_PROC: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Mode of a directory in memory that covers nothing: the kernel's own.
pub(super) const TMPFS_MODE: u32 = 0o1777;

/// Everything to mount, in order.
pub(super) struct Planned {
    pub(super) items: Vec<Item>,
    pub(super) nodes: Nodes,
}

/// Whether a program is shown the /proc of whoever started the init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostProc {
    Shown,
    Hidden,
}

pub(super) struct Item {
    pub(super) target: String,
    pub(super) place: PathBuf,
    pub(super) what: What,
}

pub(super) enum What {
    /// A clone of the container's, where no other can be made.
    Proc(Option<OwnedFd>),
    /// A clone of the host's, where no other can be made.
    Sys(Option<OwnedFd>),
    Dev,
    Tmpfs {
        size_bytes: Option<u64>,
        mode: Option<u32>,
    },
    File {
        content: Vec<u8>,
        mode: u32,
    },
    Secret(SecretFile),
    Detached(OwnedFd, Kind),
}

impl Planned {
    /// Clones what comes from the host, which is still in sight.
    pub(super) fn open(
        mounts: Vec<Mount>,
        sandbox: &Sandbox,
        rung: Rung,
        host_proc: HostProc,
    ) -> Result<Self, Failure> {
        let mut nodes = Nodes::find(&sandbox.devices, rung)?;
        let item = |target: String, what| Item { target, place: PathBuf::new(), what };
        let sys = if rung.is_in_user_namespace() { host_sys()? } else { None };
        let proc = match host_proc {
            // As it is: what the container hides by a device stays readable, and empty.
            HostProc::Shown => Some(clone_mount(Path::new("/proc"))?),
            HostProc::Hidden => None,
        };
        let mut items = vec![
            item("/proc".to_owned(), What::Proc(proc)),
            item("/sys".to_owned(), What::Sys(sys)),
            item("/dev".to_owned(), What::Dev),
        ];
        for mount in mounts {
            let what = match mount.source {
                Source::Tmpfs { size_bytes } => What::Tmpfs { size_bytes, mode: None },
                Source::File { content, mode } => What::File { content, mode },
                Source::Secret(file) => What::Secret(file),
                Source::Bind { path, access } => clone(&path, access)?,
                Source::Tree { root, path, access } => tree(&root, &path, access, rung)?,
            };
            items.push(item(mount.target, what));
        }
        for (target, node) in nodes.elsewhere()? {
            items.push(item(target, What::Detached(node, Kind::File)));
        }
        Ok(Self { items, nodes })
    }

    /// Finds or makes the mount points, but for those that lie in another mount.
    pub(super) fn place(&mut self, mountpoints: &mut Mountpoints<'_>) -> Result<(), Failure> {
        for number in 0..self.items.len() {
            let (before, rest) = self.items.split_at_mut(number);
            let item = &mut rest[0];
            let outer = before.iter().rev().find_map(|outer| outer.inside(&item.target));
            item.place = match outer {
                Some(place) => place,
                None => {
                    // Before it is made, if it is not there.
                    if let What::Tmpfs { mode, .. } = &mut item.what {
                        *mode = mountpoints.mode(&item.target)?;
                    }
                    mountpoints.place(&item.target, item.what.kind())?
                }
            };
        }
        Ok(())
    }

    /// Mounts everything below `root`, which is also the working directory.
    pub(super) fn attach(self, root: &OwnedFd, sandbox: &Sandbox) -> Result<(), Failure> {
        let (mut items, mut nodes) = (self.items, Some(self.nodes));
        materialise(root, &mut items)?;
        let (mut proc, mut sys, mut dev) = (None, None, None);
        for Item { target, place, what } in items {
            let place = reach(root, &place, what.kind())?;
            match what {
                What::Proc(container) => proc = Some(mount_proc(container, &place)?),
                What::Sys(host) => sys = Some(mount_sys(host, sandbox, &place)?),
                What::Dev => {
                    let nodes = nodes.take().expect("because there is one /dev");
                    dev = Some(devices::mount(root, &place, nodes, sandbox)?);
                }
                What::Tmpfs { size_bytes, mode } => drop(mount_tmpfs(size_bytes, mode, &place)?),
                What::Detached(mount, _) => attach(&mount, &place, &target)?,
                What::File { .. } | What::Secret(_) => {}
            }
        }
        match (proc, sys, dev) {
            (Some(proc), Some(sys), Some(dev)) if sandbox.confinement == Confinement::Usual => {
                protect(&proc, &sys, &dev)
            }
            _ => Ok(()),
        }
    }
}

impl Item {
    /// Returns where `target` is if it lies in what this item mounts.
    fn inside(&self, target: &str) -> Option<PathBuf> {
        let rest = Path::new(target).strip_prefix(&self.target).ok()?;
        let plain = rest.components().all(|component| matches!(component, Component::Normal(_)));
        (plain && rest.components().next().is_some()).then(|| self.place.join(rest))
    }
}

impl What {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::File { .. } | Self::Secret(_) => Kind::File,
            Self::Detached(_, kind) => *kind,
            _ => Kind::Directory,
        }
    }
}

/// Opens a mount point. One that lies in another mount is made there if it lacks, and links on the way to it
/// are followed.
fn reach(root: &OwnedFd, place: &Path, kind: Kind) -> Result<OwnedFd, Failure> {
    match open_place(root, place) {
        Err(Failure::Io { errno: Errno(libc::ENOENT | libc::ELOOP | libc::EXDEV), .. }) => {
            let place = Mountpoints::new(root.as_fd()).inner(place, kind)?;
            open_place(root, &place)
        }
        other => other,
    }
}

fn clone(path: &Path, access: Access) -> Result<What, Failure> {
    detached(clone_mount(path)?, path, access)
}

/// Clones what is mounted at a path of the host, and all that is mounted below it.
fn clone_mount(path: &Path) -> Result<OwnedFd, Failure> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, path, flags).or_fail("clone the mount of", path)
}

/// Makes a root, out of the program's sight, and clones what is at a path in it.
fn tree(root: &Root, path: &str, access: Access, rung: Rung) -> Result<What, Failure> {
    let root = root::mount(root, rung)?;
    let path = Path::new(if path.is_empty() { "." } else { path });
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found =
        openat2(&root, path, flags, Mode::empty(), resolve).or_fail("open the source of a mount", path)?;
    detached(clone_at(&found, "")?, path, access)
}

fn detached(mount: OwnedFd, path: &Path, access: Access) -> Result<What, Failure> {
    if access == Access::ReadOnly {
        sys::make_read_only(mount.as_fd()).or_fail("make read-only", path)?;
    }
    let stat = rustix::fs::fstat(&mount).or_fail("stat", path)?;
    let is_directory = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir();
    if is_directory {
        // A program may make nodes there, but not use them: see `devices`.
        sys::refuse_devices(mount.as_fd()).or_fail("refuse devices in", path)?;
    }
    Ok(What::Detached(mount, if is_directory { Kind::Directory } else { Kind::File }))
}

/// Clones the host's /sys, with all that is mounted in it, to be read only.
fn host_sys() -> Result<Option<OwnedFd>, Failure> {
    match clone(Path::new("/sys"), Access::ReadOnly)? {
        What::Detached(mount, _) => Ok(Some(mount)),
        _ => Ok(None),
    }
}

/// Mounts /proc: one of this sandbox's own processes, or the container's.
fn mount_proc(container: Option<OwnedFd>, place: &OwnedFd) -> Result<OwnedFd, Failure> {
    let mount = match container {
        Some(container) => container,
        None => filesystem("proc", &[], quiet())?,
    };
    attach(&mount, place, "/proc")?;
    Ok(mount)
}

/// Mounts /sys: one of this sandbox's own network, which a user namespace with the host's may not have.
fn mount_sys(host: Option<OwnedFd>, sandbox: &Sandbox, place: &OwnedFd) -> Result<OwnedFd, Failure> {
    let mut attributes = quiet();
    attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, sandbox.confinement == Confinement::Usual);
    let own = filesystem("sysfs", &[], attributes);
    let mount = match (own, host) {
        (Err(Failure::Io { errno: Errno(libc::EPERM), .. }), Some(host)) => host,
        (own, _) => own?,
    };
    attach(&mount, place, "/sys")?;
    Ok(mount)
}

/// Gives a file away, or writes down to whom where there is no such id.
fn give(directory: &OwnedFd, name: &str, (uid, gid): (u32, u32)) -> rustix::io::Result<()> {
    let ids = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    match chownat(directory, name, ids.0, ids.1, AtFlags::empty()) {
        Err(Kernel::INVAL) => {
            let file = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            let text = recorded::owner_text(uid.into(), gid.into());
            // A tmpfs before Linux 6.6 takes no such attribute, and the file is root's.
            let _ = fsetxattr(file, recorded::OWNER, text.as_bytes(), XattrFlags::empty());
            Ok(())
        }
        given => given,
    }
}

/// Turns the files of the run into mounts of single files.
///
/// They live in one tmpfs. It must be attached for a moment, at /sys which is mounted later: before
/// Linux 6.15 nothing can be cloned from a mount that is not part of the namespace.
fn materialise(root: &OwnedFd, items: &mut [Item]) -> Result<(), Failure> {
    let Some(sys) = items.iter().find(|item| matches!(item.what, What::Sys(_))) else { return Ok(()) };
    materialise_at(&open_place(root, &sys.place)?, items)?;
    fchdir(root).or_fail("enter", "the root")
}

/// The same, at any place where nothing is mounted. Leaves no working directory.
pub(super) fn materialise_at(place: &OwnedFd, items: &mut [Item]) -> Result<(), Failure> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let files = mount_filesystem("tmpfs", &[("mode", "700")], attributes, place)?;
    for (number, item) in items.iter_mut().enumerate() {
        let mount = match &item.what {
            What::File { content, mode } => {
                file(&files, &number.to_string(), content, *mode).or_fail("make", &item.target)?
            }
            What::Secret(secret) => {
                let made = file(&files, &number.to_string(), secret.content.expose(), secret.mode);
                let mount = made.or_fail("make", &item.target)?;
                give(&files, &number.to_string(), (secret.uid, secret.gid)).or_fail("chown", &item.target)?;
                // Giving a file away takes setuid bits with it.
                let mode = Mode::from_raw_mode(secret.mode);
                chmodat(&files, number.to_string(), mode, AtFlags::empty()).or_fail("chmod", &item.target)?;
                sys::make_read_only(mount.as_fd()).or_fail("make read-only", &item.target)?;
                mount
            }
            _ => continue,
        };
        item.what = What::Detached(mount, Kind::File);
    }
    fchdir(&files).or_fail("enter", "the files of the run")?;
    unmount(".", UnmountFlags::DETACH).or_fail("detach", "the files of the run")
}

/// Makes a file and returns a mount of it alone.
fn file(files: &OwnedFd, name: &str, content: &[u8], mode: u32) -> std::io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    File::from(openat(files, name, flags, Mode::from_raw_mode(mode))?).write_all(content)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(open_tree(files, name, flags)?)
}

/// Hides and locks what is the host's in /proc and /sys.
fn protect(proc: &OwnedFd, sys: &OwnedFd, dev: &OwnedFd) -> Result<(), Failure> {
    for path in READ_ONLY_PROC {
        if !exists(proc, path)? {
            continue;
        }
        let mount = clone_at(proc, path)?;
        sys::make_read_only(mount.as_fd()).or_fail("make read-only", path)?;
        attach_at(&mount, proc, path)?;
    }
    let attributes = quiet() | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let mut empty: Option<OwnedFd> = None;
    let masks = MASKED_PROC.iter().map(|path| (proc, path)).chain(MASKED_SYS.iter().map(|path| (sys, path)));
    for (place, path) in masks {
        let Some(is_directory) = directory_at(place, path)? else { continue };
        let mount = match (&empty, is_directory) {
            (_, false) => clone_at(dev, "null")?,
            (Some(empty), true) => clone_at(empty, "")?,
            (None, true) => filesystem("tmpfs", &[("size", "0"), ("mode", "755")], attributes)?,
        };
        attach_at(&mount, place, path)?;
        if is_directory && empty.is_none() {
            empty = Some(mount);
        }
    }
    Ok(())
}

fn exists(directory: &OwnedFd, path: &str) -> Result<bool, Failure> {
    directory_at(directory, path).map(|found| found.is_some())
}

fn directory_at(directory: &OwnedFd, path: &str) -> Result<Option<bool>, Failure> {
    match statat(directory, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())),
        Err(Kernel::NOENT | Kernel::NOTDIR) => Ok(None),
        Err(error) => Err(error).or_fail("stat", path),
    }
}

fn mount_tmpfs(size_bytes: Option<u64>, mode: Option<u32>, place: &OwnedFd) -> Result<OwnedFd, Failure> {
    let size = size_bytes.map(|bytes| bytes.to_string());
    let mode = format!("{:o}", mode.unwrap_or(TMPFS_MODE));
    let mut options = vec![("mode", mode.as_str())];
    options.extend(size.as_deref().map(|size| ("size", size)));
    mount_filesystem(
        "tmpfs",
        &options,
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
        place,
    )
}

/// What a mount without programs or devices of its own is mounted with.
pub(super) fn quiet() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC
}

/// Makes a file system and mounts it at `place`.
pub(super) fn mount_filesystem(
    name: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
    place: &OwnedFd,
) -> Result<OwnedFd, Failure> {
    let mount = filesystem(name, options, attributes)?;
    attach(&mount, place, name)?;
    Ok(mount)
}

pub(super) fn filesystem(
    name: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Failure> {
    let make = || {
        let context = fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC)?;
        // What `mount` and `df` print in the first column.
        fsconfig_set_string(&context, "source", name)?;
        for (option, value) in options {
            fsconfig_set_string(&context, *option, *value)?;
        }
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    make().or_fail("make a mount of", name)
}

fn clone_at(directory: &OwnedFd, path: &str) -> Result<OwnedFd, Failure> {
    // With what is mounted below: a container's mounts cannot be taken from each other in a user namespace.
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    flags.set(OpenTreeFlags::AT_EMPTY_PATH, path.is_empty());
    open_tree(directory, path, flags).or_fail("clone", path)
}

pub(super) fn attach(mount: &OwnedFd, place: &OwnedFd, target: &str) -> Result<(), Failure> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", place, "", flags).or_fail("mount", target)
}

pub(super) fn attach_at(mount: &OwnedFd, directory: &OwnedFd, path: &str) -> Result<(), Failure> {
    move_mount(mount, "", directory, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).or_fail("mount at", path)
}
