//! The init itself: makes the root in a mount namespace of its own, and tidies up when all is over.
//!
//! It stays outside the sandbox's pid namespace, so it outlives every process in there, and its own
//! mount namespace never has `/proc` or `/etc/hosts` mounted: it can take the mount points away.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::process::{
    PidfdFlags, Signal, WaitOptions, fchdir, getpid, getppid, pidfd_open, pivot_root, set_child_subreaper,
    set_parent_process_death_signal, setsid, umask, waitpid,
};
use rustix::thread::UnshareFlags;

use crate::exec::failure::{Failure, OrFail};
use crate::exec::network::Keeper;
use crate::exec::plan::{self, Outcome, Plan};
use crate::exec::rung::{Processes, Rung};
use crate::exec::sandbox::Confinement;
use crate::exec::user::{self, Identity};
use crate::exec::{Exit, Mount, Network, Source, cgroup, hosts, memory, sys};

use super::first::{self, First, Given};
use super::mountpoint::Mountpoints;
use super::mounts::{HostProc, Planned};
use super::owners::Owners;
use super::{chroot, leftovers, root, runtime};

/// passwd and group of an image; a directory service's dump may have some megabytes.
const MAX_ACCOUNTS_BYTES: u64 = 16 << 20;

/// Does all that the plan on standard input says and reports on the same socket.
pub(super) fn main() -> ExitCode {
    let Ok(socket) = settle() else { return ExitCode::FAILURE };
    let Ok(plan) = plan::receive(&socket) else { return ExitCode::FAILURE };
    let parent = getppid().map(|pid| pid.as_raw_nonzero().get());
    if parent != Some(plan.parent) {
        // The builder died before the kernel knew that this process wants to die with it.
        return ExitCode::FAILURE;
    }
    if plan.huge_pages {
        memory::allow_huge_pages();
    }
    let done = match plan.rung {
        Rung::Chroot => chroot::carry_out(plan, &socket),
        _ if plan.process.sandbox.runtime.is_some() => runtime::carry_out(plan, &socket),
        _ => carry_out(plan, &socket),
    };
    let outcome = match done {
        Ok(exit) => Outcome::Ended(exit),
        Err(failure) => Outcome::Failed(failure),
    };
    let text = serde_json::to_vec(&outcome).expect("an outcome is plain data");
    match plan::write(&socket, &text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Breaks with what the builder's own surroundings would leak: its terminal, descriptors and umask.
fn settle() -> Result<UnixStream, Failure> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .or_fail("ask for the death signal of", "the builder")?;
    sys::drop_descriptors(3, sys::Inherited::Close).or_fail("close", "inherited descriptors")?;
    // Ctrl-C in the terminal is for the builder, who decides what becomes of the sandbox.
    setsid().or_fail("start", "a session")?;
    umask(Mode::from_raw_mode(0o022));
    let socket = fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).or_fail("keep", "the control socket")?;
    Ok(UnixStream::from(socket))
}

fn carry_out(plan: Plan, socket: &UnixStream) -> Result<Exit, Failure> {
    let groups = cgroup::open(&plan.process.sandbox.groups)?;
    let Stage { root, mut planned, keeper: _keeper, proc } = set_up(&plan)?;
    enter(&root)?;
    if !plan.rung.is_in_user_namespace() {
        leave_host(&root)?;
    }

    let Plan { process, descriptors, rung, processes, .. } = plan;
    let identity = identify(&root, &process.user)?;
    let given = Given { identity, process, rung, processes, descriptors };
    let (calls, theirs) = match rung {
        Rung::SingleId => UnixStream::pair().map(|(ours, theirs)| (Some(ours), Some(theirs))),
        _ => Ok((None, None)),
    }
    .or_fail("make", "a socket")?;
    let duties = Duties { processes, proc: &proc, calls: calls.as_ref() };
    let mut mountpoints = Mountpoints::new(root.as_fd());
    let result = mountpoints
        .working_directory(&given.process.cwd, &given.identity)
        .and_then(|()| planned.place(&mut mountpoints))
        .and_then(|()| {
            let around = Surroundings { groups, socket, proc: &proc };
            watch(&duties, |alive| first::main(First { given, planned, around, calls: theirs }, alive))
        });
    // Also after a failure: the caller may want to look at what the upper directory holds.
    let removed = mountpoints.remove();
    let exit = result?;
    removed.map(|()| exit)
}

/// What stands in the init's own mount namespace before anything is mounted into the root.
pub(super) struct Stage {
    pub(super) root: OwnedFd,
    pub(super) planned: Planned,
    /// Connects the network for as long as it is kept.
    pub(super) keeper: Option<Keeper>,
    /// The host's /proc, or the container's.
    pub(super) proc: OwnedFd,
}

/// Moves to a mount namespace, connects the network, mounts the root, and opens what will be mounted there.
pub(super) fn set_up(plan: &Plan) -> Result<Stage, Failure> {
    let mut keeper = match plan.process.network {
        Network::Private => Some(Keeper::start(&plan.connectors)?),
        Network::Host | Network::None => None,
    };
    sys::unshare(UnshareFlags::NEWNS).or_fail("unshare", "the mount namespace")?;
    keeper.as_mut().map_or(Ok(()), Keeper::connect)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .or_fail("make private", "/")?;
    let root = root::mount(&plan.process.root, plan.rung)?;
    if plan.process.sandbox.confinement == Confinement::Usual {
        sys::refuse_devices(root.as_fd()).or_fail("refuse devices in", "the root")?;
    }
    let mut mounts = plan.process.mounts.clone();
    mounts.splice(0..0, hosts::mounts(&plan.process, &plan.resolver));
    if plan.rung == Rung::SingleId {
        mounts.extend(apt_without_users(&root));
    }
    let host_proc = match plan.processes.are_shown_by_the_container() {
        true => HostProc::Shown,
        false => HostProc::Hidden,
    };
    let planned = Planned::open(mounts, &plan.process.sandbox, plan.rung, host_proc)?;
    let proc = open("/proc", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .or_fail("open", "/proc")?;
    Ok(Stage { root, planned, keeper, proc })
}

/// Tells apt, in an image that has it, not to become another user for its downloads: where there is one id it would
/// notice that it does not.
fn apt_without_users(root: &OwnedFd) -> Option<Mount> {
    const FOLDER: &str = "/etc/apt/apt.conf.d";
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(root, FOLDER, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), resolve).ok()?;
    let content = b"APT::Sandbox::User \"root\";\n".to_vec();
    Some(Mount { target: format!("{FOLDER}/zz-single-id"), source: Source::File { content, mode: 0o644 } })
}

/// Makes `root` the root, on top of which the host's lies from now on.
fn enter(root: &OwnedFd) -> Result<(), Failure> {
    fchdir(root).or_fail("enter", "the root")?;
    pivot_root(".", ".").or_fail("pivot into", "the root")
}

/// Takes the host's root off this mount namespace.
///
/// In a user namespace that is for process 1, in its own one: the kernel lets /proc and /sys be mounted there
/// only while others are in sight, whole.
pub(super) fn leave_host(root: &OwnedFd) -> Result<(), Failure> {
    fchdir(root).or_fail("enter", "the root")?;
    unmount(".", UnmountFlags::DETACH).or_fail("detach", "the host's root")?;
    fchdir(root).or_fail("enter", "the root")
}

pub(super) fn identify(root: &OwnedFd, user: &str) -> Result<Identity, Failure> {
    user::find(user, &accounts(root, "etc/passwd")?, &accounts(root, "etc/group")?)
}

fn accounts(root: &OwnedFd, path: &str) -> Result<Vec<u8>, Failure> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    // An absolute symbolic link means the image's own root, never the host's.
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = match openat2(root, path, flags, Mode::empty(), resolve) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(Vec::new()),
        Err(error) => return Err(error).or_fail("open", path),
    };
    let mut text = Vec::new();
    if file.metadata().or_fail("stat", path)?.is_file() {
        file.take(MAX_ACCOUNTS_BYTES).read_to_end(&mut text).or_fail("read", path)?;
    }
    Ok(text)
}

/// What the first process of a sandbox is given of its surroundings.
pub(super) struct Surroundings<'a> {
    /// The control groups to be in.
    pub(super) groups: Vec<File>,
    /// Signals for the program come in here; its end means that the builder is gone.
    pub(super) socket: &'a UnixStream,
    /// The host's /proc, or the container's.
    pub(super) proc: &'a OwnedFd,
}

/// What the init does while it waits for a first process.
pub(super) struct Duties<'a> {
    /// Whose processes it lives among.
    pub(super) processes: Processes,
    /// The host's /proc, or the container's.
    pub(super) proc: &'a OwnedFd,
    /// Where the program's calls come from that are answered here.
    pub(super) calls: Option<&'a UnixStream>,
}

/// Starts a first process, which is given the init's pidfd, and waits until it and all its descendants are gone.
pub(super) fn watch(
    duties: &Duties<'_>,
    main: impl FnOnce(&OwnedFd) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let is_separate = duties.processes.are_separate();
    match is_separate {
        true => sys::unshare(UnshareFlags::NEWPID).or_fail("unshare", "the pid namespace")?,
        // Should the first process be killed, what it leaves is this one's to end.
        false => set_child_subreaper(Some(getpid())).or_fail("become", "a subreaper")?,
    }
    let (report, writer) = std::io::pipe().or_fail("make", "a pipe")?;
    let alive = pidfd_open(getpid(), PidfdFlags::empty()).or_fail("open", "the init's pidfd")?;
    let child = fork_first(main, writer, &alive)?;
    let heard = hear(report, duties).and_then(|text| Ok((text, wait_for(child)?)));
    if !is_separate {
        leftovers::end_all(duties.proc)?;
    }
    let (text, status) = heard?;
    match serde_json::from_slice(&text) {
        Ok(Outcome::Ended(exit)) => Ok(exit),
        Ok(Outcome::Failed(failure)) => Err(failure),
        Err(_) => Err(Failure::Vanished { status: describe(status) }),
    }
}

/// Reads what the first process reports at its end. Until then the program's calls are answered, if it hands them
/// over: here and not by the first process, since here processes have the numbers that `proc` knows them by.
fn hear(mut report: PipeReader, duties: &Duties<'_>) -> Result<Vec<u8>, Failure> {
    if let Some(calls) = duties.calls
        && let Some(owners) = Owners::take_over(calls)?
    {
        fchdir(duties.proc).or_fail("enter", "/proc")?;
        owners.answer_until(&report)?;
    }
    let mut text = Vec::new();
    report.read_to_end(&mut text).or_fail("read", "the report of the first process")?;
    Ok(text)
}

fn wait_for(child: rustix::process::Pid) -> Result<rustix::process::WaitStatus, Failure> {
    loop {
        match waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(status),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).or_fail("wait for", "the first process"),
        }
    }
}

fn fork_first(
    main: impl FnOnce(&OwnedFd) -> Result<Exit, Failure>,
    mut writer: PipeWriter,
    alive: &OwnedFd,
) -> Result<rustix::process::Pid, Failure> {
    sys::fork(|| {
        let outcome = match main(alive) {
            Ok(exit) => Outcome::Ended(exit),
            Err(failure) => Outcome::Failed(failure),
        };
        let text = serde_json::to_vec(&outcome).expect("an outcome is plain data");
        i32::from(writer.write_all(&text).is_err())
    })
    .or_fail("fork", "process 1")
}

fn describe(status: rustix::process::WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (_, Some(signal)) => format!("signal {signal}"),
        _ => "no status".to_owned(),
    }
}

/// Opens a place in the mounted root by a path that has no symbolic links left in it.
pub(super) fn open_place(root: impl AsFd, path: &std::path::Path) -> Result<OwnedFd, Failure> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve).or_fail("open", path)
}
