//! Images in words, for people.
//!
//! ```text
//! Name:         docker://localhost:5000/app:1
//! Digest:       sha256:…
//! Env:          PATH=/bin
//!               COLOUR=blue
//! Layers:       sha256:…   1.20 MB   application/vnd.oci.image.layer.v1.tar+gzip
//! ```

use oxbox_copy::location::Location;
use oxbox_layers::oci::{Config, ContainerConfig, Descriptor, Index, Manifest, Raw};

use crate::output::clean;
use crate::summary::is_image;
use crate::table::{Table, count, minute, size};

/// The label's column is as wide as the longest label needs.
const LABEL: usize = 14;

/// Facts, one below the other.
#[derive(Debug, Default)]
struct Sheet(String);

impl Sheet {
    /// Adds a fact with a line for each value; nothing if there is none.
    fn add(&mut self, label: &str, values: impl IntoIterator<Item = String>) {
        let mut label = format!("{label}:");
        for value in values {
            self.0.push_str(&format!("{label:<LABEL$}{}\n", clean(&value)));
            label.clear();
        }
    }
}

/// Tells of one image or artifact.
pub(super) fn manifest(
    location: &Location,
    manifest: &Raw<Manifest>,
    config: Option<&Raw<Config>>,
) -> String {
    let mut sheet = Sheet::default();
    sheet.add("Name", [location.to_string()]);
    sheet.add("Digest", [manifest.digest().to_string()]);
    sheet.add("Media type", [manifest.media_type().to_string()]);
    if config.is_none() {
        sheet.add("Artifact", [manifest.effective_artifact_type().to_owned()]);
    }
    if let Some(config) = config {
        sheet.add("Platform", [config.platform().to_string()]);
        sheet.add("Created", config.created.as_deref().map(minute));
    }
    let bytes = manifest.layers.iter().map(|layer| layer.size).sum();
    sheet.add("Size", [format!("{} in {}", size(bytes), count(manifest.layers.len(), "layer"))]);
    if let Some(config) = config {
        sheet.add("Author", config.author.clone());
        container(&mut sheet, config.config.as_ref());
    }
    sheet.add("Subject", manifest.subject.as_ref().map(|subject| subject.digest.to_string()));
    sheet.add("Annotations", pairs(manifest.annotations.as_ref()));
    sheet.add("Layers", manifest.layers.iter().map(layer));
    if let Some(config) = config {
        sheet.add("History", config.history.iter().flatten().map(history));
    }
    sheet.0
}

/// Tells of an index: a table of its platforms.
pub(super) fn index(location: &Location, index: &Raw<Index>) -> String {
    let mut sheet = Sheet::default();
    sheet.add("Name", [location.to_string()]);
    sheet.add("Digest", [index.digest().to_string()]);
    sheet.add("Media type", [index.media_type().to_string()]);
    sheet.add("Annotations", pairs(index.annotations.as_ref()));
    let mut table = Table::new(["PLATFORM", "DIGEST", "MEDIA TYPE"]);
    for child in &index.manifests {
        let platform = match &child.platform {
            _ if !is_image(child) => "(attestation)".to_owned(),
            Some(platform) => platform.to_string(),
            None => String::new(),
        };
        table.row([platform, child.digest.to_string(), child.media_type.to_string()]);
    }
    format!("{}\n{table}", sheet.0)
}

fn container(sheet: &mut Sheet, container: Option<&ContainerConfig>) {
    let Some(container) = container else { return };
    sheet.add("User", container.user.clone().filter(|user| !user.is_empty()));
    sheet.add("Workdir", container.working_dir.clone().filter(|folder| !folder.is_empty()));
    sheet.add("Entrypoint", container.entrypoint.as_ref().map(|words| command(words)));
    sheet.add("Cmd", container.cmd.as_ref().map(|words| command(words)));
    sheet.add("Env", container.env.clone().unwrap_or_default());
    sheet.add("Ports", container.exposed_ports.iter().flat_map(|ports| ports.keys().cloned()));
    sheet.add("Volumes", container.volumes.iter().flat_map(|volumes| volumes.keys().cloned()));
    sheet.add("Stop signal", container.stop_signal.clone());
    sheet.add("Labels", pairs(container.labels.as_ref()));
}

fn layer(layer: &Descriptor) -> String {
    format!("{}   {:>10}   {}", layer.digest, size(layer.size), layer.media_type)
}

fn history(line: &oxbox_layers::oci::History) -> String {
    let created = line.created.as_deref().map(minute).unwrap_or_default();
    let by = line.created_by.as_deref().or(line.comment.as_deref()).unwrap_or_default();
    format!("{created:<16}   {by}")
}

fn command(words: &[String]) -> String {
    serde_json::to_string(words).expect("because a list of text can always be printed")
}

fn pairs(map: Option<&std::collections::BTreeMap<String, String>>) -> Vec<String> {
    map.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect()
}
