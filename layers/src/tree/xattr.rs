//! Extended attributes: which of them belong to an image, and how they are read and set.
//!
//! `security.capability` belongs to the file and travels. `security.selinux` and its like belong to
//! the host's policy, `*.overlay.*` to the mount a tree was made under: neither ever travels, and
//! a layer that brings them is not obeyed, since they can redirect a path of a later mount.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::recorded;
use super::root::through_proc;
use crate::tar::Kind;

/// Which extended attributes are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Xattrs {
    /// None at all.
    None,
    /// `security.capability` alone: what containerd and BuildKit put into layers.
    Capability,
    /// `security.capability` and `user.*`: what containers/storage puts into layers.
    CapabilityAndUser,
}

impl Xattrs {
    /// Tells whether an attribute of this name is kept.
    pub fn keeps(self, name: &[u8]) -> bool {
        match self {
            Self::None => false,
            Self::Capability => name == CAPABILITY,
            Self::CapabilityAndUser => {
                let is_ours = name.starts_with(b"user.overlay.") || name.starts_with(recorded::PREFIX);
                name == CAPABILITY || name.starts_with(b"user.") && !is_ours
            }
        }
    }
}

/// Attributes by name.
type Attributes = BTreeMap<Vec<u8>, Vec<u8>>;

const CAPABILITY: &[u8] = b"security.capability";

/// What overlayfs noted on a file of an upper directory, and what was written down on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Nothing of the lower directories shows through.
    pub(super) opaque: bool,
    /// The name is gone: what overlayfs takes for a whiteout where no device can be made.
    pub(super) whiteout: bool,
    /// The directory's lower part is elsewhere, or the file's content is: `redirect_dir` or
    /// `metacopy` was on.
    pub(super) elsewhere: bool,
    /// The owner that it is meant to have.
    pub(super) owner: Option<(u64, u64)>,
    /// The device that it is meant to be.
    pub(super) device: Option<Box<Kind>>,
}

/// Reads the attributes of `name` in a directory; the empty name is the directory itself.
pub(super) fn read(
    directory: BorrowedFd<'_>,
    name: &[u8],
    keep: Xattrs,
) -> rustix::io::Result<(Attributes, Marks)> {
    let path = through_proc(directory, name);
    let mut kept = BTreeMap::new();
    let mut marks = Marks::default();
    let list = list(&path, name)?;
    for attribute in list.split(|&byte| byte == 0).filter(|attribute| !attribute.is_empty()) {
        if let Some(mark) = overlay_mark(attribute) {
            match mark {
                b"opaque" => marks.opaque = get(&path, name, attribute)?.as_deref() == Some(b"y"),
                b"whiteout" => marks.whiteout = true,
                b"redirect" | b"metacopy" => marks.elsewhere = true,
                _ => {}
            }
        } else if attribute == recorded::OWNER {
            marks.owner = get(&path, name, attribute)?.as_deref().and_then(recorded::owner);
        } else if attribute == recorded::DEVICE {
            marks.device = get(&path, name, attribute)?.as_deref().and_then(recorded::device).map(Box::new);
        } else if keep.keeps(attribute)
            && let Some(value) = get(&path, name, attribute)?
        {
            let value = if attribute == CAPABILITY { without_root_id(value) } else { value };
            kept.insert(attribute.to_vec(), value);
        }
    }
    Ok((kept, marks))
}

/// Reads the names alone, each ending with a NUL.
fn list(path: &[u8], name: &[u8]) -> rustix::io::Result<Vec<u8>> {
    // Enough for nearly every file; the kernel lets a list be 64 KiB.
    for bytes in [1 << 10, 1 << 16] {
        let mut list = vec![0; bytes];
        // The path to a directory's own descriptor is itself a link, and has to be followed.
        let result = match name {
            b"" => rustix::fs::listxattr(path, &mut list[..]),
            _ => rustix::fs::llistxattr(path, &mut list[..]),
        };
        match result {
            Ok(used) => {
                list.truncate(used);
                return Ok(list);
            }
            Err(Errno::RANGE) => {}
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
    Err(Errno::RANGE)
}

fn get(path: &[u8], name: &[u8], attribute: &[u8]) -> rustix::io::Result<Option<Vec<u8>>> {
    for bytes in [1 << 8, 1 << 16] {
        let mut value = vec![0; bytes];
        let result = match name {
            b"" => rustix::fs::getxattr(path, attribute, &mut value[..]),
            _ => rustix::fs::lgetxattr(path, attribute, &mut value[..]),
        };
        match result {
            Ok(used) => {
                value.truncate(used);
                return Ok(Some(value));
            }
            Err(Errno::RANGE) => {}
            // Removed since it was listed, or not for us to see.
            Err(Errno::NODATA | Errno::NOTSUP) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Err(Errno::RANGE)
}

/// Sets one attribute of `name` in a directory; the empty name is the directory itself.
pub(super) fn set(
    directory: BorrowedFd<'_>,
    name: &[u8],
    attribute: &[u8],
    value: &[u8],
) -> rustix::io::Result<()> {
    let path = through_proc(directory, name);
    match name {
        b"" => rustix::fs::setxattr(path, attribute, value, XattrFlags::empty()),
        _ => rustix::fs::lsetxattr(path, attribute, value, XattrFlags::empty()),
    }
}

/// Removes those attributes of an open directory that are kept in layers and that `wanted` lacks.
pub(super) fn remove_others(
    directory: BorrowedFd<'_>,
    wanted: &Attributes,
    keep: Xattrs,
) -> rustix::io::Result<()> {
    let path = through_proc(directory, b"");
    for attribute in list(&path, b"")?.split(|&byte| byte == 0) {
        let is_gone = keep.keeps(attribute) && !wanted.contains_key(attribute);
        if is_gone || attribute == recorded::OWNER {
            rustix::fs::removexattr(&path, attribute)?;
        }
    }
    Ok(())
}

fn overlay_mark(attribute: &[u8]) -> Option<&[u8]> {
    attribute.strip_prefix(b"trusted.overlay.").or_else(|| attribute.strip_prefix(b"user.overlay."))
}

/// Turns a capability of revision 3, which names the root of a user namespace, into revision 2: that
/// root is the builder's, and means nothing where the image runs.
fn without_root_id(value: Vec<u8>) -> Vec<u8> {
    // struct vfs_ns_cap_data: revision and flags (little endian), two pairs of masks, root id.
    const REVISION_2: u8 = 2;
    const REVISION_3: u8 = 3;
    match value[..] {
        [flags, low, high, REVISION_3, ref masks @ ..] if masks.len() == 20 => {
            [&[flags, low, high, REVISION_2], &masks[..16]].concat()
        }
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::{Xattrs, without_root_id};

    #[test]
    fn the_hosts_own_attributes_never_travel() {
        for name in [
            &b"security.selinux"[..],
            b"user.overlay.opaque",
            b"user.oxbox.owner",
            b"trusted.overlay.redirect",
            b"system.posix_acl_access",
        ] {
            assert!(!Xattrs::CapabilityAndUser.keeps(name), "{}", name.escape_ascii());
        }
        assert!(Xattrs::CapabilityAndUser.keeps(b"user.mime"));
        assert!(!Xattrs::Capability.keeps(b"user.mime"));
        assert!(Xattrs::Capability.keeps(b"security.capability"));
        assert!(!Xattrs::None.keeps(b"security.capability"));
    }

    #[test]
    fn a_capability_loses_its_namespace() {
        let mut third = vec![1, 0, 0, 3];
        third.extend_from_slice(&[7; 16]);
        third.extend_from_slice(&[9; 4]);
        let mut second = vec![1, 0, 0, 2];
        second.extend_from_slice(&[7; 16]);
        assert_eq!(without_root_id(third), second);
        assert_eq!(without_root_id(second.clone()), second);
    }
}
