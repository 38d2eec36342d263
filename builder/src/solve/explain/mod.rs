//! Why a build did what it did, step by step.
//!
//! ```text
//! facts ─compare▶ Reason            ledger: for every vertex, what was known of its place and what it came to
//!                    └──▶ Explanation ─▶ cache.db, the last builds by image
//! ```
//!
//! | room | holds |
//! |---|---|
//! | `facts` | what went into a step, and its packed form |
//! | `compare` | the first thing that differs |
//! | `reason` | that, in words and as JSON |
//! | `ledger` | all of it during a build |
//!
//! Facts are kept by *place*: which Dockerfile, for which context, which stage, the how-manieth step of it.
//! They are written only when they changed, so that a build that has nothing to do has nothing to note.

mod compare;
pub(super) mod facts;
pub(super) mod ledger;
mod reason;

use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde::{Deserialize, Serialize};

use super::cache::{BuildRow, Made};
use super::{Cache, CacheError, Key, KeyHasher};
use crate::dockerfile::SourceFile;
use crate::plan::Graph;
use crate::plan::stages::Outline;

pub use reason::{FileFacts, Reason};

/// Most that an explanation takes as JSON: tens of thousands of steps.
const MAX_BYTES: u64 = 64 << 20;

/// Why a build did what it did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The Dockerfile.
    pub dockerfile: String,
    /// All that was looked at, in the order of the plan.
    pub steps: Vec<Told>,
}

/// What is told of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// How progress numbers it, from 1.
    pub number: usize,
    /// How progress calls it: `[build 3/5] RUN make`.
    pub title: String,
    /// Line of the Dockerfile; 0 where there is none.
    pub line: usize,
    /// What became of it.
    pub verdict: Verdict,
    /// Why it was made, if it was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why: Option<String>,
    /// How long it took, if it was made.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seconds: Option<f64>,
    /// diff_id of its own layer, if it has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub layer: Option<String>,
    /// The cache elsewhere that had it, if it was not known here.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<String>,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A base image or another source.
    Base,
    /// It was known.
    Cached,
    /// It was not needed: whoever reads it was known.
    NotNeeded,
    /// It was made.
    Made,
}

/// A build that is remembered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Remembered {
    /// Digest of the image's manifest.
    pub image: String,
    /// When it was made, RFC 3339.
    pub made: String,
    /// When it was built last with nothing to do, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub met: Option<String>,
    /// How often that happened.
    pub times: i64,
    /// Why it did what it did.
    #[serde(flatten)]
    pub explanation: Explanation,
}

impl Explanation {
    /// Notes it as the reason for an image.
    pub(crate) fn remember(&self, manifest: &str, cache: &Cache, now: i64) -> Result<(), CacheError> {
        let json = serde_json::to_vec(self).expect("because all keys are text");
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        let packed =
            encoder.write_all(&json).and_then(|()| encoder.finish()).expect("because memory takes it all");
        let made = match self.steps.iter().any(|step| step.verdict == Verdict::Made) {
            true => Made::Something,
            false => Made::Nothing,
        };
        cache.put_build(manifest, &packed, made, now)?;
        cache.trim_facts()
    }
}

/// Returns the builds that a state folder remembers, the last one first.
///
/// # Errors
///
/// [`CacheError`] if there is a cache and it cannot be read.
pub fn builds(state: &Path) -> Result<Vec<Remembered>, CacheError> {
    let path = state.join("cache.db");
    // Opening makes what is not there, and nothing is to be made by asking.
    if !path.exists() {
        return Ok(Vec::new());
    }
    // What does not parse is of another version, or rotted.
    Ok(Cache::open(&path)?.builds()?.into_iter().filter_map(remembered).collect())
}

fn remembered(row: BuildRow) -> Option<Remembered> {
    let mut json = Vec::new();
    DeflateDecoder::new(&row.packed[..]).take(MAX_BYTES).read_to_end(&mut json).ok()?;
    Some(Remembered {
        image: row.manifest,
        made: time(row.made),
        met: (row.times > 0).then(|| time(row.last)),
        times: row.times,
        explanation: serde_json::from_slice(&json).ok()?,
    })
}

fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

/// Returns the place of each vertex: what it is called whatever is in it.
pub(crate) fn places(
    graph: &Graph,
    outline: &Outline<'_>,
    source: &SourceFile,
    context: &Path,
    dockerfile: &Path,
) -> Vec<Key> {
    // The same from wherever it is called, and however it is written.
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (context, dockerfile) = (whole(context), whole(dockerfile));
    let mut count = vec![0_usize; outline.stages.len() + 1];
    let stages = super::reuse::stages(graph, outline, source);
    let place = |stage: Option<usize>| {
        let at = stage.unwrap_or(outline.stages.len());
        count[at] += 1;
        let name = stage.and_then(|stage| outline.stages[stage].name.clone());
        let mut hasher = KeyHasher::new("place");
        hasher.field("context", context.as_os_str().as_bytes());
        hasher.field("dockerfile", dockerfile.as_os_str().as_bytes());
        hasher.field("stage", name.unwrap_or_else(|| at.to_string()));
        hasher.field("ordinal", count[at].to_le_bytes());
        hasher.finish()
    };
    stages.into_iter().map(place).collect()
}
