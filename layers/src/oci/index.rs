//! Indexes: one name for many manifests.
//!
//! image-spec v1.1.1, image-index.md; Docker manifest list

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Descriptor, MediaType, Platform};

/// The view of an index or of a Docker manifest list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// What the document says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// What an artifact is, where it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests, in the author's order.
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Index {
    /// Returns an OCI index of these manifests.
    pub fn of(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MediaType::new(MediaType::OCI_INDEX)),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: None,
        }
    }

    /// Returns the manifest that suits `wanted` best, the earlier one of two that suit equally.
    ///
    /// Entries of platform `unknown/unknown` are attestations and never suit. An index of one entry
    /// without a platform suits everybody: old layouts hold such.
    pub fn select(&self, wanted: &Platform) -> Option<&Descriptor> {
        let mut best: Option<(u32, &Descriptor)> = None;
        for descriptor in &self.manifests {
            let Some(platform) = &descriptor.platform else { continue };
            if let Some(distance) = wanted.distance(platform)
                && best.is_none_or(|(least, _)| distance < least)
            {
                best = Some((distance, descriptor));
            }
        }
        match (best, self.manifests.as_slice()) {
            (Some((_, descriptor)), _) => Some(descriptor),
            (None, [only]) if only.platform.is_none() => Some(only),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Index;
    use crate::oci::{Descriptor, MediaType};

    fn entry(platform: &str, content: &[u8]) -> Descriptor {
        let mut descriptor = Descriptor::of(MediaType::OCI_MANIFEST, content);
        descriptor.platform = Some(platform.parse().unwrap());
        descriptor
    }

    #[test]
    fn the_nearest_variant_is_selected() {
        let index = Index::of(vec![
            entry("linux/arm/v5", b"5"),
            entry("linux/arm/v6", b"6"),
            entry("linux/amd64", b"a"),
        ]);
        let selected = index.select(&"linux/arm/v7".parse().unwrap()).unwrap();
        assert_eq!(*selected, index.manifests[1]);
    }

    #[test]
    fn an_attestation_is_never_selected() {
        let index = Index::of(vec![entry("unknown/unknown", b"attestation")]);
        assert_eq!(index.select(&"linux/amd64".parse().unwrap()), None);
    }

    #[test]
    fn a_single_entry_without_platform_suits_everybody() {
        let index = Index::of(vec![Descriptor::of(MediaType::OCI_MANIFEST, b"m")]);
        assert!(index.select(&"linux/s390x".parse().unwrap()).is_some());
    }
}
