//! Instructions that change only the config, and the lines they leave in the history.
//!
//! Everything is expanded from the environment before the instruction: in `ENV a=1 b=$a` the `$a` is the
//! old one. Only ARG goes name by name.

use std::collections::BTreeMap;
use std::time::Duration;

use oxbox_layers::oci::config::Healthcheck;

use super::error::{PlanError, PlanErrorKind};
use super::ports::Ports;
use super::scope::{Expander, Scope};
use super::state::State;
use super::step::Place;
use super::{history, signal};
use crate::dockerfile::ast::{
    self, Arg, Env, Expose, Healthcheck as Check, Instruction, Label, Onbuild, Pair, Shell, ShellOrExec,
    Stopsignal, User, Volume,
};
use crate::dockerfile::{Span, Word};

/// Where ARGs get values besides their defaults.
#[derive(Clone, Copy)]
pub(super) struct Given<'g> {
    /// `--build-arg`.
    pub(super) build_args: &'g BTreeMap<String, String>,
    /// ARGs before the first FROM, and platforms.
    pub(super) globals: &'g Scope,
}

/// Changes a stage's config.
pub(super) struct Metadata<'m> {
    pub(super) state: &'m mut State,
    pub(super) place: &'m Place,
}

impl Metadata<'_> {
    /// Applies an instruction and returns its line of history; nothing if it leaves none.
    pub(super) fn apply(
        &mut self,
        instruction: &Instruction,
        given: Given<'_>,
    ) -> Result<Option<String>, PlanError> {
        let line = match instruction {
            Instruction::Arg(arg) => self.arg(arg, given)?,
            Instruction::Cmd(cmd) => self.cmd(&cmd.command),
            Instruction::Entrypoint(entrypoint) => self.entrypoint(&entrypoint.command),
            Instruction::Env(env) => self.env(env)?,
            Instruction::Expose(expose) => self.expose(expose)?,
            Instruction::Healthcheck(check) => self.healthcheck(check),
            Instruction::Label(label) => self.label(label)?,
            Instruction::Maintainer(maintainer) => self.maintainer(&maintainer.author.text),
            Instruction::Onbuild(onbuild) => return Ok(self.onbuild(onbuild)),
            Instruction::Shell(shell) => self.shell(shell),
            Instruction::Stopsignal(signal) => self.stopsignal(signal)?,
            Instruction::User(user) => self.user(user)?,
            Instruction::Volume(volume) => self.volume(volume)?,
            // These make vertices, or stages.
            Instruction::Add(_)
            | Instruction::Copy(_)
            | Instruction::From(_)
            | Instruction::Run(_)
            | Instruction::Workdir(_) => return Ok(None),
        };
        Ok(Some(line))
    }

    fn expander(&mut self) -> Expander<'_> {
        Expander { scope: &self.state.scope, place: self.place }
    }

    fn error(&self, kind: PlanErrorKind, span: Span) -> PlanError {
        self.place.error(kind, span)
    }

    /// Later names of one ARG may use earlier ones.
    fn arg(&mut self, arg: &Arg, given: Given<'_>) -> Result<String, PlanError> {
        let mut line = "ARG".to_owned();
        for declaration in &arg.declarations {
            let name = declaration.name.text.as_str();
            let value = match (given.build_args.get(name), &declaration.default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => Some(self.expander().word(default)?),
                (None, None) => given.globals.get(name).map(str::to_owned),
            };
            self.state.scope.declare(name);
            line.push(' ');
            line.push_str(name);
            if let Some(value) = value {
                self.state.scope.set(name, &value);
                line.push('=');
                line.push_str(&value);
            }
        }
        Ok(line)
    }

    fn env(&mut self, env: &Env) -> Result<String, PlanError> {
        let pairs = self.pairs("ENV", &env.pairs)?;
        for (name, value) in &pairs {
            self.state.set_environment(name, value);
        }
        Ok(assignments("ENV", &pairs))
    }

    fn label(&mut self, label: &Label) -> Result<String, PlanError> {
        let pairs = self.pairs("LABEL", &label.pairs)?;
        let labels = self.state.container().labels.get_or_insert_default();
        labels.extend(pairs.iter().cloned());
        Ok(assignments("LABEL", &pairs))
    }

    fn pairs(
        &mut self,
        instruction: &'static str,
        pairs: &[Pair],
    ) -> Result<Vec<(String, String)>, PlanError> {
        let mut expanded = Vec::new();
        for Pair { key, value } in pairs {
            let name = self.expander().word(key)?;
            if name.is_empty() {
                return Err(self.error(PlanErrorKind::BlankName { instruction }, key.span));
            }
            expanded.push((name, self.expander().word(value)?));
        }
        Ok(expanded)
    }

    fn cmd(&mut self, command: &ShellOrExec) -> String {
        let args = self.command(command);
        let line = history::quoted_list("CMD", &args);
        self.state.has_command = true;
        let container = self.state.container();
        container.cmd = Some(args);
        container.args_escaped = Some(true);
        line
    }

    fn entrypoint(&mut self, command: &ShellOrExec) -> String {
        let args = self.command(command);
        let line = history::quoted_list("ENTRYPOINT", &args);
        let has_command = self.state.has_command;
        let container = self.state.container();
        container.entrypoint = (!args.is_empty()).then_some(args);
        // The base's command was meant for the base's entrypoint.
        if !has_command {
            container.cmd = None;
        }
        line
    }

    fn command(&self, command: &ShellOrExec) -> Vec<String> {
        match command {
            ShellOrExec::Shell(line, _) => self.state.with_shell(&line.text),
            ShellOrExec::Exec(words) => texts(words),
        }
    }

    fn healthcheck(&mut self, check: &Check) -> String {
        let check = match check {
            Check::None => Healthcheck { test: Some(vec!["NONE".to_owned()]), ..Healthcheck::default() },
            Check::Check(check) => described(check),
        };
        let line = history::healthcheck(&check);
        self.state.container().healthcheck = Some(check);
        line
    }

    fn expose(&mut self, expose: &Expose) -> Result<String, PlanError> {
        // BuildKit sorts the words as they are written.
        let mut words: Vec<&Word> = expose.ports.iter().collect();
        words.sort_by(|a, b| a.text.cmp(&b.text));
        let mut ports = Ports::default();
        for word in words {
            for port in self.expander().words(word)? {
                ports.add(&port).map_err(|kind| self.error(kind, word.span))?;
            }
        }
        let exposed = self.state.container().exposed_ports.get_or_insert_default();
        exposed.extend(ports.list.iter().map(|port| (port.clone(), serde_json::Map::new())));
        Ok(history::list("EXPOSE", &ports.list))
    }

    fn maintainer(&mut self, author: &str) -> String {
        self.state.config.author = Some(author.to_owned());
        format!("MAINTAINER {author}")
    }

    /// What is stored for a build on top leaves no history.
    fn onbuild(&mut self, onbuild: &Onbuild) -> Option<String> {
        let triggers = self.state.container().on_build.get_or_insert_default();
        triggers.push(onbuild.trigger.expression());
        None
    }

    fn shell(&mut self, shell: &Shell) -> String {
        let command = texts(&shell.command);
        let line = history::list("SHELL", &command);
        self.state.container().shell = Some(command);
        line
    }

    fn stopsignal(&mut self, stopsignal: &Stopsignal) -> Result<String, PlanError> {
        let signal = self.expander().word(&stopsignal.signal)?;
        if !signal::is_signal(&signal) {
            return Err(self.error(PlanErrorKind::InvalidSignal { signal }, stopsignal.signal.span));
        }
        let line = format!("STOPSIGNAL {signal}");
        self.state.container().stop_signal = Some(signal);
        Ok(line)
    }

    fn user(&mut self, user: &User) -> Result<String, PlanError> {
        let user = self.expander().word(&user.user)?;
        let line = format!("USER {user}");
        self.state.container().user = Some(user);
        Ok(line)
    }

    /// A volume is only a mark: what the build puts there stays, and no directory is made.
    fn volume(&mut self, volume: &Volume) -> Result<String, PlanError> {
        let mut paths = Vec::new();
        for word in &volume.paths {
            let path = self.expander().word(word)?;
            if path.is_empty() {
                return Err(self.error(PlanErrorKind::BlankName { instruction: "VOLUME" }, word.span));
            }
            paths.push(path);
        }
        let volumes = self.state.container().volumes.get_or_insert_default();
        volumes.extend(paths.iter().map(|path| (path.clone(), serde_json::Map::new())));
        Ok(history::list("VOLUME", &paths))
    }
}

fn assignments(instruction: &str, pairs: &[(String, String)]) -> String {
    let mut line = instruction.to_owned();
    for (name, value) in pairs {
        line.extend([" ", name, "=", value]);
    }
    line
}

fn texts(words: &[Word]) -> Vec<String> {
    words.iter().map(|word| word.text.clone()).collect()
}

fn described(check: &ast::Check) -> Healthcheck {
    let test = match &check.command {
        ShellOrExec::Shell(line, _) => vec!["CMD-SHELL".to_owned(), line.text.clone()],
        ShellOrExec::Exec(words) => [vec!["CMD".to_owned()], texts(words)].concat(),
    };
    let nanoseconds = |duration: Option<Duration>| {
        duration.map(|duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    };
    Healthcheck {
        test: Some(test),
        interval: nanoseconds(check.interval),
        timeout: nanoseconds(check.timeout),
        start_period: nanoseconds(check.start_period),
        start_interval: nanoseconds(check.start_interval),
        retries: check.retries.map(i64::from),
    }
}
