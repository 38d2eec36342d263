//! `--call=targets`: the stages that can be built. Fields are named as buildx names them.

use serde::Serialize;

use super::describe::description;
use super::report::{Location, Source, Spots};
use crate::dockerfile::{File, Instruction};

/// The stages of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Targets {
    /// In the order of the file.
    pub targets: Vec<Target>,
    /// The file.
    pub sources: Vec<Source>,
}

/// A stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// In lowercase, as `--target` takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it is built if no target is named.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// What the comment above it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it stands on, as written.
    pub base: String,
    /// Its platform, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Its FROM.
    pub location: Location,
}

/// Lists the stages.
pub fn targets(file: &File, name: &str, source: &str) -> Targets {
    let spots = Spots::of(name, source);
    let mut targets: Vec<Target> = file
        .statements
        .iter()
        .filter_map(|statement| match &statement.instruction {
            Instruction::From(from) => Some((statement, from)),
            _ => None,
        })
        .map(|(statement, from)| Target {
            name: from.stage_name(),
            default: false,
            description: from
                .alias
                .as_ref()
                .and_then(|alias| description(&statement.comments, &alias.name.text)),
            base: from.image.text.clone(),
            platform: from.platform.as_ref().map(|platform| platform.text.clone()),
            location: spots.location(statement.span),
        })
        .collect();
    if let Some(last) = targets.last_mut() {
        last.default = true;
    }
    Targets { targets, sources: spots.sources() }
}
