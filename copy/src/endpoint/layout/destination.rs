//! A layout as destination: blobs first, the entry of `index.json` last.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oxbox_layers::oci::graph::{Role, successors};
use oxbox_layers::oci::{Descriptor, Digest, Document};
use oxbox_layers::store::{BlobStore as _, Committed, Entries, Layout, StoreError, read_document};

use crate::endpoint::crossing::{Pieces, run, write_blob};
use crate::endpoint::referrers::describe;
use crate::endpoint::{BlobStream, Destination, EndpointError, Origin, Subject};
use crate::location::{Location, Pick, StoreName};

/// A layout that will list an image once it is published.
#[derive(Debug)]
pub struct LayoutDestination {
    layout: Arc<Layout>,
    place: String,
    name: Option<String>,
    /// The digest that the root must have, where the user named one.
    expected: Option<Digest>,
}

impl LayoutDestination {
    /// Opens the layout at `path`, or makes it; blocks.
    ///
    /// # Errors
    ///
    /// [`EndpointError::Unsupported`] for a position, which only a reader can mean.
    pub fn create(path: &Path, image: Option<&Pick<String>>) -> Result<Self, EndpointError> {
        let place = Location::Layout { path: path.to_owned(), image: image.cloned() }.to_string();
        let name = match image {
            Some(Pick::Named(name)) => Some(name.clone()),
            None => None,
            Some(Pick::Position(_)) => return Err(read_only(place, "a position names an image to be read")),
        };
        Self::over(path.to_owned(), place, name, None)
    }

    /// Opens oxbox's store at `root`, or makes it; blocks.
    ///
    /// # Errors
    ///
    /// [`EndpointError::Unsupported`] for a bare digest, which only a reader can mean.
    pub fn create_store(root: &Path, name: &StoreName) -> Result<Self, EndpointError> {
        let place = Location::Store(name.clone()).to_string();
        let StoreName::Reference(reference) = name else {
            return Err(read_only(place, "a digest names an image to be read"));
        };
        let mut tagged = reference.clone();
        let expected = tagged.digest.take();
        let name = tagged.tag.is_some().then(|| tagged.to_string());
        Self::over(root.to_owned(), place, name, expected)
    }

    fn over(
        path: PathBuf,
        place: String,
        name: Option<String>,
        expected: Option<Digest>,
    ) -> Result<Self, EndpointError> {
        let layout =
            Layout::create(path).map_err(|error| EndpointError::store(Subject::Image, &place, error))?;
        Ok(Self { layout: Arc::new(layout), place, name, expected })
    }

    async fn work<T: Send + 'static>(
        &self,
        subject: Subject,
        job: impl FnOnce(&Layout) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, EndpointError> {
        let (layout, place) = (Arc::clone(&self.layout), self.place.clone());
        run(move || job(&layout).map_err(|error| EndpointError::store(subject, place, error))).await
    }
}

impl Destination for LayoutDestination {
    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, EndpointError> {
        let Descriptor { digest, size, .. } = *descriptor;
        self.work(Subject::Blob(digest), move |layout| Ok(layout.stat(&digest)? == Some(size))).await
    }

    async fn has_document(&self, descriptor: &Descriptor) -> Result<bool, EndpointError> {
        let (subject, descriptor) = (Subject::Document(descriptor.digest), descriptor.clone());
        self.work(subject, move |layout| is_whole(layout, &descriptor)).await
    }

    async fn mount(&self, _: &Descriptor, _: &Origin) -> Result<bool, EndpointError> {
        Ok(false)
    }

    async fn push_blob(&self, descriptor: &Descriptor, content: BlobStream) -> Result<(), EndpointError> {
        let (layout, place, promised) =
            (Arc::clone(&self.layout), self.place.clone(), Committed::from(descriptor));
        let job = move |pieces: Pieces| {
            let failed = |error| EndpointError::store(Subject::Blob(promised.digest), &place, error);
            let mut writer = layout.writer(promised.digest.algorithm()).map_err(failed)?;
            pieces.copy_to(&mut writer).map_err(|source| {
                failed(StoreError::Io { verb: "write a blob in", path: layout.root().to_owned(), source })
            })?;
            writer.commit_as(&promised).map_err(failed)
        };
        // The writer hashes, and commits nothing else than what was promised.
        write_blob(content.hashed_by_destination(), job).await
    }

    async fn push_document(&self, document: &Document) -> Result<(), EndpointError> {
        let document = document.clone();
        self.work(Subject::Document(document.digest()), move |layout| {
            write_document(layout, &document)?;
            if document.subject().is_some() {
                // What refers to an image is reached by no name: unlisted, a sweep would take it.
                layout.update(|entries| entries.add(&describe(&document)))?;
            }
            Ok(())
        })
        .await
    }

    async fn publish(&self, root: &Document) -> Result<(), EndpointError> {
        if let Some(expected) = self.expected
            && expected != root.digest()
        {
            let reason = format!("the image is {}, not {expected}", root.digest());
            return Err(EndpointError::Unsupported {
                subject: Subject::Image,
                place: self.place.clone(),
                reason,
            });
        }
        let (root, name) = (root.clone(), self.name.clone());
        self.work(Subject::Image, move |layout| {
            write_document(layout, &root)?;
            layout.update(|entries| list(entries, &root.descriptor(), name.as_deref()))
        })
        .await
    }
}

/// Lists the root. An image that loses its name to it stays listed: other tools keep it too, and
/// what is unnamed is pruned where the user says so.
fn list(entries: &mut Entries, root: &Descriptor, name: Option<&str>) {
    match name {
        None => entries.add(root),
        Some(name) => {
            if let Some(displaced) = entries.tag(name, root) {
                entries.add(&displaced);
            }
        }
    }
}

fn write_document(layout: &Layout, document: &Document) -> Result<(), StoreError> {
    let mut writer = layout.writer(document.digest().algorithm())?;
    writer.write_all(document.bytes()).map_err(|source| StoreError::Io {
        verb: "write a blob in",
        path: layout.root().to_owned(),
        source,
    })?;
    writer.commit_as(&Committed::from(&document.descriptor()))
}

/// Whether a document and all that it names are here. What cannot be read counts as missing: it is
/// then written again.
fn is_whole(layout: &Layout, root: &Descriptor) -> Result<bool, StoreError> {
    let mut waiting = vec![root.clone()];
    // Indexes may name the same one any number of times, on every level.
    let mut seen = HashSet::new();
    while let Some(descriptor) = waiting.pop() {
        if !seen.insert((descriptor.digest, descriptor.size)) {
            continue;
        }
        if layout.stat(&descriptor.digest)? != Some(descriptor.size) {
            return Ok(false);
        }
        let Ok(document) = read_document(layout, &descriptor) else { return Ok(false) };
        for (role, named) in successors(&document) {
            match role {
                Role::Child => waiting.push(named.clone()),
                Role::Config | Role::Layer if layout.stat(&named.digest)? == Some(named.size) => {}
                Role::Config | Role::Layer => return Ok(false),
            }
        }
    }
    Ok(true)
}

fn read_only(place: String, reason: &str) -> EndpointError {
    EndpointError::Unsupported { subject: Subject::Image, place, reason: reason.to_owned() }
}
