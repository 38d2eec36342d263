//! What the caller says of a build, and what it must be able to give: base images.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use oxbox_layers::oci::{Config, Descriptor, MediaType, Platform, Reference};

use super::graph::Network;
use crate::fetch::FetchError;

/// What the caller says of a build.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Name or number of the stage to build; the last one if absent.
    pub target: Option<String>,
    /// Values for ARGs. A bare `--build-arg NAME` has been looked up already.
    pub build_args: BTreeMap<String, String>,
    /// Labels of the result; they win over those of the file.
    pub labels: BTreeMap<String, String>,
    /// Platform of the result. Absent: `build_platform` is asked for, and the base decides what it is.
    pub platform: Option<Platform>,
    /// Platform of this machine.
    pub build_platform: Platform,
    /// Network of a RUN that does not say which.
    pub network: Network,
    /// Names of the contexts that `COPY --from` may read, besides the main one.
    pub contexts: BTreeSet<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            target: None,
            build_args: BTreeMap::new(),
            labels: BTreeMap::new(),
            platform: None,
            build_platform: Platform::host(),
            network: Network::default(),
            contexts: BTreeSet::new(),
        }
    }
}

impl Options {
    /// Returns the platform that stages are for unless their FROM says otherwise.
    pub fn target_platform(&self) -> &Platform {
        self.platform.as_ref().unwrap_or(&self.build_platform)
    }
}

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
}

/// A base image.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// Its manifest in the local store.
    pub manifest: Descriptor,
    /// Its config.
    pub config: Config,
}

/// Base images in memory, for tests: configs by whole reference.
#[derive(Debug, Clone, Default)]
pub struct MemoryBases {
    /// Configs by reference: `docker.io/library/alpine:latest`.
    pub configs: BTreeMap<String, Config>,
    /// What was asked for, in order.
    pub asked: Vec<(String, Platform)>,
}

impl Bases for MemoryBases {
    fn base(&mut self, reference: &Reference, platform: &Platform) -> Result<Base, FetchError> {
        let name = reference.to_string();
        self.asked.push((name.clone(), platform.clone()));
        let Some(config) = self.configs.get(&name) else {
            let source = Box::new(io::Error::from(io::ErrorKind::NotFound));
            return Err(FetchError::Image { reference: name, source });
        };
        let mut config = config.clone();
        if config.os.is_empty() {
            config.os.clone_from(&platform.os);
            config.architecture.clone_from(&platform.architecture);
            config.variant.clone_from(&platform.variant);
        }
        let manifest = Descriptor::of(MediaType::OCI_MANIFEST, format!("{name} {platform}").as_bytes());
        Ok(Base { manifest, config })
    }
}
