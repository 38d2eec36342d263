//! A file that gets its name once it is whole.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file to be. Dropped, it leaves nothing.
#[derive(Debug)]
pub(super) struct Aside {
    path: PathBuf,
    /// `None` where the name stands for a device or a pipe, which is written to as it is.
    file: Option<NamedTempFile>,
}

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {path}", path = .path.display())]
pub(crate) struct AsideError {
    /// What was tried.
    verb: &'static str,
    /// Which file.
    path: PathBuf,
    /// Why not.
    #[source]
    source: io::Error,
}

impl Aside {
    /// Begins a file beside the place that it will have.
    pub(super) fn begin(path: &Path) -> Result<Self, AsideError> {
        let failed = |source| AsideError { verb: "write", path: path.to_owned(), source };
        let metadata = fs::metadata(path);
        if metadata.as_ref().is_ok_and(fs::Metadata::is_dir) {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let is_plain = metadata.map_or(true, |metadata| metadata.is_file());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let file = is_plain.then(|| {
            tempfile::Builder::new()
                .prefix(".oxbox-")
                // As any new file, not as a secret one.
                .permissions(Permissions::from_mode(0o666))
                .tempfile_in(folder.unwrap_or(Path::new(".")))
        });
        Ok(Self { path: path.to_owned(), file: file.transpose().map_err(failed)? })
    }

    /// Writes all of it, and gives it its name.
    pub(super) fn publish(self, content: &[u8]) -> Result<(), AsideError> {
        let failed = |verb| move |source| (verb, source);
        let written = match self.file {
            None => fs::write(&self.path, content).map_err(failed("write")),
            Some(mut file) => file
                .write_all(content)
                .map_err(failed("write"))
                .and_then(|()| file.persist(&self.path).map_err(|error| ("rename", error.error)).map(drop)),
        };
        written.map_err(|(verb, source)| AsideError { verb, path: self.path, source })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::Aside;

    #[test]
    fn nothing_has_the_name_before_all_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.json");
        fs::write(&path, "before").unwrap();
        let file = Aside::begin(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        file.publish(b"after").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "after");
        drop(Aside::begin(&path).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_place_that_cannot_be_written_to_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let error = Aside::begin(&folder.path().join("absent/x")).unwrap_err();
        assert!(error.to_string().ends_with("absent/x"), "{error}");
        assert!(Aside::begin(folder.path()).is_err());
    }

    #[test]
    fn a_device_stays_one() {
        Aside::begin(Path::new("/dev/null")).unwrap().publish(b"x").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
