//! `oxbox prune`: removes from the local store what no name reaches.
//!
//! Images without a name go, and the blobs that only they needed; so do indexes of layers that are gone.
//! Layers that the build cache remembers stay, until `--all` forgets it first. Whoever builds or copies
//! meanwhile loses nothing: what that is, and how, is for `oxbox_layers::store::prune` and the builder's
//! housekeeping.

use std::collections::HashSet;

use clap::Args;
use oxbox_builder::housekeeping::{self, Forgotten};
use oxbox_layers::oci::Digest;
use oxbox_layers::store::{self, Sweep};
use serde::Serialize;

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
    /// Forget the build cache first, and remove the layers that it remembers or has unpacked.
    #[arg(short, long)]
    all: bool,
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
    /// What was written down of layers' contents.
    indexes: usize,
}

/// Removes, and says what.
pub(super) fn run(options: &Prune) -> anyhow::Result<()> {
    let root = Root::of(&options.state)?;
    let sweep = if options.dry_run { Sweep::DryRun } else { Sweep::Remove };
    let mut pruned = Pruned { dry_run: options.dry_run, ..Pruned::default() };
    let keep = if options.all {
        // Before the layers go: a record never outlives what it names.
        pruned.add_forgotten(housekeeping::forget(root.path(), sweep)?);
        HashSet::new()
    } else {
        housekeeping::remembered(root.path())?
    };
    if let Some(layout) = local::open(&root)? {
        let gone = layout.prune(sweep, &keep)?;
        if !options.all {
            pruned.indexes = housekeeping::sweep_indexes(root.path(), &layout, &gone.unnamed, sweep)?;
        }
        pruned.add_gone(gone);
    }
    match options.output.json {
        true => output::json(&pruned)?,
        false => output::bytes(tell(&pruned).as_bytes())?,
    }
    Ok(())
}

impl Pruned {
    fn add_forgotten(&mut self, forgotten: Forgotten) {
        self.cache_records = forgotten.records;
        self.snapshots = forgotten.snapshots;
        self.indexes = forgotten.indexes;
    }

    fn add_gone(&mut self, gone: store::Pruned) {
        self.unnamed = gone.unnamed.iter().map(|entry| entry.digest).collect();
        self.blobs = gone.swept.removed.iter().map(|blob| blob.digest).collect();
        self.leftovers = gone.swept.leftovers;
        self.bytes = gone.swept.bytes;
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
        (pruned.indexes, "layer index"),
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
