//! What a document names: the edges that copying, sweeping and validating all walk.

use super::{Descriptor, Document};

/// What the named blob is to the document that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The config of a manifest.
    Config,
    /// A layer of a manifest, or an artifact's blob.
    Layer,
    /// A manifest or index within an index.
    Child,
}

/// Returns what a document names, in its order: config first, then layers, or the children.
///
/// The subject is not among them: it is what the document hangs on, not a part of it.
pub fn successors(document: &Document) -> Vec<(Role, &Descriptor)> {
    match document {
        Document::Index(index) => index.manifests.iter().map(|child| (Role::Child, child)).collect(),
        Document::Manifest(manifest) => {
            let layers = manifest.layers.iter().map(|layer| (Role::Layer, layer));
            std::iter::once((Role::Config, &manifest.config)).chain(layers).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Role, successors};
    use crate::oci::{Descriptor, Document, Manifest, MediaType, Raw};

    #[test]
    fn a_manifest_names_its_config_before_its_layers() {
        let config = Descriptor::of(MediaType::OCI_CONFIG, b"{}");
        let layer = Descriptor::of(MediaType::OCI_LAYER, b"layer");
        let manifest = Manifest::of_image(config.clone(), vec![layer.clone()]);
        let document = Document::Manifest(Raw::write(manifest, MediaType::OCI_MANIFEST));
        assert_eq!(successors(&document), vec![(Role::Config, &config), (Role::Layer, &layer)]);
    }
}
