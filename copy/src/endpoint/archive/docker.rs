//! `manifest.json`, by which Docker archives say what they hold.
//!
//! ```json
//! [{"Config": "<hex>.json", "RepoTags": ["busybox:1.36"], "Layers": ["<hex>.tar", "<id>/layer.tar"]}]
//! ```
//!
//! Archives of Docker 25 and newer are OCI layouts as well: there the manifest of the layout is read,
//! and every digest stays. Others have no manifest, so one is made: an OCI manifest with the config's
//! own bytes and the layers as they stand in the archive, which is plain tar nearly always. The same
//! archive always gives the same manifest.
//!
//! Docker image specification v1.3, "Combined Image JSON + Filesystem Changeset Format"

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::Path;

use oxbox_layers::compress::Decoder;
use oxbox_layers::oci::{
    Compressed, Config, Descriptor, DiffId, Digest, Document, Hasher, Manifest, MediaType, Raw, Reference,
};
use serde::Deserialize;

use super::contents::{Contents, Section};
use super::{ArchiveSource, MAX_NESTED, blob_path, is_whole, layout_index, listed_document, open_contents};
use crate::endpoint::document_bytes::{malformed, read};
use crate::endpoint::{EndpointError, FileError, Subject};
use crate::location::{Location, Pick};

/// Bytes of one layer once it is decompressed: larger ones run into limits of every runtime.
const MAX_LAYER_BYTES: u64 = 1 << 40;
/// One image of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// How an archive contradicts itself.
#[derive(Debug, thiserror::Error)]
enum ArchiveError {
    #[error("manifest.json is malformed")]
    Manifest {
        #[source]
        source: serde_json::Error,
    },
    #[error("manifest.json names the file {name:?}, which is not in the archive")]
    Missing { name: String },
    #[error("manifest.json names {layers} layers, the config {diff_ids}")]
    Count { layers: usize, diff_ids: usize },
    #[error("layer {name:?} is {actual} but the config says {expected}")]
    DiffId { name: String, expected: DiffId, actual: DiffId },
    #[error("layer {name:?} is compressed with {format}, which is not supported")]
    Compression { name: String, format: &'static str },
}

/// Opens an image of a `docker-archive:`; blocks. A compressed archive is written out to `temporary`
/// first.
///
/// # Errors
///
/// [`EndpointError::Absent`], [`EndpointError::Ambiguous`]; [`EndpointError::Corrupt`] if the file is no
/// such archive, or ends early.
pub fn open_docker_archive(
    path: &Path,
    image: Option<&Pick<Reference>>,
    temporary: &Path,
) -> Result<ArchiveSource, EndpointError> {
    let place = Location::DockerArchive { path: path.to_owned(), image: image.cloned() }.to_string();
    let contents = open_contents(path, temporary, &place)?;
    let items = items(&contents, &place)?;
    let item = pick(&items, image, &place)?;
    let config = named(&contents, &item.config, &place)?;
    let config_bytes = read(&mut contents.read(config), path, &Subject::Image, &place)?;
    let config_digest = Digest::sha256(&config_bytes);
    let mut source = ArchiveSource::empty(contents, place);
    if let Some(root) = in_layout(&source.contents, &config_digest, &source.place)? {
        source.root = root;
        return Ok(source);
    }
    let config_document = Raw::parse(config_bytes, MediaType::OCI_CONFIG.into())
        .map_err(|error| malformed(Subject::Image, &source.place, error.into()))?;
    source.elsewhere.insert(config_digest, config);
    let layers = describe_layers(&mut source, item, &config_document)?;
    let manifest =
        Raw::write(Manifest::of_image(config_document.descriptor(), layers), MediaType::OCI_MANIFEST);
    source.set_made_root(manifest.bytes().clone())?;
    Ok(source)
}

fn items(contents: &Contents, place: &str) -> Result<Vec<Item>, EndpointError> {
    let Some(section) = contents.find("manifest.json") else {
        let details = "the archive has no manifest.json".to_owned();
        return Err(EndpointError::Absent { subject: Subject::Image, place: place.to_owned(), details });
    };
    let bytes = read(&mut contents.read(section), contents.path(), &Subject::Image, place)?;
    serde_json::from_slice(&bytes).map_err(|source| corrupt(place, ArchiveError::Manifest { source }))
}

fn pick<'a>(
    items: &'a [Item],
    image: Option<&Pick<Reference>>,
    place: &str,
) -> Result<&'a Item, EndpointError> {
    let found = match image {
        None if items.len() > 1 => {
            return Err(EndpointError::Ambiguous {
                place: place.to_owned(),
                count: items.len(),
                names: names(items),
            });
        }
        None => items.first(),
        Some(Pick::Position(position)) => items.get(*position),
        Some(Pick::Named(reference)) => items.iter().find(|item| item.is_named(reference)),
    };
    found.ok_or_else(|| EndpointError::Absent {
        subject: Subject::Image,
        place: place.to_owned(),
        details: format!("there is {}", names(items)),
    })
}

impl Item {
    /// Tags stand there as the user wrote them or in full.
    fn is_named(&self, reference: &Reference) -> bool {
        let mut tags = self.repo_tags.iter().flatten();
        tags.any(|tag| tag.parse::<Reference>().is_ok_and(|tag| tag.or_latest() == *reference))
    }
}

/// The first names, for an error line.
fn names(items: &[Item]) -> String {
    const SHOWN: usize = 5;
    let tags = items.iter().flat_map(|item| item.repo_tags.iter().flatten());
    let shown: Vec<String> = tags.take(SHOWN).map(|tag| tag.chars().take(160).collect()).collect();
    shown.join(", ")
}

/// Finds the document of the archive's layout that the config belongs to, if all of it is there.
///
/// An index is taken whole where it is whole: Docker lists the platforms that it did not save, too.
fn in_layout(contents: &Contents, config: &Digest, place: &str) -> Result<Option<Descriptor>, EndpointError> {
    let Some(index) = layout_index(contents, place)? else { return Ok(None) };
    let mut search = Search { contents, config, place, seen: HashSet::new() };
    for entry in &index.manifests {
        if let Some(found) = search.holder(entry, MAX_NESTED)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// A search for the document that a config belongs to.
struct Search<'a> {
    contents: &'a Contents,
    config: &'a Digest,
    place: &'a str,
    /// Looked at, in vain: indexes may list the same one any number of times, on every level.
    seen: HashSet<Digest>,
}

impl Search<'_> {
    fn holder(&mut self, entry: &Descriptor, depth: usize) -> Result<Option<Descriptor>, EndpointError> {
        if !self.seen.insert(entry.digest) {
            return Ok(None);
        }
        let Some(document) = listed_document(self.contents, entry, self.place)? else { return Ok(None) };
        let here = Descriptor::new(entry.media_type.clone(), entry.digest, entry.size);
        match &document {
            Document::Manifest(manifest) if manifest.config.digest != *self.config => Ok(None),
            Document::Manifest(_) => Ok(is_whole(self.contents, entry, self.place).then_some(here)),
            Document::Index(_) if depth == 0 => Ok(None),
            Document::Index(index) => {
                for child in &index.manifests {
                    if let Some(found) = self.holder(child, depth - 1)? {
                        let is_whole = is_whole(self.contents, entry, self.place);
                        return Ok(Some(if is_whole { here } else { found }));
                    }
                }
                Ok(None)
            }
        }
    }
}

/// Describes the layers as they stand in the archive, and notes where.
fn describe_layers(
    source: &mut ArchiveSource,
    item: &Item,
    config: &Config,
) -> Result<Vec<Descriptor>, EndpointError> {
    let names = item.layers.as_deref().unwrap_or_default();
    let diff_ids = &config.rootfs.diff_ids;
    if names.len() != diff_ids.len() {
        let error = ArchiveError::Count { layers: names.len(), diff_ids: diff_ids.len() };
        return Err(corrupt(&source.place, error));
    }
    let mut layers = Vec::with_capacity(names.len());
    for (name, diff_id) in names.iter().zip(diff_ids) {
        let section = named(&source.contents, name, &source.place)?;
        let layer = describe_layer(&source.contents, section, name, diff_id, &source.place)?;
        source.elsewhere.insert(layer.digest, section);
        layers.push(layer);
    }
    Ok(layers)
}

/// A plain layer's digest is its diff_id, and is verified when it is read. A compressed one has to be
/// read now, for its digest and to see whether it holds what the config says.
fn describe_layer(
    contents: &Contents,
    section: Section,
    name: &str,
    diff_id: &DiffId,
    place: &str,
) -> Result<Descriptor, EndpointError> {
    let unreadable = |source| {
        let error = FileError::of("read a layer of", contents.path())(source);
        EndpointError::Corrupt { subject: Subject::Image, place: place.to_owned(), source: error.into() }
    };
    refuse_others(contents, section, name, place)?;
    let mut stored = Hashing { reader: contents.read(section), hasher: Hasher::new(diff_id.0.algorithm()) };
    let mut decoder = Decoder::new(&mut stored).map_err(unreadable)?.limit(MAX_LAYER_BYTES);
    let format = decoder.format();
    if format == Compressed::None {
        return Ok(Descriptor::new(MediaType::oci_layer(format), diff_id.0, section.size));
    }
    let mut plain = Hasher::new(diff_id.0.algorithm());
    io::copy(&mut decoder, &mut plain).map_err(unreadable)?;
    drop(decoder);
    io::copy(&mut stored, &mut io::sink()).map_err(unreadable)?;
    let actual = DiffId(plain.finish());
    if actual != *diff_id {
        let error = ArchiveError::DiffId { name: cut(name), expected: *diff_id, actual };
        return Err(corrupt(place, error));
    }
    Ok(Descriptor::new(MediaType::oci_layer(format), stored.hasher.finish(), section.size))
}

/// Compressions that Docker reads and layers of an image cannot have.
fn refuse_others(
    contents: &Contents,
    section: Section,
    name: &str,
    place: &str,
) -> Result<(), EndpointError> {
    let mut start = Vec::new();
    contents.read(section).take(6).read_to_end(&mut start).map_err(|source| {
        EndpointError::file(Subject::Image, place, FileError::of("read", contents.path())(source))
    })?;
    let format = match start.as_slice() {
        [b'B', b'Z', b'h', ..] => "bzip2",
        [0xfd, b'7', b'z', b'X', b'Z', 0] => "xz",
        _ => return Ok(()),
    };
    Err(corrupt(place, ArchiveError::Compression { name: cut(name), format }))
}

struct Hashing<R> {
    reader: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

fn named(contents: &Contents, name: &str, place: &str) -> Result<Section, EndpointError> {
    contents.find(name).ok_or_else(|| corrupt(place, ArchiveError::Missing { name: cut(name) }))
}

fn corrupt(place: &str, error: ArchiveError) -> EndpointError {
    EndpointError::Corrupt { subject: Subject::Image, place: place.to_owned(), source: error.into() }
}

/// Text from outside, short enough for an error line.
fn cut(text: &str) -> String {
    text.chars().take(160).collect()
}

/// Returns what `manifest.json` says of an image whose blobs are under `blobs/`.
pub(super) fn manifest_json(manifest: &Manifest, references: &[Reference]) -> Vec<u8> {
    let tags: Vec<String> = references.iter().map(Reference::familiar).collect();
    let layers: Vec<String> = manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect();
    let item = serde_json::json!([{
        "Config": blob_path(&manifest.config.digest),
        "RepoTags": (!tags.is_empty()).then_some(tags),
        "Layers": layers,
    }]);
    serde_json::to_vec(&item).expect("because a JSON value can always be printed")
}
