//! `oxbox delete`: takes a tag or a manifest from a registry.

use clap::Args;
use oxbox_copy::client::{Access, TagOrDigest};
use oxbox_copy::location::Location;
use oxbox_layers::oci::Reference;
use serde_json::json;

use crate::args::Output;
use crate::registries::{Login, Registry};
use crate::{output, runtime};

/// Options of `oxbox delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// docker://NAME:TAG deletes the tag, docker://NAME@DIGEST the manifest and all its tags.
    image: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    registry: Registry,
    #[command(flatten)]
    login: Login,
}

/// Why nothing is deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeleteError {
    /// The registry has no such thing.
    #[error("{image} is not in its registry")]
    Absent {
        /// What was named.
        image: Reference,
    },
    /// Other places have commands of their own.
    #[error("{location} is not in a registry")]
    NotARegistry {
        /// The location.
        location: String,
    },
}

/// Deletes, and says what.
pub(super) fn run(options: &Delete) -> anyhow::Result<()> {
    let location: Location = options.image.parse()?;
    let Location::Registry(reference) = &location else {
        return Err(DeleteError::NotARegistry { location: location.to_string() }.into());
    };
    if !runtime::run(delete(options, &location, reference))? {
        return Err(DeleteError::Absent { image: reference.clone() }.into());
    }
    match options.output.json {
        true => output::json(&json!({ "deleted": reference.to_string() }))?,
        false => output::line(&format!("deleted {reference}"))?,
    }
    Ok(())
}

async fn delete(options: &Delete, location: &Location, reference: &Reference) -> anyhow::Result<bool> {
    let client = options.registry.client(&options.login.side(), location)?;
    let repository = client.repository(reference, Access::Delete);
    Ok(repository.delete_manifest(&TagOrDigest::of(reference)).await?)
}
