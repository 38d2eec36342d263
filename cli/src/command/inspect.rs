//! `oxbox inspect`: what an image is, wherever it is.
//!
//! Here: which of its documents is meant, and the forms that are not for people. Those are in `tell`,
//! `validate` has the check of every digest.

mod tell;
mod validate;

use clap::Args;
use oxbox_copy::endpoint::{AnySource, Source as _};
use oxbox_copy::location::Location;
use oxbox_layers::oci::{Config, Document, Manifest, Platform, Raw};
use serde_json::{Value, json};

pub(crate) use validate::ValidateError;

use super::LOCATIONS;
use crate::args::{Output, State};
use crate::registries::{Login, Registry};
use crate::settings::Root;
use crate::{image, output, places, runtime};

/// Options of `oxbox inspect`.
#[derive(Debug, Args)]
#[command(after_help = LOCATIONS)]
pub(crate) struct Inspect {
    /// Which image.
    image: String,
    /// Print the exact bytes of the manifest or index.
    #[arg(long, conflicts_with_all = ["config", "json"])]
    raw: bool,
    /// Print the exact bytes of the image config.
    #[arg(long, conflicts_with = "json")]
    config: bool,
    /// Check every digest, size and diff_id of an image of the local store or a layout.
    #[arg(long, conflicts_with_all = ["raw", "config", "platform"])]
    validate: bool,
    /// Which platform of an index.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    registry: Registry,
    #[command(flatten)]
    login: Login,
    #[command(flatten)]
    state: State,
}

/// Looks, and tells.
pub(super) fn run(options: &Inspect) -> anyhow::Result<()> {
    let location: Location = options.image.parse()?;
    let root = Root::of(&options.state)?;
    let client = options.registry.client(&options.login.side(), &location)?;
    if options.validate {
        let found =
            runtime::run(async { Ok(places::open(&location, client, &root).await?.resolve().await?) })?;
        return validate::run(&location, &root, &found, options.output);
    }
    let result = runtime::run(async {
        let source = places::open(&location, client, &root).await?;
        look(options, &location, &source).await
    })?;
    Ok(output::bytes(&result)?)
}

/// Returns what is to be printed.
async fn look(options: &Inspect, location: &Location, source: &AnySource) -> anyhow::Result<Vec<u8>> {
    let mut document = image::document(source, &source.resolve().await?).await?;
    // A config is always one platform's.
    let wanted = options.platform.clone().or_else(|| options.config.then(Platform::host));
    if let Some(platform) = &wanted {
        document = image::manifest(source, document, platform).await?;
    }
    if options.raw {
        return Ok(document.bytes().to_vec());
    }
    match &document {
        Document::Manifest(manifest) if options.config => Ok(image::config_bytes(source, manifest).await?),
        Document::Manifest(manifest) => {
            let config = match manifest.is_image() {
                true => Some(image::config(source, manifest).await?),
                false => None,
            };
            Ok(match options.output.json {
                true => lines(&manifest_json(location, manifest, config.as_ref())),
                false => tell::manifest(location, manifest, config.as_ref()).into_bytes(),
            })
        }
        Document::Index(index) => Ok(match options.output.json {
            true => lines(&json!({
                "name": location.to_string(),
                "digest": index.digest(),
                "mediaType": index.media_type(),
                "manifests": index.manifests,
                "annotations": index.annotations,
            })),
            false => tell::index(location, index).into_bytes(),
        }),
    }
}

fn manifest_json(location: &Location, manifest: &Raw<Manifest>, config: Option<&Raw<Config>>) -> Value {
    json!({
        "name": location.to_string(),
        "digest": manifest.digest(),
        "mediaType": manifest.media_type(),
        "artifactType": manifest.artifact_type,
        "platform": config.map(|config| config.platform().to_string()),
        "created": config.and_then(|config| config.created.clone()),
        "size": manifest.layers.iter().map(|layer| layer.size).sum::<u64>(),
        "layers": manifest.layers,
        "config": config.map(|config| &config.config),
        "history": config.map(|config| &config.history),
        "annotations": manifest.annotations,
    })
}

fn lines(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}
