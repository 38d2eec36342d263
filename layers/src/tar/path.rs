//! Paths of entries: as archives have them, and in the one form of [`super::Entry::path`].
//!
//! ```text
//! ./usr//bin/   →  usr/bin          /etc/passwd  →  etc/passwd
//! .  /  ./      →  (empty: the root)
//! a/../b        →  refused: what `..` means depends on the links on the way
//! ```

use super::error::TarError;
use super::limit::MAX_PATH_BYTES;

/// Returns the normal form of a path out of an archive.
pub(super) fn normalise(path: &[u8], offset: u64) -> Result<Vec<u8>, TarError> {
    if path.len() > MAX_PATH_BYTES {
        let (size, limit) = (path.len() as u64, MAX_PATH_BYTES as u64);
        return Err(TarError::Limit { what: "path", offset, size, limit });
    }
    if path.contains(&0) {
        return Err(TarError::Nul { path: path.to_vec() });
    }
    let mut normal = Vec::with_capacity(path.len());
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(TarError::DotDot { path: path.to_vec() }),
            _ => {
                if !normal.is_empty() {
                    normal.push(b'/');
                }
                normal.extend_from_slice(component);
            }
        }
    }
    Ok(normal)
}

/// Checks that a path to be written is in normal form and names something.
pub(super) fn check(path: &[u8]) -> Result<(), TarError> {
    if path.len() > MAX_PATH_BYTES {
        let (size, limit) = (path.len() as u64, MAX_PATH_BYTES as u64);
        return Err(TarError::Limit { what: "path", offset: 0, size, limit });
    }
    if path.contains(&0) {
        return Err(TarError::Nul { path: path.to_vec() });
    }
    let is_odd = |component: &[u8]| matches!(component, b"" | b"." | b"..");
    if path.split(|&byte| byte == b'/').any(is_odd) {
        return Err(TarError::NotNormal { path: path.to_vec() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{check, normalise};
    use crate::tar::TarError;

    #[test]
    fn every_spelling_of_a_path_is_one_path() {
        for path in [&b"usr/bin"[..], b"./usr/bin", b"/usr/bin/", b"//usr/./bin//", b"usr//bin/."] {
            assert_eq!(normalise(path, 0).unwrap(), b"usr/bin", "{}", path.escape_ascii());
        }
    }

    #[test]
    fn the_root_is_the_empty_path() {
        for path in [&b""[..], b".", b"./", b"/", b"/./"] {
            assert_eq!(normalise(path, 0).unwrap(), b"");
        }
    }

    #[test]
    fn dot_dot_is_refused_wherever_it_stands() {
        for path in [&b".."[..], b"../a", b"a/..", b"a/../b", b"/../a"] {
            assert!(matches!(normalise(path, 0), Err(TarError::DotDot { .. })), "{}", path.escape_ascii());
        }
        assert_eq!(normalise(b"..a/...", 0).unwrap(), b"..a/...");
    }

    #[test]
    fn only_normal_paths_are_written() {
        for path in [&b""[..], b"/a", b"a/", b"a//b", b"./a", b"a/../b"] {
            assert!(matches!(check(path), Err(TarError::NotNormal { .. })), "{}", path.escape_ascii());
        }
        assert!(matches!(check(b"a\0b"), Err(TarError::Nul { .. })));
        assert!(matches!(check(&[b'a'; 4097]), Err(TarError::Limit { .. })));
        assert!(check(b"usr/bin/..x").is_ok());
    }
}
