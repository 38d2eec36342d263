//! `oci-archive:` and `docker-archive:`, images in one tar file.
//!
//! ```text
//! oci-layout  index.json  blobs/<algorithm>/<hex>     an OCI image layout; Docker 25 and newer write it too
//! manifest.json                                       what `docker load` reads, of whatever version
//! <hex>.json  <hex>.tar  <id>/layer.tar               config and layers of older archives
//! ```
//!
//! Reading: `contents` finds files in the tar, `docker` makes sense of `manifest.json`. Writing:
//! `destination`, for both, since what is written for Docker is a layout as well: so both kinds keep
//! every digest. The old file stays until the new one is whole.

mod contents;
mod destination;
mod docker;

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use oxbox_layers::oci::graph::{Role, successors};
use oxbox_layers::oci::{Descriptor, Digest, Document, Index, MediaType, Raw};

use self::contents::{Contents, ContentsError, Section};
use super::crossing::{read_blob, run};
use super::document_bytes::{describe_root, malformed, read, verify};
use super::listing::{Listing, Picked};
use super::referrers::{self, Referrers};
use super::{BlobStream, EndpointError, FileError, Origin, Source, Subject};
use crate::location::{Location, Pick};

pub use destination::{ArchiveDestination, Names};
pub use docker::open_docker_archive;

/// Indexes within indexes of a layout; nobody nests more than two.
const MAX_NESTED: usize = 8;

/// An image in an archive, to be read.
#[derive(Debug)]
pub struct ArchiveSource {
    contents: Arc<Contents>,
    place: String,
    root: Descriptor,
    /// Documents that the archive does not hold as files of their digest: an index that is the whole
    /// image, or a manifest made for an archive that has none.
    made: HashMap<Digest, Bytes>,
    /// Blobs that are not under `blobs/`.
    elsewhere: HashMap<Digest, Section>,
    /// What refers to which document, once somebody asked.
    referrers: OnceLock<Referrers>,
}

/// A blob has another size in the archive than its descriptor says.
#[derive(Debug, thiserror::Error)]
#[error("the file has {actual} bytes but {expected} were promised")]
struct WrongSize {
    expected: u64,
    actual: u64,
}

impl ArchiveSource {
    /// Opens an image of an `oci-archive:`; blocks. A compressed archive is written out to
    /// `temporary` first.
    ///
    /// # Errors
    ///
    /// [`EndpointError::Absent`], [`EndpointError::Ambiguous`]; [`EndpointError::Corrupt`] if the file
    /// is no such archive, or ends early.
    pub fn open(path: &Path, image: Option<&Pick<String>>, temporary: &Path) -> Result<Self, EndpointError> {
        let place = Location::OciArchive { path: path.to_owned(), image: image.cloned() }.to_string();
        let contents = open_contents(path, temporary, &place)?;
        let index = layout_index(&contents, &place)?.ok_or_else(|| EndpointError::Absent {
            subject: Subject::Image,
            place: place.clone(),
            details: "the archive has no index.json".to_owned(),
        })?;
        let picked = Listing::new(&place, index.manifests.clone()).pick(image)?;
        let mut source = Self::empty(contents, place);
        match picked {
            Picked::Entry(entry) => {
                source.root = Descriptor::new(entry.media_type.clone(), entry.digest, entry.size);
            }
            Picked::WholeIndex => source.set_made_root(index.bytes().clone())?,
        }
        Ok(source)
    }

    fn empty(contents: Contents, place: String) -> Self {
        let root = Descriptor::of(MediaType::OCI_EMPTY, b"");
        Self {
            contents: Arc::new(contents),
            place,
            root,
            made: HashMap::new(),
            elsewhere: HashMap::new(),
            referrers: OnceLock::new(),
        }
    }

    fn set_made_root(&mut self, bytes: Bytes) -> Result<(), EndpointError> {
        self.root = describe_root(&bytes, &self.place)?;
        self.made.insert(self.root.digest, bytes);
        Ok(())
    }

    /// Finds a blob, and checks its size so that a damaged archive is noticed before bytes move.
    fn find(&self, subject: Subject, descriptor: &Descriptor) -> Result<Section, EndpointError> {
        let place = self.place.clone();
        let elsewhere = || self.elsewhere.get(&descriptor.digest).copied();
        let Some(section) = self.contents.find(&blob_path(&descriptor.digest)).or_else(elsewhere) else {
            return Err(EndpointError::Absent { subject, place, details: String::new() });
        };
        if section.size == descriptor.size {
            return Ok(section);
        }
        let source = WrongSize { expected: descriptor.size, actual: section.size };
        Err(EndpointError::Corrupt { subject, place, source: source.into() })
    }
}

impl Source for ArchiveSource {
    async fn resolve(&self) -> Result<Descriptor, EndpointError> {
        Ok(self.root.clone())
    }

    async fn document(&self, descriptor: &Descriptor) -> Result<Bytes, EndpointError> {
        if let Some(bytes) = self.made.get(&descriptor.digest) {
            return verify(bytes.clone(), descriptor, &self.place);
        }
        let subject = Subject::Document(descriptor.digest);
        let section = self.find(subject.clone(), descriptor)?;
        let (contents, place, descriptor) =
            (Arc::clone(&self.contents), self.place.clone(), descriptor.clone());
        run(move || {
            let bytes = read(&mut contents.read(section), contents.path(), &subject, &place)?;
            verify(bytes, &descriptor, &place)
        })
        .await
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<BlobStream, EndpointError> {
        let section = self.find(Subject::Blob(descriptor.digest), descriptor)?;
        let contents = Arc::clone(&self.contents);
        let open = move || {
            let path = contents.path().to_owned();
            Ok((Box::new(contents.read(section)) as Box<dyn Read + Send>, path))
        };
        read_blob(descriptor, self.place.clone(), open).await
    }

    /// Looks at the documents that the archive's index lists, once for all questions.
    async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>, EndpointError> {
        if self.referrers.get().is_none() {
            let (contents, place) = (Arc::clone(&self.contents), self.place.clone());
            let found = run(move || {
                let index = layout_index(&contents, &place)?;
                let entries = index.as_ref().map_or(&[][..], |index| &index.manifests);
                referrers::find(entries, |entry| listed_document(&contents, entry, &place))
            })
            .await?;
            // Whoever was first found the same.
            let _ = self.referrers.set(found);
        }
        Ok(self.referrers.get().and_then(|found| found.get(digest)).cloned().unwrap_or_default())
    }

    fn origin(&self, _blob: &Descriptor) -> Option<Origin> {
        None
    }
}

fn open_contents(path: &Path, temporary: &Path, place: &str) -> Result<Contents, EndpointError> {
    let place = place.to_owned();
    Contents::open(path, temporary).map_err(|error| match error {
        ContentsError::File(FileError { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            EndpointError::Absent {
                subject: Subject::Image,
                place,
                details: "there is no such file".to_owned(),
            }
        }
        ContentsError::File(error) if is_decoding(&error.source) => {
            EndpointError::Corrupt { subject: Subject::Image, place, source: error.into() }
        }
        ContentsError::File(error) => EndpointError::file(Subject::Image, place, error),
        error => EndpointError::Corrupt { subject: Subject::Image, place, source: error.into() },
    })
}

fn is_decoding(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
}

/// Reads `index.json`; `None` if the archive is no layout.
fn layout_index(contents: &Contents, place: &str) -> Result<Option<Raw<Index>>, EndpointError> {
    let Some(section) = contents.find("index.json") else { return Ok(None) };
    let bytes = read(&mut contents.read(section), contents.path(), &Subject::Image, place)?;
    let parsed = Raw::parse(bytes, MediaType::OCI_INDEX.into());
    parsed.map(Some).map_err(|error| malformed(Subject::Image, place, error.into()))
}

/// Reads a document that is listed; `None` if it is not in the archive or is no document.
fn listed_document(
    contents: &Contents,
    entry: &Descriptor,
    place: &str,
) -> Result<Option<Document>, EndpointError> {
    let Some(section) = contents.find(&blob_path(&entry.digest)) else { return Ok(None) };
    let subject = Subject::Document(entry.digest);
    let bytes = verify(read(&mut contents.read(section), contents.path(), &subject, place)?, entry, place)?;
    Ok(Document::parse_with(bytes, Some(&entry.media_type), entry.digest.algorithm()).ok())
}

/// Whether a document and all that it names are in the archive. Indexes nested deeper than
/// [`MAX_NESTED`] count as missing.
fn is_whole(contents: &Contents, root: &Descriptor, place: &str) -> bool {
    let mut waiting = vec![(root.clone(), 0)];
    // The same documents may be named any number of times, on every level.
    let mut seen = HashSet::new();
    while let Some((entry, depth)) = waiting.pop() {
        let Ok(Some(document)) = listed_document(contents, &entry, place) else { return false };
        for (role, named) in successors(&document) {
            match role {
                Role::Child if depth == MAX_NESTED => return false,
                Role::Child if seen.insert((named.digest, named.size)) => {
                    waiting.push((named.clone(), depth + 1));
                }
                Role::Child => {}
                Role::Config | Role::Layer => {
                    let section = contents.find(&blob_path(&named.digest));
                    if section.is_none_or(|section| section.size != named.size) {
                        return false;
                    }
                }
            }
        }
    }
    true
}

/// `blobs/sha256/<hex>`
fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}
