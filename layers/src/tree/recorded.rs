//! What a file is meant to be where its maker lacks the right to make it so: written down on the file.
//!
//! ```text
//! user.oxbox.owner  = 33:34       belongs to 33:34; on disk to 0:0, for nobody may give it to such an id
//! user.oxbox.device = c:1:3       is a character device; on disk an empty file
//! ```
//!
//! A user namespace has few ids and no devices. Whoever reads the tree through this crate sees what is meant,
//! and overlayfs copies the attributes with the file. An owner counts only as long as the file is 0:0's: a
//! program that gave it to somebody knew better. Links, pipes and sockets take no such attributes, and are 0:0's
//! then. No layer brings these attributes and none has them: they are how one tree is kept on one machine.

use std::io;
use std::os::unix::fs::chown;
use std::path::Path;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::tar::Kind;

/// What the names begin with.
pub(super) const PREFIX: &[u8] = b"user.oxbox.";

/// The owner.
pub const OWNER: &[u8] = b"user.oxbox.owner";

/// The device.
pub const DEVICE: &[u8] = b"user.oxbox.device";

/// Gives a file to an owner, or writes it down where there is no such id. Links are followed.
pub fn give(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    match chown(path, Some(uid), Some(gid)) {
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
            chown(path, Some(0), Some(0))?;
            let text = owner_text(uid.into(), gid.into());
            match rustix::fs::setxattr(path, OWNER, text.as_bytes(), XattrFlags::empty()) {
                // A socket or a pipe, which takes none.
                Err(Errno::PERM) => Ok(()),
                written => Ok(written?),
            }
        }
        given => given,
    }
}

/// Returns an owner as it is written down.
pub fn owner_text(uid: u64, gid: u64) -> String {
    format!("{uid}:{gid}")
}

/// Reads an owner; `None` for what nobody here wrote.
pub fn owner(text: &[u8]) -> Option<(u64, u64)> {
    let (uid, gid) = std::str::from_utf8(text).ok()?.split_once(':')?;
    Some((number(uid)?.into(), number(gid)?.into()))
}

/// Returns a device as it is written down; `None` for what is none.
pub(super) fn device_text(kind: &Kind) -> Option<String> {
    match kind {
        Kind::CharacterDevice { major, minor } => Some(format!("c:{major}:{minor}")),
        Kind::BlockDevice { major, minor } => Some(format!("b:{major}:{minor}")),
        _ => None,
    }
}

/// Reads a device; `None` for what nobody here wrote. A device 0:0 means a deletion, and is none.
pub fn device(text: &[u8]) -> Option<Kind> {
    let mut fields = std::str::from_utf8(text).ok()?.split(':');
    let kind = fields.next()?;
    let (major, minor) = (number(fields.next()?)?, number(fields.next()?)?);
    match (kind, fields.next()) {
        ("c", None) if (major, minor) != (0, 0) => Some(Kind::CharacterDevice { major, minor }),
        ("b", None) => Some(Kind::BlockDevice { major, minor }),
        _ => None,
    }
}

/// Numbers as they are written here: digits alone, and none that the kernel reads as "leave it".
fn number(text: &str) -> Option<u32> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&number| is_digits && number != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Kind, device, device_text, owner, owner_text};

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(owner(owner_text(33, 4_294_967_294).as_bytes()), Some((33, 4_294_967_294)));
        for kind in [
            Kind::CharacterDevice { major: 1, minor: 3 },
            Kind::CharacterDevice { major: 0, minor: 7 },
            Kind::BlockDevice { major: 8, minor: 0 },
        ] {
            assert_eq!(device(device_text(&kind).unwrap().as_bytes()), Some(kind));
        }
        assert_eq!(device_text(&Kind::Fifo), None);
    }

    #[test]
    fn what_nobody_here_writes_is_nothing() {
        for text in ["", "1", "1:", ":1", "+1:2", "1:4294967295", "1:2:3", "a:b", "\u{ff}:1"] {
            assert_eq!(owner(text.as_bytes()), None, "{text:?}");
        }
        for text in ["", "c:0:0", "c:1", "c:1:2:3", "x:1:2", "c:1:-2"] {
            assert_eq!(device(text.as_bytes()), None, "{text:?}");
        }
    }
}
