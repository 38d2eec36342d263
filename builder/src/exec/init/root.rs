//! Mounts the root of a sandbox in the init's own mount namespace.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, open, unlinkat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use rustix::process::chdir;

use crate::exec::failure::{Errno, Failure, OrFail};
use crate::exec::{Overlay, Root};

/// `redirect_dir` and `metacopy` would leave files in the upper directory whose content is elsewhere:
/// the upper directory alone must say what changed. `index` would tie it to these lower directories.
const OVERLAY_OPTIONS: [(&str, &str); 4] =
    [("redirect_dir", "off"), ("metacopy", "off"), ("index", "off"), ("nfs_export", "off")];

/// Mounts `root` and returns it.
pub(super) fn mount(root: &Root) -> Result<OwnedFd, Failure> {
    match root {
        Root::Directory(path) => bind(path),
        Root::Overlay(overlay) => {
            let mounted = stack(overlay)?;
            let mountpoint = overlay.directory.join(&overlay.mountpoint);
            attach_at(&mounted, &mountpoint)?;
            Ok(mounted)
        }
    }
}

fn bind(path: &Path) -> Result<OwnedFd, Failure> {
    // Only a mount can become a root, and a clone of it leaves the host's own mount as it is.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mounted = open_tree(CWD, path, flags).or_fail("clone the mount of", path)?;
    attach_at(&mounted, path)?;
    Ok(mounted)
}

fn attach_at(mounted: &OwnedFd, path: &Path) -> Result<(), Failure> {
    let place = open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .or_fail("open", path)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mounted, "", &place, "", flags).or_fail("mount at", path)
}

fn stack(overlay: &Overlay) -> Result<OwnedFd, Failure> {
    chdir(&overlay.directory).or_fail("enter", &overlay.directory)?;
    forget_volatile(&overlay.work).or_fail("reuse", &overlay.work)?;
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).or_fail("open", "overlayfs")?;
    configure(&context, overlay).map_err(|(option, error)| Failure::Overlay {
        layers: overlay.lowers.len(),
        option,
        reason: last_word(&context),
        errno: Errno::from(error),
    })?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).or_fail("mount", "overlayfs")
}

/// Lets an upper directory be mounted again, for a second program in the same step.
///
/// A volatile mount leaves a mark, since after a crash of the machine its files may be torn. Whoever
/// hands an upper directory in vouches that it is of this boot.
fn forget_volatile(work: &Path) -> rustix::io::Result<()> {
    let mark = work.join("work/incompat/volatile");
    for (path, flags) in [(mark.join("dirty"), AtFlags::empty()), (mark, AtFlags::REMOVEDIR)] {
        match unlinkat(CWD, path, flags) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sets every option and creates the superblock; an error names the option.
fn configure(context: &OwnedFd, overlay: &Overlay) -> Result<(), (String, rustix::io::Errno)> {
    let set = |name: &str, value: &Path| {
        fsconfig_set_string(context, name, value)
            .map_err(|error| (format!("{name}={}", value.display()), error))
    };
    for (name, value) in OVERLAY_OPTIONS {
        set(name, Path::new(value))?;
    }
    // Without it unmounting syncs the whole file system of the upper directory, for each RUN. What a
    // crash may lose is an upper directory, which is swept anyway.
    fsconfig_set_flag(context, "volatile").map_err(|error| ("volatile".to_owned(), error))?;
    // One by one: a single `lowerdir` of all would have to fit into a page.
    for lower in &overlay.lowers {
        set("lowerdir+", lower)?;
    }
    set("upperdir", &overlay.upper)?;
    set("workdir", &overlay.work)?;
    fsconfig_create(context).map_err(|error| ("create".to_owned(), error))
}

/// Reads the last message that the kernel left in the context: `e overlay: …`.
fn last_word(context: &OwnedFd) -> Option<String> {
    let mut last = None;
    let mut message = [0; 512];
    while let Ok(count @ 1..) = rustix::io::read(context, &mut message) {
        last = Some(String::from_utf8_lossy(&message[..count]).trim().to_owned());
    }
    last
}
