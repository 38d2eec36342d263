//! One entry of a layer: what a path is, without its content.
//!
//! The same type serves reading, writing, scanning a tree and diffing two. Paths are bytes, relative,
//! without a leading or trailing slash and without `.` or `..` components; the root itself is the
//! empty path. Users and groups are numbers: names are never written, since they would make the bytes
//! depend on the host.
//!
//! image-spec v1.1.1, layer.md#file-types and #file-attributes

use std::collections::BTreeMap;

/// A path and all that a layer says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative path in bytes, `usr/bin/env`; empty for the root.
    pub path: Vec<u8>,
    /// What stands there.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky: `0o7777` at most.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u64,
    /// Numeric group.
    pub gid: u64,
    /// Seconds since 1970; layers keep whole seconds only.
    pub mtime: i64,
    /// Extended attributes by full name, `security.capability` for one.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A character device.
    CharacterDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A regular file, whose content follows the entry.
    File {
        /// Bytes of content.
        size: u64,
    },
    /// Another name of a file that stands earlier in the same layer.
    Hardlink {
        /// Path of that file, in the form of [`Entry::path`].
        target: Vec<u8>,
    },
    /// A symbolic link.
    Symlink {
        /// What the link holds, verbatim.
        target: Vec<u8>,
    },
}

impl Entry {
    /// Returns an entry owned by root, of 1970, without extended attributes.
    pub fn new(path: impl Into<Vec<u8>>, kind: Kind, mode: u32) -> Self {
        Self { path: path.into(), kind, mode, uid: 0, gid: 0, mtime: 0, xattrs: BTreeMap::new() }
    }

    /// Returns the last component of the path; empty for the root.
    pub fn name(&self) -> &[u8] {
        match self.path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => &self.path[slash + 1..],
            None => &self.path,
        }
    }

    /// Returns the path of the directory that holds this one; empty at the top.
    pub fn parent(&self) -> &[u8] {
        match self.path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => &self.path[..slash],
            None => b"",
        }
    }

    /// Returns how many bytes of content follow the entry.
    pub fn size(&self) -> u64 {
        match self.kind {
            Kind::File { size } => size,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Kind};

    #[test]
    fn a_path_splits_into_parent_and_name() {
        let entry = Entry::new(*b"usr/bin/env", Kind::File { size: 3 }, 0o755);
        assert_eq!((entry.parent(), entry.name()), (&b"usr/bin"[..], &b"env"[..]));
        let top = Entry::new(*b"etc", Kind::Directory, 0o755);
        assert_eq!((top.parent(), top.name()), (&b""[..], &b"etc"[..]));
    }
}
