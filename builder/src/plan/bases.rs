//! Where base images come from.

use std::collections::BTreeMap;
use std::io;

use oxbox_layers::oci::{Config, Descriptor, MediaType, Platform, Reference};

use super::contexts::LayoutImage;
use crate::fetch::FetchError;

/// Where base images come from.
pub trait Bases {
    /// Brings an image into the local store, the variant for `platform` if it has several.
    ///
    /// Called once for each pair of a build, and never for an image that the target does not need.
    ///
    /// # Errors
    ///
    /// [`FetchError::Image`] if there is none.
    fn base(&mut self, reference: &Reference, platform: &Platform) -> Result<Base, FetchError>;

    /// Brings an image of an OCI layout into the local store, as [`base`](Self::base) does.
    ///
    /// # Errors
    ///
    /// [`FetchError::Layout`] if there is none.
    fn layout(&mut self, image: &LayoutImage, platform: &Platform) -> Result<Base, FetchError>;
}

/// A base image.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// Its manifest in the local store.
    pub manifest: Descriptor,
    /// Its config.
    pub config: Config,
}

/// Base images in memory, for tests: configs by whole reference, or by the folder of a layout.
#[derive(Debug, Clone, Default)]
pub struct MemoryBases {
    /// Configs by reference: `docker.io/library/alpine:latest`.
    pub configs: BTreeMap<String, Config>,
    /// What was asked for, in order.
    pub asked: Vec<(String, Platform)>,
}

impl MemoryBases {
    fn get(&mut self, name: &str, platform: &Platform) -> Option<Base> {
        self.asked.push((name.to_owned(), platform.clone()));
        let mut config = self.configs.get(name)?.clone();
        if config.os.is_empty() {
            config.os.clone_from(&platform.os);
            config.architecture.clone_from(&platform.architecture);
            config.variant.clone_from(&platform.variant);
        }
        let manifest = Descriptor::of(MediaType::OCI_MANIFEST, format!("{name} {platform}").as_bytes());
        Some(Base { manifest, config })
    }
}

impl Bases for MemoryBases {
    fn base(&mut self, reference: &Reference, platform: &Platform) -> Result<Base, FetchError> {
        let name = reference.to_string();
        let missing = || Box::new(io::Error::from(io::ErrorKind::NotFound));
        self.get(&name, platform).ok_or_else(|| FetchError::Image { reference: name, source: missing() })
    }

    fn layout(&mut self, image: &LayoutImage, platform: &Platform) -> Result<Base, FetchError> {
        let name = image.folder.display().to_string();
        let missing = || Box::new(io::Error::from(io::ErrorKind::NotFound));
        let found = self.get(&name, platform);
        found.ok_or_else(|| FetchError::Layout { folder: image.folder.clone(), source: missing() })
    }
}
