//! `oxbox tags`: the tags of a repository, or the names in a layout.

use clap::Args;
use oxbox_copy::client::Access;
use oxbox_copy::location::{Location, StoreName};
use oxbox_layers::oci::Reference;
use oxbox_layers::store::Layout;

use crate::args::{Output, State};
use crate::registries::{Login, Registry};
use crate::settings::Root;
use crate::{local, output, runtime};

/// Options of `oxbox tags`.
#[derive(Debug, Args)]
pub(crate) struct Tags {
    /// docker://NAME (registry), NAME (local store) or oci:DIR (names in a layout).
    repository: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    registry: Registry,
    #[command(flatten)]
    login: Login,
    #[command(flatten)]
    state: State,
}

/// Why there are no tags to tell of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TagsError {
    /// The registry does not know the repository.
    #[error("repository {repository} is not known to {registry}")]
    NoRepository {
        /// Path within the registry.
        repository: String,
        /// Host and port.
        registry: String,
    },
    /// The place has no tags.
    #[error("{location} has no tags to list")]
    NoTags {
        /// The location.
        location: String,
    },
}

/// Prints one tag to a line.
pub(super) fn run(options: &Tags) -> anyhow::Result<()> {
    let location: Location = options.repository.parse()?;
    let tags = match &location {
        Location::Registry(reference) => runtime::run(of_registry(options, &location, reference))?,
        Location::Store(StoreName::Reference(reference)) => of_store(options, reference)?,
        Location::Layout { path, .. } => names(&Layout::open(path)?)?,
        _ => return Err(TagsError::NoTags { location: location.to_string() }.into()),
    };
    if options.output.json {
        return Ok(output::json(&tags)?);
    }
    let lines = tags.iter().map(|tag| format!("{}\n", output::clean(tag)));
    Ok(output::bytes(lines.collect::<String>().as_bytes())?)
}

async fn of_registry(
    options: &Tags,
    location: &Location,
    reference: &Reference,
) -> anyhow::Result<Vec<String>> {
    let client = options.registry.client(&options.login.side(), location)?;
    let tags = client.repository(reference, Access::Pull).tags().await?;
    tags.ok_or_else(|| {
        let (registry, repository) = (reference.domain().to_owned(), reference.path().to_owned());
        TagsError::NoRepository { repository, registry }.into()
    })
}

fn of_store(options: &Tags, repository: &Reference) -> anyhow::Result<Vec<String>> {
    let Some(layout) = local::open(&Root::of(&options.state)?)? else { return Ok(Vec::new()) };
    let named = names(&layout)?.into_iter().filter_map(|name| name.parse::<Reference>().ok());
    Ok(named.filter(|name| name.name() == repository.name()).filter_map(|name| name.tag).collect())
}

fn names(layout: &Layout) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> = layout.names()?.into_iter().map(|(name, _)| name).collect();
    names.sort();
    Ok(names)
}
