//! What becomes of the result's config whatever the file says: `--label`, `--env` and their likes.

use std::collections::BTreeMap;

use super::state::State;

/// Changes of the result's config.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edits {
    /// Labels that it has.
    pub labels: BTreeMap<String, String>,
    /// Labels that it has not, be they the file's or a base image's.
    pub unset_labels: Vec<String>,
    /// Whether labels of base images are left behind.
    pub drops_base_labels: bool,
    /// Variables that it has; no step sees them.
    pub env: BTreeMap<String, String>,
    /// Variables that it has not; steps see them all the same.
    pub unset_env: Vec<String>,
}

impl Edits {
    /// Takes the labels of a base image away, if they are not wanted.
    pub(super) fn begin(&self, state: &mut State) {
        if self.drops_base_labels {
            state.container().labels = None;
        }
    }

    /// Makes the changes. What is set counts for more than what is unset.
    pub(super) fn finish(&self, state: &mut State) {
        let container = state.container();
        if let Some(labels) = &mut container.labels {
            labels.retain(|name, _| !self.unset_labels.contains(name));
        }
        if !self.labels.is_empty() {
            let labels = container.labels.get_or_insert_default();
            labels.extend(self.labels.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        let variables = container.env.get_or_insert_default();
        variables.retain(|variable| !self.unset_env.iter().any(|name| name == name_of(variable)));
        for (name, value) in &self.env {
            let variable = format!("{name}={value}");
            match variables.iter_mut().find(|known| name_of(known) == name) {
                Some(known) => *known = variable,
                None => variables.push(variable),
            }
        }
    }
}

fn name_of(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(name, _)| name)
}
