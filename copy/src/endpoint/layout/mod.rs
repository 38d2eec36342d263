//! `oci:`, a directory that is an OCI image layout, and `store:`, oxbox's own store, which is one too.
//!
//! The layout itself, with its locks and its crash safety, is `oxbox_layers::store::Layout`; here is
//! which of its images is meant, and how its blobs cross into tasks.
//!
//! ```text
//! source        a name      the entry of that ref.name, else of that containerd image name
//!               a digest    any document that is there
//!               nothing     the only entry; or index.json itself, where it is the multi-platform index
//! destination   a name      moves to the new root; the image that had it stays listed without a name
//!               nothing     the root is listed without a name
//! ```
//!
//! image-spec v1.1.1, image-layout.md

mod destination;

use std::io::Read;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use oxbox_layers::oci::raw::MAX_DOCUMENT_BYTES;
use oxbox_layers::oci::{Descriptor, Digest, Document};
use oxbox_layers::store::{BlobStore as _, Layout, ReadError, read_document, read_small};

use super::crossing::{read_blob, run};
use super::document_bytes::{describe_root, malformed, read, verify};
use super::listing::{Listing, Picked};
use super::referrers::{self, Referrers};
use super::{BlobStream, EndpointError, FileError, Origin, Source, Subject};
use crate::location::{Location, Pick, StoreName};

pub use destination::LayoutDestination;

/// An image in a layout, to be read.
#[derive(Debug)]
pub struct LayoutSource {
    layout: Arc<Layout>,
    place: String,
    root: Descriptor,
    /// The bytes of `index.json`, where that is the root.
    top: Option<Bytes>,
    /// What refers to which document, once somebody asked.
    referrers: Arc<OnceLock<Referrers>>,
}

impl LayoutSource {
    /// Opens an image of the layout at `path`; blocks and writes nothing.
    ///
    /// # Errors
    ///
    /// [`EndpointError::Absent`] if there is no such image, [`EndpointError::Ambiguous`] if none is
    /// named and there are several.
    pub fn open(path: &Path, image: Option<&Pick<String>>) -> Result<Self, EndpointError> {
        let place = Location::Layout { path: path.to_owned(), image: image.cloned() }.to_string();
        let layout = open_layout(path, &place)?;
        match listing(&layout, &place)?.pick(image) {
            Ok(Picked::Entry(entry)) => Ok(Self::of_root(layout, place, &entry)),
            Ok(Picked::WholeIndex) => Self::of_index(layout, place),
            Err(error) => match image {
                Some(Pick::Named(name)) => {
                    let entry = by_digest(&layout, name, &place)?.ok_or(error)?;
                    Ok(Self::of_root(layout, place, &entry))
                }
                _ => Err(error),
            },
        }
    }

    /// Opens an image of oxbox's store at `root`; blocks.
    ///
    /// # Errors
    ///
    /// [`EndpointError::Absent`] if there is no such image.
    pub fn open_store(root: &Path, name: &StoreName) -> Result<Self, EndpointError> {
        let place = Location::Store(name.clone()).to_string();
        let layout = open_layout(root, &place)?;
        // What is found from here on stays, whoever sweeps meanwhile.
        layout.begin_session().map_err(|error| EndpointError::store(Subject::Image, &place, error))?;
        let listing = listing(&layout, &place)?;
        let found = match name {
            StoreName::Digest(digest) => by_digest(&layout, &digest.to_string(), &place)?,
            StoreName::Reference(reference) => match &reference.digest {
                Some(digest) => by_digest(&layout, &digest.to_string(), &place)?,
                None => listing.resolve(&reference.to_string()).cloned(),
            },
        };
        let entry = found.ok_or_else(|| listing.absent())?;
        Ok(Self::of_root(layout, place, &entry))
    }

    fn of_root(layout: Layout, place: String, entry: &Descriptor) -> Self {
        // What the entry says beside that is the layout's business: its name, for one.
        let root = Descriptor::new(entry.media_type.clone(), entry.digest, entry.size);
        Self { layout: Arc::new(layout), place, root, top: None, referrers: Arc::default() }
    }

    fn of_index(layout: Layout, place: String) -> Result<Self, EndpointError> {
        let path = layout.root().join("index.json");
        let mut file = std::fs::File::open(&path).map_err(|source| {
            EndpointError::file(Subject::Image, &place, FileError::of("open", &path)(source))
        })?;
        let bytes = read(&mut file, &path, &Subject::Image, &place)?;
        let root = describe_root(&bytes, &place)?;
        Ok(Self { layout: Arc::new(layout), place, root, top: Some(bytes), referrers: Arc::default() })
    }
}

impl Source for LayoutSource {
    async fn resolve(&self) -> Result<Descriptor, EndpointError> {
        Ok(self.root.clone())
    }

    async fn document(&self, descriptor: &Descriptor) -> Result<Bytes, EndpointError> {
        if let Some(top) = &self.top
            && descriptor.digest == self.root.digest
        {
            return verify(top.clone(), descriptor, &self.place);
        }
        let (layout, place, descriptor) = (Arc::clone(&self.layout), self.place.clone(), descriptor.clone());
        run(move || {
            let bytes = read_small(&*layout, &descriptor, MAX_DOCUMENT_BYTES as u64);
            bytes
                .map(Bytes::from)
                .map_err(|error| unread(Subject::Document(descriptor.digest), &place, error))
        })
        .await
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<BlobStream, EndpointError> {
        open_blob(&self.layout, &self.place, descriptor).await
    }

    /// Looks at every document that the index lists, once for all questions.
    async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>, EndpointError> {
        if self.referrers.get().is_none() {
            let (layout, place) = (Arc::clone(&self.layout), self.place.clone());
            let found = run(move || {
                let listing = listing(&layout, &place)?;
                referrers::find(listing.entries(), |entry| match read_document(&*layout, entry) {
                    Ok(document) => Ok(Some(document)),
                    Err(ReadError::Missing { .. }) => Ok(None),
                    Err(error) => Err(unread(Subject::Document(entry.digest), &place, error)),
                })
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

/// Opens a blob of a layout from its start; `place` is what errors call the layout.
///
/// # Errors
///
/// [`EndpointError::Absent`] if it is not there.
pub async fn open_blob(
    layout: &Arc<Layout>,
    place: &str,
    descriptor: &Descriptor,
) -> Result<BlobStream, EndpointError> {
    let (layout, owned_place, digest) = (Arc::clone(layout), place.to_owned(), descriptor.digest);
    let open = move || {
        let (subject, place) = (Subject::Blob(digest), owned_place);
        match layout.open(&digest) {
            Ok(Some(blob)) => Ok((Box::new(blob) as Box<dyn Read + Send>, layout.blob_path(&digest))),
            Ok(None) => Err(EndpointError::Absent { subject, place, details: String::new() }),
            Err(error) => Err(EndpointError::store(subject, place, error)),
        }
    };
    read_blob(descriptor, place.to_owned(), open).await
}

fn open_layout(path: &Path, place: &str) -> Result<Layout, EndpointError> {
    if !path.exists() {
        return Err(EndpointError::Absent {
            subject: Subject::Image,
            place: place.to_owned(),
            details: format!("there is no directory {}", path.display()),
        });
    }
    Layout::open(path).map_err(|error| EndpointError::store(Subject::Image, place, error))
}

fn listing(layout: &Layout, place: &str) -> Result<Listing, EndpointError> {
    let entries = layout.entries().map_err(|error| EndpointError::store(Subject::Image, place, error))?;
    Ok(Listing::new(place, entries.iter().cloned().collect()))
}

/// Returns the descriptor of a document that is here, listed or not; `None` if the text is no digest
/// or nothing is there.
fn by_digest(layout: &Layout, text: &str, place: &str) -> Result<Option<Descriptor>, EndpointError> {
    let Ok(digest) = text.parse::<Digest>() else { return Ok(None) };
    let subject = Subject::Document(digest);
    let blob = layout.open(&digest).map_err(|error| EndpointError::store(subject.clone(), place, error))?;
    let Some(mut blob) = blob else { return Ok(None) };
    let bytes = read(&mut blob, &layout.blob_path(&digest), &subject, place)?;
    let descriptor = Descriptor::new("application/octet-stream", digest, bytes.len() as u64);
    let bytes = verify(bytes, &descriptor, place)?;
    let document = Document::parse_with(bytes, None, digest.algorithm())
        .map_err(|error| malformed(subject, place, error))?;
    Ok(Some(document.descriptor()))
}

fn unread(subject: Subject, place: &str, error: ReadError) -> EndpointError {
    let place = place.to_owned();
    match error {
        ReadError::Missing { .. } => EndpointError::Absent { subject, place, details: String::new() },
        ReadError::Store(error) => EndpointError::store(subject, place, error),
        ReadError::Content { source, .. } if source.kind() != std::io::ErrorKind::InvalidData => {
            EndpointError::Failed { subject, place, source: source.into() }
        }
        error => EndpointError::Corrupt { subject, place, source: error.into() },
    }
}
