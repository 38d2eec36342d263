//! Which calls are looked at, and what each wants.

use std::ffi::CString;
use std::io;

use rustix::fs::OFlags;

use crate::exec::sys::Call;

use super::super::super::listener;

/// The calls that are looked at.
pub(super) const WATCHED: &[i64] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_openat2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_chdir,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
];

/// What a call wants.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wish {
    /// A descriptor.
    Open(OFlags),
    /// Where a link leads, written to an address, cut to so many bytes.
    ReadLink(u64, usize),
    /// What it is, written to an address.
    Stat(u64),
    /// The same with more; of which fields.
    Statx(u64, u32),
    /// Whether it may be read, written or executed.
    Access(u32),
    /// To be there.
    Enter,
    /// An attribute, which nothing there has.
    Attribute,
}

impl Wish {
    /// Whether it is about writing.
    pub(super) fn writes(self) -> bool {
        const WRITE: u32 = 2;
        match self {
            Self::Open(flags) if flags.contains(OFlags::PATH) => false,
            Self::Open(flags) => {
                flags.intersects(OFlags::WRONLY | OFlags::RDWR | OFlags::TRUNC | OFlags::APPEND)
            }
            Self::Access(mode) => mode & WRITE != 0,
            Self::ReadLink(..) | Self::Stat(_) | Self::Statx(..) | Self::Enter | Self::Attribute => false,
        }
    }
}

/// A call, understood.
#[derive(Debug)]
pub(super) struct Request {
    /// What a relative path begins at: a descriptor of the caller, or `AT_FDCWD`.
    pub(super) directory: i32,
    pub(super) path: CString,
    /// Whether a link at the end is followed.
    pub(super) follows: bool,
    pub(super) wish: Wish,
}

impl Request {
    /// Reads a call's arguments, and its path out of the caller's memory.
    pub(super) fn read(call: &Call) -> io::Result<Self> {
        let argument = |at: usize| call.arguments[at];
        let (number, directory) = (call.number, argument(0) as i32);
        let open = |flags: u64| known(OFlags::from_bits_retain(flags as u32));
        let size = |at: usize| argument(at) as i32 as usize;
        let at_flags = |at: usize| (argument(at) as i32 & libc::AT_SYMLINK_NOFOLLOW) == 0;
        let (directory, path, follows, wish) = match number {
            #[cfg(target_arch = "x86_64")]
            libc::SYS_open => (libc::AT_FDCWD, 0, true, Wish::Open(open(argument(1)))),
            libc::SYS_openat => (directory, 1, true, Wish::Open(open(argument(2)))),
            libc::SYS_openat2 => (directory, 1, true, Wish::Open(open(how(call)?))),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_readlink => (libc::AT_FDCWD, 0, false, Wish::ReadLink(argument(1), size(2))),
            libc::SYS_readlinkat => (directory, 1, false, Wish::ReadLink(argument(2), size(3))),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_stat => (libc::AT_FDCWD, 0, true, Wish::Stat(argument(1))),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_lstat => (libc::AT_FDCWD, 0, false, Wish::Stat(argument(1))),
            libc::SYS_newfstatat => (directory, 1, at_flags(3), Wish::Stat(argument(2))),
            libc::SYS_statx => (directory, 1, at_flags(2), Wish::Statx(argument(4), argument(3) as u32)),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_access => (libc::AT_FDCWD, 0, true, Wish::Access(argument(1) as u32)),
            libc::SYS_faccessat => (directory, 1, true, Wish::Access(argument(2) as u32)),
            libc::SYS_faccessat2 => (directory, 1, at_flags(3), Wish::Access(argument(2) as u32)),
            libc::SYS_chdir => (libc::AT_FDCWD, 0, true, Wish::Enter),
            libc::SYS_getxattr | libc::SYS_listxattr => (libc::AT_FDCWD, 0, true, Wish::Attribute),
            libc::SYS_lgetxattr | libc::SYS_llistxattr => (libc::AT_FDCWD, 0, false, Wish::Attribute),
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        let follows = match wish {
            Wish::Open(flags) => !flags.contains(OFlags::NOFOLLOW),
            _ => follows,
        };
        let address = call.arguments[path];
        if address == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Self { directory, path: listener::path(call.process, address)?, follows, wish })
    }
}

/// The flags that say something: open takes any others too, and openat2, which the clerk opens with, does not.
fn known(flags: OFlags) -> OFlags {
    if flags.contains(OFlags::PATH) {
        return flags & (OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC);
    }
    let kept = OFlags::RWMODE
        | OFlags::CREATE
        | OFlags::EXCL
        | OFlags::TRUNC
        | OFlags::APPEND
        | OFlags::NONBLOCK
        | OFlags::DIRECTORY
        | OFlags::NOFOLLOW
        | OFlags::CLOEXEC;
    flags & kept
}

/// The flags of openat2, if it asks for nothing that a plain open does not do.
fn how(call: &Call) -> io::Result<u64> {
    let process = rustix::process::Pid::from_raw(call.process).ok_or(io::ErrorKind::NotFound)?;
    // struct open_how: flags, mode, resolve.
    let mut bytes = [0; 24];
    if call.arguments[3] < 24 || crate::exec::sys::read_memory(process, call.arguments[2], &mut bytes)? < 24 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let word =
        |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("because it is eight bytes"));
    match word(16) {
        0 => Ok(word(0)),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{OFlags, known};

    #[test]
    fn flags_that_openat2_refuses_are_left_out() {
        let odd = OFlags::RDWR | OFlags::NOATIME | OFlags::from_bits_retain(0x4000_0000);
        assert_eq!(known(odd | OFlags::CLOEXEC), OFlags::RDWR | OFlags::CLOEXEC);
        assert_eq!(known(OFlags::PATH | OFlags::RDWR | OFlags::TRUNC), OFlags::PATH);
    }
}
