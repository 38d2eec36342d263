//! `oxbox why`: what the builds of this machine made, and why.
//!
//! ```text
//! why              the last build                     why app:1     the one that made that image
//! why 'RUN make'   one step of the last build         --step 3      one step of either
//! ```

use std::collections::HashMap;

use clap::Args;
use oxbox_builder::solve::explain::{self, Remembered, Told, Verdict};
use oxbox_copy::location::StoreName;
use oxbox_layers::oci::{Document, Reference};
use oxbox_layers::store::read_document;
use serde::Serialize;

use crate::args::{Output, State};
use crate::settings::Root;
use crate::table::{Table, minute};
use crate::{local, output};

/// Characters of a step's title in a table.
const MAX_TITLE: usize = 48;

/// Options of `oxbox why`.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// An image that was built here, or a step of the last build by its number or a part of its text.
    #[arg(value_name = "IMAGE|STEP")]
    what: Option<String>,
    /// Only this step: its number, or a part of its text.
    #[arg(long, value_name = "STEP")]
    step: Option<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    state: State,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WhyError {
    /// No build is remembered.
    #[error("no build is remembered here")]
    NoBuilds,
    /// The image was built elsewhere, or too long ago.
    #[error("no build that made {image} is remembered here")]
    NotBuilt {
        /// As it was typed.
        image: String,
    },
    /// No step is called that.
    #[error("the build has no step {step:?}")]
    NoStep {
        /// As it was typed.
        step: String,
    },
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    image: &'a str,
    made: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<&'a str>,
    times: i64,
    dockerfile: &'a str,
    steps: Vec<Step<'a>>,
}

/// A step, and who made it if the build did not.
#[derive(Debug, Serialize)]
struct Step<'a> {
    #[serde(flatten)]
    told: &'a Told,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<Origin<'a>>,
}

/// The build that made a layer.
#[derive(Debug, Clone, Serialize)]
struct Origin<'a> {
    image: &'a str,
    made: &'a str,
    why: Option<&'a str>,
}

/// Tells.
pub(super) fn run(options: &Why) -> anyhow::Result<()> {
    let root = Root::of(&options.state)?;
    let builds = explain::builds(root.path())?;
    let Some(last) = builds.first() else { return Err(WhyError::NoBuilds.into()) };
    let (build, text) = match &options.what {
        None => (last, None),
        Some(what) => match image(&root, &builds, what)? {
            Found::Built(build) => (build, None),
            Found::NotBuilt => return Err(WhyError::NotBuilt { image: what.clone() }.into()),
            Found::NoImage => (last, Some(what)),
        },
    };
    let origins = origins(&builds);
    let mut steps: Vec<Step<'_>> = build.explanation.steps.iter().map(|told| step(told, &origins)).collect();
    for text in text.into_iter().chain(&options.step) {
        steps.retain(|step| is_meant(step.told, text));
        if steps.is_empty() {
            return Err(WhyError::NoStep { step: text.chars().take(160).collect() }.into());
        }
    }
    let shown = Shown {
        image: &build.image,
        made: &build.made,
        met: build.met.as_deref(),
        times: build.times,
        dockerfile: &build.explanation.dockerfile,
        steps,
    };
    match options.output.json {
        true => output::json(&shown)?,
        false => output::bytes(text_of(&shown).as_bytes())?,
    }
    Ok(())
}

/// What a name came to.
enum Found<'a> {
    /// This build made it.
    Built(&'a Remembered),
    /// It is an image, and no build that made it is remembered.
    NotBuilt,
    /// There is no such image.
    NoImage,
}

fn image<'a>(root: &Root, builds: &'a [Remembered], text: &str) -> anyhow::Result<Found<'a>> {
    let by_digest = |digest: &str| builds.iter().find(|build| build.image == digest);
    if let Some(build) = by_digest(text) {
        return Ok(Found::Built(build));
    }
    let (Ok(name), Some(layout)) = (local::parse(text), local::open(root)?) else {
        return Ok(Found::NoImage);
    };
    let Ok(found) = local::find(&layout.entries()?, &name) else {
        let is_digest =
            matches!(name, StoreName::Digest(_) | StoreName::Reference(Reference { digest: Some(_), .. }));
        return Ok(if is_digest { Found::NotBuilt } else { Found::NoImage });
    };
    let mut digests = vec![found.digest];
    if let Ok(Document::Index(index)) = read_document(&layout, &found) {
        digests.extend(index.manifests.iter().map(|child| child.digest));
    }
    let built = digests.iter().find_map(|digest| by_digest(&digest.to_string()));
    Ok(built.map_or(Found::NotBuilt, Found::Built))
}

/// Returns who made each layer: the last that did.
fn origins(builds: &[Remembered]) -> HashMap<&str, Origin<'_>> {
    let mut origins = HashMap::new();
    for build in builds {
        for told in build.explanation.steps.iter().filter(|told| told.verdict == Verdict::Made) {
            let Some(layer) = &told.layer else { continue };
            let origin = Origin { image: &build.image, made: &build.made, why: told.why.as_deref() };
            origins.entry(layer.as_str()).or_insert(origin);
        }
    }
    origins
}

fn step<'a>(told: &'a Told, origins: &HashMap<&str, Origin<'a>>) -> Step<'a> {
    let is_cached = told.verdict == Verdict::Cached;
    let origin = told.layer.as_deref().filter(|_| is_cached).and_then(|layer| origins.get(layer).cloned());
    Step { told, origin }
}

/// Whether a text means a step: its number, or a part of its title.
fn is_meant(told: &Told, text: &str) -> bool {
    match text.trim_start_matches('#').parse::<usize>() {
        Ok(number) => told.number == number,
        Err(_) => told.title.to_lowercase().contains(&text.to_lowercase()),
    }
}

fn text_of(shown: &Shown<'_>) -> String {
    let mut lines =
        vec![format!("{}   {}   {}", shown.image, minute(shown.made), output::clean(shown.dockerfile))];
    if let Some(met) = shown.met {
        lines.push(format!("built {} since with nothing to do, last {}", times(shown.times), minute(met)));
    }
    let mut table = table();
    for Step { told, origin } in &shown.steps {
        let why = match (&told.why, origin) {
            (Some(why), _) => why.clone(),
            (None, Some(Origin { made, why, .. })) => {
                let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                format!("made {}{why}", minute(made))
            }
            (None, None) => elsewhere(told).unwrap_or_default(),
        };
        table.row(row(told, why));
    }
    format!("{}\n{table}", lines.join("\n"))
}

fn times(count: i64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// Returns what `build --explain` shows.
pub(super) fn explained(steps: &[Told]) -> String {
    let mut table = table();
    let why = |told: &Told| told.why.clone().or_else(|| elsewhere(told)).unwrap_or_default();
    steps.iter().for_each(|told| table.row(row(told, why(told))));
    table.to_string()
}

/// Says which cache had a step, if that is not this machine's.
fn elsewhere(told: &Told) -> Option<String> {
    told.from.as_ref().map(|from| format!("from the cache {}", output::clean(from)))
}

fn table() -> Table<4> {
    Table::new(["STEP", "", "", "WHY"])
}

fn row(told: &Told, why: String) -> [String; 4] {
    let line = told.title.lines().next().unwrap_or_default();
    let mut title: String = line.chars().take(MAX_TITLE).collect();
    if title.len() < told.title.len() {
        title.push('…');
    }
    let verdict = match told.verdict {
        Verdict::Base => "base",
        Verdict::Cached => "cached",
        Verdict::NotNeeded => "not needed",
        Verdict::Made => "made",
    };
    [format!("#{}", told.number), title, verdict.to_owned(), why]
}
