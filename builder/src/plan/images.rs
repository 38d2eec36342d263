//! Base images brought in, each once for each platform.

use std::collections::HashMap;
use std::error::Error as _;
use std::fmt;

use oxbox_layers::oci::{Platform, Reference};

use super::bases::{Base, Bases};
use super::contexts::{LayoutImage, LayoutPick};
use crate::fetch::FetchError;

/// Images brought in so far.
#[derive(Debug, Default)]
pub(super) struct Images {
    pub(super) pulled: Vec<Pulled>,
    known: HashMap<(String, Platform), usize>,
    /// Why those that cannot be had cannot be had: nobody is asked twice.
    failed: HashMap<(String, Platform), String>,
}

/// An image brought in.
#[derive(Debug)]
pub(super) struct Pulled {
    /// What people see.
    pub(super) title: String,
    pub(super) base: Base,
    /// What it runs on.
    pub(super) platform: Platform,
}

/// Which image is wanted.
#[derive(Debug)]
pub(super) enum Image {
    /// One of a registry, or of the local store.
    Named(Reference),
    /// One of an OCI layout.
    OfLayout(LayoutImage),
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(reference) => write!(f, "{reference}"),
            Self::OfLayout(LayoutImage { folder, pick }) => {
                write!(f, "oci-layout://{}", folder.display())?;
                match pick {
                    None => Ok(()),
                    Some(LayoutPick::Name(name)) => write!(f, ":{name}"),
                    Some(LayoutPick::Digest(digest)) => write!(f, "@{digest}"),
                }
            }
        }
    }
}

/// Returns what an error says of its causes.
fn why(error: &FetchError) -> String {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    causes.join(": ")
}

impl Images {
    /// Brings an image in and returns its place.
    pub(super) fn bring(
        &mut self,
        bases: &mut dyn Bases,
        image: Image,
        platform: &Platform,
    ) -> Result<usize, FetchError> {
        let wanted = (image.to_string(), platform.clone());
        if let Some(&known) = self.known.get(&wanted) {
            return Ok(known);
        }
        if let Some(why) = self.failed.get(&wanted) {
            return Err(FetchError::Image { reference: wanted.0, source: why.as_str().into() });
        }
        let base = match &image {
            Image::Named(reference) => bases.base(reference, platform),
            Image::OfLayout(layout) => bases.layout(layout, platform),
        };
        let base = base.inspect_err(|error| {
            self.failed.insert(wanted.clone(), why(error));
        })?;
        let says = base.config.platform();
        let unknown = says.os.is_empty() || says.architecture.is_empty();
        let runs_on = if unknown { platform.clone() } else { says };
        let place = self.pulled.len();
        self.pulled.push(Pulled { title: wanted.0.clone(), base, platform: runs_on.normalised() });
        self.known.insert(wanted, place);
        Ok(place)
    }
}
