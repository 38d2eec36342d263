//! Calls of other processes: received, answered, and what they point at read and written. seccomp_unotify(2)

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::process::Pid;
use seccompiler::sock_filter;

use super::{check, set_filter};

/// A system call that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(in crate::exec) struct Call {
    /// Names it towards the kernel.
    pub(in crate::exec) id: u64,
    /// Who calls: a thread, as this process's /proc knows it.
    pub(in crate::exec) process: i32,
    pub(in crate::exec) number: i64,
    pub(in crate::exec) arguments: [u64; 6],
}

/// What becomes of a call.
#[derive(Debug)]
pub(in crate::exec) enum Answer {
    /// The kernel does it.
    Proceed,
    /// It was done, and returns this.
    Done(i64),
    /// It fails with this error.
    Refused(i32),
    /// It opened a file, which the caller gets; what of its descriptor's flags is set.
    Opened(OwnedFd, OFlags),
}

/// Loads a filter that has some calls answered by whoever reads the descriptor; for this process and its children.
pub(in crate::exec) fn listen_seccomp(program: &[sock_filter]) -> io::Result<OwnedFd> {
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // With it a signal does not have the call begun anew once it was received; Linux before 5.19 has no such flag.
    let killable = flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let descriptor = match set_filter(program, killable) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => set_filter(program, flags)?,
        loaded => loaded?,
    };
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the kernel returned a new descriptor, which is ours.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Receives a call.
pub(in crate::exec) fn next_call(listener: BorrowedFd<'_>) -> io::Result<Call> {
    // SAFETY: the kernel wants the struct zeroed, and fills it; all zero is a valid value of it.
    let notice = unsafe {
        let mut notice: libc::seccomp_notif = std::mem::zeroed();
        check(libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notice))?;
        notice
    };
    let process = i32::try_from(notice.pid).map_err(io::Error::other)?;
    Ok(Call { id: notice.id, process, number: notice.data.nr.into(), arguments: notice.data.args })
}

/// Whether a call still waits, so that the process that it is of is still the one it was.
pub(in crate::exec) fn is_waiting(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the kernel reads a number.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) == 0 }
}

/// Answers a call.
pub(in crate::exec) fn answer_call(listener: BorrowedFd<'_>, id: u64, answer: Answer) -> io::Result<()> {
    let (val, error, flags) = match answer {
        Answer::Proceed => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
        Answer::Done(value) => (value, 0, 0),
        Answer::Refused(errno) => (0, -errno, 0),
        Answer::Opened(file, flags) => return hand_file(listener, id, &file, flags),
    };
    let response = libc::seccomp_notif_resp { id, val, error, flags };
    // SAFETY: the kernel reads a struct of the size that is part of the request.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const response) })
}

/// Gives the caller a descriptor of a file, and answers with its number.
fn hand_file(listener: BorrowedFd<'_>, id: u64, file: &OwnedFd, flags: OFlags) -> io::Result<()> {
    let hand = |how: libc::c_ulong| -> io::Result<i32> {
        let added = libc::seccomp_notif_addfd {
            id,
            flags: u32::try_from(how).map_err(io::Error::other)?,
            srcfd: u32::try_from(file.as_raw_fd()).map_err(io::Error::other)?,
            newfd: 0,
            newfd_flags: (flags & OFlags::CLOEXEC).bits(),
        };
        // SAFETY: the kernel reads a struct of the size that is part of the request.
        let number =
            unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw const added) };
        check(number).map(|()| number)
    };
    match hand(libc::SECCOMP_ADDFD_FLAG_SEND) {
        // Linux before 5.14 does it in two steps.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            let number = hand(0)?;
            answer_call(listener, id, Answer::Done(number.into()))
        }
        handed => handed.map(drop),
    }
}

/// Reads the memory of another process; returns how much there was.
pub(in crate::exec) fn read_memory(process: Pid, address: u64, bytes: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: address as *mut _, iov_len: bytes.len() };
    // SAFETY: the local part is a slice that outlives the call; the remote address is looked at by the kernel only.
    let count = unsafe {
        libc::process_vm_readv(process.as_raw_nonzero().get(), &raw const local, 1, &raw const remote, 1, 0)
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Writes all of `bytes` into the memory of another process.
pub(in crate::exec) fn write_memory(process: Pid, address: u64, bytes: &[u8]) -> io::Result<()> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: address as *mut _, iov_len: bytes.len() };
    // SAFETY: the local part is only read, and outlives the call; the remote address is the other process's matter.
    let count = unsafe {
        libc::process_vm_writev(process.as_raw_nonzero().get(), &raw const local, 1, &raw const remote, 1, 0)
    };
    match usize::try_from(count) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(_) => Err(io::Error::from_raw_os_error(libc::EFAULT)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}
