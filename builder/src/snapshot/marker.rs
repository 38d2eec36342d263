//! Whether a snapshot that is in its place can be believed.
//!
//! ```text
//! <hex>/unpacked      `<boot id>` or `synced`, newline, `own root` or `inherited root`, newline
//! ```
//!
//! A snapshot is renamed into place whole, but not synced: that would cost more than unpacking. After a
//! crash of the machine the name may be on disk and the content not. So a snapshot is believed as long
//! as the machine runs that wrote it, and for good once a sweep has synced it, when the kernel has long
//! written it by itself and there is nothing left to wait for. Its mtime says when a step last stood on it.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::SystemTime;

use super::{SnapshotError, io_error};

const NAME: &str = "unpacked";
const SYNCED: &str = "synced";
const OWN: &str = "own root";
const INHERITED: &str = "inherited root";

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker {
    /// The boot in which it was written, or the word for "surely on disk".
    boot: String,
    pub(super) root: RootEntry,
}

/// Where the attributes of the layer's root directory come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RootEntry {
    /// The layer has an entry for it.
    Own,
    /// The layer does not speak of it: they are those of the layers below.
    Inherited,
}

/// How far a snapshot can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// It is on disk.
    Synced,
    /// It was written since the machine started.
    ThisBoot,
    /// The machine went down since it was written.
    Lost,
}

impl Marker {
    /// Returns the marker of what is written now.
    pub(super) fn new(boot: &str, root: RootEntry) -> Self {
        Self { boot: boot.to_owned(), root }
    }

    /// Reads the marker in `directory`; `None` without one.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, SnapshotError> {
        let path = directory.join(NAME);
        match fs::read(&path) {
            Ok(text) => Ok(Some(Self::parse(&String::from_utf8_lossy(&text)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    /// Writes it into a directory that nobody else sees yet.
    pub(super) fn write(&self, directory: &Path) -> Result<(), SnapshotError> {
        let path = directory.join(NAME);
        fs::write(&path, self.text()).map_err(io_error("write", &path))
    }

    /// Writes it anew into a directory that others are reading, as surely on disk.
    pub(super) fn write_synced(&self, directory: &Path) -> Result<(), SnapshotError> {
        let aside = directory.join("unpacked.new");
        let synced = Self { boot: SYNCED.to_owned(), root: self.root };
        fs::write(&aside, synced.text()).map_err(io_error("write", &aside))?;
        if let (Some(used), Ok(file)) = (Self::used(directory), File::options().write(true).open(&aside)) {
            let _ = file.set_modified(used);
        }
        fs::rename(&aside, directory.join(NAME)).map_err(io_error("rename", &aside))
    }

    /// Notes that a step stands on the snapshot now.
    pub(super) fn touch(directory: &Path) {
        // Without it the snapshot only goes earlier.
        let _ = File::open(directory.join(NAME)).and_then(|file| file.set_modified(SystemTime::now()));
    }

    /// Returns when a step last stood on the snapshot; `None` without one.
    pub(super) fn used(directory: &Path) -> Option<SystemTime> {
        fs::metadata(directory.join(NAME)).and_then(|found| found.modified()).ok()
    }

    /// Returns how far it can be believed in the boot named `boot`.
    pub(super) fn trust(&self, boot: &str) -> Trust {
        match self.boot.as_str() {
            SYNCED => Trust::Synced,
            own if own == boot && !own.is_empty() => Trust::ThisBoot,
            // A torn marker is empty or holds zeros; neither names this boot.
            _ => Trust::Lost,
        }
    }

    fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let boot = lines.next().unwrap_or("").to_owned();
        match lines.next() {
            Some(OWN) => Self { boot, root: RootEntry::Own },
            Some(INHERITED) => Self { boot, root: RootEntry::Inherited },
            // Torn after the first line.
            _ => Self { boot: String::new(), root: RootEntry::Inherited },
        }
    }

    fn text(&self) -> String {
        let root = match self.root {
            RootEntry::Own => OWN,
            RootEntry::Inherited => INHERITED,
        };
        format!("{}\n{root}\n", self.boot)
    }
}

/// Returns what names this boot of the machine; containers see their host's.
pub(super) fn boot_id() -> Result<String, SnapshotError> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let text = fs::read_to_string(path).map_err(io_error("read", path))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Marker, RootEntry, Trust};

    #[test]
    fn a_snapshot_is_believed_in_the_boot_that_wrote_it() {
        let marker = Marker::new("a", RootEntry::Own);
        assert_eq!((marker.trust("a"), marker.trust("b")), (Trust::ThisBoot, Trust::Lost));
    }

    #[test]
    fn a_synced_snapshot_is_believed_for_good() {
        let directory = tempfile::tempdir().unwrap();
        Marker::new("a", RootEntry::Own).write_synced(directory.path()).unwrap();
        let marker = Marker::read(directory.path()).unwrap().unwrap();
        assert_eq!((marker.trust("b"), marker.root), (Trust::Synced, RootEntry::Own));
    }

    #[test]
    fn a_torn_marker_is_not_believed() {
        for text in ["", "\0\0\0\0", "\n", "a\n", "synced\n\0\0"] {
            assert_eq!(Marker::parse(text).trust("a"), Trust::Lost, "{text:?}");
            assert_eq!(Marker::parse(text).trust(""), Trust::Lost, "{text:?}");
        }
    }

    #[test]
    fn a_marker_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Marker::read(directory.path()).unwrap(), None);
        let marker = Marker::new("a", RootEntry::Inherited);
        marker.write(directory.path()).unwrap();
        assert_eq!(Marker::read(directory.path()).unwrap(), Some(marker));
    }
}
