//! What the page knows of a build. Other tools may read it too: docs/formats.md.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use oxbox_layers::layer::Layer;
use oxbox_layers::oci::{Config, DiffId, Digest};
use oxbox_layers::tar::Kind as EntryKind;
use serde::Serialize;
use serde_json::Value;

use super::super::timeline::{Bar, Work, bars, critical};
use super::super::trace::{category, word, writer};
use super::super::{Account, Ending};
use crate::output::clean;
use crate::progress::record::{Step as Recorded, Verdict};
use crate::progress::tail::Tail;

/// Changes whenever a reader of the one before would misunderstand it.
const VERSION: u32 = 1;

/// A build. Times are milliseconds since it began.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Data {
    version: u32,
    writer: String,
    subject: String,
    names: Vec<String>,
    started: Timestamp,
    total: f64,
    outcome: &'static str,
    error: Option<String>,
    steps: Vec<Step>,
    transfers: Vec<Transfer>,
    warnings: Vec<String>,
    image: Option<Picture>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    /// From 1, as progress counts them.
    number: usize,
    title: String,
    line: Option<usize>,
    kind: &'static str,
    inputs: Vec<usize>,
    verdict: &'static str,
    /// Whether the whole build waited for it.
    critical: bool,
    lane: Option<usize>,
    begin: Option<f64>,
    /// When the cache turned out not to have it.
    make: Option<f64>,
    end: Option<f64>,
    layer: Option<StepLayer>,
    /// Why the cache did not have it, where that is known: plain text, perhaps of several lines.
    why: Option<String>,
    error: Option<String>,
    output: Output,
}

#[derive(Debug, Serialize)]
struct Output {
    /// Lines that stood before those that are here.
    dropped: usize,
    lines: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    /// Since the step began.
    after: f64,
    text: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StepLayer {
    digest: Digest,
    diff_id: DiffId,
    media_type: String,
    /// Bytes as it is stored.
    size: u64,
    /// What is in it, if that is known.
    content: Option<Content>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Content {
    entries: u64,
    /// Bytes of its files.
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Transfer {
    title: String,
    lane: Option<usize>,
    begin: f64,
    end: Option<f64>,
    done: bool,
    blobs: usize,
    bytes: u64,
    moved: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Picture {
    digest: Digest,
    config_digest: Digest,
    platform: String,
    created: Option<String>,
    layers: Vec<PictureLayer>,
    /// The config's `config`: what a container of it runs.
    config: Value,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PictureLayer {
    #[serde(flatten)]
    layer: StepLayer,
    created_by: Option<String>,
    /// The step that made it; none is the base's.
    step: Option<usize>,
}

/// What is known of layers' contents, each read once.
type Contents = BTreeMap<DiffId, Content>;

/// Returns what is known of a build.
pub(super) fn of(account: &Account<'_>) -> Data {
    let contents = contents(account);
    let record = account.record;
    let bars = bars(record, account.total);
    let lane =
        |of: &dyn Fn(&Work<'_>) -> bool| bars.iter().find(|bar| of(&bar.work)).map(|bar: &Bar<'_>| bar.lane);
    let critical = critical(&record.steps);
    let steps = record.steps.iter().enumerate().map(|(place, step)| Step {
        critical: critical.contains(&place),
        lane: lane(&|work| matches!(work, Work::Step { at, .. } if *at == place)),
        ..self::step(&contents, place, step)
    });
    let transfers = record.transfers.iter().map(|moved| Transfer {
        title: moved.title.clone(),
        lane: lane(&|work| matches!(work, Work::Transfer(other) if std::ptr::eq(*other, moved))),
        begin: milliseconds(moved.began),
        end: moved.ended.map(milliseconds),
        done: moved.is_done,
        blobs: moved.planned.0,
        bytes: moved.planned.1,
        moved: moved.bytes,
    });
    Data {
        version: VERSION,
        writer: writer(),
        subject: account.subject.name.clone(),
        names: account.subject.names.clone(),
        started: record.at,
        total: milliseconds(account.total),
        outcome: account.ending.word(),
        error: account.ending.error(),
        steps: steps.collect(),
        transfers: transfers.collect(),
        warnings: record.warnings.clone(),
        image: picture(account, &contents),
    }
}

fn step(contents: &Contents, at: usize, step: &Recorded) -> Step {
    let error = match &step.ended {
        Some((_, Verdict::Failed { error })) => Some(error.clone()),
        _ => None,
    };
    Step {
        number: at + 1,
        title: step.title.clone(),
        line: Some(step.line).filter(|line| *line > 0),
        kind: category(step.kind),
        inputs: step.inputs.iter().map(|input| input + 1).collect(),
        verdict: word(step),
        critical: false,
        lane: None,
        begin: step.looked.map(milliseconds),
        make: step.started.map(milliseconds),
        end: step.ended.as_ref().map(|(end, _)| milliseconds(*end)),
        layer: step.layer.as_ref().map(|layer| of_layer(contents, layer)),
        why: step.why.clone(),
        error,
        output: output(&step.tail),
    }
}

fn output(tail: &Tail) -> Output {
    let lines = tail.lines().map(|line| Line { after: milliseconds(line.after), text: line.text.clone() });
    Output { dropped: tail.dropped, lines: lines.collect() }
}

fn of_layer(contents: &Contents, layer: &Layer) -> StepLayer {
    StepLayer {
        digest: layer.descriptor.digest,
        diff_id: layer.diff_id,
        media_type: layer.descriptor.media_type.as_str().to_owned(),
        size: layer.descriptor.size,
        content: contents.get(&layer.diff_id).copied(),
    }
}

/// Returns what is in layers that somebody has read before: a report reads no tars.
fn contents(account: &Account<'_>) -> Contents {
    let made = account.record.steps.iter().filter_map(|step| step.layer.as_ref());
    let layers = made.chain(account.image.iter().flat_map(|image| &image.layers));
    let mut contents = Contents::new();
    for layer in layers {
        if !contents.contains_key(&layer.diff_id)
            && let Some(content) = content(account, layer.diff_id)
        {
            contents.insert(layer.diff_id, content);
        }
    }
    contents
}

fn content(account: &Account<'_>, diff_id: DiffId) -> Option<Content> {
    let index = account.indexes.as_ref()?.load(diff_id).ok()??;
    let mut content = Content { entries: 0, bytes: 0 };
    for indexed in index.iter() {
        content.entries += 1;
        if let EntryKind::File { size } = indexed.entry.kind {
            content.bytes += size;
        }
    }
    Some(content)
}

fn picture(account: &Account<'_>, contents: &Contents) -> Option<Picture> {
    let (image, Ending::Built(Some(exported))) = (account.image.as_ref()?, account.ending) else {
        return None;
    };
    let config = image.config.view();
    // Two steps may make the same layer; either is right.
    let made: BTreeMap<Digest, usize> = account
        .record
        .steps
        .iter()
        .enumerate()
        .filter_map(|(at, step)| Some((step.layer.as_ref()?.descriptor.digest, at + 1)))
        .collect();
    let history = created_by(config);
    let layers = image.layers.iter().enumerate().map(|(at, layer)| PictureLayer {
        layer: of_layer(contents, layer),
        created_by: history.get(at).cloned().flatten(),
        step: made.get(&layer.descriptor.digest).copied(),
    });
    Some(Picture {
        digest: exported.manifest.digest,
        config_digest: exported.config.digest,
        platform: config.platform().to_string(),
        created: config.created.clone(),
        layers: layers.collect(),
        config: serde_json::to_value(&config.config).unwrap_or_default(),
    })
}

/// What the history says of each layer; it says nothing if it does not speak of all.
fn created_by(config: &Config) -> Vec<Option<String>> {
    let history = config.history.iter().flatten();
    let of_layers = history.filter(|line| line.empty_layer != Some(true));
    let lines: Vec<_> = of_layers.map(|line| line.created_by.as_deref().map(clean)).collect();
    if lines.len() == config.rootfs.diff_ids.len() { lines } else { Vec::new() }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}
