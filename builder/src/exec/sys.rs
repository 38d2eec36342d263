//! The system calls that no safe wrapper offers: the only unsafe code of oxbox.
//!
//! Everything here runs in the init, which is a process of its own with a single thread; nothing is
//! called from the builder itself.

#![allow(unsafe_code)]

mod calls;

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use rustix::process::Pid;
use rustix::thread::UnshareFlags;
use seccompiler::sock_filter;

pub(super) use calls::{
    Answer, Call, answer_call, is_waiting, listen_seccomp, next_call, read_memory, write_memory,
};

/// What becomes of the descriptors that a process was born with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Inherited {
    /// They are closed at once.
    Close,
    /// They are closed by the next `execve`.
    CloseOnExec,
}

/// Runs `child` in a new process, which ends with the code that `child` returns.
pub(super) fn fork(child: impl FnOnce() -> i32) -> io::Result<Pid> {
    // SAFETY: the init has one thread, so the child may do all that the parent may.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // A panic must not unwind into the parent's half of the code.
        let code = catch_unwind(AssertUnwindSafe(child)).unwrap_or(101);
        // SAFETY: ends the process; nothing after it runs. Skips what `exit` would flush twice.
        unsafe { libc::_exit(code) }
    }
    Pid::from_raw(pid)
        .filter(|pid| !pid.is_init() && pid.as_raw_nonzero().get() > 0)
        .ok_or_else(io::Error::last_os_error)
}

/// Leaves the namespaces named by `flags` for new ones.
pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: descriptor tables are never among `flags`, and there is no other thread to surprise.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(io::Error::from)
}

/// Makes the mount behind `mount` read-only, and all that is mounted below it.
pub(super) fn make_read_only(mount: BorrowedFd<'_>) -> io::Result<()> {
    set_attributes(mount, libc::MOUNT_ATTR_RDONLY)
}

/// Lets no device node below the mount behind `mount` be opened.
pub(super) fn refuse_devices(mount: BorrowedFd<'_>) -> io::Result<()> {
    set_attributes(mount, libc::MOUNT_ATTR_NODEV)
}

fn set_attributes(mount: BorrowedFd<'_>, attributes: u64) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: an empty C string and a struct of exactly the size that is passed along.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    check(result)
}

/// Loads a filter for this process and its children, without touching `no_new_privs`.
///
/// Needs `CAP_SYS_ADMIN` for just that reason. `seccompiler` would set the flag, and with it `sudo`
/// and every other setuid program in a RUN would stop working.
pub(super) fn load_seccomp(program: &[sock_filter]) -> io::Result<()> {
    set_filter(program, 0).map(drop)
}

fn set_filter(program: &[sock_filter], flags: libc::c_ulong) -> io::Result<i64> {
    #[repr(C)]
    struct Program {
        length: u16,
        filter: *const sock_filter,
    }
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = Program { length, filter: program.as_ptr() };
    // SAFETY: the kernel copies `length` instructions out of the slice, which outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    check(result).map(|()| result)
}

/// Sets `no_new_privs`.
pub(super) fn refuse_privileges() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true).map_err(io::Error::from)
}

/// Keeps this process and its children from signalling any other.
///
/// Needs Landlock of Linux 6.12 and `CAP_SYS_ADMIN` in the user namespace, or `no_new_privs`. landlock(7)
pub(super) fn keep_signals_in() -> io::Result<()> {
    /// struct landlock_ruleset_attr: what of files and the network is ruled, and what ends at the own domain.
    #[repr(C)]
    struct Ruleset {
        files: u64,
        network: u64,
        scoped: u64,
    }
    const SCOPE_SIGNAL: u64 = 2;
    let ruleset = Ruleset { files: 0, network: 0, scoped: SCOPE_SIGNAL };
    // SAFETY: a struct of exactly the size that is passed along; the kernel refuses what it does not know of it.
    // The descriptor that is returned is new and ours.
    unsafe {
        let size = size_of::<Ruleset>();
        let made = libc::syscall(libc::SYS_landlock_create_ruleset, &raw const ruleset, size, 0);
        check(made)?;
        let ruleset = OwnedFd::from_raw_fd(i32::try_from(made).map_err(io::Error::other)?);
        check(libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0))
    }
}

/// Sets a limit of this process; none means no limit.
pub(super) fn limit(resource: u32, soft: Option<u64>, hard: Option<u64>) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: soft.unwrap_or(libc::RLIM_INFINITY),
        rlim_max: hard.unwrap_or(libc::RLIM_INFINITY),
    };
    // SAFETY: a struct that outlives the call; the kernel refuses a resource that it does not know.
    check(unsafe { libc::syscall(libc::SYS_setrlimit, resource, &raw const limit) })
}

/// Returns how far a limit of this process can be raised; none if as far as one likes.
pub(super) fn limit_of(resource: u32) -> io::Result<Option<u64>> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a struct that outlives the call; the kernel refuses a resource that it does not know.
    check(unsafe { libc::syscall(libc::SYS_getrlimit, resource, &raw mut limit) })?;
    Ok((limit.rlim_max != libc::RLIM_INFINITY).then_some(limit.rlim_max))
}

/// Blocks SIGCHLD and returns the descriptor that reports it instead.
pub(super) fn watch_children() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset before it is read; the descriptor is new and ours.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()))?;
        let descriptor = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(descriptor)?;
        Ok(OwnedFd::from_raw_fd(descriptor))
    }
}

/// Gives every signal its default action and blocks none: what a program expects to be born with.
///
/// Rust ignores SIGPIPE, and a shell may have started oxbox with SIGHUP or SIGINT ignored.
pub(super) fn reset_signals() {
    /// Handler, flags, restorer and mask, as the kernel and not the C library lays them out.
    const DEFAULT: [u64; 4] = [0; 4];
    // The C library refuses the two signals that it uses itself, and those may be ignored too.
    const LAST: libc::c_int = 64;
    // SAFETY: all zero means the default action and installs no handler; the two signals whose action
    // is fixed are refused and skipped. The mask is initialised before it is read.
    unsafe {
        for signal in 1..=LAST {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                ptr::null::<u64>(),
                size_of::<u64>(),
            );
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Becomes the program at `path`; returns only to say why not.
pub(super) fn execve(path: &CStr, arguments: &[&CStr], environment: &[&CStr]) -> io::Error {
    let pointers =
        |list: &[&CStr]| -> Vec<_> { list.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect() };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end with a null pointer and their strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Gets rid of every descriptor from `first` on: oxbox may have inherited some that it knows nothing of.
pub(super) fn drop_descriptors(first: u32, what: Inherited) -> io::Result<()> {
    let flags = match what {
        Inherited::Close => 0,
        Inherited::CloseOnExec => libc::CLOSE_RANGE_CLOEXEC,
    };
    // SAFETY: called before the init opens anything, or with the flag that closes nothing yet.
    match check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) }) {
        // Before Linux 5.9 there is no such call, before 5.11 not this flag.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) => {
            drop_one_by_one(first, what)
        }
        result => result,
    }
}

fn drop_one_by_one(first: u32, what: Inherited) -> io::Result<()> {
    /// Of a process without any limit: the kernel's own bound, unless somebody raised it (`fs.nr_open`).
    const USUAL: u64 = 1 << 20;
    let limit =
        rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(USUAL).min(USUAL);
    let last = libc::c_int::try_from(limit).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let first = libc::c_int::try_from(first).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    for descriptor in first..last {
        // SAFETY: as above; of descriptors that are not open the kernel says so, and nothing else happens.
        unsafe {
            match what {
                Inherited::Close => libc::close(descriptor),
                Inherited::CloseOnExec => libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC),
            };
        }
    }
    Ok(())
}

/// Brings up the loopback interface of this network namespace.
pub(super) fn raise_loopback() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketType, socket};
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // SAFETY: the request is zeroed, its name is shorter than IFNAMSIZ and so ends with a zero byte,
    // and the flags are the member that both requests use.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request))?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request))
    }
}

/// Gives a file to root, whose it is: what that takes away goes.
pub(super) fn own(file: &OwnedFd) -> io::Result<()> {
    // SAFETY: an empty C string and numbers.
    check(unsafe { libc::fchownat(file.as_raw_fd(), c"".as_ptr(), 0, 0, libc::AT_EMPTY_PATH) })
}

/// What a file is, as programs are told.
pub(super) fn stat(file: &OwnedFd) -> io::Result<libc::stat> {
    // SAFETY: all zero is a valid value, and the kernel fills it.
    unsafe {
        let mut found: libc::stat = std::mem::zeroed();
        check(libc::fstat(file.as_raw_fd(), &raw mut found))?;
        Ok(found)
    }
}

/// The same, with more.
pub(super) fn statx(file: &OwnedFd, mask: u32) -> io::Result<libc::statx> {
    // SAFETY: all zero is a valid value, and the kernel fills it.
    unsafe {
        let mut found: libc::statx = std::mem::zeroed();
        let flags = libc::AT_EMPTY_PATH;
        check(libc::statx(file.as_raw_fd(), c"".as_ptr(), flags, mask, &raw mut found))?;
        Ok(found)
    }
}

/// A struct of the kernel's, as memory holds it.
pub(super) trait Plain {}
impl Plain for libc::stat {}
impl Plain for libc::statx {}

/// Returns the bytes of a struct of the kernel's.
pub(super) fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: these structs have explicit padding and were zeroed before the kernel filled them, so each byte is set.
    unsafe { std::slice::from_raw_parts(ptr::from_ref(value).cast(), size_of::<T>()) }
}

fn check(result: impl Into<i64>) -> io::Result<()> {
    if result.into() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

    use super::{Inherited, drop_one_by_one};

    #[test]
    fn without_the_newer_call_descriptors_are_marked_one_by_one() {
        let file = File::open("/dev/null").unwrap();
        fcntl_setfd(&file, FdFlags::empty()).unwrap();
        drop_one_by_one(u32::try_from(file.as_raw_fd()).unwrap(), Inherited::CloseOnExec).unwrap();
        assert_eq!(fcntl_getfd(&file).unwrap(), FdFlags::CLOEXEC);
    }
}
