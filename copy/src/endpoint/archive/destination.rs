//! Writing an archive: a file beside the old one, which it replaces once it is whole.
//!
//! ```text
//! oci-layout  blobs/  blobs/<algorithm>/  blobs/<algorithm>/<hex> …  index.json  [manifest.json]
//! └ open                                  └ as blobs and documents come           └ publish, rename
//! ```
//!
//! Entries belong to root, are of 1970 and come in the order of the documents, so the same image
//! always gives the same file. After every entry the file ends as a tar archive does; an entry that
//! breaks off is overwritten by the next.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use oxbox_layers::oci::{
    Algorithm, Descriptor, Digest, Document, Index, Manifest, MediaType, Raw, Reference, annotation,
};
use oxbox_layers::tar::{Entry, Kind, TarError, Writer};
use tempfile::NamedTempFile;

use super::blob_path;
use super::docker::manifest_json;
use crate::endpoint::crossing::{Pieces, run, write_blob};
use crate::endpoint::referrers::describe;
use crate::endpoint::{BlobStream, Destination, EndpointError, FileError, Origin, Subject, Takes};

const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// Two blocks of zeros.
const END_BYTES: u64 = 1024;

/// What the image is called in the archive, and with it which kind of archive that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// `oci-archive:`: a name in the index, if any.
    Oci(Option<String>),
    /// `docker-archive:`: references for `docker load` to give.
    Docker(Vec<Reference>),
}

/// An archive that will hold an image once it is published.
#[derive(Debug)]
pub struct ArchiveDestination {
    names: Names,
    place: String,
    writing: Arc<Mutex<Writing>>,
}

#[derive(Debug)]
struct Writing {
    path: PathBuf,
    /// Gone once published.
    file: Option<NamedTempFile>,
    /// Where the next entry begins.
    end: u64,
    directories: HashSet<&'static str>,
    taken: HashSet<Digest>,
    /// Documents that refer to others: nothing reaches them, so the index lists them.
    referrers: Vec<Descriptor>,
}

/// Why an entry could not be written.
#[derive(Debug, thiserror::Error)]
enum AppendError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot write {path}", path = .path.display())]
    Tar {
        path: PathBuf,
        #[source]
        source: TarError,
    },
    #[error("the archive is finished")]
    Finished,
}

impl ArchiveDestination {
    /// Prepares the archive at `path`; blocks. What is there stays until the image is published.
    ///
    /// # Errors
    ///
    /// [`EndpointError::Unsupported`] if something else than a file is there.
    pub fn create(path: &Path, names: Names) -> Result<Self, EndpointError> {
        let transport = match &names {
            Names::Oci(_) => "oci-archive",
            Names::Docker(_) => "docker-archive",
        };
        let place = format!("{transport}:{}", path.display());
        let mut writing = Writing::start(path, &place)?;
        writing
            .append("oci-layout", Kind::File { size: MARKER.len() as u64 }, &mut &MARKER[..])
            .map_err(|error| failed(Subject::Image, &place, error))?;
        Ok(Self { names, place, writing: Arc::new(Mutex::new(writing)) })
    }

    fn has(&self, digest: &Digest) -> bool {
        lock(&self.writing).taken.contains(digest)
    }

    /// Does something with the file on a thread.
    async fn work(
        &self,
        subject: Subject,
        job: impl FnOnce(&mut Writing) -> Result<(), AppendError> + Send + 'static,
    ) -> Result<(), EndpointError> {
        let (writing, place) = (Arc::clone(&self.writing), self.place.clone());
        run(move || job(&mut lock(&writing)).map_err(|error| failed(subject, &place, error))).await
    }

    /// A Docker archive holds images, one by one, with everything they need.
    fn check_image<'a>(&self, root: &'a Document) -> Result<&'a Raw<Manifest>, EndpointError> {
        let unsupported = |reason: String| {
            let place = self.place.clone();
            Err(EndpointError::Unsupported { subject: Subject::Image, place, reason })
        };
        match root {
            Document::Index(_) => {
                unsupported("it holds one platform, and this is an index of several".to_owned())
            }
            Document::Manifest(manifest) if !manifest.is_image() => {
                unsupported(format!("{} is not an image", manifest.effective_artifact_type()))
            }
            Document::Manifest(manifest) => {
                match manifest.layers.iter().find(|layer| !self.has(&layer.digest)) {
                    Some(layer) => unsupported(format!("layer {} is not there", layer.digest)),
                    None => Ok(manifest),
                }
            }
        }
    }

    /// Returns the files beside the blobs.
    fn indexes(&self, root: &Document) -> Result<Vec<(&'static str, Vec<u8>)>, EndpointError> {
        let mut entries = match &self.names {
            Names::Oci(name) => vec![oci_entry(root, name.as_deref())],
            Names::Docker(references) if references.is_empty() => vec![oci_entry(root, None)],
            Names::Docker(references) => references.iter().map(|name| docker_entry(root, name)).collect(),
        };
        entries.extend(lock(&self.writing).referrers.iter().cloned());
        let index = Raw::write(Index::of(entries), MediaType::OCI_INDEX);
        let mut files = vec![("index.json", index.bytes().to_vec())];
        if let Names::Docker(references) = &self.names {
            files.push(("manifest.json", manifest_json(self.check_image(root)?, references)));
        }
        Ok(files)
    }
}

impl Destination for ArchiveDestination {
    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, EndpointError> {
        Ok(self.has(&descriptor.digest))
    }

    async fn has_document(&self, descriptor: &Descriptor) -> Result<bool, EndpointError> {
        Ok(self.has(&descriptor.digest))
    }

    async fn mount(&self, _: &Descriptor, _: &Origin) -> Result<bool, EndpointError> {
        Ok(false)
    }

    async fn push_blob(&self, descriptor: &Descriptor, content: BlobStream) -> Result<(), EndpointError> {
        let Descriptor { digest, size, .. } = *descriptor;
        let (writing, place) = (Arc::clone(&self.writing), self.place.clone());
        let job = move |mut pieces: Pieces| {
            lock(&writing)
                .take(digest, size, &mut pieces)
                .map_err(|error| failed(Subject::Blob(digest), &place, error))
        };
        write_blob(content, job).await
    }

    async fn push_document(&self, document: &Document) -> Result<(), EndpointError> {
        let document = document.clone();
        let subject = Subject::Document(document.digest());
        self.work(subject, move |writing| {
            writing.take_document(&document)?;
            if document.subject().is_some() {
                writing.referrers.push(describe(&document));
            }
            Ok(())
        })
        .await
    }

    async fn publish(&self, root: &Document) -> Result<(), EndpointError> {
        let (files, root) = (self.indexes(root)?, root.clone());
        self.work(Subject::Image, move |writing| {
            writing.take_document(&root)?;
            for (name, content) in files {
                writing.append(name, Kind::File { size: content.len() as u64 }, &mut &content[..])?;
            }
            writing.finish()
        })
        .await
    }

    fn takes(&self) -> Takes {
        match self.names {
            Names::Oci(_) => Takes::InOrder,
            Names::Docker(_) => Takes::OneImage,
        }
    }
}

impl Writing {
    fn start(path: &Path, place: &str) -> Result<Self, EndpointError> {
        let error = |verb, path: &Path, source| {
            EndpointError::file(Subject::Image, place, FileError::of(verb, path)(source))
        };
        // A link stays one: what it points to is replaced.
        let path = match fs::canonicalize(path) {
            Ok(path) => path,
            Err(source) if source.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(source) => return Err(error("resolve", path, source)),
        };
        if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            let reason = "what is there is not a regular file".to_owned();
            return Err(EndpointError::Unsupported {
                subject: Subject::Image,
                place: place.to_owned(),
                reason,
            });
        }
        let directory = directory_of(&path);
        let file = tempfile::Builder::new()
            .prefix(".oxbox-archive-")
            // What the umask leaves of it, as for any file that a user makes.
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(directory)
            .map_err(|source| error("create a file in", directory, source))?;
        Ok(Self {
            path,
            file: Some(file),
            end: 0,
            directories: HashSet::new(),
            taken: HashSet::new(),
            referrers: Vec::new(),
        })
    }

    fn take_document(&mut self, document: &Document) -> Result<(), AppendError> {
        self.take(document.digest(), document.bytes().len() as u64, &mut &document.bytes()[..])
    }

    fn take(&mut self, digest: Digest, size: u64, content: &mut dyn Read) -> Result<(), AppendError> {
        if self.taken.contains(&digest) {
            return Ok(());
        }
        let algorithm = match digest.algorithm() {
            Algorithm::Sha256 => "blobs/sha256",
            Algorithm::Sha512 => "blobs/sha512",
        };
        for directory in ["blobs", algorithm] {
            if self.directories.insert(directory) {
                self.append(directory, Kind::Directory, &mut io::empty())?;
            }
        }
        self.append(&blob_path(&digest), Kind::File { size }, content)?;
        self.taken.insert(digest);
        Ok(())
    }

    fn append(&mut self, name: &str, kind: Kind, content: &mut dyn Read) -> Result<(), AppendError> {
        let Some(file) = &self.file else { return Err(AppendError::Finished) };
        let failed = |source| AppendError::Tar { path: self.path.clone(), source };
        let mode = if kind == Kind::Directory { 0o755 } else { 0o644 };
        let mut sink = file.as_file();
        sink.seek(SeekFrom::Start(self.end)).map_err(FileError::of("seek in", &self.path))?;
        let mut writer = Writer::new(sink);
        writer.append(&Entry::new(name, kind, mode), content).map_err(failed)?;
        let length = writer.position();
        writer.finish().map_err(failed)?;
        self.end += length;
        Ok(())
    }

    /// Cuts off what an entry that broke off has left, and puts the file in its place.
    fn finish(&mut self) -> Result<(), AppendError> {
        let Some(file) = self.file.take() else { return Err(AppendError::Finished) };
        let path = &self.path;
        file.as_file().set_len(self.end + END_BYTES).map_err(FileError::of("truncate", path))?;
        file.as_file().sync_all().map_err(FileError::of("sync", path))?;
        file.persist(path).map_err(|error| FileError::of("replace", path)(error.error))?;
        let directory = directory_of(path);
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        Ok(synced.map_err(FileError::of("sync", directory))?)
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A panic elsewhere leaves at worst an entry that the next one overwrites.
fn lock(writing: &Mutex<Writing>) -> std::sync::MutexGuard<'_, Writing> {
    writing.lock().unwrap_or_else(PoisonError::into_inner)
}

fn oci_entry(root: &Document, name: Option<&str>) -> Descriptor {
    let mut entry = root.descriptor();
    if let Some(name) = name {
        entry.annotate(annotation::REF_NAME, name);
    }
    entry
}

/// As Docker writes it: the tag alone as ref.name, the whole name for containerd.
fn docker_entry(root: &Document, reference: &Reference) -> Descriptor {
    let mut entry = oci_entry(root, reference.tag.as_deref());
    entry.annotate(annotation::CONTAINERD_IMAGE_NAME, reference.to_string());
    entry
}

fn failed(subject: Subject, place: &str, error: AppendError) -> EndpointError {
    match error {
        AppendError::File(error) => EndpointError::file(subject, place, error),
        error => EndpointError::Failed { subject, place: place.to_owned(), source: error.into() },
    }
}
