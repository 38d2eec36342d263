//! Validation: every digest, size and diff_id of a graph derived again, and every difference told.
//!
//! ```text
//! index ─▶ index ─▶ manifest ─┬─ config      document: size, digest, parses as what it is called
//!                             └─ layers      blob: size, digest; decompresses as its type says;
//!                                            its tar reads to the end and has the config's diff_id
//! ```
//!
//! One fault does not hide another: a document of the wrong digest is still read, and what it names is
//! looked at. Nothing is changed, and nothing is trusted. Blobs are read by `validate/blob.rs`.

mod blob;
mod fault;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use crate::oci::graph::{Role, successors};
use crate::oci::{Algorithm, Config, Descriptor, DiffId, Digest, Document, Kind, Manifest, Platform, Raw};
use crate::store::{Blob, BlobStore};

pub use fault::{At, Fault, Problem};

/// Indexes within indexes: what people build has one or two levels.
const MAX_DEPTH: usize = 8;

/// What validation found.
#[derive(Debug, Default)]
pub struct Report {
    /// Manifests and indexes that were read.
    pub documents: usize,
    /// Other blobs that were read: configs, layers, parts of artifacts.
    pub blobs: usize,
    /// Bytes that were read and hashed, decompressed ones not counted.
    pub bytes: u64,
    /// Each difference, in the order of the walk.
    pub faults: Vec<Fault>,
}

impl Report {
    /// Whether there is nothing to complain of.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Looks at everything that a descriptor names, directly or through documents.
///
/// A blob that several documents name is looked at once. A foreign layer may be missing; so may the
/// subject of a referrer.
pub fn validate(store: &dyn BlobStore, descriptor: &Descriptor) -> Report {
    let mut walk = Walk { store, report: Report::default(), seen: HashSet::new() };
    walk.any(&At::root(), descriptor, 0);
    walk.report
}

/// What has been looked at, and as what: the same bytes may be called different things.
#[derive(PartialEq, Eq, Hash)]
struct Seen {
    digest: Digest,
    media_type: String,
    size: u64,
    diff_id: Option<DiffId>,
}

struct Walk<'a> {
    store: &'a dyn BlobStore,
    report: Report,
    seen: HashSet<Seen>,
}

impl Walk<'_> {
    fn any(&mut self, at: &At, descriptor: &Descriptor, depth: usize) {
        if descriptor.data.is_some() && descriptor.inlined().is_none() {
            self.fault(at, descriptor, Problem::Inlined);
        }
        match descriptor.media_type.kind() {
            Kind::Manifest | Kind::Index => self.document(at, descriptor, depth),
            _ => self.opaque(at, descriptor),
        }
    }

    fn document(&mut self, at: &At, descriptor: &Descriptor, depth: usize) {
        if !self.first_time(descriptor, None) {
            return;
        }
        if depth > MAX_DEPTH {
            return self.fault(at, descriptor, Problem::TooDeep { limit: MAX_DEPTH });
        }
        let Some(bytes) = self.small(at, descriptor) else { return };
        self.report.documents += 1;
        let algorithm = descriptor.digest.algorithm();
        match Document::parse_with(bytes, Some(&descriptor.media_type), algorithm) {
            Ok(Document::Manifest(manifest)) if manifest.is_image() => self.image(descriptor, &manifest),
            Ok(document) => {
                for (position, (role, part)) in successors(&document).into_iter().enumerate() {
                    // The config comes first among a manifest's parts.
                    let position = if role == Role::Layer { position - 1 } else { position };
                    self.any(&At::part(role, position, descriptor), part, depth + 1);
                }
            }
            Err(source) => self.fault(at, descriptor, Problem::Document { source }),
        }
    }

    fn image(&mut self, descriptor: &Descriptor, manifest: &Manifest) {
        let at = At::part(Role::Config, 0, descriptor);
        let config = self.config(&at, &manifest.config);
        if let Some(config) = &config {
            self.agreement(&at, descriptor, manifest, config);
        }
        let diff_ids = config.as_ref().map_or(&[][..], |config| &config.rootfs.diff_ids);
        for (position, layer) in manifest.layers.iter().enumerate() {
            let at = At::part(Role::Layer, position, descriptor);
            self.layer(&at, layer, diff_ids.get(position).copied());
        }
    }

    fn config(&mut self, at: &At, descriptor: &Descriptor) -> Option<Raw<Config>> {
        let again = !self.first_time(descriptor, None);
        let faults = self.report.faults.len();
        let config = self.small(at, descriptor).and_then(|bytes| {
            let parsed = Raw::parse_with(bytes, descriptor.media_type.clone(), descriptor.digest.algorithm());
            parsed.map_err(|source| self.fault(at, descriptor, Problem::Config { source })).ok()
        });
        if again {
            self.report.faults.truncate(faults);
        } else {
            self.report.blobs += 1;
        }
        config
    }

    /// What manifest, config and the index above say of one another.
    fn agreement(&mut self, at: &At, descriptor: &Descriptor, manifest: &Manifest, config: &Config) {
        let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            self.fault(at, &manifest.config, Problem::LayerCount { layers, diff_ids });
        }
        if let Some(history) = config.history_layers().filter(|&history| history != diff_ids) {
            self.fault(at, &manifest.config, Problem::HistoryCount { history, diff_ids });
        }
        if config.rootfs.kind != "layers" {
            let kind = config.rootfs.kind.chars().take(80).collect();
            self.fault(at, &manifest.config, Problem::RootFs { kind });
        }
        if let Some(index) = descriptor.platform.as_ref().filter(|index| !suits(index, &config.platform())) {
            let (index, config) = (index.clone(), config.platform());
            self.fault(at, &manifest.config, Problem::Platform { index, config });
        }
    }

    fn layer(&mut self, at: &At, descriptor: &Descriptor, diff_id: Option<DiffId>) {
        let Kind::Layer(format) = descriptor.media_type.kind() else {
            self.fault(at, descriptor, Problem::NotALayer);
            return self.opaque(at, descriptor);
        };
        if !self.first_time(descriptor, diff_id) {
            return;
        }
        let Some(blob) = self.opened(at, descriptor) else { return };
        // Without a diff_id to compare there is still a tar to be read.
        let algorithm = diff_id.map_or(Algorithm::Sha256, |diff_id| diff_id.0.algorithm());
        let found = blob::unpack(blob, descriptor, algorithm);
        self.blob_is(at, descriptor, &found.blob);
        if let Some(actual) = found.format.filter(|&actual| actual != format) {
            self.fault(at, descriptor, Problem::Format { actual });
        }
        if let (Some(expected), Some(actual)) = (diff_id, found.diff_id)
            && expected != actual
        {
            self.fault(at, descriptor, Problem::DiffId { expected, actual });
        }
        if let Some(source) = found.undecodable {
            self.fault(at, descriptor, Problem::Undecodable { source });
        }
        if let Some(source) = found.unreadable_tar {
            self.fault(at, descriptor, Problem::Tar { source });
        }
    }

    /// A blob of which nothing is known but its name.
    fn opaque(&mut self, at: &At, descriptor: &Descriptor) {
        if self.first_time(descriptor, None)
            && let Some(blob) = self.opened(at, descriptor)
        {
            let found = blob::hash(blob, descriptor);
            self.blob_is(at, descriptor, &found);
        }
    }

    fn small(&mut self, at: &At, descriptor: &Descriptor) -> Option<Vec<u8>> {
        let blob = self.opened(at, descriptor)?;
        match blob::read_small(blob, descriptor) {
            Ok((bytes, found)) => {
                self.tally(at, descriptor, &found);
                Some(bytes)
            }
            Err(problem) => {
                self.fault(at, descriptor, problem);
                None
            }
        }
    }

    fn opened(&mut self, at: &At, descriptor: &Descriptor) -> Option<Box<dyn Blob>> {
        match self.store.open(&descriptor.digest) {
            Ok(Some(blob)) => return Some(blob),
            Ok(None) if descriptor.media_type.is_nondistributable() => {}
            Ok(None) => self.fault(at, descriptor, Problem::Missing),
            Err(source) => self.fault(at, descriptor, Problem::Store { source }),
        }
        None
    }

    fn blob_is(&mut self, at: &At, descriptor: &Descriptor, found: &blob::Found) {
        self.report.blobs += 1;
        self.tally(at, descriptor, found);
    }

    fn tally(&mut self, at: &At, descriptor: &Descriptor, found: &blob::Found) {
        self.report.bytes += found.size;
        if let Some(source) = &found.error {
            let source = std::io::Error::new(source.kind(), source.to_string());
            return self.fault(at, descriptor, Problem::Unreadable { source });
        }
        if found.size != descriptor.size {
            self.fault(at, descriptor, Problem::Size { expected: descriptor.size, actual: found.size });
        }
        if found.digest != descriptor.digest {
            self.fault(at, descriptor, Problem::Digest { actual: found.digest });
        }
    }

    fn first_time(&mut self, descriptor: &Descriptor, diff_id: Option<DiffId>) -> bool {
        self.seen.insert(Seen {
            digest: descriptor.digest,
            media_type: descriptor.media_type.as_str().to_owned(),
            size: descriptor.size,
            diff_id,
        })
    }

    fn fault(&mut self, at: &At, descriptor: &Descriptor, problem: Problem) {
        self.report.faults.push(Fault { at: *at, digest: descriptor.digest, problem });
    }
}

/// An index may say less of a platform than the config, but nothing else.
fn suits(index: &Platform, config: &Platform) -> bool {
    let (index, config) = (index.normalised(), config.normalised());
    index.os == config.os
        && index.architecture == config.architecture
        && (index.variant.is_none() || config.variant.is_none() || index.variant == config.variant)
}
