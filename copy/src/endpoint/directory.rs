//! `dir:`, skopeo's plain directory: the manifest and every blob as a file beside it.
//!
//! ```text
//! version                   "Directory Transport Version: 1.1\n"; 1.2 once a digest is not SHA-256
//! manifest.json             the root document, whatever its type
//! <hex>.manifest.json       each document that an index names
//! <hex>                     each blob; sha512-<hex> where the digest is not SHA-256
//! ```
//!
//! A new image is written into a directory beside the old one and takes its place by one rename, so a
//! copy that breaks off leaves the old image as it was. Signatures of simple signing that lie beside
//! the manifest are not copied.
//!
//! containers/image, directory transport; containers-dir(5)

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use oxbox_layers::oci::{Algorithm, Descriptor, Digest, Document};
use rustix::fs::{CWD, RenameFlags};
use tempfile::TempDir;

use super::crossing::{read_blob, run, write_blob};
use super::document_bytes::{describe_root, read, verify};
use super::{BlobStream, Destination, EndpointError, FileError, Origin, Source, Subject};

const VERSION_FILE: &str = "version";
const MANIFEST_FILE: &str = "manifest.json";
const VERSION_START: &str = "Directory Transport Version: 1.";
/// Ours is 33 bytes; whoever writes more than this writes no version.
const MAX_VERSION_BYTES: u64 = 256;

/// An image in a directory, to be read.
#[derive(Debug)]
pub struct DirectorySource {
    path: PathBuf,
    place: String,
    root: Bytes,
    root_descriptor: Descriptor,
}

/// A directory that will hold an image once it is published.
#[derive(Debug)]
pub struct DirectoryDestination {
    path: PathBuf,
    place: String,
    staging: Arc<Staging>,
}

/// The directory beside, and which digests are whole in it.
#[derive(Debug)]
struct Staging {
    directory: TempDir,
    taken: Mutex<HashSet<Digest>>,
}

impl DirectorySource {
    /// Opens the image; blocks.
    ///
    /// # Errors
    ///
    /// [`EndpointError::Absent`] if there is no manifest.
    pub fn open(path: &Path) -> Result<Self, EndpointError> {
        let place = format!("dir:{}", path.display());
        let root = read_file(&path.join(MANIFEST_FILE), &Subject::Image, &place)?;
        let root_descriptor = describe_root(&root, &place)?;
        Ok(Self { path: path.to_owned(), place, root, root_descriptor })
    }
}

impl Source for DirectorySource {
    async fn resolve(&self) -> Result<Descriptor, EndpointError> {
        Ok(self.root_descriptor.clone())
    }

    async fn document(&self, descriptor: &Descriptor) -> Result<Bytes, EndpointError> {
        if descriptor.digest == self.root_descriptor.digest {
            return verify(self.root.clone(), descriptor, &self.place);
        }
        let path = self.path.join(document_name(&descriptor.digest));
        let (place, descriptor) = (self.place.clone(), descriptor.clone());
        run(move || {
            let bytes = read_file(&path, &Subject::Document(descriptor.digest), &place)?;
            verify(bytes, &descriptor, &place)
        })
        .await
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<BlobStream, EndpointError> {
        let path = self.path.join(blob_name(&descriptor.digest));
        let (place, subject) = (self.place.clone(), Subject::Blob(descriptor.digest));
        let open = move || {
            let file = open_file(&path, &subject, &place)?;
            Ok((Box::new(file) as Box<dyn Read + Send>, path))
        };
        read_blob(descriptor, self.place.clone(), open).await
    }

    /// A directory holds one image and no list of what refers to it.
    async fn referrers(&self, _: &Digest) -> Result<Vec<Descriptor>, EndpointError> {
        Ok(Vec::new())
    }

    fn origin(&self, _blob: &Descriptor) -> Option<Origin> {
        None
    }
}

impl DirectoryDestination {
    /// Prepares the directory; blocks.
    ///
    /// # Errors
    ///
    /// [`EndpointError::Unsupported`] if something else than an image of this form is there: it
    /// would be lost.
    pub fn create(path: &Path) -> Result<Self, EndpointError> {
        let place = format!("dir:{}", path.display());
        let failed = |verb, path: &Path, source| {
            EndpointError::file(Subject::Image, &place, FileError::of(verb, path)(source))
        };
        let path = match fs::canonicalize(path) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(path).map_err(|source| failed("create", path, source))?;
                fs::canonicalize(path).map_err(|source| failed("resolve", path, source))?
            }
            Err(source) => return Err(failed("resolve", path, source)),
        };
        check_replaceable(&path, &place)?;
        let Some(parent) = path.parent() else {
            let reason = "the root directory cannot be replaced".to_owned();
            return Err(EndpointError::Unsupported { subject: Subject::Image, place, reason });
        };
        let directory = tempfile::Builder::new()
            .prefix(".oxbox-dir-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in(parent)
            .map_err(|source| failed("create a directory in", parent, source))?;
        let staging = Arc::new(Staging { directory, taken: Mutex::default() });
        Ok(Self { path, place, staging })
    }
}

impl Destination for DirectoryDestination {
    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, EndpointError> {
        Ok(self.staging.has(&descriptor.digest))
    }

    async fn has_document(&self, descriptor: &Descriptor) -> Result<bool, EndpointError> {
        Ok(self.staging.has(&descriptor.digest))
    }

    async fn mount(&self, _: &Descriptor, _: &Origin) -> Result<bool, EndpointError> {
        Ok(false)
    }

    async fn push_blob(&self, descriptor: &Descriptor, content: BlobStream) -> Result<(), EndpointError> {
        let digest = descriptor.digest;
        let (staging, place) = (Arc::clone(&self.staging), self.place.clone());
        write_blob(content, move |mut pieces| {
            staging.write(&blob_name(&digest), &mut pieces, &Subject::Blob(digest), &place)?;
            staging.take(digest);
            Ok(())
        })
        .await
    }

    async fn push_document(&self, document: &Document) -> Result<(), EndpointError> {
        let (staging, place) = (Arc::clone(&self.staging), self.place.clone());
        let document = document.clone();
        run(move || {
            let digest = document.digest();
            let name = document_name(&digest);
            staging.write(&name, &mut &document.bytes()[..], &Subject::Document(digest), &place)?;
            staging.take(digest);
            Ok(())
        })
        .await
    }

    async fn publish(&self, root: &Document) -> Result<(), EndpointError> {
        let (staging, place, path) = (Arc::clone(&self.staging), self.place.clone(), self.path.clone());
        let root = root.clone();
        run(move || {
            staging.write(MANIFEST_FILE, &mut &root.bytes()[..], &Subject::Image, &place)?;
            let version = format!("{VERSION_START}{}\n", staging.minor_version());
            staging.write(VERSION_FILE, &mut version.as_bytes(), &Subject::Image, &place)?;
            // Once more: somebody may have put other things there while the copy ran.
            check_replaceable(&path, &place)?;
            swap(staging.directory.path(), &path)
                .map_err(|error| EndpointError::file(Subject::Image, place, error))
        })
        .await
    }
}

impl Staging {
    fn has(&self, digest: &Digest) -> bool {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }

    fn take(&self, digest: Digest) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
    }

    fn minor_version(&self) -> u8 {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.iter().all(|digest| digest.algorithm() == Algorithm::Sha256) { 1 } else { 2 }
    }

    /// Writes a file durably.
    fn write(
        &self,
        name: &str,
        content: &mut dyn Read,
        subject: &Subject,
        place: &str,
    ) -> Result<(), EndpointError> {
        let path = self.directory.path().join(name);
        write_file(&path, content).map_err(|error| EndpointError::file(subject.clone(), place, error))
    }
}

fn write_file(path: &Path, content: &mut dyn Read) -> Result<(), FileError> {
    let mut file = File::create(path).map_err(FileError::of("create", path))?;
    io::copy(content, &mut file).map_err(FileError::of("write", path))?;
    file.flush().and_then(|()| file.sync_all()).map_err(FileError::of("sync", path))
}

/// Puts the new directory in the old one's place. What is at `staging` afterwards is the old one,
/// which goes when its owner does.
fn swap(staging: &Path, path: &Path) -> Result<(), FileError> {
    sync_directory(staging)?;
    let exchanged = rustix::fs::renameat_with(CWD, staging, CWD, path, RenameFlags::EXCHANGE);
    exchanged.map_err(io::Error::from).map_err(FileError::of("replace", path))?;
    sync_directory(path.parent().unwrap_or(Path::new("/")))
}

fn sync_directory(path: &Path) -> Result<(), FileError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(FileError::of("sync", path))
}

/// Only an empty directory, or one that says it is an image of this form, may be replaced.
fn check_replaceable(path: &Path, place: &str) -> Result<(), EndpointError> {
    let failed = |source| EndpointError::file(Subject::Image, place, FileError::of("list", path)(source));
    if fs::read_dir(path).map_err(failed)?.next().is_none() {
        return Ok(());
    }
    let version = path.join(VERSION_FILE);
    let mut text = String::new();
    let read = File::open(&version).and_then(|file| file.take(MAX_VERSION_BYTES).read_to_string(&mut text));
    if read.is_ok() && text.starts_with(VERSION_START) {
        return Ok(());
    }
    Err(EndpointError::Unsupported {
        subject: Subject::Image,
        place: place.to_owned(),
        reason: "the directory is not empty and has no version file of such an image".to_owned(),
    })
}

fn open_file(path: &Path, subject: &Subject, place: &str) -> Result<File, EndpointError> {
    File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => EndpointError::Absent {
            subject: subject.clone(),
            place: place.to_owned(),
            details: format!("there is no file {}", path.display()),
        },
        _ => EndpointError::file(subject.clone(), place, FileError::of("open", path)(source)),
    })
}

fn read_file(path: &Path, subject: &Subject, place: &str) -> Result<Bytes, EndpointError> {
    read(&mut open_file(path, subject, place)?, path, subject, place)
}

fn blob_name(digest: &Digest) -> String {
    match digest.algorithm() {
        Algorithm::Sha256 => digest.hex(),
        other => format!("{}-{}", other.name(), digest.hex()),
    }
}

fn document_name(digest: &Digest) -> String {
    format!("{}.manifest.json", blob_name(digest))
}
