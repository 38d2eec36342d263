//! A blob on its way to disk: hashed while it is written, renamed to its digest when it is whole.
//!
//! ```text
//! write ─▶ buffer ─▶ .oxbox/writing/<pid>-<n> ─ fdatasync ─ rename, no replace ─▶ blobs/<alg>/<hex> ─ fsync directory
//! ```
//!
//! The bytes are hashed here and only here. Whoever needs the digest gets it from the commit; there is
//! no way to publish under a digest that somebody else computed, since then one mistake anywhere would
//! be a blob with a false name that everybody trusts.

use std::io::{self, Write};
use std::mem;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::disk::{self, Disk, cannot};
use super::owned::Owned;
use super::session::Session;
use super::{BlobWriter, Committed, StoreError};
use crate::oci::{Algorithm, Digest, Hasher};

/// Smaller writes are gathered: tar headers come in 512 bytes, network frames in 16 KiB.
const BUFFER_BYTES: usize = 128 * 1024;

/// A writer into a layout.
pub(super) struct FileWriter {
    disk: Arc<Disk>,
    session: Arc<Session>,
    file: Owned,
    buffer: Vec<u8>,
    hasher: Hasher,
    size: u64,
    // Why a write failed: who ignores that must not get a short blob published.
    failed: Option<io::ErrorKind>,
}

impl FileWriter {
    pub(super) fn start(
        disk: Arc<Disk>,
        session: Arc<Session>,
        algorithm: Algorithm,
    ) -> Result<Self, StoreError> {
        let file = Owned::create(&disk.writing())?;
        let hasher = Hasher::new(algorithm);
        Ok(Self { disk, session, file, buffer: Vec::new(), hasher, size: 0, failed: None })
    }

    /// Writes out what was gathered.
    fn drain(&mut self) -> Result<(), StoreError> {
        let gathered = mem::take(&mut self.buffer);
        self.put(&gathered)?;
        self.buffer = gathered;
        self.buffer.clear();
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.file().write_all(bytes).map_err(|error| {
            self.failed = Some(error.kind());
            cannot("write", self.file.path())(error)
        })
    }

    /// Writes out the rest, and returns what the whole is.
    fn finish(&mut self) -> Result<Committed, StoreError> {
        if let Some(kind) = self.failed {
            return Err(cannot("write", self.file.path())(io::Error::from(kind)));
        }
        self.drain()?;
        Ok(Committed { digest: self.hasher.clone().finish(), size: self.size })
    }

    /// Puts the finished file under its digest.
    fn publish(&mut self, digest: Digest) -> Result<(), StoreError> {
        let path = self.disk.blob(&digest);
        let directory = disk::parent(&path);
        // Before any waiting for the disk: most often the blob that everybody writes is here already.
        if !self.is_here(&path)? {
            self.file.file().sync_data().map_err(cannot("sync", self.file.path()))?;
            while !self.take_place(&path)? {
                // What stood there may be gone again; then it is our turn.
                if self.is_here(&path)? {
                    break;
                }
            }
        }
        // Also for the one who came second: the first may not have come so far.
        disk::sync_directory(directory)
    }

    /// Whether the blob is in its place, whole; from then on it is kept from sweeps.
    fn is_here(&self, path: &Path) -> Result<bool, StoreError> {
        Ok(self.session.stat(path)?.is_some_and(|metadata| metadata.len() == self.size))
    }

    /// Renames the file to its place; `false` if a file that may be as good came first.
    fn take_place(&mut self, path: &Path) -> Result<bool, StoreError> {
        match self.file.publish(path) {
            Ok(true) => Ok(true),
            Ok(false) => self.replace_damaged(path),
            // The directory is missing, or was a moment ago: another writer may have made it since.
            // If it is our own file that is gone, trying again would never end.
            Err(Errno::NOENT) if self.file.path().exists() => {
                disk::make_directory(disk::parent(path))?;
                Ok(false)
            }
            Err(error) => Err(cannot("publish", path)(error)),
        }
    }

    /// Replaces a file of the wrong length: another tool was cut off there, its content is not its name's.
    fn replace_damaged(&mut self, path: &Path) -> Result<bool, StoreError> {
        let Some((file, metadata)) = disk::open(path)? else { return Ok(false) };
        disk::flock(&file, FlockOperation::LockExclusive).map_err(cannot("lock", path))?;
        if metadata.len() == self.size || !disk::still_names(path, &metadata)? {
            return Ok(false);
        }
        self.file.replace(path).map_err(cannot("publish", path))?;
        Ok(true)
    }
}

/// The error as `Write` wants it: of the same kind, and saying which file it was.
fn as_io(error: StoreError) -> io::Error {
    let kind = match &error {
        StoreError::Io { source, .. } => source.kind(),
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.drain().map_err(as_io)?;
        }
        if bytes.len() >= BUFFER_BYTES {
            self.put(bytes).map_err(as_io)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    /// Does nothing: bytes that are not committed are nobody's, and the commit writes them out.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for FileWriter {
    fn commit(mut self: Box<Self>) -> Result<Committed, StoreError> {
        let committed = self.finish()?;
        self.publish(committed.digest)?;
        Ok(committed)
    }

    fn commit_as(mut self: Box<Self>, expected: &Committed) -> Result<(), StoreError> {
        let committed = self.finish()?;
        committed.check(expected)?;
        self.publish(committed.digest)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::BUFFER_BYTES;
    use crate::oci::{Algorithm, Digest};
    use crate::store::{BlobStore as _, Layout};

    #[test]
    fn pieces_around_the_buffers_size_come_out_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::create(directory.path()).unwrap();
        let mut writer = layout.writer(Algorithm::Sha256).unwrap();
        let mut whole = Vec::new();
        for length in [1, BUFFER_BYTES - 1, 1, BUFFER_BYTES, 7, BUFFER_BYTES + 1, 0, BUFFER_BYTES - 7, 8] {
            let piece: Vec<u8> = (0..length).map(|at| (at * 31 + length) as u8).collect();
            writer.write_all(&piece).unwrap();
            whole.extend(piece);
        }
        let committed = writer.commit().unwrap();
        assert_eq!(committed.digest, Digest::sha256(&whole));
        assert_eq!(std::fs::read(layout.blob_path(&committed.digest)).unwrap(), whole);
    }

    #[test]
    fn a_blob_cut_off_by_another_tool_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::create(directory.path()).unwrap();
        let path = layout.blob_path(&Digest::sha256(b"whole"));
        std::fs::write(&path, b"who").unwrap();
        let mut writer = layout.writer(Algorithm::Sha256).unwrap();
        writer.write_all(b"whole").unwrap();
        writer.commit().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn a_dropped_writer_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::create(directory.path()).unwrap();
        let mut writer = layout.writer(Algorithm::Sha256).unwrap();
        writer.write_all(&vec![7; 2 * BUFFER_BYTES]).unwrap();
        drop(writer);
        assert_eq!(std::fs::read_dir(directory.path().join(".oxbox/writing")).unwrap().count(), 0);
    }
}
