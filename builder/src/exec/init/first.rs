//! The first process of a sandbox: makes the rest of it, starts the program, outlives everything in there.
//!
//! It is process 1, and when it ends, the kernel kills what is left in the pid namespace: no RUN leaves a process
//! behind. Among the processes of a container it is a subreaper instead, and finds and kills them itself; then it
//! does not die with the init, and the init not with it, so that either can do that for the other.

use std::io::{PipeWriter, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process_group, set_child_subreaper,
    set_dumpable_behavior, set_parent_process_death_signal, wait,
};
use rustix::system::sethostname;
use rustix::thread::UnshareFlags;

use crate::exec::failure::{Errno, Failure, OrFail};
use crate::exec::rung::{Processes, Rung};
use crate::exec::user::Identity;
use crate::exec::{Exit, Network, Process, cgroup, sys};

use super::mounts::Planned;
use super::outer::{self, Surroundings};
use super::{leftovers, program, terminal};

/// What the first process is given.
pub(super) struct First<'a> {
    pub(super) given: Given,
    pub(super) planned: Planned,
    pub(super) around: Surroundings<'a>,
    /// Where the program hands its calls over, if it does.
    pub(super) calls: Option<UnixStream>,
}

/// What the program is given.
pub(super) struct Given {
    pub(super) process: Process,
    pub(super) identity: Identity,
    pub(super) rung: Rung,
    pub(super) processes: Processes,
    /// How many descriptors it may have open, if not as many as this process.
    pub(super) descriptors: Option<u64>,
}

/// Runs the program and returns how it ended. `outer` is the init's pidfd.
pub(super) fn main(first: First<'_>, outer: &OwnedFd) -> Result<Exit, Failure> {
    let (proc, is_process_1) = (first.around.proc, first.given.processes.are_separate());
    match is_process_1 {
        true => set_parent_process_death_signal(Some(Signal::KILL))
            .or_fail("ask for the death signal of", "the init")?,
        false => set_child_subreaper(Some(getpid())).or_fail("become", "a subreaper")?,
    }
    if is_readable(outer)? {
        // It died before the request could take effect.
        return Err(Failure::Vanished { status: "killed while it started".to_owned() });
    }
    let exit = run(first, outer);
    if !is_process_1 {
        // Also of a program that was started and then failed.
        leftovers::end_all(proc)?;
    }
    exit
}

fn run(First { given, planned, around, calls }: First<'_>, outer: &OwnedFd) -> Result<Exit, Failure> {
    // The program may be root: it must not look into this process, which holds the host's capabilities.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .or_fail("close", "the first process to inspection")?;
    cgroup::enter(around.groups)?;
    separate(&given)?;
    let root = open(".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .or_fail("open", "the root")?;
    planned.attach(&root, &given.process.sandbox)?;
    if given.rung.is_in_user_namespace() {
        outer::leave_host(&root)?;
    }
    let children = sys::watch_children().or_fail("watch", "children")?;
    let program = start(&given, calls, || terminal::give(&given.process, around.socket))?;
    attend(program, around.socket, &children, outer)
}

/// Moves to namespaces of its own; the pid namespace is new already.
fn separate(Given { process, rung, .. }: &Given) -> Result<(), Failure> {
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    flags.set(UnshareFlags::NEWNET, process.network == Network::None);
    sys::unshare(flags).or_fail("unshare", "the mount, ipc and uts namespaces")?;
    // Missing where the kernel has no cgroups; it only decides what /proc/self/cgroup shows.
    let _ = sys::unshare(UnshareFlags::NEWCGROUP);
    if process.network == Network::None {
        sys::raise_loopback().or_fail("raise", "the loopback interface")?;
    }
    match sethostname(process.hostname.as_bytes()) {
        // A container's seccomp filter may allow the namespace, and not this. Then the name is the container's.
        Err(rustix::io::Errno::PERM) if rung.is_in_user_namespace() => Ok(()),
        set => set.or_fail("set the host name", &process.hostname),
    }
}

/// Starts the program, which first does what is to be `prepared`; returns once it was executed. Whoever answers its
/// calls is at the other end of `calls`.
pub(super) fn start(
    given: &Given,
    calls: Option<UnixStream>,
    prepare: impl FnOnce() -> Result<(), Failure>,
) -> Result<Pid, Failure> {
    let (mut reader, writer) = std::io::pipe().or_fail("make", "a pipe")?;
    let program = fork_program(given, prepare, (writer, calls))?;
    let mut text = Vec::new();
    reader.read_to_end(&mut text).or_fail("read", "how the program started")?;
    match serde_json::from_slice(&text) {
        Ok(failure) => Err(failure),
        Err(_) => Ok(program),
    }
}

fn fork_program(
    given: &Given,
    prepare: impl FnOnce() -> Result<(), Failure>,
    (mut writer, calls): (PipeWriter, Option<UnixStream>),
) -> Result<Pid, Failure> {
    sys::fork(|| {
        let failure = match prepare() {
            Ok(()) => program::become_it(given, calls.as_ref()),
            Err(failure) => failure,
        };
        let text = serde_json::to_vec(&failure).expect("a failure is plain data");
        // Who started it takes silence and an end for success; if it cannot hear, nobody can.
        let _ = writer.write_all(&text);
        127
    })
    .or_fail("fork", "the program")
}

/// Reaps every orphan and passes signals on until the program ends, or the builder or the init does.
fn attend(program: Pid, socket: &UnixStream, children: &OwnedFd, outer: &OwnedFd) -> Result<Exit, Failure> {
    loop {
        let mut polls = [children.as_fd(), socket.as_fd(), outer.as_fd()]
            .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
        match poll(&mut polls, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).or_fail("wait for", "the program"),
        }
        let [ended, said, alone] = polls.map(|poll| !poll.revents().is_empty());
        if alone {
            return Err(Failure::Vanished { status: "the init is gone".to_owned() });
        }
        if said {
            pass_on(program, socket)?;
        }
        if ended && let Some(exit) = reap(program, children)? {
            return Ok(exit);
        }
    }
}

pub(super) fn pass_on(program: Pid, mut socket: &UnixStream) -> Result<(), Failure> {
    let mut signal = [0];
    match socket.read(&mut signal) {
        Ok(0) => Err(Failure::Vanished { status: "the builder is gone".to_owned() }),
        Ok(_) => {
            if let Some(signal) = Signal::from_named_raw(i32::from(signal[0])) {
                // It leads a session of its own, so this reaches what the shell started too.
                match kill_process_group(program, signal) {
                    Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                    Err(error) => return Err(error).or_fail("signal", "the program"),
                }
            }
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(()),
        Err(error) => Err(error).or_fail("read", "the control socket"),
    }
}

pub(super) fn reap(program: Pid, children: &OwnedFd) -> Result<Option<Exit>, Failure> {
    // One report may stand for many children: empty it, then ask for all of them.
    let mut report = [0; 128];
    while let Ok(1..) = rustix::io::read(children, &mut report) {}
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == program => return Ok(exit_of(status)),
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(None),
            Err(error) => return Err(error).or_fail("wait for", "the program"),
        }
    }
}

pub(super) fn exit_of(status: WaitStatus) -> Option<Exit> {
    status.exit_status().map(Exit::Code).or_else(|| status.terminating_signal().map(Exit::Signal))
}

pub(super) fn is_readable(descriptor: &OwnedFd) -> Result<bool, Failure> {
    let mut polls = [PollFd::new(descriptor, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polls, Some(&at_once))
        .map(|ready| ready > 0)
        .map_err(Errno::from)
        .or_fail("poll", "the init's pidfd")
}
