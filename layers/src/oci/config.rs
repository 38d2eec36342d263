//! Image configs: how to run an image, and what it was made of.
//!
//! Docker's fields that the OCI spec does not name (`Healthcheck`, `OnBuild`, `Shell`, …) are fields
//! here; every other unknown field is kept in `other`, so that a config which is read, changed and
//! written loses nothing.
//!
//! image-spec v1.1.1, config.md; Docker image specification v1.3

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{DiffId, Platform};

/// The view of an image config.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// When the image was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// GOARCH spelling.
    #[serde(default)]
    pub architecture: String,
    /// Variant of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// GOOS spelling.
    #[serde(default)]
    pub os: String,
    /// Version of the system.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features the system must have.
    #[serde(rename = "os.features", default, skip_serializing_if = "Option::is_none")]
    pub os_features: Option<Vec<String>>,
    /// How to run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ContainerConfig>,
    /// The layers beneath.
    #[serde(default)]
    pub rootfs: RootFs,
    /// How each layer came to be, bottom first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<History>>,
    /// Fields that are not named here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The part of a config that a runtime reads.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig {
    /// `name`, `uid`, `user:group`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Ports as keys: `80/tcp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<BTreeMap<String, Map<String, Value>>>,
    /// `NAME=value`, in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<String>>,
    /// What runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Its default arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// How to tell whether it is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Windows: the arguments are one escaped line. BuildKit writes it with every CMD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args_escaped: Option<bool>,
    /// Paths as keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<BTreeMap<String, Map<String, Value>>>,
    /// Where it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Instructions that a build on top runs first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_build: Option<Vec<String>>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// The signal that asks it to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// The shell of shell-form instructions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Fields that are not named here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Docker's health check; durations are nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", line]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Vec<String>>,
    /// Between two checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<i64>,
    /// Until one check counts as failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// While failures do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period: Option<i64>,
    /// Between two checks within the start period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<i64>,
    /// Failures in a row that make it unhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<i64>,
}

/// The layers of an image by their uncompressed digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Bottom first. Docker writes `null` for none.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub diff_ids: Vec<DiffId>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// One line of an image's history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// What else was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the instruction made no layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_layer: Option<bool>,
}

impl Config {
    /// Returns the config of an empty image for a platform.
    pub fn scratch(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            os_version: platform.os_version.clone(),
            os_features: platform.os_features.clone(),
            ..Self::default()
        }
    }

    /// Returns what the image runs on.
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            variant: self.variant.clone(),
        }
    }

    /// Returns how many history entries stand for a layer; `None` if there is no history.
    pub fn history_layers(&self) -> Option<usize> {
        let history = self.history.as_ref()?;
        Some(history.iter().filter(|entry| entry.empty_layer != Some(true)).count())
    }
}

fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::Config;
    use crate::oci::{MediaType, Raw};

    const DOCKER: &str = r#"{"architecture":"amd64","os":"linux","config":{"Env":["A=b"],"Cmd":null,"Healthcheck":{"Test":["NONE"]},"OnBuild":["RUN x"],"Hostname":"h"},"rootfs":{"type":"layers","diff_ids":null},"container":"abc","docker_version":"20.10"}"#;

    #[test]
    fn unknown_fields_survive_reading_and_writing() {
        let config: Config = serde_json::from_str(DOCKER).unwrap();
        let written: serde_json::Value = serde_json::to_value(&config).unwrap();
        assert_eq!(written["container"], "abc");
        assert_eq!(written["config"]["Hostname"], "h");
        assert_eq!(written["config"]["OnBuild"][0], "RUN x");
    }

    #[test]
    fn docker_nulls_are_read_as_nothing() {
        let config: Config = serde_json::from_str(DOCKER).unwrap();
        assert!(config.rootfs.diff_ids.is_empty());
        assert_eq!(config.config.unwrap().cmd, None);
    }

    #[test]
    fn a_config_round_trips_as_a_raw_document() {
        let raw: Raw<Config> = Raw::parse(DOCKER, MediaType::OCI_CONFIG.into()).unwrap();
        let again = Raw::write(raw.view().clone(), MediaType::OCI_CONFIG);
        assert_eq!(raw.view(), again.view());
    }

    #[test]
    fn only_entries_that_made_a_layer_count() {
        let text = r#"{"history":[{"created_by":"a"},{"created_by":"b","empty_layer":true}]}"#;
        let config: Config = serde_json::from_str(text).unwrap();
        assert_eq!(config.history_layers(), Some(1));
        assert_eq!(Config::default().history_layers(), None);
    }
}
