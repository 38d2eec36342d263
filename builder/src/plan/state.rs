//! What a stage is so far: its filesystem, its variables, its config and the history it leaves.

use std::collections::HashMap;

use oxbox_layers::oci::{Config, ContainerConfig, Platform};

use super::graph::{HistoryLine, StageResult, VertexId};
use super::path;
use super::scope::Scope;

/// Where programs are looked for if a base does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A stage so far.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) vertex: VertexId,
    pub(super) scope: Scope,
    /// The base's `rootfs`, `history` and `created` stay as they are.
    pub(super) config: Config,
    /// Where a variable is in the config's environment.
    environment_index: HashMap<String, usize>,
    pub(super) history: Vec<HistoryLine>,
    pub(super) platform: Platform,
    /// Whether this stage has a CMD of its own, which an ENTRYPOINT then leaves alone.
    pub(super) has_command: bool,
}

impl State {
    /// A stage that stands on nothing.
    pub(super) fn scratch(vertex: VertexId, platform: &Platform) -> Self {
        let mut state = Self::image(vertex, Config::scratch(platform), platform.clone());
        // As BuildKit has it, and only here: a base without a directory stays without one.
        state.container().working_dir = Some("/".to_owned());
        state
    }

    /// A stage that stands on an image.
    pub(super) fn image(vertex: VertexId, config: Config, platform: Platform) -> Self {
        let mut state = Self {
            vertex,
            scope: Scope::default(),
            config,
            environment_index: HashMap::new(),
            history: Vec::new(),
            platform,
            has_command: false,
        };
        state.begin();
        state
    }

    /// A stage that stands on this one.
    pub(super) fn child(&self) -> Self {
        let mut child = self.clone();
        child.begin();
        child
    }

    /// Makes ready for instructions.
    fn begin(&mut self) {
        self.has_command = false;
        let windows = self.platform.os == "windows";
        let container = self.config.config.get_or_insert_default();
        container.on_build = None;
        if let Some(directory) = container.working_dir.as_mut().filter(|directory| !directory.is_empty()) {
            *directory = path::clean(directory);
        }
        let environment = container.env.get_or_insert_default();
        let has_path = environment.iter().any(|variable| split(variable).0 == "PATH");
        if !has_path && !windows {
            environment.push(format!("PATH={DEFAULT_PATH}"));
        }
        // What an ARG of the stage below set is known here too, but not over what its image says.
        self.environment_index.clear();
        for (place, variable) in environment.iter().enumerate() {
            let (name, value) = split(variable);
            self.scope.set(name, value);
            self.environment_index.entry(name.to_owned()).or_insert(place);
        }
    }

    /// Returns what a runtime reads of the config.
    pub(super) fn container(&mut self) -> &mut ContainerConfig {
        self.config.config.get_or_insert_default()
    }

    /// Sets a variable here and in the image, where a new one comes last.
    pub(super) fn set_environment(&mut self, name: &str, value: &str) {
        self.scope.set(name, value);
        let known = self.environment_index.get(name).copied();
        let environment = self.config.config.get_or_insert_default().env.get_or_insert_default();
        if known.is_none() {
            self.environment_index.insert(name.to_owned(), environment.len());
        }
        let variable = format!("{name}={value}");
        match known {
            Some(place) => environment[place] = variable,
            None => environment.push(variable),
        }
    }

    /// Returns where commands run and relative paths begin.
    pub(super) fn directory(&self) -> &str {
        let directory = self.config.config.as_ref().and_then(|container| container.working_dir.as_deref());
        directory.filter(|directory| !directory.is_empty()).unwrap_or("/")
    }

    /// Returns who runs commands; empty for root.
    pub(super) fn user(&self) -> &str {
        self.config.config.as_ref().and_then(|container| container.user.as_deref()).unwrap_or_default()
    }

    /// Returns the shell with `line` as its last argument.
    pub(super) fn with_shell(&self, line: &str) -> Vec<String> {
        let mut args = self.shell();
        args.push(line.to_owned());
        args
    }

    /// Returns the shell.
    pub(super) fn shell(&self) -> Vec<String> {
        let own = self.config.config.as_ref().and_then(|container| container.shell.as_ref());
        match own.filter(|shell| !shell.is_empty()) {
            Some(shell) => shell.clone(),
            None if self.config.os == "windows" => ["cmd", "/S", "/C"].map(str::to_owned).to_vec(),
            None => ["/bin/sh", "-c"].map(str::to_owned).to_vec(),
        }
    }

    /// Returns roughly how many bytes a copy of it takes.
    pub(super) fn size(&self) -> usize {
        let history: usize = self.history.iter().map(|line| line.created_by.len()).sum();
        let told = self.config.history.iter().flatten();
        let told: usize = told.map(|line| line.created_by.as_ref().map_or(0, String::len) + 128).sum();
        let layers = 128 * self.config.rootfs.diff_ids.len();
        let container = self.config.config.as_ref();
        let maps = container.map_or(0, |container| {
            let labels = container.labels.iter().flatten().map(|(name, value)| name.len() + value.len());
            let ports = container.exposed_ports.iter().flatten().map(|(port, _)| port.len());
            let volumes = container.volumes.iter().flatten().map(|(path, _)| path.len());
            let triggers = container.on_build.iter().flatten().map(String::len);
            let shell = container.shell.iter().flatten().map(String::len);
            labels.chain(ports).chain(volumes).chain(triggers).chain(shell).map(|bytes| bytes + 64).sum()
        });
        2 * self.scope.size() + history + told + layers + maps + 1024
    }

    pub(super) fn result(self) -> StageResult {
        StageResult { vertex: self.vertex, config: self.config, history: self.history }
    }
}

fn split(variable: &str) -> (&str, &str) {
    variable.split_once('=').unwrap_or((variable, ""))
}
