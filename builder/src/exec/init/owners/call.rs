//! The calls about owners, and what is answered to each.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use oxbox_layers::tar::Kind;
use oxbox_layers::tree::recorded;
use rustix::fs::{FileType, XattrFlags};

use crate::exec::sys::{self, Answer, Call};

use super::super::listener::give_back;
use super::place::{self, Last};

/// What a call says in place of an id to leave it as it is.
const LEAVE: u32 = u32::MAX;

/// The calls that are looked at.
pub(super) const WATCHED: &[i64] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_setgroups,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
];

/// Finds the answer; an error means that the kernel has it.
pub(super) fn answer(call: &Call, is_valid: &dyn Fn() -> bool) -> io::Result<Answer> {
    let arguments = &call.arguments;
    let (descriptor, flags) = (arguments[0] as i32, |at: usize| arguments[at] as i32);
    let last = |flags: i32| match flags & libc::AT_SYMLINK_NOFOLLOW {
        0 => Last::Followed,
        _ => Last::Itself,
    };
    let at = |last, flags: i32| {
        place::by_path(call.process, descriptor, arguments[1], last, flags & libc::AT_EMPTY_PATH != 0)
    };
    let path = |last| place::by_path(call.process, libc::AT_FDCWD, arguments[0], last, false);
    let ids = |at: usize| (arguments[at] as u32, arguments[at + 1] as u32);
    let checked = |file: OwnedFd| match is_valid() {
        true => Ok(file),
        false => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    };
    match call.number {
        libc::SYS_fchown => give(&checked(place::by_descriptor(call.process, descriptor)?)?, ids(1)),
        libc::SYS_fchownat => give(&checked(at(last(flags(4)), flags(4))?)?, ids(2)),
        libc::SYS_fstat => {
            show(call, &checked(place::by_descriptor(call.process, descriptor)?)?, arguments[1])
        }
        libc::SYS_newfstatat => show(call, &checked(at(last(flags(3)), flags(3))?)?, arguments[2]),
        libc::SYS_statx => show_more(call, &checked(at(last(flags(2)), flags(2))?)?),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chown => give(&checked(path(Last::Followed)?)?, ids(1)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_lchown => give(&checked(path(Last::Itself)?)?, ids(1)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_stat => show(call, &checked(path(Last::Followed)?)?, arguments[1]),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_lstat => show(call, &checked(path(Last::Itself)?)?, arguments[1]),
        // Becoming somebody else.
        _ => Ok(Answer::Done(0)),
    }
}

/// Writes down to whom a file is given.
fn give(file: &OwnedFd, (uid, gid): (u32, u32)) -> io::Result<Answer> {
    let recorded = owner(file);
    let (old_uid, old_gid) = recorded.unwrap_or((0, 0));
    let uid = if uid == LEAVE { old_uid } else { uid.into() };
    let gid = if gid == LEAVE { old_gid } else { gid.into() };
    if recorded.is_none() && (uid, gid) == (0, 0) {
        return Ok(Answer::Proceed);
    }
    // It takes setuid, setgid and capabilities away, as giving a file does.
    sys::own(file)?;
    let place = own_path(file);
    let written = match (uid, gid) {
        (0, 0) => rustix::fs::removexattr(&place, recorded::OWNER),
        _ => {
            let text = recorded::owner_text(uid, gid);
            rustix::fs::setxattr(&place, recorded::OWNER, text.as_bytes(), XattrFlags::empty())
        }
    };
    match written {
        // Links, pipes and sockets take none, and stay root's.
        Ok(()) | Err(rustix::io::Errno::PERM | rustix::io::Errno::NODATA) => Ok(Answer::Done(0)),
        Err(error) => Ok(Answer::Refused(error.raw_os_error())),
    }
}

/// Shows a file with the owner that was written down.
fn show(call: &Call, file: &OwnedFd, address: u64) -> io::Result<Answer> {
    let (owner, device) = (owner(file), device(file));
    if owner.is_none() && device.is_none() {
        return Ok(Answer::Proceed);
    }
    let mut found = sys::stat(file)?;
    if let Some((uid, gid)) = owner.filter(|_| (found.st_uid, found.st_gid) == (0, 0)) {
        (found.st_uid, found.st_gid) = (uid as u32, gid as u32);
    }
    if let Some((kind, device)) = device {
        found.st_mode = found.st_mode & 0o7777 | kind;
        found.st_rdev = device;
    }
    give_back(call, address, sys::bytes_of(&found))
}

/// The same for the call that shows more.
fn show_more(call: &Call, file: &OwnedFd) -> io::Result<Answer> {
    let (owner, device) = (owner(file), device(file));
    if owner.is_none() && device.is_none() {
        return Ok(Answer::Proceed);
    }
    let mut found = sys::statx(file, call.arguments[3] as u32)?;
    if let Some((uid, gid)) = owner.filter(|_| (found.stx_uid, found.stx_gid) == (0, 0)) {
        (found.stx_uid, found.stx_gid) = (uid as u32, gid as u32);
    }
    if let Some((kind, device)) = device {
        found.stx_mode = found.stx_mode & 0o7777 | kind as u16;
        (found.stx_rdev_major, found.stx_rdev_minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    }
    give_back(call, call.arguments[4], sys::bytes_of(&found))
}

fn owner(file: &OwnedFd) -> Option<(u64, u64)> {
    recorded::owner(&attribute(file, recorded::OWNER)?)
}

/// What kind of device is meant, as a mode says it, and which.
fn device(file: &OwnedFd) -> Option<(u32, u64)> {
    match recorded::device(&attribute(file, recorded::DEVICE)?)? {
        Kind::CharacterDevice { major, minor } => {
            Some((FileType::CharacterDevice.as_raw_mode(), rustix::fs::makedev(major, minor)))
        }
        Kind::BlockDevice { major, minor } => {
            Some((FileType::BlockDevice.as_raw_mode(), rustix::fs::makedev(major, minor)))
        }
        _ => None,
    }
}

fn attribute(file: &OwnedFd, name: &[u8]) -> Option<Vec<u8>> {
    // Longer than any that is ours.
    let mut value = vec![0; 64];
    let count = rustix::fs::getxattr(own_path(file), name, &mut value[..]).ok()?;
    value.truncate(count);
    Some(value)
}

/// A path in /proc that leads to an open file, whatever its name.
fn own_path(file: &OwnedFd) -> String {
    format!("self/fd/{}", file.as_raw_fd())
}
