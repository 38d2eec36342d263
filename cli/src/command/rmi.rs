//! `oxbox rmi`: takes names away. Blobs stay until `oxbox prune`.

use clap::Args;
use oxbox_copy::location::StoreName;
use oxbox_layers::oci::Digest;
use oxbox_layers::store::Entries;
use oxbox_layers::store::names::name_of;
use serde::Serialize;

use crate::args::{Output, State};
use crate::local::{self, LocalError};
use crate::output;
use crate::settings::Root;

/// Options of `oxbox rmi`.
#[derive(Debug, Args)]
pub(crate) struct Rmi {
    /// Names, or digests for all names of an image.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    state: State,
}

/// An entry that went, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Removed {
    /// `null` for an image that had none.
    name: Option<String>,
    digest: Digest,
}

/// Removes all of the names, or none if one is not there.
pub(super) fn run(options: &Rmi) -> anyhow::Result<()> {
    let names: Vec<StoreName> =
        options.names.iter().map(|name| local::parse(name)).collect::<Result<_, _>>()?;
    let root = Root::of(&options.state)?;
    let Some(layout) = local::open(&root)? else {
        return Err(local::missing_everywhere(&names[0]).into());
    };
    let removed = layout.update(|entries| remove(entries, &names))??;
    if options.output.json {
        output::json(&removed)?;
        return Ok(());
    }
    for Removed { name, digest } in removed {
        output::line(&match name {
            Some(name) => format!("removed {} ({})", output::clean(&name), digest.short()),
            None => format!("removed {digest}"),
        })?;
    }
    Ok(())
}

fn remove(entries: &mut Entries, names: &[StoreName]) -> Result<Vec<Removed>, LocalError> {
    let meant = names.iter().map(|name| local::find(entries, name)).collect::<Result<Vec<_>, _>>()?;
    let goes = |entry: &oxbox_layers::oci::Descriptor| {
        names.iter().zip(&meant).any(|(name, meant)| match name {
            StoreName::Reference(reference) if reference.digest.is_none() => name_of(entry) == name_of(meant),
            _ => entry.digest == meant.digest,
        })
    };
    let removed = entries
        .iter()
        .filter(|entry| goes(entry))
        .map(|entry| Removed { name: name_of(entry).map(local::familiar), digest: entry.digest })
        .collect();
    entries.retain(|entry| !goes(entry));
    Ok(removed)
}
