//! Has some calls of a program answered by another process. seccomp_unotify(2)
//!
//! ```text
//! program ─filter, descriptor of its calls─▶ socket ─▶ who answers
//! ```
//!
//! What is answered to which call is not here: `owners/`, `chroot/proc/`.

use std::ffi::CString;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::IoSliceMut;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use rustix::process::Pid;

use crate::exec::failure::{Errno, Failure, OrFail};
use crate::exec::sys::{self, Answer, Call};

use super::seccomp;

/// The kernel's own bound of a path, with its zero byte.
const MAX_PATH_BYTES: usize = 4096;

/// Calls that wait for an answer.
pub(super) struct Listener(OwnedFd);

/// Has calls of this process and its children answered by whoever is at the other end of a socket.
pub(super) fn hand_over(socket: &UnixStream, calls: &[i64]) -> Result<(), Failure> {
    let listener = match sys::listen_seccomp(&seccomp::watching(calls)).map_err(Errno::from) {
        Ok(listener) => listener,
        // Who made the container listens already, and there can be one only, or lets nobody; or the kernel is older
        // than 5.0. Then nobody answers, and the kernel does what it does.
        Err(Errno(libc::EBUSY | libc::EINVAL | libc::ENOSYS | libc::EPERM)) => return Ok(()),
        Err(error) => return Err(error).or_fail("watch", "calls"),
    };
    let descriptors = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(socket, &[IoSlice::new(b"l")], &mut control, SendFlags::NOSIGNAL)
        .map(drop)
        .or_fail("hand over", "calls")
}

impl Listener {
    /// Takes the calls over; `None` if the other side went away before.
    pub(super) fn take_over(socket: &UnixStream) -> Result<Option<Self>, Failure> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
            .or_fail("take over", "calls")?;
        let descriptors = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        Ok(descriptors.flatten().next().map(Self))
    }

    /// What is readable when there is a call.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Whether a call still waits, so that the process that it is of is still the one it was.
    pub(super) fn is_waiting(&self, call: &Call) -> bool {
        sys::is_waiting(self.descriptor(), call.id)
    }

    /// Answers one call; an error of `find` means that the kernel has the answer.
    pub(super) fn answer(&self, find: &mut dyn FnMut(&Call) -> io::Result<Answer>) -> Result<(), Failure> {
        let call = match sys::next_call(self.descriptor()).map_err(Errno::from) {
            Ok(call) => call,
            // Whoever asked is gone.
            Err(Errno(libc::ENOENT | libc::EINTR)) => return Ok(()),
            Err(error) => return Err(error).or_fail("receive", "a call"),
        };
        let answer = find(&call).unwrap_or(Answer::Proceed);
        let is_file = matches!(answer, Answer::Opened(..));
        match sys::answer_call(self.descriptor(), call.id, answer).map_err(Errno::from) {
            Ok(()) | Err(Errno(libc::ENOENT)) => Ok(()),
            // The caller has as many descriptors as it may; or Linux is older than 5.9. It waits still.
            Err(Errno(errno)) if is_file => {
                let _ = sys::answer_call(self.descriptor(), call.id, Answer::Refused(errno));
                Ok(())
            }
            Err(error) => Err(error).or_fail("answer", "a call"),
        }
    }
}

/// Reads a path in the memory of another process.
pub(super) fn path(process: i32, address: u64) -> io::Result<CString> {
    const PAGE_BYTES: u64 = 4096;
    /// Most are shorter.
    const USUAL_BYTES: u64 = 256;
    let pid = Pid::from_raw(process).ok_or(io::ErrorKind::NotFound)?;
    let (mut path, mut at) = (Vec::new(), address);
    let mut piece = [0; PAGE_BYTES as usize];
    while path.len() < MAX_PATH_BYTES {
        // What follows in the next page may not be there.
        let until_page = PAGE_BYTES - at % PAGE_BYTES;
        let wanted = if path.is_empty() { until_page.min(USUAL_BYTES) } else { until_page };
        let piece = &mut piece[..usize::try_from(wanted).expect("because a page is small")];
        let count = sys::read_memory(pid, at, piece)?;
        if let Some(end) = piece[..count].iter().position(|&byte| byte == 0) {
            path.extend_from_slice(&piece[..end]);
            return CString::new(path).map_err(io::Error::other);
        }
        path.extend_from_slice(&piece[..count]);
        at += count as u64;
    }
    Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG))
}

/// Writes a struct of the kernel's into the memory of the caller, which then has succeeded.
pub(super) fn give_back(call: &Call, address: u64, bytes: &[u8]) -> io::Result<Answer> {
    let process = Pid::from_raw(call.process).ok_or(io::ErrorKind::NotFound)?;
    sys::write_memory(process, address, bytes)?;
    Ok(Answer::Done(0))
}
