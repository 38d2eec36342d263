//! `oxbox prune`: removes from the local store what no name reaches.
//!
//! Images without a name go first, then the blobs that only they needed, layers that the build cache
//! remembers among them. Whoever builds or copies meanwhile loses nothing: what that is, and how, is for
//! `oxbox_layers::store::sweep` and the builder's snapshots.

mod cache;
mod rehearsal;

use clap::Args;
use oxbox_layers::oci::Digest;
use oxbox_layers::store::{Layout, Sweep, Swept};
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
    /// Forget the build cache too, and remove the layers that it has unpacked.
    #[arg(short, long, conflicts_with = "dry_run")]
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
}

/// Removes, and says what.
pub(super) fn run(options: &Prune) -> anyhow::Result<()> {
    let root = Root::of(&options.state)?;
    let mut pruned = match local::open(&root)? {
        None => Pruned { dry_run: options.dry_run, ..Pruned::default() },
        Some(layout) if options.dry_run => rehearsal::rehearse(&layout)?,
        Some(layout) => prune(&layout)?,
    };
    if options.all {
        (pruned.cache_records, pruned.snapshots) = cache::forget(&root)?;
    }
    match options.output.json {
        true => output::json(&pruned)?,
        false => output::bytes(tell(&pruned).as_bytes())?,
    }
    Ok(())
}

fn prune(layout: &Layout) -> anyhow::Result<Pruned> {
    let unnamed = layout.remove_unnamed()?.iter().map(|entry| entry.digest).collect();
    // By another handle: the one that changed names is at work, and keeps from the sweep what it saw.
    let swept = Layout::open(layout.root())?.sweep(Sweep::Remove)?;
    Ok(Pruned::new(unnamed, swept))
}

impl Pruned {
    fn new(unnamed: Vec<Digest>, swept: Swept) -> Self {
        Self {
            unnamed,
            blobs: swept.removed.iter().map(|blob| blob.digest).collect(),
            leftovers: swept.leftovers,
            bytes: swept.bytes,
            kept_busy: swept.kept_busy,
            ..Self::default()
        }
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
    if pruned.cache_records + pruned.snapshots > 0 {
        let (records, snapshots) =
            (count(pruned.cache_records, "cache record"), count(pruned.snapshots, "unpacked layer"));
        text.push_str(&format!("{verb} {records} and {snapshots}\n"));
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
