//! `--metadata-file`: what is known of a result, under the names that buildx gives it.
//!
//! <https://docs.docker.com/reference/cli/docker/buildx/build/#metadata-file>

use std::path::Path;

use oxbox_builder::Exported;
use oxbox_layers::oci::{Descriptor, Digest, Reference};
use serde::Serialize;

use crate::output::{self, OutputError};

#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(rename = "containerimage.config.digest")]
    config: Digest,
    #[serde(rename = "containerimage.descriptor")]
    descriptor: &'a Descriptor,
    #[serde(rename = "containerimage.digest")]
    digest: Digest,
    #[serde(rename = "image.name", skip_serializing_if = "String::is_empty")]
    names: String,
}

/// Writes what is known of an image.
pub(super) fn write(path: &Path, image: &Exported, names: &[Reference]) -> Result<(), OutputError> {
    let metadata = Metadata {
        config: image.config.digest,
        descriptor: &image.manifest,
        digest: image.manifest.digest,
        names: names.iter().map(Reference::to_string).collect::<Vec<_>>().join(","),
    };
    let mut text = serde_json::to_string_pretty(&metadata)
        .expect("because a descriptor holds no map with keys that are not text");
    text.push('\n');
    output::file(path, text.as_bytes())
}
