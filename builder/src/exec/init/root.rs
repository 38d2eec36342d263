//! Mounts the root of a sandbox in the init's own mount namespace.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, open, unlinkat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use rustix::process::chdir;

use crate::exec::failure::{Errno, Failure, OrFail};
use crate::exec::rung::Rung;
use crate::exec::{Overlay, Root};

/// `redirect_dir` and `metacopy` would leave files in the upper directory whose content is elsewhere:
/// the upper directory alone must say what changed. `index` would tie it to these lower directories.
const OPTIONS: [(&str, &str); 4] =
    [("index", "off"), ("nfs_export", "off"), ("redirect_dir", "off"), ("metacopy", "off")];

/// `volatile`: else unmounting syncs the whole file system of the upper directory, for each RUN. What a crash may
/// lose is an upper directory, which is swept anyway. `userxattr`: in a user namespace nobody may set trusted.*;
/// it turns off `redirect_dir` and `metacopy` by itself and takes no word about them.
const FLAGS: [&str; 2] = ["volatile", "userxattr"];

/// Options with a value, and those without.
type Options = (&'static [(&'static str, &'static str)], &'static [&'static str]);

fn options(rung: Rung) -> Options {
    match rung.is_in_user_namespace() {
        true => (&OPTIONS[..2], &FLAGS),
        false => (&OPTIONS, &FLAGS[..1]),
    }
}

/// Mounts `root` and returns it.
pub(super) fn mount(root: &Root, rung: Rung) -> Result<OwnedFd, Failure> {
    match root {
        Root::Directory(path) => bind(path),
        Root::Overlay(overlay) => {
            chdir(&overlay.directory).or_fail("enter", &overlay.directory)?;
            forget_volatile(&overlay.work).or_fail("reuse", &overlay.work)?;
            let options = options(rung);
            match stack(overlay, options) {
                // Before Linux 6.8 the kernel does not take lower directories one by one; before 6.5 it
                // only says so at the very end.
                Err(first @ Failure::Overlay { errno: Errno(libc::EINVAL), .. }) => {
                    stack_in_one_page(overlay, options).map_err(|_| first)
                }
                result => result,
            }
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

fn stack(overlay: &Overlay, options: Options) -> Result<OwnedFd, Failure> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).or_fail("open", "overlayfs")?;
    configure(&context, overlay, options)
        .map_err(|(option, error)| refused(overlay, option, last_word(&context), error))?;
    let mounted = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        .or_fail("mount", "overlayfs")?;
    attach_at(&mounted, &overlay.mountpoint)?;
    Ok(mounted)
}

/// Mounts by the older interface, whose options share one page.
///
/// The directories are opened, and named from `/proc/self/fd`: three or four bytes each instead of a
/// path, which makes room for some eight hundred layers.
fn stack_in_one_page(overlay: &Overlay, options: Options) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |path: &Path| open(path, flags, Mode::empty()).or_fail("open", path);
    let lowers = overlay.lowers.iter().map(|lower| open(lower)).collect::<Result<Vec<_>, _>>()?;
    let (upper, work) = (open(&overlay.upper)?, open(&overlay.work)?);
    let number = |fd: &OwnedFd| fd.as_raw_fd().to_string();
    let (pairs, flags) = options;
    let mut options: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    options.extend(flags.iter().map(|&flag| flag.to_owned()));
    options.push(format!("lowerdir={}", lowers.iter().map(number).collect::<Vec<_>>().join(":")));
    options.push(format!("upperdir={},workdir={}", number(&upper), number(&work)));
    let options = CString::new(options.join(",")).expect("digits and words hold no zero byte");

    let mountpoint = overlay.directory.join(&overlay.mountpoint);
    chdir("/proc/self/fd").or_fail("enter", "/proc/self/fd")?;
    rustix::mount::mount("overlay", &mountpoint, "overlay", MountFlags::empty(), options.as_c_str())
        .map_err(|error| refused(overlay, "in one page".to_owned(), None, error))?;
    open(&mountpoint)
}

fn refused(overlay: &Overlay, option: String, reason: Option<String>, error: rustix::io::Errno) -> Failure {
    Failure::Overlay { layers: overlay.lowers.len(), option, reason, errno: Errno::from(error) }
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
fn configure(
    context: &OwnedFd,
    overlay: &Overlay,
    (pairs, flags): Options,
) -> Result<(), (String, rustix::io::Errno)> {
    let set = |name: &str, value: &Path| {
        fsconfig_set_string(context, name, value)
            .map_err(|error| (format!("{name}={}", value.display()), error))
    };
    for (name, value) in [("source", "overlay")].iter().chain(pairs) {
        set(name, Path::new(value))?;
    }
    for &flag in flags {
        fsconfig_set_flag(context, flag).map_err(|error| (flag.to_owned(), error))?;
    }
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

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{Mode, OFlags, openat};
    use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
    use rustix::thread::UnshareFlags;

    use super::{chdir, options, stack_in_one_page};
    use crate::exec::rung::Rung;
    use crate::exec::{Overlay, sys};

    #[test]
    fn kernels_without_one_by_one_stack_hundreds_of_layers_too() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: mounting needs root");
            return;
        }
        // A mount namespace and a working directory of this thread only.
        sys::unshare(UnshareFlags::NEWNS).unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        let room = tempfile::tempdir().unwrap();
        let lowers: Vec<_> = (0..400).map(|number| format!("lower{number}").into()).collect();
        for name in lowers.iter().chain(&["upper", "work", "merged"].map(Into::into)) {
            fs::create_dir(room.path().join(name)).unwrap();
        }
        fs::write(room.path().join("lower399/file"), "").unwrap();
        chdir(room.path()).unwrap();
        let overlay = Overlay {
            directory: room.path().to_owned(),
            lowers,
            upper: "upper".into(),
            work: "work".into(),
            mountpoint: "merged".into(),
        };
        let root = stack_in_one_page(&overlay, options(Rung::Root));
        openat(root.unwrap(), "file", OFlags::PATH, Mode::empty()).unwrap();
        chdir("/").unwrap();
        unmount(room.path().join("merged"), UnmountFlags::DETACH).unwrap();
    }
}
