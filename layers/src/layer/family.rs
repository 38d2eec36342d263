//! The two families of media types: a manifest and its layers belong to one of them.

use crate::oci::{Compressed, MediaType};

/// Whose media types a manifest and its layers go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// The OCI image spec's.
    Oci,
    /// Docker's, manifest version 2, schema 2.
    Docker,
}

impl Family {
    /// Returns the family of a type; what is not Docker's counts as OCI's.
    pub fn of(media_type: &MediaType) -> Self {
        if media_type.is_docker() { Self::Docker } else { Self::Oci }
    }

    /// Returns the type of a layer that is compressed so.
    pub fn layer(self, format: Compressed) -> MediaType {
        match (self, format) {
            (Self::Oci, format) => MediaType::oci_layer(format),
            (Self::Docker, Compressed::None) => MediaType::DOCKER_LAYER.into(),
            (Self::Docker, Compressed::Gzip) => MediaType::DOCKER_LAYER_GZIP.into(),
            (Self::Docker, Compressed::Zstd) => MediaType::DOCKER_LAYER_ZSTD.into(),
        }
    }

    /// Returns the type of a manifest.
    pub fn manifest(self) -> MediaType {
        match self {
            Self::Oci => MediaType::OCI_MANIFEST.into(),
            Self::Docker => MediaType::DOCKER_MANIFEST.into(),
        }
    }
}
