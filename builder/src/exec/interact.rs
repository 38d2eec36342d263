//! A program with a terminal, and somebody at it.
//!
//! ```text
//! keyboard ─▶ builder ─▶ the sandbox's terminal ─▶ program        the builder's terminal is raw meanwhile: Ctrl-C and
//! screen   ◀─ builder ◀─ the sandbox's terminal ◀─ program        its kin are the sandbox's terminal's to understand
//! ```

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use super::plan;
use super::run::{ExecError, begin, end};
use super::sandbox::TerminalSize;
use super::{Exit, Interrupt, Process};

/// How often the size of the builder's terminal is looked at: SIGWINCH would be the whole process's.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// What a terminal holds.
const CHUNK_BYTES: usize = 4096;

/// Where somebody sits.
#[derive(Debug, Clone, Copy)]
pub struct Seat<'a> {
    /// A terminal, to be read.
    pub keyboard: BorrowedFd<'a>,
    /// The same, to be written.
    pub screen: BorrowedFd<'a>,
}

/// Runs `process` with a terminal of its own, joined to the one where somebody sits, until it ends.
///
/// Blocks. As with [`run`](super::run()) nothing of it is left afterwards, and the terminal is as it was.
///
/// # Errors
///
/// [`ExecError`], also if `seat` is no terminal.
pub fn interact(process: &Process, interrupt: &Interrupt, seat: Seat<'_>) -> Result<Exit, ExecError> {
    let control = |verb| move |source| ExecError::Control { verb, source };
    let size = || tcgetwinsize(seat.screen).map_err(io::Error::from);
    let mut process = process.clone();
    process.sandbox.terminal = Some(TerminalSize::from(size().map_err(control("size the terminal of"))?));
    let (mut child, socket, sent) = begin(&process, interrupt)?;
    // Nothing is written there but what goes wrong before the terminal is there, and that is in the outcome.
    drop((child.stdout.take(), child.stderr.take()));
    let registered = socket.try_clone().map_err(control("keep a handle of"));
    let registration = registered.map(|socket| interrupt.register(socket));
    let outcome = match registration {
        Ok(Some(_registration)) => join(&socket, seat).map_err(control("sit at the terminal of")),
        Ok(None) => Err(ExecError::Interrupted),
        Err(error) => Err(error),
    };
    end(child, &socket, outcome, sent)
}

/// The builder's terminal, raw until this is dropped.
struct Raw<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> Raw<'a> {
    fn new(terminal: BorrowedFd<'a>) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(terminal, OptionalActions::Drain, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs no mending.
        let _ = tcsetattr(self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// Passes on what is typed and shown until the program has ended; returns what the socket said.
fn join(socket: &UnixStream, seat: Seat<'_>) -> io::Result<Vec<u8>> {
    let _raw = Raw::new(seat.keyboard)?;
    let mut outcome = Vec::new();
    let mut inside: Option<OwnedFd> = None;
    let mut typed: Vec<u8> = Vec::new();
    let mut keyboard = Some(seat.keyboard);
    let mut size = tcgetwinsize(seat.screen).ok();
    loop {
        let (said, shown, pressed) = ready(socket, inside.as_ref(), keyboard.filter(|_| typed.is_empty()))?;
        if said {
            let (count, terminal) = hear(socket, &mut outcome)?;
            if let Some(terminal) = terminal {
                ioctl_fionbio(&terminal, true)?;
                inside = Some(terminal);
            }
            if count == 0 {
                break;
            }
        }
        if pressed && !read(seat.keyboard, &mut typed)? {
            keyboard = None;
        }
        if let Some(terminal) = &inside {
            type_in(terminal, &mut typed)?;
            if shown && !show(terminal, seat.screen)? {
                inside = None;
            }
        }
        let now = tcgetwinsize(seat.screen).ok();
        if let (Some(now), Some(terminal)) = (now.filter(|now| Some(*now) != size), &inside) {
            tcsetwinsize(terminal, now)?;
            size = Some(now);
        }
    }
    while let Some(terminal) = &inside
        && show(terminal, seat.screen)?
        && ready(socket, Some(terminal), None)?.1
    {}
    Ok(outcome)
}

/// Waits for something to be said, shown or pressed.
fn ready(
    socket: &UnixStream,
    inside: Option<&OwnedFd>,
    keyboard: Option<BorrowedFd<'_>>,
) -> io::Result<(bool, bool, bool)> {
    let mut polls = vec![PollFd::new(socket, PollFlags::IN)];
    polls.extend(inside.map(|terminal| PollFd::new(terminal, PollFlags::IN)));
    polls.extend(keyboard.map(|keyboard| PollFd::from_borrowed_fd(keyboard, PollFlags::IN)));
    match poll(&mut polls, Some(&LOOK)) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok((false, false, false)),
        Err(error) => return Err(error.into()),
    }
    let is_ready = |at: usize| polls.get(at).is_some_and(|poll| !poll.revents().is_empty());
    let after = 1 + usize::from(inside.is_some());
    Ok((is_ready(0), inside.is_some() && is_ready(1), keyboard.is_some() && is_ready(after)))
}

/// Hears what the init says: a terminal, or a part of the outcome.
fn hear(socket: &UnixStream, outcome: &mut Vec<u8>) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut buffer = [0; CHUNK_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut messages = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [io::IoSliceMut::new(&mut buffer)];
    let received = recvmsg(socket, &mut slices, &mut messages, RecvFlags::CMSG_CLOEXEC)?;
    let terminal = messages.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let text = &buffer[..received.bytes];
    // What comes with the terminal is one byte that means just that.
    let text = if terminal.is_some() { text.strip_prefix(&[plan::TERMINAL]).unwrap_or(text) } else { text };
    outcome.extend_from_slice(text);
    Ok((received.bytes, terminal))
}

/// Reads what was typed; false at the end.
fn read(keyboard: BorrowedFd<'_>, typed: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; CHUNK_BYTES];
    match rustix::io::read(keyboard, &mut buffer) {
        Ok(count) => {
            typed.extend_from_slice(&buffer[..count]);
            Ok(count > 0)
        }
        Err(Errno::INTR | Errno::AGAIN) => Ok(true),
        // The terminal is gone.
        Err(Errno::IO) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Types as much as the terminal takes.
fn type_in(terminal: &OwnedFd, typed: &mut Vec<u8>) -> io::Result<()> {
    while !typed.is_empty() {
        match rustix::io::write(terminal, typed) {
            Ok(count) => drop(typed.drain(..count)),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(()),
            // Nobody reads there any more.
            Err(Errno::IO) => typed.clear(),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Shows what was written; false once nobody can write any more.
fn show(terminal: &OwnedFd, screen: BorrowedFd<'_>) -> io::Result<bool> {
    let mut buffer = [0; CHUNK_BYTES];
    let count = match rustix::io::read(terminal.as_fd(), &mut buffer) {
        Ok(0) | Err(Errno::IO) => return Ok(false),
        Ok(count) => count,
        Err(Errno::INTR | Errno::AGAIN) => return Ok(true),
        Err(error) => return Err(error.into()),
    };
    let mut rest = &buffer[..count];
    while !rest.is_empty() {
        match rustix::io::write(screen, rest) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => drop(poll(&mut [PollFd::from_borrowed_fd(screen, PollFlags::OUT)], None)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}
