//! What stands in a root, and that it can be trusted.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::SystemTime;

use oxbox_layers::oci::DiffId;

use super::super::{SnapshotError, io_error};

const NAME: &str = "stands";

/// What stands in a root that nobody writes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stands {
    /// The boot in which it was written.
    pub(super) boot: String,
    /// The layers, the lowest first.
    pub(super) chain: Vec<DiffId>,
}

impl Stands {
    /// Reads it; `None` without one, or with one that is torn.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, SnapshotError> {
        let path = directory.join(NAME);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                Ok(None)
            }
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    /// Writes it, whole or not at all.
    pub(super) fn write(&self, directory: &Path) -> Result<(), SnapshotError> {
        let mut text = format!("{}\n", self.boot);
        text.extend(self.chain.iter().map(|layer| format!("{layer}\n")));
        let path = directory.join(NAME);
        let aside = tempfile::NamedTempFile::new_in(directory).map_err(io_error("write in", directory))?;
        aside.as_file().write_all(text.as_bytes()).map_err(io_error("write", &path))?;
        aside.persist(&path).map(drop).map_err(|error| io_error("publish", &path)(error.error))
    }

    /// Takes it away, so that nobody trusts the root any more.
    pub(super) fn remove(directory: &Path) -> Result<(), SnapshotError> {
        let path = directory.join(NAME);
        fs::remove_file(&path).map_err(io_error("remove", &path))
    }

    /// Returns when a step last left the root.
    pub(super) fn used(directory: &Path) -> SystemTime {
        let found = fs::metadata(directory.join(NAME)).and_then(|found| found.modified());
        found.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let boot = lines.next().filter(|boot| !boot.is_empty())?.to_owned();
        let chain = lines.map(|line| line.parse().ok().map(DiffId)).collect::<Option<_>>()?;
        Some(Self { boot, chain })
    }
}

#[cfg(test)]
mod tests {
    use oxbox_layers::oci::{DiffId, Digest};

    use super::Stands;

    #[test]
    fn what_stands_there_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Stands::read(directory.path()).unwrap(), None);
        for count in [0_u8, 1, 3] {
            let chain = (0..count).map(|number| DiffId(Digest::sha256(&[number]))).collect();
            let stands = Stands { boot: "a".to_owned(), chain };
            stands.write(directory.path()).unwrap();
            assert_eq!(Stands::read(directory.path()).unwrap(), Some(stands));
        }
        Stands::remove(directory.path()).unwrap();
        assert_eq!(Stands::read(directory.path()).unwrap(), None);
    }

    #[test]
    fn what_is_torn_says_nothing() {
        for text in ["", "\n", "\0\0\n", "a", "a\nsha256:12", "a\nsha256:12\n"] {
            let torn = Stands::parse(text).is_none_or(|stands| stands.boot == "\0\0");
            assert!(torn, "{text:?}");
        }
    }
}
