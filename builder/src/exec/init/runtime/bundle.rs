//! The bundle: a tmpfs with config.json, the root, and all that is mounted into it.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, fstatvfs, mkdirat, openat};
use rustix::mount::{MountAttrFlags, MoveMountFlags, move_mount};
use rustix::process::fchdir;
use serde_json::Value;

use crate::exec::failure::{Failure, OrFail};
use crate::exec::runtime::config::{Mounted, ROOT};
use crate::exec::sandbox::{Confinement, Sandbox};
use crate::exec::{Network, Root};

use super::super::mountpoint::Kind;
use super::super::mounts::{self, Item, Planned, TMPFS_MODE, What, attach_at, mount_filesystem};
use super::{QUIET, devices};

/// Where what is mounted lies.
const MOUNTS: &str = "mounts";

/// What a bundle holds, as config.json has it.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) mounts: Vec<Mounted>,
    /// `linux.devices`.
    pub(super) devices: Vec<Value>,
    /// `linux.resources.devices`.
    pub(super) rules: Vec<Value>,
}

/// A bundle of this process's mount namespace.
pub(super) struct Bundle {
    folder: OwnedFd,
    path: PathBuf,
}

impl Bundle {
    /// Makes a bundle beside the root's mount point, moves the root there, and returns what config.json says of mounts.
    pub(super) fn lay_out(
        at: &Root,
        root: &OwnedFd,
        planned: Planned,
        surroundings: (&Sandbox, Network),
    ) -> Result<(Self, Contents), Failure> {
        let mountpoint = match at {
            Root::Directory(path) => path.clone(),
            Root::Overlay(overlay) => overlay.directory.join(&overlay.mountpoint),
        };
        let path = mountpoint.parent().unwrap_or(Path::new("/")).to_owned();
        let place = open(CWD, &path)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let folder = mount_filesystem("tmpfs", &[("mode", "700")], attributes, &place)?;
        let bundle = Self { folder, path };
        bundle.make(ROOT)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(root, "", &bundle.folder, ROOT, flags).or_fail("move to the bundle", "the root")?;
        bundle.make(MOUNTS)?;
        let contents = bundle.fill(planned, surroundings)?;
        Ok((bundle, contents))
    }

    /// Writes config.json.
    pub(super) fn write(&self, config: &Value) -> Result<(), Failure> {
        const NAME: &str = "config.json";
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&self.folder, NAME, flags, Mode::from_raw_mode(0o600)).or_fail("make", NAME)?;
        File::from(file).write_all(config.to_string().as_bytes()).or_fail("write", NAME)
    }

    /// Returns where something of it is.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes it the working directory.
    pub(super) fn enter(&self) -> Result<(), Failure> {
        fchdir(&self.folder).or_fail("enter", "the bundle")
    }

    /// Opens a file in it, to be read.
    pub(super) fn open(&self, name: &str) -> Result<File, Failure> {
        openat(&self.folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map(File::from)
            .or_fail("open", name)
    }

    fn make(&self, name: &str) -> Result<OwnedFd, Failure> {
        mkdirat(&self.folder, name, Mode::from_raw_mode(0o755)).or_fail("make", name)?;
        open(&self.folder, Path::new(name))
    }

    fn fill(
        &self,
        Planned { mut items, nodes }: Planned,
        (sandbox, network): (&Sandbox, Network),
    ) -> Result<Contents, Failure> {
        mounts::materialise_at(&open(&self.folder, Path::new(MOUNTS))?, &mut items)?;
        self.enter()?;
        let (mut contents, mut nodes) = (Contents::default(), Some(nodes));
        let mounts = &mut contents.mounts;
        for (number, Item { target, place, what }) in items.into_iter().enumerate() {
            let destination = place.to_str().map_or_else(|| target.clone(), |place| format!("/{place}"));
            let source = format!("{MOUNTS}/{number}");
            match what {
                What::Proc(_) => mounts.push(Mounted::of("proc", destination, &QUIET)),
                What::Sys(Some(host)) if network == Network::Host => {
                    mounts.push(self.show(&host, Kind::Directory, destination, source)?);
                }
                What::Sys(_) => {
                    let access = if sandbox.confinement == Confinement::Usual { "ro" } else { "rw" };
                    mounts.push(Mounted::of("sysfs", destination, &[&QUIET[..], &[access]].concat()));
                }
                What::Dev => {
                    let told = devices::told(nodes.take().expect("because there is one /dev"), sandbox);
                    mounts.extend(devices::mounts(&destination, sandbox));
                    for (at, (target, node)) in told.bound.into_iter().enumerate() {
                        let source = format!("{source}-{at}");
                        mounts.push(self.show(&node, Kind::File, target, source)?);
                    }
                    (contents.devices, contents.rules) = (told.nodes, told.rules);
                }
                What::Tmpfs { size_bytes, mode } => mounts.push(memory(destination, size_bytes, mode)),
                What::Detached(mount, kind) => {
                    mounts.push(self.show(&mount, kind, destination, source)?);
                }
                What::File { .. } | What::Secret(_) => {}
            }
        }
        Ok(contents)
    }

    /// Attaches a mount in the bundle, and says where it goes.
    fn show(
        &self,
        mount: &OwnedFd,
        kind: Kind,
        destination: String,
        source: String,
    ) -> Result<Mounted, Failure> {
        self.make_place(&source, kind)?;
        attach_at(mount, &self.folder, &source)?;
        let attributes = fstatvfs(mount).or_fail("look at", &destination)?.f_flag;
        Ok(Mounted::bind(destination, source, attributes))
    }

    fn make_place(&self, name: &str, kind: Kind) -> Result<(), Failure> {
        match kind {
            Kind::Directory => self.make(name).map(drop),
            Kind::File => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                openat(&self.folder, name, flags, Mode::from_raw_mode(0o600)).map(drop).or_fail("make", name)
            }
        }
    }
}

fn memory(destination: String, size_bytes: Option<u64>, mode: Option<u32>) -> Mounted {
    let mode = format!("mode={:o}", mode.unwrap_or(TMPFS_MODE));
    let size = size_bytes.map(|bytes| format!("size={bytes}"));
    let options: Vec<&str> = ["nosuid", "nodev", &mode].into_iter().chain(size.as_deref()).collect();
    Mounted::of("tmpfs", destination, &options)
}

fn open(at: impl std::os::fd::AsFd, path: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(at, path, flags, Mode::empty()).or_fail("open", path)
}
