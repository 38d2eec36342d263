//! /proc in a changed root where nothing can be mounted: calls that name something in it are answered.
//!
//! ```text
//! program ─open /proc/self/status─▶ kernel ─notification─▶ clerk    opens the container's /proc/26/status, as the caller
//!         ◀───────── descriptor 3 ────────────────────────          might, and hands it over
//! program ─open /etc/passwd───────▶ kernel ─notification─▶ clerk    not in /proc: the kernel goes on
//! ```
//!
//! The clerk is a process of its own outside of the changed root. For each answer it becomes who the caller is, so the
//! kernel refuses what it would refuse the caller, and it knows no process but those of the run. It hands out
//! files, and never a directory of /proc, from which `..` leads out of the changed root: of those there are
//! pictures (`picture.rs`), in the folder that stands at /proc.
//!
//! ```text
//! request   which call wants what of which path          place    where in /proc that is, if it is
//! caller    who calls, and becoming that                  answer   what is answered
//! ```
//!
//! A filter of one's own takes CAP_SYS_ADMIN or `no_new_privs`, and with that sudo does not work: see [`may_show`].
//! Programs of 32 bits, execve, chdir and links that lead into /proc from elsewhere find the empty folder.

mod answer;
mod caller;
mod picture;
mod place;
mod request;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, statat};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};
use rustix::thread::{no_new_privs, set_no_new_privs};

use crate::exec::failure::{Failure, OrFail};
use crate::exec::sys;
use crate::exec::user::Identity;

use super::super::listener::{self, Listener};
use answer::Clerk;

/// Programs that somebody who is not root becomes root with.
const BECOMING_ROOT: [&str; 4] = ["usr/bin/sudo", "usr/local/bin/sudo", "usr/bin/doas", "usr/local/bin/doas"];

/// Whether a program may have a /proc at the price of `no_new_privs`: root has nothing to become, and another user
/// needs a program for it, which comes first.
pub(super) fn may_show(root: &OwnedFd, identity: &Identity) -> bool {
    let has = |path: &&str| statat(root, *path, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    identity.uid == 0 || no_new_privs().unwrap_or(false) || !BECOMING_ROOT.iter().any(has)
}

/// Has the calls of this process and its children answered by the clerk.
pub(in crate::exec::init) fn hand_over(socket: &UnixStream) -> Result<(), Failure> {
    if !super::super::capabilities::may_administer()? {
        set_no_new_privs(true).or_fail("set", "no_new_privs")?;
    }
    listener::hand_over(socket, request::WATCHED)
}

/// What the clerk works with.
pub(super) struct Office<'a> {
    /// The container's /proc.
    pub(super) proc: &'a OwnedFd,
    /// The changed root, and where it is.
    pub(super) root: &'a OwnedFd,
    pub(super) path: &'a Path,
    /// The folder at /proc in it.
    pub(super) folder: &'a OwnedFd,
}

/// Starts the clerk, and returns where calls are to be handed over to it.
///
/// It ends when nobody is left that might call, or with what a program left running; also if the init was killed,
/// since a program that it answers for goes on, and devices that the init served would be held by it for ever.
pub(super) fn start(office: &Office<'_>) -> Result<UnixStream, Failure> {
    let init = getpid();
    let (ours, theirs) = UnixStream::pair().or_fail("make", "a socket")?;
    let mut theirs = Some(theirs);
    let clerk = || {
        // Or it would wait for itself, if nothing is handed over.
        drop(theirs.take());
        i32::from(work(office, init, &ours).is_err())
    };
    sys::fork(clerk).or_fail("fork", "who answers for /proc")?;
    Ok(theirs.expect("because only the clerk dropped it"))
}

fn work(office: &Office<'_>, init: Pid, socket: &UnixStream) -> Result<(), Failure> {
    let Some(listener) = Listener::take_over(socket)? else { return Ok(()) };
    let mut clerk = Clerk::new(office, init)?;
    let guard = pidfd_open(init, PidfdFlags::empty()).or_fail("open", "the init's pidfd")?;
    loop {
        let calls = listener.descriptor();
        let mut polls = [PollFd::new(&calls, PollFlags::IN), PollFd::new(&guard, PollFlags::IN)];
        match poll(&mut polls, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).or_fail("wait for", "calls about /proc"),
        }
        if !polls[1].revents().is_empty() {
            return Ok(());
        }
        if polls[0].revents().contains(PollFlags::IN) {
            listener.answer(&mut |call| clerk.answer(call, &|| listener.is_waiting(call)))?;
        } else if !polls[0].revents().is_empty() {
            return Ok(());
        }
    }
}
