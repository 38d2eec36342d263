//! A terminal for a program that somebody sits at.
//!
//! ```text
//! program   0, 1, 2 ─ /dev/pts/0 of the sandbox ═ its other side ─sendmsg, one byte─▶ builder
//! ```
//!
//! It is the sandbox's own, of its own devpts: what is pushed into it (TIOCSTI) is read in the sandbox, and the
//! terminal that the builder sits at is never seen there.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::tcsetwinsize;

use crate::exec::failure::{Failure, OrFail};
use crate::exec::{Process, plan, sys};

/// Gives this process a terminal, if it is to have one, and the other side to the builder.
pub(super) fn give(process: &Process, socket: &UnixStream) -> Result<(), Failure> {
    let Some(size) = process.sandbox.terminal else { return Ok(()) };
    setsid().or_fail("start", "a session")?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).or_fail("open", "/dev/ptmx")?;
    unlockpt(&master).or_fail("unlock", "the terminal")?;
    let terminal = ioctl_tiocgptpeer(&master, flags).or_fail("open", "the terminal")?;
    tcsetwinsize(&terminal, size.into()).or_fail("size", "the terminal")?;
    ioctl_tiocsctty(&terminal).or_fail("control", "the terminal")?;
    rustix::stdio::dup2_stdin(&terminal).or_fail("replace", "standard input")?;
    rustix::stdio::dup2_stdout(&terminal).or_fail("replace", "standard output")?;
    rustix::stdio::dup2_stderr(&terminal).or_fail("replace", "standard error")?;
    sys::drop_descriptors(3, sys::Inherited::CloseOnExec).or_fail("close", "descriptors")?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    let sides = [master.as_fd()];
    message.push(SendAncillaryMessage::ScmRights(&sides));
    let byte = [IoSlice::new(&[plan::TERMINAL])];
    sendmsg(socket, &byte, &mut message, SendFlags::NOSIGNAL).or_fail("hand over", "the terminal")?;
    Ok(())
}
