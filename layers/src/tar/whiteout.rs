//! Whiteouts: how a layer says "this path is gone".
//!
//! ```text
//! etc/.wh.motd        the lower layers' etc/motd is hidden
//! etc/.wh..wh..opq    everything the lower layers put in etc/ is hidden
//! ```
//!
//! Only names are handled here. What hiding does to a directory is in `tree/apply.rs`;
//! overlayfs marks deletions its own way, which `tree/overlay.rs` turns into these and back.
//!
//! image-spec v1.1.1, layer.md#whiteouts

use super::entry::{Entry, Kind};

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What the last component of an entry's path says.
#[derive(Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// An ordinary file name.
    Plain(&'a [u8]),
    /// Hides this sibling, and only as the lower layers had it.
    Hides(&'a [u8]),
    /// Hides all that the lower layers put in this directory.
    Opaque,
}

/// Why a name cannot be read as a whiteout.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhiteoutError {
    /// The name is the bare prefix, or hides the directory itself or its parent.
    #[error("whiteout {} hides no file", .name.escape_ascii())]
    HidesNothing {
        /// The name.
        name: Vec<u8>,
    },
}

/// Reads one path component.
///
/// # Errors
///
/// [`WhiteoutError::HidesNothing`] for `.wh.`, `.wh..` and `.wh...`: a crafted layer must not
/// turn a missing name into the directory that holds it.
pub fn read(component: &[u8]) -> Result<Name<'_>, WhiteoutError> {
    // Before the prefix test: the marker starts with the prefix too.
    if component == OPAQUE {
        return Ok(Name::Opaque);
    }
    match component.strip_prefix(PREFIX) {
        None => Ok(Name::Plain(component)),
        Some(b"" | b"." | b"..") => Err(WhiteoutError::HidesNothing { name: component.to_vec() }),
        Some(hidden) => Ok(Name::Hides(hidden)),
    }
}

/// Writes the component that hides `sibling`.
pub fn hide(sibling: &[u8]) -> Vec<u8> {
    [PREFIX, sibling].concat()
}

/// Tells whether a layer would take this component for a whiteout, so that no file may bear it.
pub fn is_reserved(component: &[u8]) -> bool {
    component.starts_with(PREFIX)
}

/// Returns the entry that hides `path`: an empty file of 1970, as containerd writes them.
pub fn hiding(path: &[u8]) -> Entry {
    let (parent, name) = match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => path.split_at(slash + 1),
        None => (&b""[..], path),
    };
    Entry::new([parent, PREFIX, name].concat(), Kind::File { size: 0 }, 0)
}

/// Returns the entry that hides all the lower layers put in `directory`; the root is the empty path.
pub fn opaque(directory: &[u8]) -> Entry {
    let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
    Entry::new([directory, slash, OPAQUE].concat(), Kind::File { size: 0 }, 0)
}

#[cfg(test)]
mod tests {
    use super::{Name, WhiteoutError, hide, hiding, opaque, read};

    #[test]
    fn a_prefixed_name_hides_its_sibling() {
        assert_eq!(read(b".wh.motd"), Ok(Name::Hides(b"motd")));
    }

    #[test]
    fn the_opaque_marker_is_not_a_whiteout_of_an_odd_name() {
        assert_eq!(read(b".wh..wh..opq"), Ok(Name::Opaque));
    }

    #[test]
    fn a_whiteout_cannot_hide_its_own_directory() {
        for name in [&b".wh."[..], b".wh..", b".wh..."] {
            assert_eq!(read(name), Err(WhiteoutError::HidesNothing { name: name.to_vec() }));
        }
    }

    #[test]
    fn what_hide_writes_read_reads() {
        assert_eq!(read(&hide(b"a b\xff")), Ok(Name::Hides(b"a b\xff")));
    }

    #[test]
    fn a_whiteout_stands_beside_what_it_hides() {
        assert_eq!(hiding(b"etc/motd").path, b"etc/.wh.motd");
        assert_eq!(hiding(b"etc").path, b".wh.etc");
        assert_eq!(opaque(b"etc").path, b"etc/.wh..wh..opq");
        assert_eq!(opaque(b"").path, b".wh..wh..opq");
    }
}
