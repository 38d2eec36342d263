//! The builder's side of a run: starts the init, passes output on, waits.

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::mount::{OpenTreeFlags, open_tree};

use super::network::Connector;
use super::output::Lines;
use super::plan::{self, INIT_NAME, Outcome, Plan};
use super::runtime::Words;
use super::{Exit, Failure, Interrupt, Network, Process, Stream, descriptors, hosts, memory, rung, sys};

/// What a pipe holds by default: one read empties it.
const CHUNK_BYTES: usize = 64 << 10;

/// More than any outcome: one failure with a path and a program name.
const MAX_OUTCOME_BYTES: u64 = 1 << 20;

/// How long an init may take to end with all that it started.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(1);

/// Why there is no [`Exit`].
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The sandbox could not be made or the program not be started.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The init could not be started.
    #[error("cannot start the sandbox's init from {program}")]
    Start {
        /// What was to be executed.
        program: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Talking to the init failed.
    #[error("cannot {verb} the sandbox's init")]
    Control {
        /// What was attempted.
        verb: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The init ended without saying how it went.
    #[error("the sandbox's init ended by itself ({status})")]
    Vanished {
        /// How it ended.
        status: ExitStatus,
    },
    /// The build was interrupted before the program was started, or while it ran.
    #[error("interrupted")]
    Interrupted,
}

impl ExecError {
    /// Returns what a reader may do about it, if there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Failed(failure) => failure.hint(),
            _ => None,
        }
    }
}

/// Runs `process` and returns how it ended, once nothing of it is left.
///
/// Blocks. Each line of output is handed to `line` on the calling thread, without its newline, and
/// cut at [`MAX_LINE_BYTES`](super::MAX_LINE_BYTES); while `line` takes its time, the program waits.
/// Standard input is /dev/null. When the program ends, all that it left running is killed; when the
/// builder or the calling thread ends, so is the program.
///
/// # Errors
///
/// [`ExecError::Failed`] if the program could not be started, with a [hint](ExecError::hint). A
/// program that ran and failed is no error but an [`Exit`].
pub fn run(
    process: &Process,
    interrupt: &Interrupt,
    line: &mut dyn FnMut(Stream, &[u8]),
) -> Result<Exit, ExecError> {
    let control = |verb| move |source| ExecError::Control { verb, source };
    let (mut child, socket, sent) = begin(process, interrupt)?;
    let registered = socket.try_clone().map_err(control("keep a handle of"));
    // Not before the plan is through: a signal is a byte on the same socket.
    let registration = registered.map(|socket| interrupt.register(socket));
    let mut words = Words::of(process);
    let mut line = |stream, text: &[u8]| {
        words.hear(stream, text);
        line(stream, text);
    };
    let outcome = match registration {
        Ok(Some(_registration)) => listen(&mut child, &socket, &mut line).map_err(control("listen to")),
        Ok(None) => Err(ExecError::Interrupted),
        Err(error) => Err(error),
    };
    end(child, &socket, outcome, sent).map_err(|error| words.explain(error))
}

/// Starts an init and tells it what to do; also returns whether it heard that.
pub(super) fn begin(
    process: &Process,
    interrupt: &Interrupt,
) -> Result<(Child, UnixStream, io::Result<()>), ExecError> {
    let control = |verb| move |source| ExecError::Control { verb, source };
    if interrupt.is_sent() {
        return Err(ExecError::Interrupted);
    }
    let (socket, theirs) = UnixStream::pair().map_err(control("make a socket for"))?;
    let child = start(theirs)?;
    let plan = Plan {
        parent: rustix::process::getpid().as_raw_nonzero().get(),
        resolver: hosts::resolver(),
        process: process.clone(),
        rung: rung::standing().rung,
        descriptors: descriptors::for_programs(),
        connectors: match process.network {
            Network::Private => Connector::find().unwrap_or_default(),
            Network::Host | Network::None => Vec::new(),
        },
        huge_pages: memory::for_programs(),
    };
    // An init that failed early closes its end; its outcome says why, so that comes first.
    let sent = plan::send(&plan, &socket);
    Ok((child, socket, sent))
}

/// Waits for an init that has said all, and returns how its program ended.
pub(super) fn end(
    mut child: Child,
    socket: &UnixStream,
    outcome: Result<Vec<u8>, ExecError>,
    sent: io::Result<()>,
) -> Result<Exit, ExecError> {
    let control = |verb| move |source| ExecError::Control { verb, source };
    if outcome.is_err() {
        give_up(&mut child, socket).map_err(control("give up"))?;
    }
    let status = child.wait().map_err(control("wait for"))?;
    match serde_json::from_slice(&outcome?) {
        Ok(Outcome::Ended(exit)) => Ok(exit),
        Ok(Outcome::Failed(failure)) => Err(ExecError::Failed(failure)),
        Err(_) => {
            sent.map_err(control("instruct"))?;
            Err(ExecError::Vanished { status })
        }
    }
}

/// Has an init end that nobody listens to any more, with all that it started.
///
/// It is not killed at once: then it would be gone before the others, who would write where things are removed by now.
fn give_up(child: &mut Child, socket: &UnixStream) -> io::Result<()> {
    // It fails only if the other end is closed already.
    let _ = socket.shutdown(Shutdown::Both);
    let begun = Instant::now();
    while child.try_wait()?.is_none() {
        if begun.elapsed() > PATIENCE {
            return child.kill();
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

fn start(socket: UnixStream) -> Result<Child, ExecError> {
    let program = own_binary();
    Command::new(&program)
        .arg0(INIT_NAME)
        .env_clear()
        .stdin(OwnedFd::from(socket))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| ExecError::Start { program, source })
}

/// Returns the path of this binary behind a read-only mount of its own.
///
/// A program that makes the sandbox execute `/proc/self/exe` would hold a descriptor of the host's
/// binary and could overwrite it once nobody runs it (CVE-2019-5736). What it holds now lies on a
/// read-only mount. Without the right to make one there is no sandbox that needs it either.
fn own_binary() -> String {
    static SEALED: OnceLock<Option<OwnedFd>> = OnceLock::new();
    let seal = || -> io::Result<OwnedFd> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mount = open_tree(rustix::fs::CWD, "/proc/self/exe", flags)?;
        sys::make_read_only(mount.as_fd())?;
        Ok(mount)
    };
    let sealed = SEALED.get_or_init(|| {
        seal().inspect_err(|error| tracing::debug!(%error, "cannot seal the binary of the init")).ok()
    });
    match sealed {
        Some(mount) => format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(mount)),
        None => "/proc/self/exe".to_owned(),
    }
}

/// Passes output on until both pipes and the socket have ended; returns what the socket said.
fn listen(
    child: &mut Child,
    socket: &UnixStream,
    line: &mut dyn FnMut(Stream, &[u8]),
) -> io::Result<Vec<u8>> {
    let mut outcome = Vec::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let (mut out_lines, mut err_lines) = (Lines::default(), Lines::default());
    let mut control = Some(socket.take(MAX_OUTCOME_BYTES));
    loop {
        let [out, err, said] = readable(stdout.as_ref(), stderr.as_ref(), control.as_ref().map(|_| socket))?;
        if out && !pass(&mut stdout, &mut buffer, &mut out_lines, &mut |text| line(Stream::Stdout, text))? {
            stdout = None;
        }
        if err && !pass(&mut stderr, &mut buffer, &mut err_lines, &mut |text| line(Stream::Stderr, text))? {
            stderr = None;
        }
        if said && let Some(source) = &mut control {
            let count = source.read(&mut buffer)?;
            outcome.extend_from_slice(&buffer[..count]);
            if count == 0 {
                control = None;
            }
        }
        if stdout.is_none() && stderr.is_none() && control.is_none() {
            return Ok(outcome);
        }
    }
}

fn readable(
    stdout: Option<&impl AsFd>,
    stderr: Option<&impl AsFd>,
    control: Option<&impl AsFd>,
) -> io::Result<[bool; 3]> {
    let mut polls = Vec::with_capacity(3);
    let mut places = Vec::with_capacity(3);
    let sources = [stdout.map(AsFd::as_fd), stderr.map(AsFd::as_fd), control.map(AsFd::as_fd)];
    for (place, source) in sources.iter().enumerate() {
        if let Some(source) = source {
            polls.push(PollFd::new(source, PollFlags::IN));
            places.push(place);
        }
    }
    let mut ready = [false; 3];
    match poll(&mut polls, None) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(ready),
        Err(error) => return Err(error.into()),
    }
    for (place, poll) in places.iter().zip(&polls) {
        ready[*place] = !poll.revents().is_empty();
    }
    Ok(ready)
}

/// Reads once and passes whole lines on; false at the end.
fn pass(
    source: &mut Option<impl Read>,
    buffer: &mut [u8],
    lines: &mut Lines,
    each: &mut dyn FnMut(&[u8]),
) -> io::Result<bool> {
    let Some(source) = source else { return Ok(false) };
    let count = match source.read(buffer) {
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
        Err(error) => return Err(error),
    };
    if count == 0 {
        lines.finish(each);
        return Ok(false);
    }
    lines.push(&buffer[..count], each);
    Ok(true)
}
