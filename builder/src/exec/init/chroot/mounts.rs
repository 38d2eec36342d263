//! What `--mount` shows, where nothing can be mounted: moved into the root for the run, or copied.
//!
//! ```text
//! cache, agent        ours and to be kept        moved there, and back again; one run at a time has it
//! cache, only read                               copied, once it is back: as if it were had
//! bind of a stage     made for this mount alone  moved there, and gone with the run
//! bind that is only read                         copied: nothing keeps root from writing to it
//! tmpfs, secret                                  on disk, for as long as the run lasts
//! ```
//!
//! Only what lies beneath the state folder is moved. What is anybody else's stays where it is.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use oxbox_layers::tar::Entry;
use oxbox_layers::tree::apply::{ApplyError, Devices, Entries, Options, Ownership, Whiteouts};
use oxbox_layers::tree::{self, ChangeSink, Xattrs, scan};
use rustix::fs::{FlockOperation, Gid, Mode, OFlags, ResolveFlags, Uid, fchown, flock, openat2};

use crate::exec::failure::{Failure, OrFail};
use crate::exec::rung::Rung;
use crate::exec::{Access, Mount, Root, Source};

use super::super::mountpoint::{Kind, Mountpoints};
use super::placed::Placed;

/// As in every layer: a tree that is mounted is none that fills a disk.
const MAX_BYTES: u64 = 1 << 40;
const MAX_ENTRIES: u64 = 1 << 26;

/// Where the state folder has what RUNs share, see `crate::mounts`.
const CACHES: &str = "mounts";

/// Mode of a directory in memory that covers nothing: the kernel's own.
const TMPFS_MODE: u32 = 0o1777;

/// Things that one run at a time may have, until this is dropped.
pub(super) struct Taken(#[expect(dead_code, reason = "it is there to be dropped")] Vec<File>);

/// Takes all that mounts will move, and what others may have moved, in an order that all runs have.
pub(super) fn take(mounts: &[Mount], state: &Path) -> Result<Taken, Failure> {
    let mut paths: Vec<&Path> = mounts.iter().filter_map(|mount| shared(&mount.source, state)).collect();
    paths.sort_unstable();
    paths.dedup();
    paths.into_iter().map(lock).collect::<Result<_, _>>().map(Taken)
}

/// The path of what is moved there and back.
fn movable<'a>(source: &'a Source, state: &Path) -> Option<&'a Path> {
    match source {
        Source::Bind { path, access: Access::ReadWrite } if path.starts_with(state) => Some(path),
        _ => None,
    }
}

/// The path of what others may move there and back meanwhile.
fn shared<'a>(source: &'a Source, state: &Path) -> Option<&'a Path> {
    match source {
        Source::Bind { path, .. } if path.starts_with(state.join(CACHES)) => Some(path),
        source => movable(source, state),
    }
}

/// A builder that is killed together with all of its container loses what a run had moved. What it held was a
/// cache, which begins anew.
fn make_lost(path: &Path) -> Result<(), Failure> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made.or_fail("make", path),
    }
}

fn lock(path: &Path) -> Result<File, Failure> {
    let mut name = path.as_os_str().to_owned();
    name.push(".taken");
    let file = File::options().create(true).append(true).open(&name).or_fail("open", &name)?;
    flock(&file, FlockOperation::LockExclusive).or_fail("lock", &name)?;
    Ok(file)
}

/// Has a mount's source seen at its target.
pub(super) fn place(
    mount: &Mount,
    placed: &mut Placed<'_>,
    mountpoints: &mut Mountpoints<'_>,
    state: &Path,
) -> Result<(), Failure> {
    let target = mount.target.as_str();
    match &mount.source {
        Source::File { content, mode } => placed.file(mountpoints, target, content, *mode).map(drop),
        Source::Secret(secret) => {
            let file = placed.file(mountpoints, target, secret.content.expose(), secret.mode)?;
            fchown(&file, Some(Uid::from_raw(secret.uid)), Some(Gid::from_raw(secret.gid)))
                .or_fail("give away", target)
        }
        Source::Tmpfs { .. } => {
            let mode = mountpoints.mode(target)?.unwrap_or(TMPFS_MODE);
            placed.directory(mountpoints, target, mode).map(drop)
        }
        Source::Tree { root: Root::Directory(root), path, .. } => {
            let from = inside(root, path)?;
            placed.moved(mountpoints, target, (&from, kind(&from)?), None)
        }
        Source::Bind { path, .. } if movable(&mount.source, state).is_some() => {
            make_lost(path)?;
            placed.moved(mountpoints, target, (path, kind(path)?), Some(path.clone()))
        }
        Source::Bind { path, access: Access::ReadOnly } => {
            if shared(&mount.source, state).is_some() {
                make_lost(path)?;
            }
            let copy = placed.room()?;
            let to = copy.join("copy");
            let kind = kind(path)?;
            copy_to(path, &to, kind)?;
            placed.moved(mountpoints, target, (&to, kind), None)
        }
        Source::Bind { .. } | Source::Tree { .. } => {
            Err(Failure::Unable { what: format!("mount at {target}"), rung: Rung::Chroot })
        }
    }
}

/// Returns where a path of a root is; links in it are followed inside the root.
fn inside(root: &Path, path: &str) -> Result<PathBuf, Failure> {
    let path = path.trim_start_matches('/');
    if path.is_empty() {
        return Ok(root.to_owned());
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = rustix::fs::open(root, flags | OFlags::DIRECTORY, Mode::empty()).or_fail("open", root)?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found: OwnedFd = openat2(opened, path, flags, Mode::empty(), resolve).or_fail("open", path)?;
    let own = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found));
    fs::read_link(own).or_fail("find", path)
}

fn kind(path: &Path) -> Result<Kind, Failure> {
    let found = fs::symlink_metadata(path).or_fail("stat", path)?;
    Ok(if found.is_dir() { Kind::Directory } else { Kind::File })
}

/// Copies a file or a whole directory, with all that it is.
fn copy_to(from: &Path, to: &Path, kind: Kind) -> Result<(), Failure> {
    match kind {
        Kind::File => fs::copy(from, to).map(drop).or_fail("copy", from)?,
        Kind::Directory => copy_tree(from, to).map_err(|error| {
            let what = format!("copy {}: {error}", from.display());
            Failure::Unable { what, rung: Rung::Chroot }
        })?,
    }
    let found = fs::metadata(from).or_fail("stat", from)?;
    std::os::unix::fs::chown(to, Some(found.uid()), Some(found.gid())).or_fail("chown", to)?;
    fs::set_permissions(to, found.permissions()).or_fail("set the mode of", to)
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), Box<dyn std::error::Error>> {
    fs::create_dir(to)?;
    let source = tree::Root::open(from)?;
    let entries = scan::scan(&source, Xattrs::CapabilityAndUser)?;
    let target = tree::Root::open(to)?;
    let options = Options {
        ownership: Ownership::Keep,
        devices: Devices::Recorded,
        whiteouts: Whiteouts::Apply,
        xattrs: Xattrs::CapabilityAndUser,
        max_bytes: MAX_BYTES,
        max_entries: MAX_ENTRIES,
    };
    let mut copy = Copy(Entries::new(&target, &options)?);
    tree::emit(&source, &entries, &mut copy)?;
    copy.0.finish()?;
    Ok(())
}

struct Copy<'a>(Entries<'a>);

impl ChangeSink for Copy<'_> {
    type Error = ApplyError;

    fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), ApplyError> {
        self.0.apply(entry, content)
    }
}
