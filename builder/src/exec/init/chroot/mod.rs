//! A run where nothing can be mounted and no namespace made: a changed root over a plain directory.
//!
//! ```text
//! oxbox-init   stays outside: root of the container, subreaper, has the files of the run placed and taken away
//!    └▶ program   chroot, fewer capabilities, user, execve          what it leaves running becomes the init's child
//! ```
//!
//! What differs from a run in namespaces, and cannot be helped:
//!
//! - /proc is made of answers, see `proc/`, or empty. /sys is empty, the network and the host's name are the
//!   container's.
//! - /dev has real devices only if mknod is allowed (Docker's default, not Podman's): see `devices.rs`.
//! - The program sees no process of others only because there is no /proc, and could signal them if it guessed
//!   their ids. It has no CAP_SYS_CHROOT, with which root leaves a changed root, and so no chroot of its own.
//!
//! In a container its seccomp filter holds for us too, and no other is loaded: that would take `no_new_privs`, and
//! sudo with it.

mod devices;
mod mounts;
mod placed;
pub(super) mod proc;

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, open, openat};
use rustix::process::{
    DumpableBehavior, Pid, chdir, chroot, fchdir, getpid, getppid, set_child_subreaper,
    set_dumpable_behavior, set_parent_process_death_signal,
};

use crate::exec::failure::{Failure, OrFail};
use crate::exec::plan::Plan;
use crate::exec::{Exit, Mount, Network, Root, cgroup, hosts, sys};

use super::first::{self, Given};
use super::mountpoint::Mountpoints;
use super::{leftovers, outer, terminal};
use devices::Devices;
use placed::Placed;
use proc::Office;

/// Runs the program of a plan.
pub(super) fn carry_out(mut plan: Plan, socket: &UnixStream) -> Result<Exit, Failure> {
    outlive(plan.parent)?;
    let unable = |what: &str| Failure::Unable { what: what.to_owned(), rung: plan.rung };
    let Root::Directory(path) = plan.process.root.clone() else {
        return Err(unable("stack layers"));
    };
    match plan.process.network {
        Network::Host => {}
        Network::None => return Err(unable("keep the network away (--network=none)")),
        Network::Private => return Err(unable("make a network of its own (--network=private)")),
    }
    if !plan.process.sandbox.devices.is_empty() {
        return Err(unable("give devices (--device, --security=insecure)"));
    }
    cgroup::enter(cgroup::open(&plan.process.sandbox.groups)?)?;
    plan.process.hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(&path, flags, Mode::empty()).or_fail("open", &path)?;
    let mut mounts = hosts::mounts(&plan.process, &plan.resolver);
    mounts.append(&mut plan.process.mounts);
    let Plan { process, descriptors, rung, processes, .. } = plan;
    let identity = outer::identify(&root, &process.user)?;
    let given = Given { identity, process, rung, processes, descriptors };

    let mut mountpoints = Mountpoints::new(root.as_fd());
    // The root is beneath the state folder: state/roots/<claim>/fs.
    let state = path.ancestors().nth(3).unwrap_or(&path);
    let _taken = mounts::take(&mounts, state)?;
    let mut placed = Placed::new(&root, &path)?;
    let result = mountpoints
        .working_directory(&given.process.cwd, &given.identity)
        .and_then(|()| furnish(&mut placed, &mut mountpoints, &mounts, state))
        .and_then(|(folder, devices)| watch(&given, (&root, &path, &folder), devices, socket));
    // Also after a failure: the caller may want to look at what is there.
    let removed = placed.remove().and_then(|()| mountpoints.remove());
    let exit = result?;
    removed.map(|()| exit)
}

/// Has this process live on when the builder dies, until it has ended what it started and taken away what it placed;
/// the end of the socket tells.
fn outlive(parent: i32) -> Result<(), Failure> {
    set_parent_process_death_signal(None).or_fail("outlive", "the builder")?;
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(parent) {
        return Err(Failure::Vanished { status: "the builder is gone".to_owned() });
    }
    set_child_subreaper(Some(getpid())).or_fail("become", "a subreaper")?;
    // The program may be root here: it must not look into this process, which has more capabilities.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).or_fail("close", "the init to inspection")
}

/// Places all that the program finds besides its image.
fn furnish(
    placed: &mut Placed<'_>,
    mountpoints: &mut Mountpoints<'_>,
    mounts: &[Mount],
    state: &Path,
) -> Result<(OwnedFd, Devices), Failure> {
    placed.directory(mountpoints, "/sys", 0o555)?;
    let proc = placed.directory(mountpoints, "/proc", 0o555)?;
    let dev = placed.directory(mountpoints, "/dev", 0o755)?;
    let devices = Devices::make(&dev)?;
    mounts.iter().try_for_each(|mount| mounts::place(mount, placed, mountpoints, state))?;
    Ok((proc, devices))
}

/// Starts the program and waits until it and all that it started are gone.
fn watch(
    given: &Given,
    (root, path, folder): (&OwnedFd, &Path, &OwnedFd),
    devices: Devices,
    socket: &UnixStream,
) -> Result<Exit, Failure> {
    let children = sys::watch_children().or_fail("watch", "children")?;
    let null = openat(CWD, "/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .or_fail("open", "/dev/null")?;
    let proc = openat(CWD, "/proc", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .or_fail("open", "/proc")?;
    let calls = match proc::may_show(root, &given.identity) {
        true => Some(proc::start(&Office { proc: &proc, root, path, folder })?),
        false => None,
    };
    let program = first::start(given, calls, || {
        rustix::stdio::dup2_stdin(&null).or_fail("replace", "standard input")?;
        terminal::give(&given.process, socket)?;
        fchdir(root).or_fail("enter", "the root")?;
        chroot(".").or_fail("change the root to", Path::new("."))?;
        chdir("/").or_fail("enter", "the root")
    });
    let result = program.and_then(|program| attend(program, socket, &children, devices));
    // Also of a program that was started and then failed.
    leftovers::end_all(&proc)?;
    result
}

/// Reaps orphans, passes signals on and serves devices until the program ends or the builder does.
fn attend(
    program: Pid,
    socket: &UnixStream,
    children: &OwnedFd,
    mut devices: Devices,
) -> Result<Exit, Failure> {
    loop {
        let mut polls = vec![PollFd::new(children, PollFlags::IN), PollFd::new(socket, PollFlags::IN)];
        polls.extend(devices.polls());
        match poll(&mut polls, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).or_fail("wait for", "the program"),
        }
        let ready: Vec<bool> = polls.iter().map(|poll| !poll.revents().is_empty()).collect();
        if ready[1] {
            first::pass_on(program, socket)?;
        }
        if ready[2..].contains(&true) {
            devices.serve()?;
        }
        if ready[0]
            && let Some(exit) = first::reap(program, children)?
        {
            return Ok(exit);
        }
    }
}
