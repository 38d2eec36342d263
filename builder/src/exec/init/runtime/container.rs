//! The attendant: process 1 of the pid namespace that a runtime and its container live in.
//!
//! ```text
//! run --detach --pid-file ─▶ ends once the program runs, which becomes the attendant's child then
//! signals ─▶ the program's process group              its end ─▶ delete --force ─▶ the attendant's end
//! ```
//!
//! So the program's end is known as the kernel tells it, with its signal, and a runtime's failure is no program's.
//! With a terminal the runtime stays, between two terminals, and ends as the program does.

use std::ffi::{CString, OsStr};
use std::io::{PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, set_parent_process_death_signal, setsid, umask, wait, waitpid,
};

use crate::exec::failure::{Errno, Failure, OrFail};
use crate::exec::programs::USUAL_PATH;
use crate::exec::{Exit, Process, Runtime, sys};

use super::super::{first, mounts, terminal};
use super::bundle::Bundle;

/// A number and a newline.
const MAX_PID_BYTES: u64 = 32;

/// What becomes of a runtime's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Streams {
    /// It is the program's.
    Programs,
    /// Nobody reads it.
    None,
}

/// A container to be run.
pub(super) struct Container<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) process: &'a Process,
    pub(super) bundle: &'a Bundle,
    /// Signals for the program come in here; its end means that the builder is gone.
    pub(super) socket: &'a UnixStream,
}

impl Container<'_> {
    /// Runs the container and returns how its program ended. `outer` is the init's pidfd.
    pub(super) fn main(&self, outer: &OwnedFd) -> Result<Exit, Failure> {
        set_parent_process_death_signal(Some(Signal::KILL))
            .or_fail("ask for the death signal of", "the init")?;
        if first::is_readable(outer)? {
            return Err(Failure::Vanished { status: "killed while it started".to_owned() });
        }
        show_processes()?;
        let children = sys::watch_children().or_fail("watch", "children")?;
        let has_terminal = self.process.sandbox.terminal.is_some();
        let words: &[&str] = if has_terminal { &["run"] } else { &["run", "--detach"] };
        let runtime = self.start(words, Streams::Programs)?;
        if has_terminal {
            return self.attend(runtime, &children);
        }
        let ended = match self.wait_for(runtime, &children)? {
            Waited::Signalled(signal) => return Ok(Exit::Signal(signal)),
            Waited::Ended(status) => status,
        };
        if ended.exit_status() != Some(0) {
            return Err(self.failed(&format!("did not start it ({})", describe(ended))));
        }
        let exit = self.attend(self.program()?, &children)?;
        // Else what its control group counted would go with it, and nobody could say which limit it came up against.
        if exit == Exit::Code(0) || !self.process.sandbox.resources.are_limited() {
            self.delete(&children)?;
        }
        Ok(exit)
    }

    /// Starts the runtime with a command; returns once it was executed.
    fn start(&self, words: &[&str], streams: Streams) -> Result<Pid, Failure> {
        let arguments = self.arguments(words);
        let (reader, mut writer) = std::io::pipe().or_fail("make", "a pipe")?;
        let child = sys::fork(|| {
            let failure = match self.settle(streams) {
                Ok(()) => self.execute(&arguments),
                Err(failure) => failure,
            };
            let text = serde_json::to_vec(&failure).expect("a failure is plain data");
            // The attendant takes silence and an end for success; if it cannot hear, nobody can.
            let _ = writer.write_all(&text);
            127
        })
        .or_fail("fork", "the runtime")?;
        drop(writer);
        heard(reader)?.map_or(Ok(child), Err)
    }

    fn settle(&self, streams: Streams) -> Result<(), Failure> {
        if streams == Streams::Programs && self.process.sandbox.terminal.is_some() {
            terminal::give(self.process, self.socket)?;
        } else {
            setsid().or_fail("start", "a session")?;
            let null = |flags| {
                open("/dev/null", flags | OFlags::CLOEXEC, Mode::empty()).or_fail("open", "/dev/null")
            };
            rustix::stdio::dup2_stdin(null(OFlags::RDONLY)?).or_fail("replace", "standard input")?;
            if streams == Streams::None {
                let null = null(OFlags::WRONLY)?;
                rustix::stdio::dup2_stdout(&null).or_fail("replace", "standard output")?;
                rustix::stdio::dup2_stderr(&null).or_fail("replace", "standard error")?;
            }
        }
        sys::drop_descriptors(3, sys::Inherited::CloseOnExec).or_fail("close", "descriptors")?;
        sys::reset_signals();
        umask(Mode::from_raw_mode(0o022));
        self.bundle.enter()
    }

    fn execute(&self, arguments: &[CString]) -> Failure {
        let arguments: Vec<_> = arguments.iter().map(CString::as_c_str).collect();
        let path = CString::new(format!("PATH={USUAL_PATH}")).expect("because it has no zero byte");
        let program = CString::new(self.runtime.program.as_os_str().as_bytes()).unwrap_or_default();
        let error = sys::execve(&program, &arguments, &[&path]);
        self.failed(&format!("cannot be executed: {}", Errno::from(error)))
    }

    /// The command line: nothing of the program is on it, and nothing secret.
    fn arguments(&self, words: &[&str]) -> Vec<CString> {
        let (state, log, pid) = (self.bundle.path("state"), self.bundle.path("log"), self.bundle.path("pid"));
        let mut all: Vec<&OsStr> = vec![self.runtime.program.as_os_str()];
        all.extend(self.runtime.flags.iter().map(OsStr::new));
        all.extend([OsStr::new("--root"), state.as_os_str(), OsStr::new("--log"), log.as_os_str()]);
        all.extend(words.iter().map(OsStr::new));
        if words.first() == Some(&"run") {
            all.extend([OsStr::new("--pid-file"), pid.as_os_str()]);
        }
        all.push(OsStr::new(&self.runtime.name));
        // A path that the kernel gave has no zero byte, and a flag with one is nobody's.
        all.into_iter().map(|word| CString::new(word.as_bytes()).unwrap_or_default()).collect()
    }

    /// Reads which process the program is.
    fn program(&self) -> Result<Pid, Failure> {
        let mut text = String::new();
        // Without it there is none, as if nothing stood in it.
        if let Ok(file) = self.bundle.open("pid") {
            file.take(MAX_PID_BYTES).read_to_string(&mut text).or_fail("read", "the pid file")?;
        }
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        pid.ok_or_else(|| self.failed("wrote no process id"))
    }

    /// Passes signals on until the program ends or the builder does.
    fn attend(&self, program: Pid, children: &OwnedFd) -> Result<Exit, Failure> {
        loop {
            // It may have ended before it became a child of this process.
            if let Some(exit) = self.reap(program)? {
                return Ok(exit);
            }
            if self.told(children)? {
                first::pass_on(program, self.socket)?;
            }
        }
    }

    fn reap(&self, program: Pid) -> Result<Option<Exit>, Failure> {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == program => return Ok(first::exit_of(status)),
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => return Ok(None),
                Err(rustix::io::Errno::CHILD) => {
                    return Err(self.failed("left a program that nobody can wait for"));
                }
                Err(error) => return Err(error).or_fail("wait for", "the program"),
            }
        }
    }

    /// Waits for a command of the runtime; a signal ends the wait, and all with it.
    fn wait_for(&self, runtime: Pid, children: &OwnedFd) -> Result<Waited, Failure> {
        loop {
            match waitpid(Some(runtime), WaitOptions::NOHANG) {
                Ok(Some((_, status))) => return Ok(Waited::Ended(status)),
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).or_fail("wait for", "the runtime"),
            }
            if self.told(children)? {
                let (mut socket, mut signal) = (self.socket, [0]);
                match socket.read(&mut signal).or_fail("read", "the control socket")? {
                    0 => return Err(Failure::Vanished { status: "the builder is gone".to_owned() }),
                    _ => return Ok(Waited::Signalled(signal[0].into())),
                }
            }
        }
    }

    /// Waits until a child has ended or the builder says something; whether it does.
    fn told(&self, children: &OwnedFd) -> Result<bool, Failure> {
        let mut polls = [PollFd::new(children, PollFlags::IN), PollFd::new(self.socket, PollFlags::IN)];
        match poll(&mut polls, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).or_fail("wait for", "the container"),
        }
        // One report may stand for many children.
        let mut report = [0; 128];
        let told = !polls[1].revents().is_empty();
        while let Ok(1..) = rustix::io::read(children, &mut report) {}
        Ok(told)
    }

    /// Has the runtime take away what it made. What it does not is noted, and swept.
    fn delete(&self, children: &OwnedFd) -> Result<(), Failure> {
        let runtime = self.start(&["delete", "--force"], Streams::None)?;
        self.wait_for(runtime, children).map(drop)
    }

    fn failed(&self, how: &str) -> Failure {
        Failure::Runtime { runtime: self.runtime.title(), how: how.to_owned(), said: String::new() }
    }
}

/// How a wait ended.
enum Waited {
    Ended(WaitStatus),
    Signalled(i32),
}

/// Mounts a /proc of this pid namespace over the host's: runtimes look themselves up there.
fn show_processes() -> Result<(), Failure> {
    let place = rustix::fs::openat(CWD, "/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    mounts::mount_filesystem("proc", &[], mounts::quiet(), &place.or_fail("open", "/proc")?).map(drop)
}

fn heard(mut reader: PipeReader) -> Result<Option<Failure>, Failure> {
    let mut text = Vec::new();
    reader.read_to_end(&mut text).or_fail("read", "how the runtime started")?;
    Ok(serde_json::from_slice(&text).ok())
}

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (_, Some(signal)) => format!("signal {signal}"),
        _ => "no status".to_owned(),
    }
}
