//! Tries a rung: a child process does what a RUN will do, and says how far it came.
//!
//! ```text
//! root                 namespaces ▶ private mounts ▶ trusted.* ▶ overlayfs ▶ its attributes
//! rootless, single-id  user namespace ▶ one id mapped ▶ namespaces ▶ overlayfs with userxattr ▶ its attributes ▶ /proc
//!                      (a grandchild)
//! chroot               chroot, and the capabilities that owners need
//! ```
//!
//! The child makes system calls and nothing else: it may be forked from a process with many threads.
//! newuidmap is not run here, that would double its costs; who enters sees whether it works.

use std::fs;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, XattrFlags, open, unlinkat};
use rustix::io::Errno as Kernel;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, mount_change,
};
use rustix::process::{WaitOptions, chdir, chroot, waitpid};
use rustix::thread::{CapabilitySet, UnshareFlags, capabilities};
use tempfile::TempDir;

use super::obstacle::Step;
use super::{Mapping, Obstacle, Rung};
use crate::context::Scratch;
use crate::exec::{Errno, sys};

/// How far a child came: a step that was refused, and the kernel's word.
type Stuck = (Step, Kernel);

/// What a RUN without namespaces needs, with what it is called.
const NEEDED: [(CapabilitySet, &str); 6] = [
    (CapabilitySet::SYS_CHROOT, "CAP_SYS_CHROOT"),
    (CapabilitySet::CHOWN, "CAP_CHOWN"),
    (CapabilitySet::DAC_OVERRIDE, "CAP_DAC_OVERRIDE"),
    (CapabilitySet::FOWNER, "CAP_FOWNER"),
    (CapabilitySet::SETUID, "CAP_SETUID"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
];

/// Whether this process has the rights of root over the whole machine, as far as can be seen without trying.
pub(super) fn is_root_of_the_machine() -> bool {
    // A user namespace other than the first one maps less than all there is.
    let all = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let is_first = all.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
    is_first && holds(CapabilitySet::SYS_ADMIN)
}

/// Tries a rung.
pub(super) fn attempt(rung: Rung, state: &Path) -> Result<(), Obstacle> {
    match rung {
        Rung::Root => root(state),
        Rung::Rootless => {
            Mapping::find()?;
            user_namespace(rung, state)
        }
        Rung::SingleId => user_namespace(rung, state),
        Rung::Chroot => change_root(),
        Rung::None => Ok(()),
    }
}

fn root(state: &Path) -> Result<(), Obstacle> {
    if !holds(CapabilitySet::SYS_ADMIN) {
        let (reason, hint) = match rustix::process::geteuid().is_root() {
            true => ("this is root without CAP_SYS_ADMIN", "a container needs --privileged for it"),
            false => ("this is not root", "run it as root"),
        };
        return Err(Obstacle::missing(Rung::Root, reason, hint));
    }
    can_pivot(Rung::Root)?;
    let layers = Layers::make(state).map_err(|error| unmade(Rung::Root, &error))?;
    layers.try_with(Rung::Root, |layers| {
        separate()?;
        chdir(layers.path()).map_err(at(Step::Overlay))?;
        rustix::fs::setxattr(c".", c"trusted.overlay.oxbox", b"y", XattrFlags::empty())
            .map_err(at(Step::Attributes))?;
        overlay(Flavour::Trusted)
    })
}

fn user_namespace(rung: Rung, state: &Path) -> Result<(), Obstacle> {
    can_pivot(rung)?;
    let layers = Layers::make(state).map_err(|error| unmade(rung, &error))?;
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let (users, groups) = (format!("0 {uid} 1"), format!("0 {gid} 1"));
    layers.try_with(rung, |layers| {
        sys::unshare(UnshareFlags::NEWUSER).map_err(kernel).map_err(at(Step::UserNamespace))?;
        let maps = [(c"/proc/self/uid_map", users.as_str()), (c"/proc/self/setgroups", "deny")];
        for (path, text) in maps.into_iter().chain([(c"/proc/self/gid_map", groups.as_str())]) {
            let map = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map_err(at(Step::Map))?;
            rustix::io::write(map, text.as_bytes()).map_err(at(Step::Map))?;
        }
        separate()?;
        chdir(layers.path()).map_err(at(Step::Overlay))?;
        overlay(Flavour::User)?;
        in_child(&mut || proc_mount())
    })
}

/// Whether the root can be left for another. To try it would take one more namespace, and only one root is known that
/// the kernel refuses to part with: its own first.
fn can_pivot(rung: Rung) -> Result<(), Obstacle> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    match has_first_root(&mounts) {
        true => {
            let reason = "the root directory here is the kernel's first (rootfs, an initramfs), which pivot_root cannot leave";
            Err(Obstacle::missing(rung, reason, "switch_root to a filesystem that is mounted"))
        }
        false => Ok(()),
    }
}

/// `1 1 0:2 / / rw - rootfs rootfs rw`: hidden from whoever was led away from there.
fn has_first_root(mounts: &str) -> bool {
    let is_it = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        Some(before.split(' ').nth(4)? == "/" && after.split(' ').next()? == "rootfs")
    };
    mounts.lines().any(|line| is_it(line) == Some(true))
}

fn change_root() -> Result<(), Obstacle> {
    let missing: Vec<_> =
        NEEDED.iter().filter(|(capability, _)| !holds(*capability)).map(|(_, name)| *name).collect();
    if !missing.is_empty() {
        let reason = format!("this process has no {}", missing.join(", "));
        let hint = "run as root of a container with the capabilities that Docker and Podman give by default";
        return Err(Obstacle::missing(Rung::Chroot, reason, hint));
    }
    let refused = |(step, errno)| Obstacle::refused(Rung::Chroot, step, Errno::from(errno));
    in_child(&mut || chroot(c"/").map_err(at(Step::Chroot))).map_err(refused)
}

/// The directories of a small overlay.
struct Layers(Folder);

/// Where they are; removed when dropped.
enum Folder {
    /// In the state, where a build finds what a killed one left.
    Scratch(Scratch),
    /// Elsewhere, where there is no state yet.
    Aside(TempDir),
}

impl Layers {
    fn make(state: &Path) -> io::Result<Self> {
        let folder = match state.is_dir().then(|| Scratch::beside_others(state)) {
            Some(Ok(scratch)) => Folder::Scratch(scratch),
            _ => Folder::Aside(tempfile::Builder::new().prefix("oxbox-trial-").tempdir()?),
        };
        for name in ["lower", "upper", "work"] {
            fs::create_dir(folder.path().join(name))?;
        }
        Ok(Self(folder))
    }

    /// Has a child try something, and says how far it came.
    fn try_with(
        self,
        rung: Rung,
        mut child: impl FnMut(&Folder) -> Result<(), Stuck>,
    ) -> Result<(), Obstacle> {
        let refused = |(step, errno)| Obstacle::refused(rung, step, Errno::from(errno));
        in_child(&mut || child(&self.0)).map_err(refused)
    }
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Scratch(scratch) => scratch.path(),
            Self::Aside(folder) => folder.path(),
        }
    }
}

fn unmade(rung: Rung, error: &io::Error) -> Obstacle {
    let hint = "--root and OXBOX_ROOT name another folder";
    Obstacle::missing(rung, format!("cannot write into the state folder: {error}"), hint)
}

fn separate() -> Result<(), Stuck> {
    let flags = UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    sys::unshare(flags).map_err(kernel).map_err(at(Step::Namespaces))?;
    mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).map_err(at(Step::Private))
}

/// Whose attributes the overlay uses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flavour {
    Trusted,
    User,
}

/// Mounts an overlay of the current directory's three, nowhere, and takes away what the kernel left in there.
fn overlay(flavour: Flavour) -> Result<(), Stuck> {
    let mount = || -> rustix::io::Result<OwnedFd> {
        let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let options = [(c"source", c"overlay"), (c"lowerdir", c"lower"), (c"upperdir", c"upper")];
        for (name, value) in options.into_iter().chain([(c"workdir", c"work")]) {
            fsconfig_set_string(context.as_fd(), name, value)?;
        }
        fsconfig_set_flag(context.as_fd(), c"volatile")?;
        if flavour == Flavour::User {
            fsconfig_set_flag(context.as_fd(), c"userxattr")?;
        }
        fsconfig_create(context.as_fd())?;
        fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    };
    let mounted = mount().map_err(at(Step::Overlay))?;
    sys::refuse_devices(mounted.as_fd()).map_err(kernel).map_err(at(Step::MountAttributes))?;
    drop(mounted);
    // Here and not by the parent: as another user it could not even look into what the kernel made.
    let left = [
        (c"work/work/incompat/volatile/dirty", AtFlags::empty()),
        (c"work/work/incompat/volatile", AtFlags::REMOVEDIR),
        (c"work/work/incompat", AtFlags::REMOVEDIR),
        (c"work/work", AtFlags::REMOVEDIR),
        (c"work/index", AtFlags::REMOVEDIR),
    ];
    for (path, flags) in left {
        let _ = unlinkat(CWD, path, flags);
    }
    Ok(())
}

/// Makes a /proc of the namespaces that this process was born in.
fn proc_mount() -> Result<(), Stuck> {
    let mount = || {
        let context = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(context.as_fd())?;
        fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    };
    mount().map(drop).map_err(at(Step::Proc))
}

/// Runs `attempt` in a child process, which must do nothing but system calls.
fn in_child(attempt: &mut dyn FnMut() -> Result<(), Stuck>) -> Result<(), Stuck> {
    let failed = |error: io::Error| (Step::Fork, kernel(error));
    let (reader, writer) = io::pipe().map_err(failed)?;
    let child = sys::fork(|| match attempt() {
        Ok(()) => 0,
        Err(stuck) => tell(writer.as_fd(), stuck),
    });
    let child = child.map_err(failed)?;
    drop(writer);
    let mut said = [0; 5];
    let heard = (&reader).read_exact(&mut said);
    loop {
        match waitpid(Some(child), WaitOptions::empty()) {
            Err(Kernel::INTR) => {}
            Err(error) => return Err((Step::Fork, error)),
            Ok(Some((_, status))) if heard.is_err() && status.exit_status() == Some(0) => return Ok(()),
            Ok(_) => break,
        }
    }
    let [step, errno @ ..] = said;
    let step = Step::ALL.into_iter().find(|known| *known as u8 == step).unwrap_or(Step::Fork);
    match heard {
        Ok(()) => Err((step, Kernel::from_raw_os_error(i32::from_le_bytes(errno)))),
        // Killed, as by a filter that does not refuse but kill.
        Err(_) => Err((Step::Fork, Kernel::PERM)),
    }
}

fn tell(writer: BorrowedFd<'_>, (step, errno): Stuck) -> i32 {
    let [a, b, c, d] = errno.raw_os_error().to_le_bytes();
    let _ = rustix::io::write(writer, &[step as u8, a, b, c, d]);
    1
}

fn holds(capability: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|held| held.effective.contains(capability))
}

fn at(step: Step) -> impl Fn(Kernel) -> Stuck {
    move |errno| (step, errno)
}

fn kernel(error: io::Error) -> Kernel {
    Kernel::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests {
    use super::has_first_root;

    #[test]
    fn the_kernels_first_root_is_told_from_others() {
        assert!(has_first_root(
            "1 1 0:2 / / rw - rootfs rootfs rw,size=363732k\n22 1 0:5 / /dev rw - devtmpfs none rw\n"
        ));
        assert!(!has_first_root("25 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"));
        assert!(!has_first_root(
            "25 1 254:0 / / rw - ext4 /dev/vda rw\n26 25 0:2 / /old rw - rootfs rootfs rw\n"
        ));
        assert!(!has_first_root("nonsense\n\n1 2 - \n"));
    }
}
