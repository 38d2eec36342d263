//! `oxbox prune`: removes from the local store what no name reaches, and of the build cache what is asked for.
//!
//! ```text
//! prune                          images without a name, and what neither an image nor the cache needs
//! prune --filter until=24h       …and what of the cache was of no use since
//! prune --max-used-space 10GB    …and what of it is beyond that, the least recently used first
//! prune --filter type=exec.cachemount           cache mounts, and nothing else
//! prune --all                    …and all of it
//! ```
//!
//! Names are buildx's. What an image needs never goes. Whoever builds or copies meanwhile loses nothing: what
//! that is, and how, is for `oxbox_layers::store::prune` and the builder's housekeeping.

use std::collections::HashSet;
use std::path::Path;

use clap::Args;
use oxbox_builder::exec::rung;
use oxbox_builder::housekeeping::{self, Amount, Bounds, Evicted, Forgotten, Kind};
use oxbox_layers::oci::Digest;
use oxbox_layers::store::{self, Layout, Sweep};
use serde::Serialize;

use crate::amount::{self, Filter};
use crate::args::{Output, State};
use crate::settings::Root;
use crate::table::{count, size};
use crate::{local, output};

/// Options of `oxbox prune`.
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Only say what would go.
    #[arg(long)]
    dry_run: bool,
    /// Forget the whole build cache, and remove the layers that it remembers or has unpacked.
    #[arg(short, long)]
    all: bool,
    /// Of the build cache, only what was of no use for so long, or cache mounts alone: until=24h, type=exec.cachemount
    #[arg(long, value_name = "until=AGE|type=KIND", value_parser = amount::filter)]
    filter: Vec<Filter>,
    /// Keep so much of the build cache in any case: 10GB, 10GiB or 10% of the disk.
    #[arg(long, visible_alias = "keep-storage", value_name = "SIZE", value_parser = amount::size)]
    reserved_space: Option<Amount>,
    /// Keep no more of the build cache.
    #[arg(long, value_name = "SIZE", value_parser = amount::size)]
    max_used_space: Option<Amount>,
    /// Remove from the build cache until the disk has so much space left.
    #[arg(long, value_name = "SIZE", value_parser = amount::size)]
    min_free_space: Option<Amount>,
    /// As buildx has it; nothing is ever asked.
    #[arg(short, long, hide = true)]
    force: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    state: State,
}

/// What went or would go, as `--json` prints it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Pruned {
    dry_run: bool,
    /// Images that had no name.
    unnamed: Vec<Digest>,
    /// Blobs that went, those images' manifests among them.
    blobs: Vec<Digest>,
    /// Unfinished files of processes that were killed.
    leftovers: u64,
    /// Bytes of all that went.
    bytes: u64,
    /// Blobs that nothing reaches but that somebody at work may rely on.
    kept_busy: u64,
    /// Records of the build cache.
    cache_records: usize,
    /// Unpacked layers.
    snapshots: usize,
    /// Cache mounts.
    cache_mounts: usize,
    /// What was written down of layers' contents.
    indexes: usize,
    /// Contexts whose files were known.
    contexts: usize,
}

/// Removes, and says what.
pub(super) fn run(options: &Prune) -> anyhow::Result<()> {
    let root = Root::of(&options.state)?;
    rung::stand_among_snapshots(root.path());
    let store = local::open(&root)?;
    let pruned = options.prune(root.path(), store.as_ref())?;
    match options.output.json {
        true => output::json(&pruned)?,
        false => output::bytes(tell(&pruned).as_bytes())?,
    }
    Ok(())
}

impl Prune {
    fn prune(&self, state: &Path, store: Option<&Layout>) -> anyhow::Result<Pruned> {
        let sweep = if self.dry_run { Sweep::DryRun } else { Sweep::Remove };
        let mut pruned = Pruned { dry_run: self.dry_run, ..Pruned::default() };
        let mut forgotten = Vec::new();
        if sweep == Sweep::Remove {
            // First of all: what a killed build stood on is nobody's any more.
            housekeeping::sweep_abandoned(state)?;
        }
        if let Some(bounds) = self.bounds().filter(|bounds| bounds.kind == Some(Kind::CacheMount)) {
            pruned.add_evicted(&housekeeping::evict(state, store, &HashSet::new(), &bounds, sweep)?);
            return Ok(pruned);
        }
        // Before the layers go: a record never outlives what it names.
        let keep = match self.bounds() {
            Some(bounds) => {
                let named = store.map(Layout::reached_by_names).transpose()?.unwrap_or_default();
                let evicted = housekeeping::evict(state, store, &named, &bounds, sweep)?;
                let mut keep = housekeeping::remembered(state)?;
                keep.retain(|layer| !evicted.layers.contains(layer));
                pruned.add_evicted(&evicted);
                forgotten = evicted.layers;
                keep
            }
            None if self.all => {
                pruned.add_forgotten(housekeeping::forget(state, sweep)?);
                HashSet::new()
            }
            None => housekeeping::remembered(state)?,
        };
        let left = housekeeping::sweep_leftovers(state, sweep)?;
        pruned.leftovers += left.files as u64;
        pruned.bytes += left.bytes;
        if let Some(layout) = store {
            let gone = layout.prune(sweep, &keep)?;
            if pruned.indexes == 0 {
                pruned.indexes =
                    housekeeping::sweep_indexes(state, layout, &gone.unnamed, &forgotten, sweep)?;
            }
            pruned.add_gone(gone);
        }
        Ok(pruned)
    }

    /// Returns what may stay of the cache, if it is not all or nothing.
    fn bounds(&self) -> Option<Bounds> {
        let until = self.filter.iter().rev().find_map(|filter| match filter {
            Filter::Until(age) => Some(*age),
            Filter::Type(_) => None,
        });
        let kind = self.filter.iter().rev().find_map(|filter| match filter {
            Filter::Type(kind) => Some(*kind),
            Filter::Until(_) => None,
        });
        let bounds = Bounds {
            kind,
            unused_for: until,
            reserved: self.reserved_space,
            max_used: self.max_used_space,
            min_free: self.min_free_space,
        };
        Some(bounds).filter(|bounds| *bounds != Bounds::default())
    }
}

impl Pruned {
    fn add_evicted(&mut self, evicted: &Evicted) {
        self.cache_records = evicted.records;
        self.snapshots = evicted.snapshots;
        self.cache_mounts = evicted.mounts;
        self.bytes += evicted.bytes;
    }

    fn add_forgotten(&mut self, forgotten: Forgotten) {
        self.cache_records = forgotten.records;
        self.snapshots = forgotten.snapshots;
        self.cache_mounts = forgotten.mounts;
        self.indexes = forgotten.indexes;
        self.contexts = forgotten.contexts;
        self.bytes += forgotten.bytes;
    }

    fn add_gone(&mut self, gone: store::Pruned) {
        self.unnamed = gone.unnamed.iter().map(|entry| entry.digest).collect();
        self.blobs = gone.swept.removed.iter().map(|blob| blob.digest).collect();
        self.leftovers += gone.swept.leftovers;
        self.bytes += gone.swept.bytes;
        self.kept_busy = gone.swept.kept_busy;
    }
}

fn tell(pruned: &Pruned) -> String {
    let verb = if pruned.dry_run { "would remove" } else { "removed" };
    let mut text = String::new();
    for digest in &pruned.unnamed {
        text.push_str(&format!("{verb} image {digest}\n"));
    }
    for digest in &pruned.blobs {
        text.push_str(&format!("{verb} blob {digest}\n"));
    }
    let rebuildable = [
        (pruned.cache_records, "cache record"),
        (pruned.snapshots, "unpacked layer"),
        (pruned.cache_mounts, "cache mount"),
        (pruned.indexes, "layer index"),
        (pruned.contexts, "known context"),
    ];
    for (number, what) in rebuildable.into_iter().filter(|(number, _)| *number > 0) {
        text.push_str(&format!("{verb} {}\n", count(number, what)));
    }
    if pruned.kept_busy > 0 {
        text.push_str(&format!("kept {}: somebody is at work\n", count(pruned.kept_busy as usize, "blob")));
    }
    let blobs = count(pruned.blobs.len(), "blob");
    let leftovers = match pruned.leftovers {
        0 => String::new(),
        number => format!(" and {}", count(number as usize, "unfinished file")),
    };
    text.push_str(&format!("{verb} {blobs}{leftovers}, {}\n", size(pruned.bytes)));
    text
}
