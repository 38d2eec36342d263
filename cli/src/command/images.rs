//! `oxbox images`: what the local store holds.

use clap::Args;
use oxbox_layers::oci::{Descriptor, Digest, MediaType};
use oxbox_layers::store::Layout;
use oxbox_layers::store::names::name_of;
use serde::Serialize;

use crate::args::{Output, State};
use crate::settings::Root;
use crate::summary::{SummaryError, summarise};
use crate::table::{Table, minute, size};
use crate::{local, output};

/// Options of `oxbox images`.
#[derive(Debug, Args)]
pub(crate) struct Images {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    state: State,
}

/// One image, as `--json` prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    /// `null` for an image that has lost its name.
    name: Option<String>,
    digest: Digest,
    media_type: MediaType,
    platforms: Vec<String>,
    /// Bytes of the layers as they are stored.
    size: u64,
    created: Option<String>,
}

/// Lists the images by name.
pub(super) fn run(options: &Images) -> anyhow::Result<()> {
    let mut rows = match local::open(&Root::of(&options.state)?)? {
        Some(layout) => rows(&layout)?,
        None => Vec::new(),
    };
    // Those without a name come last.
    rows.sort_by_key(|row| (row.name.is_none(), row.name.clone(), row.digest));
    match options.output.json {
        true => output::json(&rows)?,
        false => output::bytes(table(&rows).to_string().as_bytes())?,
    }
    Ok(())
}

fn rows(layout: &Layout) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for entry in layout.entries()?.iter() {
        match row(layout, entry) {
            Ok(row) => rows.push(row),
            // One damaged image must not hide the others.
            Err(error) => {
                let name = name_of(entry).map_or_else(|| entry.digest.to_string(), local::familiar);
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                tracing::warn!("cannot read {name}: {error}{}", cause.unwrap_or_default());
            }
        }
    }
    Ok(rows)
}

fn row(layout: &Layout, entry: &Descriptor) -> Result<Row, SummaryError> {
    let summary = summarise(layout, entry)?;
    Ok(Row {
        name: name_of(entry).map(local::familiar),
        digest: entry.digest,
        media_type: entry.media_type.clone(),
        platforms: summary.platforms.iter().map(ToString::to_string).collect(),
        size: summary.bytes,
        created: summary.created,
    })
}

fn table(rows: &[Row]) -> Table<5> {
    let mut table = Table::new(["NAME", "DIGEST", "PLATFORM", "SIZE", "CREATED"]);
    for row in rows {
        table.row([
            row.name.clone().unwrap_or_else(|| "<none>".to_owned()),
            row.digest.short(),
            row.platforms.join(", "),
            size(row.size),
            row.created.as_deref().map(minute).unwrap_or_default(),
        ]);
    }
    table
}
