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

use std::io::PipeReader;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};

use crate::exec::failure::{Failure, OrFail};

use super::listener::{self, Listener};

/// The calls of a program that are answered here.
pub(super) struct Owners(Listener);

/// Has the calls of this process and its children answered by whoever is at the other end of a socket.
pub(super) fn hand_over(socket: &UnixStream) -> Result<(), Failure> {
    listener::hand_over(socket, call::WATCHED)
}

impl Owners {
    /// Takes the calls over; `None` if the other side went away before.
    pub(super) fn take_over(socket: &UnixStream) -> Result<Option<Self>, Failure> {
        Ok(Listener::take_over(socket)?.map(Self))
    }

    /// Answers calls until there is something to be read of `report`, or never will be.
    pub(super) fn answer_until(&self, report: &PipeReader) -> Result<(), Failure> {
        loop {
            let calls = self.0.descriptor();
            let mut polls = [PollFd::new(&calls, PollFlags::IN), PollFd::new(report, PollFlags::IN)];
            match poll(&mut polls, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).or_fail("wait for", "calls about owners"),
            }
            if polls[0].revents().contains(PollFlags::IN) {
                self.0.answer(&mut |call| call::answer(call, &|| self.0.is_waiting(call)))?;
            } else if !polls[1].revents().is_empty() {
                return Ok(());
            }
        }
    }
}
