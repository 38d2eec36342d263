//! What an image is, in a few words: its platforms, its size, its age.
//!
//! Read from a layout. An index that was copied for some platforms only is summed over what is there.

use std::collections::HashMap;

use oxbox_layers::oci::raw::MAX_DOCUMENT_BYTES;
use oxbox_layers::oci::{Config, Descriptor, Digest, Document, Manifest, Platform, Raw, RawError};
use oxbox_layers::store::{Layout, ReadError, read_document, read_small};

/// Indexes within indexes; nobody nests more than two.
const MAX_DEPTH: usize = 8;

/// What an image is.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// What it runs on, in the order of the index.
    pub(crate) platforms: Vec<Platform>,
    /// Bytes of all its layers as they are stored, each counted once.
    pub(crate) bytes: u64,
    /// When it was made, RFC 3339, the youngest of several.
    pub(crate) created: Option<String>,
}

/// Why an image cannot be summed up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SummaryError {
    /// A document cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The config is none.
    #[error("config {digest} cannot be understood")]
    Config {
        /// The config.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: RawError,
    },
}

/// Sums up the image that a descriptor names.
pub(crate) fn summarise(layout: &Layout, root: &Descriptor) -> Result<Summary, SummaryError> {
    let mut walk = Walk { layout, layers: HashMap::new(), summary: Summary::default() };
    walk.follow(root, 0)?;
    walk.summary.bytes = walk.layers.values().sum();
    Ok(walk.summary)
}

struct Walk<'a> {
    layout: &'a Layout,
    layers: HashMap<Digest, u64>,
    summary: Summary,
}

impl Walk<'_> {
    fn follow(&mut self, descriptor: &Descriptor, depth: usize) -> Result<(), SummaryError> {
        let document = match read_document(self.layout, descriptor) {
            Ok(document) => document,
            // Of an index, what was not copied; the root itself must be there.
            Err(ReadError::Missing { .. }) if depth > 0 => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match document {
            Document::Index(index) if depth < MAX_DEPTH => index
                .manifests
                .iter()
                .filter(|child| is_image(child))
                .try_for_each(|child| self.follow(child, depth + 1)),
            Document::Index(_) => Ok(()),
            Document::Manifest(manifest) => self.add(&manifest),
        }
    }

    fn add(&mut self, manifest: &Manifest) -> Result<(), SummaryError> {
        self.layers.extend(manifest.layers.iter().map(|layer| (layer.digest, layer.size)));
        if !manifest.is_image() {
            return Ok(());
        }
        let config = read_config(self.layout, &manifest.config)?;
        if !config.os.is_empty() {
            self.summary.platforms.push(config.platform());
        }
        self.summary.created = self.summary.created.take().max(config.created.clone());
        Ok(())
    }
}

fn read_config(layout: &Layout, descriptor: &Descriptor) -> Result<Raw<Config>, SummaryError> {
    let bytes = read_small(layout, descriptor, MAX_DOCUMENT_BYTES as u64)?;
    Raw::parse_with(bytes, descriptor.media_type.clone(), descriptor.digest.algorithm())
        .map_err(|source| SummaryError::Config { digest: descriptor.digest, source })
}

/// Attestations are listed beside the images that they are about, for a platform that there is not.
pub(crate) fn is_image(child: &Descriptor) -> bool {
    child.platform.as_ref().is_none_or(|platform| platform.os != "unknown")
}
