//! Finds the file that a call of another process is about.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, open, openat2};

use super::super::listener;

/// Whether a link at the end of a path is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    Followed,
    Itself,
}

/// Opens what a path of another process names.
pub(super) fn by_path(
    process: i32,
    directory: i32,
    address: u64,
    last: Last,
    empty: bool,
) -> io::Result<OwnedFd> {
    let path = match address {
        0 => CString::default(),
        address => listener::path(process, address)?,
    };
    if path.is_empty() {
        return match empty {
            true => by_descriptor(process, directory),
            false => Err(io::ErrorKind::NotFound.into()),
        };
    }
    let is_absolute = path.as_bytes().starts_with(b"/");
    let (base, mut resolve) = match is_absolute {
        // Where it is now the root, if it changed that.
        true => (open(format!("{process}/root"), FOUND, Mode::empty())?, ResolveFlags::IN_ROOT),
        false => (by_descriptor(process, directory)?, ResolveFlags::empty()),
    };
    // A link of /proc into this process's own files is not the program's to follow.
    resolve |= ResolveFlags::NO_MAGICLINKS;
    let flags = match last {
        Last::Followed => FOUND,
        Last::Itself => FOUND | OFlags::NOFOLLOW,
    };
    Ok(openat2(base, path.as_c_str(), flags, Mode::empty(), resolve)?)
}

/// Opens what a descriptor of another process names.
pub(super) fn by_descriptor(process: i32, descriptor: i32) -> io::Result<OwnedFd> {
    let path = match descriptor {
        libc::AT_FDCWD => format!("{process}/cwd"),
        descriptor => format!("{process}/fd/{descriptor}"),
    };
    Ok(rustix::fs::openat(CWD, path, FOUND, Mode::empty())?)
}

const FOUND: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
