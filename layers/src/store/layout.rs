//! A standard OCI image layout as a store for many processes: the local store, and `oci:` directories.
//!
//! Blobs are here; what `index.json` names is in `names.rs`, where things lie in `disk.rs`, what keeps
//! a sweep away from those at work in `session.rs`.
//!
//! ```
//! use oxbox_layers::oci::{Algorithm, Descriptor, MediaType};
//! use oxbox_layers::store::{BlobStore, Layout};
//! # let directory = tempfile::tempdir().unwrap();
//! # let path = directory.path();
//! let layout = Layout::create(path)?;
//! let mut writer = layout.writer(Algorithm::Sha256)?;
//! std::io::Write::write_all(&mut writer, br#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
//! let blob = writer.commit()?;
//! layout.tag("app:1", &Descriptor::new(MediaType::OCI_INDEX, blob.digest, blob.size))?;
//! assert_eq!(layout.resolve("app:1")?.unwrap().digest, blob.digest);
//! # Ok::<(), oxbox_layers::store::StoreError>(())
//! ```
//!
//! image-spec v1.1.1, image-layout.md

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::FlockOperation;
use serde::Deserialize;

use super::disk::{self, Disk, cannot};
use super::owned::Owned;
use super::session::Session;
use super::writer::FileWriter;
use super::{Blob, BlobStore, BlobWriter, Committed, StoreError};
use crate::oci::{Algorithm, Digest};

/// What `oci-layout` holds.
const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// The marker is 30 bytes; whoever adds fields to it stays far below this.
const MAX_MARKER_BYTES: u64 = 64 * 1024;
/// What `index.json` holds before anything is named.
const EMPTY_INDEX: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// An OCI image layout on disk.
///
/// A handle that was made by [`Layout::create`], or that has written, is at work until it is dropped:
/// what it writes or finds is kept from sweeps, whoever sweeps. End it soon after the last name is set.
#[derive(Debug)]
pub struct Layout {
    pub(super) disk: Arc<Disk>,
    session: Mutex<Option<Arc<Session>>>,
}

impl Layout {
    /// Opens a layout to write in it, and makes it where it is missing. May be repeated, and raced.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotALayout`] if there is one of another version.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let disk = Disk::new(path.into());
        let marked = disk::stat(&disk.marker())?.is_some();
        if marked {
            check_marker(&disk)?;
        }
        if !marked || disk::stat(&disk.index())?.is_none() {
            make(&disk)?;
        }
        let layout = Self::over(disk)?;
        layout.begin_session()?;
        Ok(layout)
    }

    /// Opens a layout that is there, and writes nothing: it may lie on a medium that is read-only.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotALayout`] if there is none, or one of another version.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::over(Disk::new(path.into()))
    }

    /// Keeps what this handle finds from now on, by `stat` or `open`, from sweeps until it is dropped.
    ///
    /// [`Layout::create`] and the first writer do so themselves: this is for who opened a layout, and
    /// means to rely on a blob that no name reaches.
    pub fn begin_session(&self) -> Result<(), StoreError> {
        self.session().map(drop)
    }

    /// Returns the directory.
    pub fn root(&self) -> &Path {
        self.disk.root()
    }

    /// Returns where a blob lies, or would: for those who hand it to another program.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.disk.blob(digest)
    }

    /// Returns the blobs that are here, named or not, in no order. Reads no content.
    pub fn blobs(&self) -> Result<Vec<Committed>, StoreError> {
        let mut blobs = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for path in disk::list(&self.disk.blobs(algorithm))? {
                // What is not named like a blob is another tool's business.
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let Ok(digest) = format!("{}:{name}", algorithm.name()).parse() else { continue };
                if let Some(metadata) = disk::stat(&path)? {
                    blobs.push(Committed { digest, size: metadata.len() });
                }
            }
        }
        Ok(blobs)
    }

    fn over(disk: Disk) -> Result<Self, StoreError> {
        check_marker(&disk)?;
        Ok(Self { disk: Arc::new(disk), session: Mutex::new(None) })
    }

    fn session(&self) -> Result<Arc<Session>, StoreError> {
        // A panic elsewhere leaves the option as it was.
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        match &*session {
            Some(session) => Ok(Arc::clone(session)),
            None => Ok(Arc::clone(session.insert(Arc::new(Session::begin(&self.disk)?)))),
        }
    }

    fn begun(&self) -> Option<Arc<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Makes what is missing, the marker last: a layout without it is none, and is made again.
fn make(disk: &Disk) -> Result<(), StoreError> {
    disk::make_directory(&disk.blobs(Algorithm::Sha256))?;
    let _lock = disk::lock(&disk.index_lock(), FlockOperation::LockExclusive)?;
    for (path, content) in [(disk.index(), EMPTY_INDEX), (disk.marker(), MARKER)] {
        if disk::stat(&path)?.is_none() {
            write_file(disk, &path, content)?;
        }
    }
    Ok(())
}

/// Writes a whole file in place of what stands there: readers see the old one or the new one.
pub(super) fn write_file(disk: &Disk, path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let mut file = Owned::create(&disk.writing())?;
    file.file().write_all(content).map_err(cannot("write", path))?;
    file.file().sync_data().map_err(cannot("sync", path))?;
    file.replace(path).map_err(cannot("replace", path))?;
    disk::sync_directory(disk::parent(path))
}

fn check_marker(disk: &Disk) -> Result<(), StoreError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Marker {
        image_layout_version: String,
    }
    let not_a_layout = |reason| StoreError::NotALayout { path: disk.root().to_owned(), reason };
    let path = disk.marker();
    let Some((file, _)) = disk::open(&path)? else {
        return Err(not_a_layout("it holds no file oci-layout".to_owned()));
    };
    let mut text = Vec::new();
    file.take(MAX_MARKER_BYTES).read_to_end(&mut text).map_err(cannot("read", &path))?;
    let marker: Marker =
        serde_json::from_slice(&text).map_err(|error| not_a_layout(format!("oci-layout: {error}")))?;
    // 1.0.0 is the only version there ever was; a change that breaks readers would make it 2.
    if !marker.image_layout_version.starts_with("1.") {
        let version: String = marker.image_layout_version.chars().take(40).collect();
        return Err(not_a_layout(format!("its version is {version:?}, not 1.0.0")));
    }
    Ok(())
}

impl BlobStore for Layout {
    fn stat(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        let path = self.disk.blob(digest);
        let metadata = match self.begun() {
            Some(session) => session.stat(&path)?,
            None => disk::stat(&path)?,
        };
        Ok(metadata.filter(|metadata| metadata.is_file()).map(|metadata| metadata.len()))
    }

    fn open(&self, digest: &Digest) -> Result<Option<Box<dyn Blob>>, StoreError> {
        let path = self.disk.blob(digest);
        let opened = match self.begun() {
            Some(session) => session.open(&path)?,
            None => disk::open(&path)?,
        };
        Ok(opened.map(|(file, metadata)| Box::new(FileBlob { file, size: metadata.len() }) as Box<dyn Blob>))
    }

    fn writer(&self, algorithm: Algorithm) -> Result<Box<dyn BlobWriter>, StoreError> {
        let writer = FileWriter::start(Arc::clone(&self.disk), self.session()?, algorithm)?;
        Ok(Box::new(writer))
    }

    fn remove(&self, digest: &Digest) -> Result<bool, StoreError> {
        disk::remove(&self.disk.blob(digest))
    }
}

struct FileBlob {
    file: File,
    size: u64,
}

impl Read for FileBlob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for FileBlob {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Blob for FileBlob {
    fn size(&self) -> u64 {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::{EMPTY_INDEX, Layout};
    use crate::oci::{Algorithm, Index, MediaType, Raw};
    use crate::store::{BlobStore as _, StoreError};

    #[test]
    fn creating_twice_keeps_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        drop(Layout::create(directory.path().join("a/b")).unwrap());
        let index = directory.path().join("a/b/index.json");
        let text = br#"{"schemaVersion":2,"manifests":[],"x-mine":1}"#;
        std::fs::write(&index, text).unwrap();
        drop(Layout::create(directory.path().join("a/b")).unwrap());
        assert_eq!(std::fs::read(&index).unwrap(), text);
    }

    #[test]
    fn a_creation_that_was_cut_off_is_finished() {
        let directory = tempfile::tempdir().unwrap();
        drop(Layout::create(directory.path()).unwrap());
        std::fs::remove_file(directory.path().join("oci-layout")).unwrap();
        assert!(matches!(Layout::open(directory.path()), Err(StoreError::NotALayout { .. })));
        Layout::create(directory.path()).unwrap();
        Layout::open(directory.path()).unwrap();
    }

    #[test]
    fn the_empty_index_is_one() {
        let index = Raw::<Index>::parse(EMPTY_INDEX, MediaType::OCI_INDEX.into()).unwrap();
        assert_eq!(index.view(), &Index::of(Vec::new()));
    }

    #[test]
    fn another_version_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("oci-layout"), br#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
        for result in [Layout::open(directory.path()), Layout::create(directory.path())] {
            assert!(result.unwrap_err().to_string().contains("\"2.0.0\""));
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn opening_writes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("oci-layout"), super::MARKER).unwrap();
        let layout = Layout::open(directory.path()).unwrap();
        assert_eq!(layout.blobs().unwrap(), []);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn many_first_blobs_of_an_algorithm_may_come_at_once() {
        for round in 0..40_u8 {
            let folder = tempfile::tempdir().unwrap();
            let layout = Layout::create(folder.path().join("store")).unwrap();
            let start = std::sync::Barrier::new(8);
            std::thread::scope(|scope| {
                for number in 0..8_u8 {
                    let (layout, start) = (&layout, &start);
                    scope.spawn(move || {
                        let mut writer = layout.writer(Algorithm::Sha512).unwrap();
                        writer.write_all(&[round, number]).unwrap();
                        start.wait();
                        writer.commit().unwrap();
                    });
                }
            });
        }
    }
}
