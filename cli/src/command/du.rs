//! `oxbox du`: what takes how much space, and how much of it could go. With `--verbose`, which.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use jiff::Timestamp;
use oxbox_builder::exec::rung;
use oxbox_builder::housekeeping::usage::{CacheMount, CachedLayer, Part, Unpacked};
use oxbox_builder::housekeeping::{self, Usage};
use oxbox_layers::oci::{ChainId, DiffId, Digest};
use oxbox_layers::store::names::name_of;
use oxbox_layers::store::{BlobStore as _, Layout};
use serde::Serialize;

use crate::args::{Output, State};
use crate::settings::{Root, Settings};
use crate::table::{Table, count, minute, size};
use crate::{local, output};

/// Options of `oxbox du`.
#[derive(Debug, Args)]
pub(crate) struct Du {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    state: State,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    total: u64,
    /// Bytes that `prune` would remove.
    reclaimable: u64,
    /// Bytes that `prune --all` would remove.
    reclaimable_with_all: u64,
    types: Vec<Row>,
    images: Vec<Image>,
    layers: Vec<Layer>,
    snapshots: Vec<Snapshot>,
    cache_mounts: Vec<Mount>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    #[serde(rename = "type")]
    kind: &'static str,
    count: usize,
    bytes: u64,
    reclaim: Reclaim,
}

/// What it takes to get the space back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Reclaim {
    /// Nothing does.
    Never,
    /// `prune` does.
    Prune,
    /// `prune --all` does.
    PruneAll,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    /// `null` for an image that has lost its name.
    name: Option<String>,
    digest: Digest,
    bytes: u64,
    /// Bytes that no other image has.
    unique: u64,
}

/// A layer that the build cache remembers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    digest: Digest,
    diff_id: DiffId,
    /// `null` if the blob is gone.
    bytes: Option<u64>,
    /// Whether an image has it too, so that it cannot go.
    shared: bool,
    created: Option<String>,
    last_used: Option<String>,
    uses: u64,
    instruction: Option<String>,
}

/// A layer unpacked for RUN.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot {
    chain_id: ChainId,
    bytes: u64,
    last_used: Option<String>,
}

/// A directory that RUNs mount.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Mount {
    /// What it is called on disk.
    name: String,
    id: String,
    bytes: u64,
    last_used: Option<String>,
    /// Whether a RUN has it now.
    in_use: bool,
}

/// Looks, and tells.
pub(super) fn run(options: &Du, settings: &Settings) -> anyhow::Result<()> {
    let root = Root::of(&options.state)?;
    rung::stand_among_snapshots(root.path());
    let store = local::open(&root)?;
    let usage = housekeeping::usage(root.path(), store.as_ref())?;
    let told = Told::of(&usage, store.map(|store| images(&store)).transpose()?.unwrap_or_default());
    match options.output.json {
        true => output::json(&told)?,
        false => output::bytes(told.text(settings.verbose).as_bytes())?,
    }
    Ok(())
}

/// Returns the images by name, with what they have and what no other has.
fn images(store: &Layout) -> anyhow::Result<Vec<Image>> {
    let entries = store.entries()?;
    let mut owners: HashMap<Digest, Vec<Digest>> = HashMap::new();
    for entry in entries.iter() {
        for blob in store.reached_by(entry)? {
            let owners = owners.entry(blob).or_default();
            // An image with two names is one.
            if !owners.contains(&entry.digest) {
                owners.push(entry.digest);
            }
        }
    }
    let mut sizes: HashMap<Digest, (u64, u64)> = HashMap::new();
    for (blob, owners) in &owners {
        let bytes = store.stat(blob)?.unwrap_or(0);
        for owner in owners {
            let (all, unique) = sizes.entry(*owner).or_default();
            *all += bytes;
            *unique += if owners.len() == 1 { bytes } else { 0 };
        }
    }
    let mut images: Vec<Image> = entries
        .iter()
        .map(|entry| {
            let (bytes, unique) = sizes.get(&entry.digest).copied().unwrap_or_default();
            Image { name: name_of(entry).map(local::familiar), digest: entry.digest, bytes, unique }
        })
        .collect();
    images.sort_by_key(|image| (image.name.is_none(), image.name.clone(), image.digest));
    Ok(images)
}

impl Told {
    fn of(usage: &Usage, images: Vec<Image>) -> Self {
        let types = rows(usage);
        let sum = |reclaim: &[Reclaim]| {
            types.iter().filter(|row| reclaim.contains(&row.reclaim)).map(|row| row.bytes).sum()
        };
        Self {
            total: usage.total(),
            reclaimable: sum(&[Reclaim::Prune]),
            reclaimable_with_all: sum(&[Reclaim::Prune, Reclaim::PruneAll]),
            images,
            layers: usage.layers.iter().map(Layer::of).collect(),
            snapshots: usage.snapshots.iter().map(Snapshot::of).collect(),
            cache_mounts: usage.mounts.iter().map(Mount::of).collect(),
            types,
        }
    }

    fn text(&self, details: bool) -> String {
        let mut table = Table::new(["TYPE", "COUNT", "SIZE", "GOES WITH"]);
        for row in self.types.iter().filter(|row| row.count > 0) {
            let goes = match row.reclaim {
                Reclaim::Never => "",
                Reclaim::Prune => "prune",
                Reclaim::PruneAll => "prune --all",
            };
            table.row([row.kind.to_owned(), row.count.to_string(), size(row.bytes), goes.to_owned()]);
        }
        let mut text = table.to_string();
        let shared: Vec<&Layer> = self.layers.iter().filter(|layer| layer.shared).collect();
        if !shared.is_empty() {
            let bytes = shared.iter().filter_map(|layer| layer.bytes).sum();
            let (layers, bytes) = (count(shared.len(), "more cached layer"), size(bytes));
            text.push_str(&format!("{layers}, {bytes}, counted with the images that have them\n"));
        }
        if details {
            text.push_str(&self.details());
        }
        text.push_str(&format!(
            "total {}; prune frees {}, prune --all {}\n",
            size(self.total),
            size(self.reclaimable),
            size(self.reclaimable_with_all)
        ));
        text
    }

    fn details(&self) -> String {
        let time = |time: &Option<String>| time.as_deref().map(minute).unwrap_or_default();
        let mut images = Table::new(["IMAGE", "DIGEST", "SIZE", "UNIQUE"]);
        for image in &self.images {
            let name = image.name.clone().unwrap_or_else(|| "<none>".to_owned());
            images.row([name, image.digest.short(), size(image.bytes), size(image.unique)]);
        }
        let mut layers =
            Table::new(["LAYER", "SIZE", "SHARED", "CREATED", "LAST USED", "USES", "INSTRUCTION"]);
        for layer in &self.layers {
            layers.row([
                layer.digest.short(),
                layer.bytes.map_or_else(|| "gone".to_owned(), size),
                if layer.shared { "yes" } else { "no" }.to_owned(),
                time(&layer.created),
                time(&layer.last_used),
                layer.uses.to_string(),
                layer.instruction.as_deref().unwrap_or_default().chars().take(60).collect(),
            ]);
        }
        let mut snapshots = Table::new(["UNPACKED LAYER", "SIZE", "LAST USED"]);
        for one in &self.snapshots {
            snapshots.row([one.chain_id.0.short(), size(one.bytes), time(&one.last_used)]);
        }
        let mut mounts = Table::new(["CACHE MOUNT", "SIZE", "LAST USED", "IN USE"]);
        for one in &self.cache_mounts {
            let in_use = if one.in_use { "yes" } else { "no" };
            mounts.row([one.id.clone(), size(one.bytes), time(&one.last_used), in_use.to_owned()]);
        }
        format!("\n{images}\n{layers}\n{snapshots}\n{mounts}\n")
    }
}

fn rows(usage: &Usage) -> Vec<Row> {
    use Reclaim::{Never, Prune, PruneAll};
    let database = Part { count: usize::from(usage.database > 0), bytes: usage.database };
    let others = Part { count: usage.others.len(), bytes: usage.others.iter().map(|(_, bytes)| bytes).sum() };
    let row = |(kind, part, reclaim): (&'static str, Part, Reclaim)| Row {
        kind,
        count: part.count,
        bytes: part.bytes,
        reclaim,
    };
    [
        ("blobs of images", usage.named, Never),
        ("blobs of images without a name", usage.unnamed, Prune),
        ("blobs that nobody knows", usage.unknown, Prune),
        ("unfinished blobs", usage.unfinished, Prune),
        ("cached layers", usage.cache_only(), PruneAll),
        ("unpacked layers", usage.unpacked(), PruneAll),
        ("cache mounts", usage.mounted(), PruneAll),
        ("indexes of layers", usage.indexes, PruneAll),
        ("known contexts", usage.contexts, PruneAll),
        ("temporary files", usage.temporary, PruneAll),
        ("cache database", database, Never),
        ("others", others, Never),
    ]
    .map(row)
    .into()
}

impl Layer {
    fn of(layer: &CachedLayer) -> Self {
        let CachedLayer { remembered, bytes, shared } = layer;
        Self {
            digest: remembered.digest,
            diff_id: remembered.diff_id,
            bytes: *bytes,
            shared: *shared,
            created: remembered.made.and_then(time),
            last_used: time(remembered.used),
            uses: remembered.uses,
            instruction: remembered.title.clone(),
        }
    }
}

impl Snapshot {
    fn of(one: &Unpacked) -> Self {
        Self { chain_id: one.layer, bytes: one.bytes, last_used: seconds(one.used).and_then(time) }
    }
}

impl Mount {
    fn of(one: &CacheMount) -> Self {
        let CacheMount { kept, bytes, in_use } = one;
        Self {
            name: kept.name.clone(),
            id: output::clean(&kept.about.id),
            bytes: *bytes,
            last_used: seconds(kept.used).and_then(time),
            in_use: *in_use,
        }
    }
}

fn time(seconds: i64) -> Option<String> {
    Timestamp::from_second(seconds).ok().map(|time| time.to_string())
}

fn seconds(time: SystemTime) -> Option<i64> {
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}
