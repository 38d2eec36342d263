//! The process that starts a connector, and ends it with the sandbox.
//!
//! ```text
//! init ──pipe: one byte once the namespace is there; its end is the end──▶ keeper ─▶ connector
//!  ▲                                                                         │
//!  └────────────────────pipe: what a connector that failed said──────────────┘
//! ```

use std::fs;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::process::{Pid, PidfdFlags, WaitOptions, geteuid, getpid, pidfd_open, waitpid};
use rustix::thread::UnshareFlags;

use crate::exec::failure::{Failure, OrFail};
use crate::exec::sys;

use super::Connector;

/// A connector needs some milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the init looks whether there is a way out.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };

/// Of what a connector said.
const MAX_SAID_BYTES: u64 = 2048;

/// A file that is on every machine, where the keeper sees the namespace: pasta as root gives up the right to
/// look into the init before it opens it there.
const PLACE: &str = "/proc/version";

/// The keeper's process, from the init's side; it ends when this is dropped.
pub(in crate::exec) struct Keeper {
    pid: Pid,
    /// Its end is the keeper's end.
    tell: Option<PipeWriter>,
    hear: PipeReader,
}

impl Keeper {
    /// Starts a keeper while the host's network is still the init's.
    pub(in crate::exec) fn start(connectors: &[Connector]) -> Result<Self, Failure> {
        let (told, tell) = std::io::pipe().or_fail("make", "a pipe")?;
        let (hear, said) = std::io::pipe().or_fail("make", "a pipe")?;
        let init = getpid();
        let pid = sys::fork(|| {
            // Nothing but its two pipes: the builder waits for the end of others.
            let settled = rustix::stdio::dup2_stdin(&told)
                .and_then(|()| rustix::stdio::dup2_stdout(&said))
                .map_err(std::io::Error::from)
                .and_then(|()| fs::File::options().write(true).open("/dev/null"))
                .and_then(|null| Ok(rustix::stdio::dup2_stderr(&null)?))
                .and_then(|()| sys::drop_descriptors(3, sys::Inherited::Close));
            let kept = settled.and_then(|()| keep(connectors, init));
            i32::from(kept.is_err())
        })
        .or_fail("fork", "the network's keeper")?;
        Ok(Self { pid, tell: Some(tell), hear })
    }

    /// Moves to a network namespace of its own and waits until there is a way out of it.
    pub(in crate::exec) fn connect(&mut self) -> Result<(), Failure> {
        sys::unshare(UnshareFlags::NEWNET).or_fail("unshare", "the network namespace")?;
        sys::raise_loopback().or_fail("raise", "the loopback interface")?;
        let tell = self.tell.as_mut().expect("because it is taken when dropped only");
        tell.write_all(b"!").or_fail("tell", "the network's keeper")?;
        let begun = Instant::now();
        while !has_way_out() {
            let mut polls = [PollFd::new(&self.hear, PollFlags::IN)];
            let heard = matches!(poll(&mut polls, Some(&LOOK)), Ok(1..));
            if heard || begun.elapsed() > PATIENCE {
                return Err(self.failed(heard));
            }
        }
        Ok(())
    }

    fn failed(&mut self, heard: bool) -> Failure {
        let mut said = String::new();
        if heard {
            let _ = (&mut self.hear).take(MAX_SAID_BYTES).read_to_string(&mut said);
        }
        let (program, said) = said.split_once(' ').unwrap_or(("the connector", "does not get ready"));
        Failure::Network { program: program.to_owned(), said: said.trim().to_owned() }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.tell.take());
        while let Err(rustix::io::Errno::INTR) = waitpid(Some(self.pid), WaitOptions::empty()) {}
    }
}

/// Whether this network namespace has a default route: both programs set it last.
fn has_way_out() -> bool {
    let table = fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    table.lines().skip(1).any(|line| line.split_whitespace().nth(1) == Some("00000000"))
}

/// The keeper: waits for the namespace, connects it, and waits for the end. It has no death signal: it must
/// outlive the init by the moment that it takes to end the connector.
fn keep(connectors: &[Connector], init: Pid) -> std::io::Result<()> {
    let mut byte = [0];
    if rustix::io::read(rustix::stdio::stdin(), &mut byte)? == 0 {
        return Ok(());
    }
    let mut said = String::new();
    for connector in connectors {
        let mut child = start(connector, init)?;
        match attend(&mut child)? {
            None => return Ok(()),
            Some(status) => {
                let mut text = String::new();
                if let Some(stderr) = child.stderr.take() {
                    let _ = stderr.take(MAX_SAID_BYTES).read_to_string(&mut text);
                }
                let program = connector.program.file_name().unwrap_or_default().to_string_lossy();
                // pasta's complaints about a missing system log hide its own.
                let lines = text.lines().filter(|line| !line.contains("to syslog"));
                let lines: Vec<_> = lines.map(str::trim).filter(|line| !line.is_empty()).collect();
                said = format!("{program} ended with {status}: {}", lines.join("; "));
            }
        }
    }
    rustix::io::write(rustix::stdio::stdout(), said.as_bytes())?;
    Ok(())
}

fn start(connector: &Connector, init: Pid) -> std::io::Result<Child> {
    let netns = format!("/proc/{}/ns/net", init.as_raw_nonzero());
    let is_root = geteuid().is_root();
    let shown = is_root && show(&netns, Path::new(PLACE)).is_ok();
    let mut command = Command::new(&connector.program);
    command.args(connector.arguments(if shown { PLACE } else { &netns }, is_root));
    if !is_root {
        let userns = format!("/proc/{}/ns/user", init.as_raw_nonzero());
        command.args(match connector.kind {
            super::Kind::Pasta => vec!["--userns".to_owned(), userns],
            super::Kind::Slirp => vec![format!("--userns-path={userns}")],
        });
    }
    command.arg0(connector.program.file_name().unwrap_or_default());
    command.env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
}

/// Shows the namespace at a place that only this process and its children see.
fn show(netns: &str, place: &Path) -> std::io::Result<()> {
    sys::unshare(UnshareFlags::NEWNS)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    Ok(mount_bind(netns, place)?)
}

/// Waits until the init is gone, and ends the connector; or returns how that ended by itself.
fn attend(child: &mut Child) -> std::io::Result<Option<std::process::ExitStatus>> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pidfd = pidfd_open(pid.ok_or(std::io::ErrorKind::NotFound)?, PidfdFlags::empty())?;
    loop {
        let stdin = rustix::stdio::stdin();
        let mut polls = [
            PollFd::from_borrowed_fd(stdin, PollFlags::IN),
            PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN),
        ];
        match poll(&mut polls, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        if !polls[1].revents().is_empty() {
            return child.wait().map(Some);
        }
        if !polls[0].revents().is_empty() {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
    }
}
