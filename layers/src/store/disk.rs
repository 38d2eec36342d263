//! Where everything of a layout lies on disk, and how what is written there becomes durable.
//!
//! ```text
//! <root>/
//!   oci-layout                 {"imageLayoutVersion":"1.0.0"}
//!   index.json                 the entries; a name is an annotation of its entry
//!   blobs/sha256/<64 hex>      blobs/sha512/<128 hex>
//!   .oxbox/                    ours. Other tools pass it by; it may go while nobody writes
//!     writing/<pid>-<n>        a file to come, flocked by the living process that writes it
//!     sessions/<pid>-<n>       flocked by a living process at work; its mtime says since when
//!     sessions.lock            flock: shared to begin a session, exclusive while a sweep finds none
//!     index.lock               flock: exclusive to replace index.json, shared while a sweep removes
//! ```
//!
//! The kernel drops a lock when its process dies, however it dies, so nothing here needs a timeout.
//! All of it is on one filesystem: a finished file is renamed to its place, never copied.
//!
//! image-spec v1.1.1, image-layout.md

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use super::StoreError;
use crate::oci::{Algorithm, Digest};

/// The directories and files of one layout.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
}

impl Disk {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn marker(&self) -> PathBuf {
        self.root.join("oci-layout")
    }

    pub(super) fn index(&self) -> PathBuf {
        self.root.join("index.json")
    }

    pub(super) fn blobs(&self, algorithm: Algorithm) -> PathBuf {
        self.root.join("blobs").join(algorithm.name())
    }

    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs(digest.algorithm()).join(digest.hex())
    }

    pub(super) fn writing(&self) -> PathBuf {
        self.root.join(".oxbox/writing")
    }

    pub(super) fn sessions(&self) -> PathBuf {
        self.root.join(".oxbox/sessions")
    }

    pub(super) fn sessions_lock(&self) -> PathBuf {
        self.root.join(".oxbox/sessions.lock")
    }

    pub(super) fn index_lock(&self) -> PathBuf {
        self.root.join(".oxbox/index.lock")
    }
}

/// Turns the system's answer into an error that says what was tried on which file.
pub(super) fn cannot<E: Into<io::Error>>(verb: &'static str, path: &Path) -> impl FnOnce(E) -> StoreError {
    move |source| StoreError::Io { verb, path: path.to_owned(), source: source.into() }
}

/// Opens a regular file to be read, or returns `None` if there is none.
///
/// Symbolic links are followed: some build systems make layouts of them.
pub(super) fn open(path: &Path) -> Result<Option<(File, Metadata)>, StoreError> {
    // NONBLOCK: a planted FIFO must not hang whoever opens it.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("because the flag is a low bit");
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot("open", path)(error)),
    };
    let metadata = file.metadata().map_err(cannot("stat", path))?;
    if !metadata.is_file() {
        return Err(cannot("open", path)(io::Error::other("not a regular file")));
    }
    Ok(Some((file, metadata)))
}

/// Returns what the path names now, or `None` if nothing.
pub(super) fn stat(path: &Path) -> Result<Option<Metadata>, StoreError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot("stat", path)(error)),
    }
}

/// Whether the path still names the file that was opened by it.
pub(super) fn still_names(path: &Path, file: &Metadata) -> Result<bool, StoreError> {
    Ok(stat(path)?.is_some_and(|now| (now.dev(), now.ino()) == (file.dev(), file.ino())))
}

/// Takes a lock on a file of its own, making the file where it is missing. Ends with the file.
pub(super) fn lock(path: &Path, operation: FlockOperation) -> Result<File, StoreError> {
    let open = || File::options().read(true).write(true).create(true).truncate(false).open(path);
    let file = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_directory(parent(path))?;
            open()
        }
        other => other,
    }
    .map_err(cannot("open", path))?;
    flock(&file, operation).map_err(cannot("lock", path))?;
    Ok(file)
}

/// Locks an open file; a signal does not end the wait.
pub(super) fn flock(file: &File, operation: FlockOperation) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| rustix::fs::flock(file, operation))
}

/// Makes a directory and those above it, durably; one that is there is fine.
pub(super) fn make_directory(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    let above = parent(path);
    make_directory(above)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(cannot("create", path)(error)),
        _ => sync_directory(above),
    }
}

/// Makes the names in a directory survive a crash.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(cannot("sync", path))
}

/// Lists a directory's files; a directory that is missing has none.
pub(super) fn list(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot("list", path)(error)),
    };
    entries.map(|entry| Ok(entry.map_err(cannot("list", path))?.path())).collect()
}

/// Removes a file; `false` if it was gone already.
pub(super) fn remove(path: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(cannot("remove", path)(error)),
    }
}

/// The directory of a path; a relative name's is `.`.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::{make_directory, open};

    #[test]
    fn a_planted_fifo_is_refused_and_does_not_hang() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let error = open(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot open {}", path.display()));
    }

    #[test]
    fn a_directory_is_made_with_those_above_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/c");
        make_directory(&path).unwrap();
        make_directory(&path).unwrap();
        assert!(path.is_dir());
    }
}
