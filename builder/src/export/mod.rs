//! Layers and a config → an image in the store, in one or several forms; of several platforms, an index.
//!
//! ```text
//! solved layers ─relayer▶ squashed, compressed ─┬─▶ config, manifest ─▶ store
//!                  form ────────────────────────┘
//! solved layers ─files▶ a folder or a plain tar
//! ```
//!
//! The image is OCI's unless told otherwise, whatever the base is, and names the base's layers as they
//! are. The config is the base's with the stage's changes. History and diff_ids always agree: every
//! reader can count.

pub mod files;
pub mod form;
mod relayer;

use std::io::{self, Write as _};
use std::sync::Arc;

use oxbox_layers::image::{Image, ImageError};
use oxbox_layers::layer::{Family, LayerError};
use oxbox_layers::oci::{Config, Descriptor, DiffId, History, Index, MediaType, Platform, Raw, RootFs};
use oxbox_layers::stack::ContentError;
use oxbox_layers::store::{Committed, StoreError};
use serde_json::{Map, Value};

use crate::depot::{Gift, INLINE, Inline, inline};
use crate::plan::graph::HistoryLine;
use crate::plan::{Plan, ResultForm, StageResult};
use crate::solve::{Answered, CacheError, IndexesError, SolveError, Solved, Workshop};
use form::{Annotated, Form, Squash, Telling};
use relayer::Layers;
pub(crate) use relayer::recompress;

/// How BuildKit marks the lines of history that a Dockerfile made; tools look for it.
const COMMENT: &str = "buildkit.dockerfile.v0";

/// What a build is told about its result.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    /// The manifest in the store, or the index.
    pub manifest: Descriptor,
    /// The config, whose digest other tools call the image id; of several the first.
    pub config: Descriptor,
    /// The manifest for each platform, in the order of the plan.
    pub images: Vec<Descriptor>,
}

/// Why an image cannot be written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant carries its own room's error")]
pub enum ExportError {
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("cannot pack the cache mount {id}")]
    CacheMount { id: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("cannot read the files of the result")]
    Content { source: ContentError },
    #[error(transparent)]
    Files(#[from] files::FilesError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Indexes(#[from] IndexesError),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error("cannot pack what is in layer {layer}")]
    Listing { layer: DiffId, source: io::Error },
    #[error(transparent)]
    Mounts(#[from] crate::mounts::MountsError),
    #[error(transparent)]
    Solve(#[from] Box<SolveError>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes what a plan ends in, in one form: an image, or an index of one for each platform.
///
/// `created` is what the image says of when it was made, in seconds since 1970.
pub fn export(
    workshop: &Workshop<'_>,
    plan: &Plan,
    answered: &Answered,
    created: i64,
    form: &Form,
) -> Result<Exported, ExportError> {
    let mut images = Vec::new();
    let mut config = None;
    let gift = Gift { workshop, graph: &plan.graph, conclusions: &answered.conclusions };
    for stage in &plan.results {
        let (manifest, of) = image(gift, stage, &answered.solved, (created, form))?;
        images.push(manifest);
        config.get_or_insert(of);
    }
    let first = images.first().cloned().zip(config);
    let (only, config) = first.expect("because a plan has a result for at least one platform");
    let manifest = match plan.form {
        ResultForm::Image => only,
        ResultForm::Index => index(workshop, &images, form)?,
    };
    Ok(Exported { manifest, config, images })
}

/// Writes the index of images that are there.
fn index(workshop: &Workshop<'_>, images: &[Descriptor], form: &Form) -> Result<Descriptor, ExportError> {
    let media_type = match form.family {
        Family::Oci => MediaType::OCI_INDEX,
        Family::Docker => MediaType::DOCKER_LIST,
    };
    let host = Platform::host();
    let annotations = form.annotations(Annotated::Index, &host);
    let index = Index {
        media_type: Some(MediaType::new(media_type)),
        annotations: (!annotations.is_empty()).then_some(annotations),
        ..Index::of(images.to_vec())
    };
    let index = Raw::write(index, media_type);
    let digest = index.digest();
    let mut writer = workshop.store.writer(digest.algorithm())?;
    writer.write_all(index.bytes()).map_err(|source| ImageError::Write { digest, source })?;
    writer.commit_as(&Committed { digest, size: index.size() })?;
    let mut descriptor = index.descriptor();
    let annotations = form.annotations(Annotated::IndexDescriptor, &host);
    descriptor.annotations = (!annotations.is_empty()).then_some(annotations);
    Ok(descriptor)
}

/// Writes the image that a stage is, and returns its manifest and its config.
fn image(
    gift: Gift<'_>,
    stage: &StageResult,
    solved: &[Arc<Solved>],
    (created, form): (i64, &Form),
) -> Result<(Descriptor, Descriptor), ExportError> {
    let workshop = gift.workshop;
    let all = solved[stage.vertex.0].layers().to_vec();
    let own = stage.history.iter().filter(|line| has_layer(line, solved)).count();
    let base = all.len() - own;
    let mut history = base_history(&stage.config, base);
    let created = timestamp(created);
    for line in &stage.history {
        history.push(History {
            created: Some(created.clone()),
            created_by: Some(line.created_by.clone()),
            comment: Some(COMMENT.to_owned()),
            empty_layer: (!has_layer(line, solved)).then_some(true),
            author: None,
        });
    }
    let layers = relayer::relayer(workshop, Layers { all, base }, form)?.all;
    match form.squash {
        Squash::None => {}
        Squash::New => squash_history(&mut history, base, layers.len() - base),
        Squash::All => squash_history(&mut history, 0, layers.len()),
    }
    let mut other = true_of_any(&stage.config.other);
    if form.inline == Inline::Yes {
        other.insert(INLINE.to_owned(), inline(gift, stage.vertex, &layers, form.compression)?);
    }
    let config = Config {
        created: Some(created),
        history: (form.history == Telling::Full).then_some(history),
        other,
        rootfs: RootFs { diff_ids: layers.iter().map(|layer| layer.diff_id).collect(), ..RootFs::default() },
        ..stage.config.clone()
    };
    let platform = config.platform();
    let config_type = match form.family {
        Family::Oci => MediaType::OCI_CONFIG,
        Family::Docker => MediaType::DOCKER_CONFIG,
    };
    let annotations = form.annotations(Annotated::Manifest, &platform);
    let image = Image::assemble(Raw::write(config, config_type), layers, annotations)?;
    let mut manifest = image.write(&*workshop.store)?;
    let annotations = form.annotations(Annotated::ManifestDescriptor, &platform);
    manifest.annotations = (!annotations.is_empty()).then_some(annotations);
    Ok((manifest, image.config.descriptor()))
}

/// Makes the history tell of `layers` layers, none or one, above the first `kept` ones: the line that
/// told of the last of them keeps it.
fn squash_history(history: &mut [History], kept: usize, layers: usize) {
    let has_layer = |line: &History| line.empty_layer != Some(true);
    let squashed: Vec<usize> = (0..history.len()).filter(|&at| has_layer(&history[at])).skip(kept).collect();
    let (gone, _) = squashed.split_at(squashed.len() - layers.min(squashed.len()));
    for &at in gone {
        history[at].empty_layer = Some(true);
    }
}

/// What Docker, BuildKit and oxbox note at the top of a config of how they made this very image; not true
/// of one on top.
const NOTES: [&str; 8] = [
    "container",
    "container_config",
    "docker_version",
    "id",
    "moby.buildkit.cache.v0",
    INLINE,
    "parent",
    "throwaway",
];

/// Returns the base's fields that nobody here knows, as every edit keeps them, without Docker's notes.
fn true_of_any(other: &Map<String, Value>) -> Map<String, Value> {
    let is_note = |name: &String| NOTES.contains(&name.as_str());
    other
        .iter()
        .filter(|(name, _)| !is_note(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Whether a line of history stands for a layer: a step that changed nothing made none.
fn has_layer(line: &HistoryLine, solved: &[Arc<Solved>]) -> bool {
    line.vertex.is_some_and(|vertex| solved[vertex.0].has_own_layer)
}

/// The base's history if it speaks of all its layers; else what it has and a line for each of the rest.
fn base_history(config: &Config, base_layers: usize) -> Vec<History> {
    let mut history = config.history.clone().unwrap_or_default();
    let mut told = config.history_layers().unwrap_or(0);
    if told > base_layers {
        history.clear();
        told = 0;
    }
    let unknown = History { comment: Some("layer of the base image".to_owned()), ..History::default() };
    history.extend(std::iter::repeat_n(unknown, base_layers - told));
    history
}

/// RFC 3339 in UTC, whole seconds.
fn timestamp(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use oxbox_layers::oci::{Config, History};

    use super::{base_history, squash_history, timestamp};

    fn line(text: &str) -> History {
        History { created_by: Some(text.to_owned()), ..History::default() }
    }

    #[test]
    fn a_base_without_history_gets_a_line_for_each_layer() {
        assert_eq!(base_history(&Config::default(), 2).len(), 2);
    }

    #[test]
    fn a_whole_history_stays_as_it_is() {
        let history = vec![line("a"), History { empty_layer: Some(true), ..line("b") }];
        let config = Config { history: Some(history.clone()), ..Config::default() };
        assert_eq!(base_history(&config, 1), history);
    }

    #[test]
    fn a_history_that_speaks_of_more_layers_than_there_are_is_dropped() {
        let config = Config { history: Some(vec![line("a"), line("b")]), ..Config::default() };
        let history = base_history(&config, 1);
        assert_eq!((history.len(), history[0].created_by.as_deref()), (1, None));
    }

    #[test]
    fn of_squashed_layers_the_last_line_tells() {
        let empty = |text: &str| History { empty_layer: Some(true), ..line(text) };
        let mut history = vec![line("base"), line("a"), empty("env"), line("b"), empty("cmd")];
        squash_history(&mut history, 1, 1);
        assert_eq!(history, [line("base"), empty("a"), empty("env"), line("b"), empty("cmd")]);
        squash_history(&mut history, 1, 0);
        assert_eq!(history[3], empty("b"));
    }

    #[test]
    fn times_are_whole_seconds_in_utc() {
        assert_eq!(timestamp(315_532_800), "1980-01-01T00:00:00Z");
    }
}
