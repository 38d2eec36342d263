//! Layers and a config → an image in the store.
//!
//! The image is OCI's whatever the base is, and names the base's layers as they are. The config is the
//! base's with the stage's changes. History and diff_ids always agree: every reader
//! can count.

use std::collections::BTreeMap;
use std::sync::Arc;

use oxbox_layers::image::{Image, ImageError};
use oxbox_layers::layer::Layer;
use oxbox_layers::oci::{Config, Descriptor, History, MediaType, Raw, RootFs};
use oxbox_layers::store::BlobStore;
use serde_json::{Map, Value};

use crate::plan::Plan;
use crate::plan::graph::HistoryLine;
use crate::solve::Solved;

/// How BuildKit marks the lines of history that a Dockerfile made; tools look for it.
const COMMENT: &str = "buildkit.dockerfile.v0";

/// What a build is told about its result.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    /// The manifest in the store.
    pub manifest: Descriptor,
    /// The config, whose digest other tools call the image id.
    pub config: Descriptor,
}

/// Writes the image that a plan ends in.
///
/// `solved` are all vertices of the graph by their places; `epoch` is what `created` says, in seconds
/// since 1970.
pub fn export(
    store: &dyn BlobStore,
    plan: &Plan,
    solved: &[Arc<Solved>],
    epoch: i64,
) -> Result<Exported, ImageError> {
    let stage = &plan.result;
    let layers = solved[stage.vertex.0].layers.to_vec();
    let own = stage.history.iter().filter(|line| has_layer(line, solved)).count();
    let mut history = base_history(&stage.config, layers.len() - own);
    let created = timestamp(epoch);
    for line in &stage.history {
        history.push(History {
            created: Some(created.clone()),
            created_by: Some(line.created_by.clone()),
            comment: Some(COMMENT.to_owned()),
            empty_layer: (!has_layer(line, solved)).then_some(true),
            author: None,
        });
    }
    let config = Config {
        created: Some(created),
        history: Some(history),
        other: true_of_any(&stage.config.other),
        rootfs: RootFs {
            diff_ids: layers.iter().map(|layer: &Layer| layer.diff_id).collect(),
            ..RootFs::default()
        },
        ..stage.config.clone()
    };
    let image = Image::assemble(Raw::write(config, MediaType::OCI_CONFIG), layers, BTreeMap::new())?;
    let manifest = image.write(store)?;
    Ok(Exported { manifest, config: image.config.descriptor() })
}

/// What Docker notes at the top of a config of how it made this very image; not true of one on top.
const NOTES: [&str; 6] = ["container", "container_config", "docker_version", "id", "parent", "throwaway"];

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

    use super::{base_history, timestamp};

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
    fn times_are_whole_seconds_in_utc() {
        assert_eq!(timestamp(315_532_800), "1980-01-01T00:00:00Z");
    }
}
