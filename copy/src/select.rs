//! Which platforms of an index are copied.
//!
//! ```text
//! All              the root as it is: no digest changes
//! one platform     the manifest that suits it, which becomes the root
//! several, Strip   an index of those manifests and their attestations: complete, another digest
//! several, Sparse  the same index, digest and signatures intact, with children that are not there
//! ```
//!
//! image-spec v1.1.1, image-index.md

use std::collections::HashSet;

use oxbox_layers::oci::{Config, Descriptor, Digest, Document, Index, Platform, Raw, RawError, annotation};

use crate::endpoint::{EndpointError, Source, Takes};
use crate::plan::{PlanError, fetch_config, fetch_document};

/// The platforms that a user asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Selection {
    /// Everything.
    #[default]
    All,
    /// The one manifest that suits; a root that is a manifest must suit too.
    One(Platform),
    /// Several, in the index's own order.
    Several(Vec<Platform>, Subset),
}

/// What becomes of an index of which only some manifests are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subset {
    /// It is written anew with only those.
    Strip,
    /// It stays as it is; many registries refuse that.
    Sparse,
}

/// The root to copy, and which of its children.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) root: Document,
    /// `None` is all of them.
    pub(crate) children: Option<HashSet<Digest>>,
}

/// Why a selection cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// No manifest suits.
    #[error("no manifest for platform {wanted} (there is {})", list(.offered))]
    NoPlatform {
        /// What was asked for.
        wanted: Platform,
        /// What there is.
        offered: Vec<Platform>,
    },
    /// Several platforms were asked for and the image has one.
    #[error("{count} platforms were asked for, but the image is a single manifest")]
    NotAnIndex {
        /// How many were asked for.
        count: usize,
    },
    /// The destination holds one image.
    #[error("the destination holds one platform, and {count} were asked for")]
    OneOnly {
        /// How many were asked for.
        count: usize,
    },
    /// The destination holds images only.
    #[error("the destination holds images only, and this is {artifact_type:?}")]
    NotAnImage {
        /// What it is, cut.
        artifact_type: String,
    },
    /// The root cannot be written anew.
    #[error("cannot write an index of fewer platforms")]
    Edit {
        /// Why not.
        #[source]
        source: RawError,
    },
    /// The documents on the way could not be read.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The config could not be read.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// Links an attestation manifest to the manifest that it is about (BuildKit's convention).
const ATTESTATION_OF: &str = "vnd.docker.reference.digest";

/// Most indexes within each other on the way to one manifest: nobody nests more than two.
const MAX_NESTED: usize = 8;

pub(crate) async fn select<S: Source>(
    source: &S,
    root: Document,
    selection: &Selection,
    takes: Takes,
) -> Result<Selected, SelectError> {
    let selected = match (selection, takes) {
        (Selection::All, Takes::Anything | Takes::InOrder) => Selected { root, children: None },
        // Nobody asked for a platform, so a lone manifest is right whatever its own is.
        (Selection::All, Takes::OneImage) => {
            Selected { root: descend(source, root, &Platform::host()).await?, children: None }
        }
        (Selection::One(platform), _) => {
            let root = descend(source, root, platform).await?;
            check_config(source, &root, platform).await?;
            Selected { root, children: None }
        }
        (Selection::Several(wanted, _), Takes::OneImage) => {
            return Err(SelectError::OneOnly { count: wanted.len() });
        }
        (Selection::Several(wanted, subset), _) => match root {
            Document::Manifest(_) => return Err(SelectError::NotAnIndex { count: wanted.len() }),
            Document::Index(index) => several(index, wanted, *subset)?,
        },
    };
    match &selected.root {
        Document::Manifest(manifest) if takes == Takes::OneImage && !manifest.is_image() => {
            let artifact_type = manifest.effective_artifact_type().chars().take(160).collect();
            Err(SelectError::NotAnImage { artifact_type })
        }
        _ => Ok(selected),
    }
}

async fn descend<S: Source>(source: &S, root: Document, wanted: &Platform) -> Result<Document, SelectError> {
    let mut document = root;
    for _ in 0..MAX_NESTED {
        let Document::Index(index) = &document else { return Ok(document) };
        let child =
            index.select(wanted).or_else(|| nested(index)).ok_or_else(|| no_platform(wanted, index))?;
        document = fetch_document(source, child).await?;
    }
    Err(PlanError::TooDeep { limit: MAX_NESTED }.into())
}

/// An index of one index without a platform is a wrapper: the choice is within.
fn nested(index: &Index) -> Option<&Descriptor> {
    match index.manifests.as_slice() {
        [only] if only.platform.is_none() => Some(only),
        _ => None,
    }
}

/// An image that came without an index says in its config what it runs on.
async fn check_config<S: Source>(source: &S, root: &Document, wanted: &Platform) -> Result<(), SelectError> {
    let Document::Manifest(manifest) = root else { return Ok(()) };
    if !manifest.is_image() {
        return Ok(());
    }
    let config: Raw<Config> = fetch_config(source, manifest).await?;
    let offered = config.platform();
    // A config that names no platform at all is older than the fields.
    if offered.os.is_empty() || wanted.distance(&offered).is_some() {
        return Ok(());
    }
    Err(SelectError::NoPlatform { wanted: wanted.clone(), offered: vec![offered] })
}

fn several(index: Raw<Index>, wanted: &[Platform], subset: Subset) -> Result<Selected, SelectError> {
    let mut children = HashSet::new();
    for platform in wanted {
        let child = index.select(platform).ok_or_else(|| no_platform(platform, &index))?;
        children.insert(child.digest);
    }
    let attests = |descriptor: &&Descriptor| {
        let about = descriptor.annotation(ATTESTATION_OF).and_then(|digest| digest.parse().ok());
        descriptor.annotation(annotation::DOCKER_REFERENCE_TYPE).is_some()
            && about.is_some_and(|digest: Digest| children.contains(&digest))
    };
    let attestations: Vec<Digest> =
        index.manifests.iter().filter(attests).map(|descriptor| descriptor.digest).collect();
    children.extend(attestations);
    let root = match subset {
        Subset::Sparse => index,
        Subset::Strip => strip(&index, &children).map_err(|source| SelectError::Edit { source })?,
    };
    Ok(Selected { root: Document::Index(root), children: Some(children) })
}

fn strip(index: &Raw<Index>, children: &HashSet<Digest>) -> Result<Raw<Index>, RawError> {
    if index.manifests.iter().all(|child| children.contains(&child.digest)) {
        return Ok(index.clone());
    }
    index.edit(|value| {
        let Some(manifests) = value["manifests"].as_array_mut() else { return };
        let mut descriptors = index.manifests.iter();
        manifests.retain(|_| descriptors.next().is_some_and(|child| children.contains(&child.digest)));
    })
}

fn no_platform(wanted: &Platform, index: &Index) -> SelectError {
    let offered = index.manifests.iter().filter_map(|child| child.platform.clone());
    SelectError::NoPlatform { wanted: wanted.clone(), offered: offered.collect() }
}

fn list(platforms: &[Platform]) -> String {
    /// More than this on an error line helps nobody.
    const SHOWN: usize = 12;
    match platforms {
        [] => "none that is named".to_owned(),
        platforms => {
            let names: Vec<String> = platforms.iter().take(SHOWN).map(Platform::to_string).collect();
            let more = if platforms.len() > SHOWN { ", …" } else { "" };
            format!("{}{more}", names.join(", "))
        }
    }
}
