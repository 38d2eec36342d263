//! Owners that a namespace with a single id does not have: written down, and shown as if it had them.
//!
//! ```text
//! program ─chown /f 33:34─▶ kernel ─notification─▶ init           user.oxbox.owner = 33:34 on /f
//!         ◀──────────── 0 ──────────────────────── answer
//! program ─stat /f────────▶ kernel ─notification─▶ init           nothing written there: the kernel goes on
//!                                                                 something is: that as the answer
//! ```
//!
//! The attributes are those of `layers::tree::recorded`, which is how the owners get into the layer. Changing to
//! another user or group is answered with success and changes nothing: the program goes on as root, which may do
//! all that they may. Who looks whether it became somebody else sees that it did not.
//!
//! Who answers has the host's /proc, or the container's, as its working directory, whatever its root is: there the
//! callers are found. Programs of 32 bits get the kernel's own answers. seccomp_unotify(2)

mod call;
mod place;

use std::io::{IoSlice, PipeReader};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::IoSliceMut;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use crate::exec::failure::{Errno, Failure, OrFail};
use crate::exec::sys::{self, Answer};

use super::seccomp;

/// The calls of a program that are answered here.
pub(super) struct Owners {
    listener: OwnedFd,
}

/// Has the calls of this process and its children answered by whoever is at the other end of a socket.
pub(super) fn hand_over(socket: &UnixStream) -> Result<(), Failure> {
    let listener = match sys::listen_seccomp(&seccomp::watching(call::WATCHED)).map_err(Errno::from) {
        Ok(listener) => listener,
        // Who made the container listens already, and there can be one only; or the kernel is older than 5.0. Then
        // nobody answers, and files cannot be given away.
        Err(Errno(libc::EBUSY | libc::EINVAL)) => return Ok(()),
        Err(error) => return Err(error).or_fail("watch", "calls about owners"),
    };
    let descriptors = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(socket, &[IoSlice::new(b"l")], &mut control, SendFlags::NOSIGNAL)
        .map(drop)
        .or_fail("hand over", "calls about owners")
}

impl Owners {
    /// Takes the calls over; `None` if the other side went away before.
    pub(super) fn take_over(socket: &UnixStream) -> Result<Option<Self>, Failure> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
            .or_fail("take over", "calls about owners")?;
        let descriptors = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        Ok(descriptors.flatten().next().map(|listener| Self { listener }))
    }

    /// Answers calls until there is something to be read of `report`, or never will be.
    pub(super) fn answer_until(&self, report: &PipeReader) -> Result<(), Failure> {
        loop {
            let mut polls = [PollFd::new(&self.listener, PollFlags::IN), PollFd::new(report, PollFlags::IN)];
            match poll(&mut polls, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).or_fail("wait for", "calls about owners"),
            }
            if polls[0].revents().contains(PollFlags::IN) {
                self.answer()?;
            } else if !polls[1].revents().is_empty() {
                return Ok(());
            }
        }
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Answers one call.
    fn answer(&self) -> Result<(), Failure> {
        let call = match sys::next_call(self.descriptor()).map_err(Errno::from) {
            Ok(call) => call,
            // Whoever asked is gone.
            Err(Errno(libc::ENOENT | libc::EINTR)) => return Ok(()),
            Err(error) => return Err(error).or_fail("receive", "a call about owners"),
        };
        let is_valid = || sys::is_waiting(self.descriptor(), call.id);
        let answer = match call::answer(&call, &is_valid) {
            Ok(answer) => answer,
            // What cannot be found out here, the kernel knows.
            Err(_) => Answer::Proceed,
        };
        match sys::answer_call(self.descriptor(), call.id, answer).map_err(Errno::from) {
            Ok(()) | Err(Errno(libc::ENOENT)) => Ok(()),
            Err(error) => Err(error).or_fail("answer", "a call about owners"),
        }
    }
}
