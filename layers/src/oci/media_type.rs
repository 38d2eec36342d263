//! Media types: what a blob claims to be.
//!
//! OCI and Docker name the same things differently; [`Kind`] says what a type means to us. Unknown
//! types are kept as they are: a registry of artifacts must not care.
//!
//! image-spec v1.1.1, media-types.md; Docker image manifest version 2, schema 2

use std::fmt;

use serde::{Deserialize, Serialize};

/// A media type without parameters, exactly as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaType(String);

/// How a layer's tar is compressed, as its media type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compressed {
    /// Plain tar.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// What a media type means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An OCI manifest or a Docker schema 2 manifest.
    Manifest,
    /// An OCI index or a Docker manifest list.
    Index,
    /// Docker schema 1, which is recognised in order to be refused by name.
    Schema1,
    /// An image config.
    Config,
    /// A filesystem layer.
    Layer(Compressed),
    /// Anything else.
    Other,
}

impl MediaType {
    /// `application/vnd.oci.image.manifest.v1+json`
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// `application/vnd.oci.image.index.v1+json`
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// `application/vnd.oci.image.config.v1+json`
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// `application/vnd.oci.image.layer.v1.tar`
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// `application/vnd.oci.image.layer.v1.tar+gzip`
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// `application/vnd.oci.image.layer.v1.tar+zstd`
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// `application/vnd.oci.empty.v1+json`
    pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
    /// Docker's manifest, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's image config.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker's uncompressed layer.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    /// Docker's gzip layer.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// Docker's zstd layer, which some builders write.
    pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
    /// Docker's layer that lives at its `urls`.
    pub const DOCKER_FOREIGN_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    /// Docker's manifest, schema 1, signed.
    pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    /// Docker's manifest, schema 1.
    pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";

    /// Takes a type as it stands in a document or a header; parameters after `;` are cut off.
    pub fn new(text: impl Into<String>) -> Self {
        let mut text: String = text.into();
        if let Some(end) = text.find(';') {
            text.truncate(end);
        }
        let trimmed = text.trim();
        Self(if trimmed.len() == text.len() { text } else { trimmed.to_owned() })
    }

    /// Returns the type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns what the type means. Case is ignored, as RFC 6838 asks.
    pub fn kind(&self) -> Kind {
        const NONDISTRIBUTABLE: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
        let lower = self.0.to_ascii_lowercase();
        match lower.as_str() {
            Self::OCI_MANIFEST | Self::DOCKER_MANIFEST => Kind::Manifest,
            Self::OCI_INDEX | Self::DOCKER_LIST => Kind::Index,
            Self::DOCKER_SCHEMA1 | Self::DOCKER_SCHEMA1_SIGNED => Kind::Schema1,
            Self::OCI_CONFIG | Self::DOCKER_CONFIG => Kind::Config,
            Self::OCI_LAYER | Self::DOCKER_LAYER => Kind::Layer(Compressed::None),
            Self::OCI_LAYER_GZIP | Self::DOCKER_LAYER_GZIP | Self::DOCKER_FOREIGN_LAYER_GZIP => {
                Kind::Layer(Compressed::Gzip)
            }
            Self::OCI_LAYER_ZSTD | Self::DOCKER_LAYER_ZSTD => Kind::Layer(Compressed::Zstd),
            other => match other.strip_prefix(NONDISTRIBUTABLE) {
                Some("") => Kind::Layer(Compressed::None),
                Some("+gzip") => Kind::Layer(Compressed::Gzip),
                Some("+zstd") => Kind::Layer(Compressed::Zstd),
                _ => Kind::Other,
            },
        }
    }

    /// Whether the layer may be missing from a registry and live at its `urls` instead.
    pub fn is_nondistributable(&self) -> bool {
        self.0.contains(".nondistributable.") || self.0.contains(".foreign.")
    }

    /// Whether the type is of Docker's family rather than OCI's.
    pub fn is_docker(&self) -> bool {
        self.0.starts_with("application/vnd.docker.")
    }

    /// Returns the OCI type of a layer that is compressed so.
    pub fn oci_layer(compressed: Compressed) -> Self {
        Self::new(match compressed {
            Compressed::None => Self::OCI_LAYER,
            Compressed::Gzip => Self::OCI_LAYER_GZIP,
            Compressed::Zstd => Self::OCI_LAYER_ZSTD,
        })
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for MediaType {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl PartialEq<str> for MediaType {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for MediaType {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

#[cfg(test)]
mod tests {
    use super::{Compressed, Kind, MediaType};

    #[test]
    fn parameters_and_blanks_are_cut_off() {
        let media_type = MediaType::new(" application/vnd.oci.image.index.v1+json ; charset=utf-8");
        assert_eq!(media_type, MediaType::OCI_INDEX);
        assert_eq!(media_type.kind(), Kind::Index);
    }

    #[test]
    fn docker_and_oci_names_mean_the_same_kinds() {
        for (docker, oci) in [
            (MediaType::DOCKER_MANIFEST, MediaType::OCI_MANIFEST),
            (MediaType::DOCKER_LIST, MediaType::OCI_INDEX),
            (MediaType::DOCKER_CONFIG, MediaType::OCI_CONFIG),
            (MediaType::DOCKER_LAYER_GZIP, MediaType::OCI_LAYER_GZIP),
        ] {
            assert_eq!(MediaType::from(docker).kind(), MediaType::from(oci).kind());
        }
    }

    #[test]
    fn a_nondistributable_layer_is_a_layer_of_its_compression() {
        let media_type = MediaType::new("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd");
        assert_eq!(media_type.kind(), Kind::Layer(Compressed::Zstd));
        assert!(media_type.is_nondistributable());
    }

    #[test]
    fn an_unknown_type_is_kept_and_means_nothing() {
        let media_type = MediaType::new("application/vnd.example.thing+json");
        assert_eq!(media_type.kind(), Kind::Other);
        assert_eq!(media_type.as_str(), "application/vnd.example.thing+json");
    }
}
