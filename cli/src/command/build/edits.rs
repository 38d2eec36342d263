//! What becomes of the result's config whatever the Dockerfile says: Buildah's options for it.

use std::collections::BTreeMap;

use clap::Args;
use oxbox_builder::export::form::Telling;
use oxbox_builder::plan;

/// Options of the config.
#[derive(Debug, Args)]
pub(super) struct Edits {
    /// A label of the result.
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// A label that the result does not have, though a base image or the Dockerfile gives it.
    #[arg(long, value_name = "NAME")]
    unsetlabel: Vec<String>,
    /// A variable of the result, which no RUN sees; a bare name takes it from the environment.
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// A variable that the result does not have, though a base image or the Dockerfile gives it; RUN sees it.
    #[arg(long, value_name = "NAME")]
    unsetenv: Vec<String>,
    /// Whether the result has the labels of its base images.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    inherit_labels: bool,
    /// Leave out of the result how it was made.
    #[arg(long)]
    omit_history: bool,
}

impl Edits {
    pub(super) fn plan(&self) -> plan::Edits {
        // As in Docker, a label without a value is empty.
        let label = |text: &String| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            (name.to_owned(), value.to_owned())
        };
        plan::Edits {
            labels: self.label.iter().map(label).collect(),
            unset_labels: self.unsetlabel.clone(),
            drops_base_labels: !self.inherit_labels,
            env: given(&self.env),
            unset_env: self.unsetenv.clone(),
        }
    }

    pub(super) fn history(&self) -> Telling {
        if self.omit_history { Telling::Nothing } else { Telling::Full }
    }
}

/// Reads values; a bare name that the environment does not have is as good as not given.
pub(super) fn given(texts: &[String]) -> BTreeMap<String, String> {
    let value = |text: &String| match text.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => Some((text.clone(), std::env::var(text).ok()?)),
    };
    texts.iter().filter_map(value).collect()
}
