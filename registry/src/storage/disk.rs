//! Blobs as files.
//!
//! ```text
//! ROOT/lock                        held while a process serves this root
//! ROOT/meta.db                     what is where: `storage/sqlite`
//! ROOT/uploads/<32 hex>            an upload under way; behind its checkpoint anything may stand
//! ROOT/blobs/sha256/<hh>/<hex>     a published blob, whole and verified; hh: the first two digits
//! ROOT/blobs/sha512/<hh>/<hex>
//! ```
//!
//! An upload is written, synced (fdatasync), renamed to its digest without replacing what is there,
//! and its directory synced; only then may the metadata speak of it. Nothing is ever written in place.
//! A key is the path below `ROOT`. Opening looks at nothing but these directories, however full.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use oxbox_layers::oci::{Algorithm, Digest};
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use tokio::task::spawn_blocking;

use super::append::Sink;
use super::{Appender, BlobKey, Blobs, ByteStream, Checkpoint, Digester, StorageError, UploadId, read};

/// Files from this size on are removed while nobody waits: ext4 took 5.5 s to free the extents of 4 GiB.
const REMOVE_ASIDE_BYTES: u64 = 64 * 1024 * 1024;

/// A directory that this process alone serves.
#[derive(Debug)]
pub struct Disk {
    root: Arc<Path>,
    // The lock goes with the file.
    _lock: File,
}

impl Disk {
    /// Opens a root, or makes one; refuses a root that cannot be written.
    ///
    /// # Errors
    ///
    /// [`StorageError::Locked`] if another process serves it.
    pub fn open(root: &Path) -> Result<Self, StorageError> {
        for directory in ["blobs/sha256", "blobs/sha512", "uploads"] {
            let path = root.join(directory);
            fs::create_dir_all(&path).map_err(StorageError::io("create", &path))?;
        }
        sync_directory(&root.join("blobs"))?;
        sync_directory(root)?;
        let lock = lock(root)?;
        probe(root)?;
        Ok(Self { root: root.into(), _lock: lock })
    }

    fn upload(&self, upload: &UploadId) -> PathBuf {
        self.root.join("uploads").join(upload.as_str())
    }
}

/// Takes the root for this process. A second one would not know which uploads are being written.
fn lock(root: &Path) -> Result<File, StorageError> {
    let path = root.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(StorageError::io("open", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StorageError::Locked { path: root.to_owned() }),
        Err(error) => Err(StorageError::io("lock", path)(error.into())),
    }
}

/// Finds out at the start, not at the first push, that the disk is full or read-only.
fn probe(root: &Path) -> Result<(), StorageError> {
    let path = root.join("uploads/probe");
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&[0; 4096])?;
        file.sync_data()
    });
    let removed = fs::remove_file(&path);
    written.and(removed).map_err(StorageError::io("write", path))
}

fn relative(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("blobs/{}/{}/{hex}", digest.algorithm().name(), &hex[..2])
}

impl Blobs for Disk {
    fn read(&self, key: &BlobKey, range: Range<u64>) -> BoxFuture<'_, Result<ByteStream, StorageError>> {
        read::file(self.root.join(&key.0), range).boxed()
    }

    fn put(&self, digest: &Digest, bytes: Bytes) -> BoxFuture<'_, Result<BlobKey, StorageError>> {
        let (upload, digest) = (UploadId::draw(), *digest);
        let path = self.upload(&upload);
        blocking(&self.root, move |root| {
            let size = bytes.len() as u64;
            let written = File::create_new(&path).and_then(|mut file| {
                file.write_all(&bytes)?;
                file.sync_data()
            });
            written
                .map_err(StorageError::io("write", &path))
                .and_then(|()| publish(root, &path, size, &digest))
                // Best effort: the write is what failed and is told.
                .inspect_err(|_| drop(fs::remove_file(&path)))
        })
    }

    fn append(&self, upload: &UploadId, from: Checkpoint) -> Result<Appender, StorageError> {
        let (path, offset) = (self.upload(upload), from.offset);
        Appender::start(move || Tail::open(path, offset), from)
    }

    fn rehash(
        &self,
        upload: &UploadId,
        size: u64,
        algorithm: Algorithm,
    ) -> BoxFuture<'_, Result<Digester, StorageError>> {
        let path = self.upload(upload);
        blocking(&self.root, move |_| rehash(&path, size, algorithm))
    }

    fn publish(
        &self,
        upload: &UploadId,
        size: u64,
        digest: &Digest,
    ) -> BoxFuture<'_, Result<BlobKey, StorageError>> {
        let (path, digest) = (self.upload(upload), *digest);
        blocking(&self.root, move |root| publish(root, &path, size, &digest))
    }

    fn discard(&self, upload: &UploadId) -> BoxFuture<'_, Result<(), StorageError>> {
        let path = self.upload(upload);
        blocking(&self.root, move |_| remove(&path))
    }
}

/// Runs one job on the runtime's pool.
fn blocking<T: Send + 'static>(
    root: &Arc<Path>,
    job: impl FnOnce(&Path) -> Result<T, StorageError> + Send + 'static,
) -> BoxFuture<'static, Result<T, StorageError>> {
    let root = Arc::clone(root);
    async move { spawn_blocking(move || job(&root)).await.map_err(|_| StorageError::Closed)? }.boxed()
}

/// The end of an upload's file.
struct Tail {
    file: File,
    path: PathBuf,
    offset: u64,
}

impl Tail {
    fn open(path: PathBuf, offset: u64) -> Result<Self, StorageError> {
        let file = OpenOptions::new().create(offset == 0).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => short(&path, offset, 0),
            _ => StorageError::io("open", &path)(error),
        })?;
        let actual = file.metadata().map_err(StorageError::io("stat", &path))?.len();
        if actual < offset {
            return Err(short(&path, offset, actual));
        }
        // What stands behind the checkpoint was never promised to anybody.
        file.set_len(offset).map_err(StorageError::io("truncate", &path))?;
        Ok(Self { file, path, offset })
    }
}

impl Sink for Tail {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.file.write_all_at(bytes, self.offset).map_err(StorageError::io("write", &self.path))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.file.sync_data().map_err(StorageError::io("sync", &self.path))
    }

    fn forget(&mut self, offset: u64) -> Result<(), StorageError> {
        self.file.set_len(offset).map_err(StorageError::io("truncate", &self.path))
    }
}

fn rehash(path: &Path, size: u64, algorithm: Algorithm) -> Result<Digester, StorageError> {
    let mut digester = Digester::new(algorithm);
    if size == 0 {
        return Ok(digester);
    }
    let mut file = File::open(path).map_err(StorageError::io("open", path))?.take(size);
    let mut buffer = vec![0; 256 * 1024];
    let mut hashed = 0;
    loop {
        let length = file.read(&mut buffer).map_err(StorageError::io("read", path))?;
        if length == 0 {
            break;
        }
        digester.update(&buffer[..length]);
        hashed += length as u64;
    }
    if hashed == size { Ok(digester) } else { Err(short(path, size, hashed)) }
}

/// Gives an upload its name among the blobs.
fn publish(root: &Path, upload: &Path, size: u64, digest: &Digest) -> Result<BlobKey, StorageError> {
    let relative = relative(digest);
    let target = root.join(&relative);
    let shard = target.parent().expect("because a blob's path has three directories above it");
    create_shard(shard)?;
    if size == 0 {
        // Nothing need have been appended to an empty blob.
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(upload);
        file.and_then(|file| file.sync_data()).map_err(StorageError::io("create", upload))?;
    }
    let settled = settle(upload, &target, size)?;
    // Also if another publisher was faster: its own sync may still be to come.
    sync_directory(shard)?;
    if settled == Settled::WasThere {
        // After the sync, which would wait until the extents are freed.
        remove(upload)?;
    }
    Ok(BlobKey(relative))
}

/// Whose bytes a digest names now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// The upload's; its own file has gone.
    Renamed,
    /// Another's: the upload is superfluous.
    WasThere,
}

/// Renames an upload to a blob unless the blob is there.
fn settle(upload: &Path, target: &Path, size: u64) -> Result<Settled, StorageError> {
    match length(upload)? {
        Some(actual) if actual < size => return Err(short(upload, size, actual)),
        // Bytes behind the checkpoint, left by a writer that was killed.
        Some(actual) if actual > size => truncate(upload, size)?,
        Some(_) => {}
        // A crash came between the rename and the metadata, and the client asks again.
        None if length(target)? == Some(size) => return Ok(Settled::Renamed),
        None => return Err(short(upload, size, 0)),
    }
    match renameat_with(CWD, upload, CWD, target, RenameFlags::NOREPLACE) {
        Ok(()) => return Ok(Settled::Renamed),
        Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(StorageError::io("publish", target)(error.into())),
    }
    match length(target)? {
        Some(present) if present == size => Ok(Settled::WasThere),
        present => {
            // Published files are whole; one that is not was harmed from outside. This one is good.
            tracing::warn!(path = %target.display(), size, present, "replacing a blob of the wrong size");
            fs::rename(upload, target).map_err(StorageError::io("publish", target))?;
            Ok(Settled::Renamed)
        }
    }
}

fn create_shard(shard: &Path) -> Result<(), StorageError> {
    match fs::create_dir(shard) {
        Ok(()) => sync_directory(shard.parent().expect("because a shard lies in a directory")),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StorageError::io("create", shard)(error)),
    }
}

/// Removes an upload's file; a large one aside, while the client goes on.
fn remove(path: &Path) -> Result<(), StorageError> {
    if length(path)?.is_none_or(|length| length < REMOVE_ASIDE_BYTES) {
        return remove_now(path);
    }
    let path = path.to_owned();
    // Not waited for: a crash leaves a file that no session knows, which is a sweep's to take.
    drop(spawn_blocking(move || remove_now(&path).inspect_err(|error| crate::error::log(error))));
    Ok(())
}

fn remove_now(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn truncate(path: &Path, size: u64) -> Result<(), StorageError> {
    let file = OpenOptions::new().write(true).open(path).map_err(StorageError::io("open", path))?;
    file.set_len(size).and_then(|()| file.sync_data()).map_err(StorageError::io("truncate", path))
}

fn length(path: &Path) -> Result<Option<u64>, StorageError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io("stat", path)(error)),
    }
}

fn sync_directory(path: &Path) -> Result<(), StorageError> {
    let directory = File::open(path).map_err(StorageError::io("open", path))?;
    directory.sync_all().map_err(StorageError::io("sync", path))
}

fn short(path: &Path, expected: u64, actual: u64) -> StorageError {
    StorageError::Short { what: path.display().to_string(), expected, actual }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bytes::Bytes;
    use oxbox_layers::oci::{Algorithm, Digest};

    use super::Disk;
    use crate::storage::{Blobs, Checkpoint, Digester, StorageError, UploadId};

    fn disk() -> (tempfile::TempDir, Disk) {
        let root = tempfile::tempdir().unwrap();
        let disk = Disk::open(root.path()).unwrap();
        (root, disk)
    }

    fn start() -> Checkpoint {
        Checkpoint { offset: 0, digester: Digester::new(Algorithm::Sha256) }
    }

    #[test]
    fn a_root_is_served_by_one_process_at_a_time() {
        let (root, disk) = disk();
        assert!(matches!(Disk::open(root.path()), Err(StorageError::Locked { .. })));
        drop(disk);
        assert!(Disk::open(root.path()).is_ok());
    }

    #[test]
    fn a_root_that_is_a_file_says_what_failed_where() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Disk::open(&file).unwrap_err().to_string();
        assert!(error.starts_with("cannot create ") && error.contains("file/blobs"), "{error}");
    }

    #[tokio::test]
    async fn a_blob_lies_under_its_digest_and_its_upload_is_gone() {
        let (root, disk) = disk();
        let digest = Digest::sha256(b"layer");
        disk.put(&digest, Bytes::from_static(b"layer")).await.unwrap();
        let hex = digest.hex();
        let path = root.path().join("blobs/sha256").join(&hex[..2]).join(hex);
        assert_eq!(fs::read(path).unwrap(), b"layer");
        assert_eq!(fs::read_dir(root.path().join("uploads")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn bytes_behind_the_checkpoint_are_not_published() {
        let (root, disk) = disk();
        let (upload, digest) = (UploadId::draw(), Digest::sha256(b"good"));
        fs::write(root.path().join("uploads").join(upload.as_str()), "good, and a killed writer's rest")
            .unwrap();
        let key = disk.publish(&upload, 4, &digest).await.unwrap();
        assert_eq!(fs::read(root.path().join(&key.0)).unwrap(), b"good");
    }

    #[tokio::test]
    async fn a_blob_harmed_from_outside_is_mended_by_the_next_push() {
        let (root, disk) = disk();
        let digest = Digest::sha256(b"layer");
        let key = disk.put(&digest, Bytes::from_static(b"layer")).await.unwrap();
        fs::write(root.path().join(&key.0), "").unwrap();
        disk.put(&digest, Bytes::from_static(b"layer")).await.unwrap();
        assert_eq!(fs::read(root.path().join(&key.0)).unwrap(), b"layer");
    }

    #[tokio::test]
    async fn an_upload_that_lost_bytes_is_not_continued() {
        let (_root, disk) = disk();
        let from = Checkpoint { offset: 7, ..start() };
        let appender = disk.append(&UploadId::draw(), from).unwrap();
        assert!(matches!(appender.finish().await, Err(StorageError::Short { expected: 7, actual: 0, .. })));
    }
}
