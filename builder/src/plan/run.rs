//! RUN.

use super::arguments;
use super::error::{PlanError, PlanErrorKind};
use super::graph::{self, Network, Op, Run, RunFile};
use super::history;
use super::lower::Planner;
use super::options::Entitlement;
use super::state::State;
use super::step::Step;
use super::{mounts, title};
use crate::dockerfile::ast::{self, Security, ShellOrExec};
use crate::dockerfile::{Heredoc, Script, Span};

/// Where programs look for an SSH agent.
const AGENT: &str = "SSH_AUTH_SOCK";

/// Where a RUN finds the heredocs that are programs.
const PIPES: &str = "/dev/pipes";

impl Planner<'_> {
    pub(super) fn run(
        &mut self,
        state: &mut State,
        step: &Step<'_>,
        run: &ast::Run,
    ) -> Result<(), PlanError> {
        self.refuse_run(state, step, run)?;
        let (args, files) = command(state, step, run)?;
        let mounts = self.mounts(state, step, run)?;
        let (mut env, mut env_outside_key) = self.environment(state);
        if let Some(socket) = mounts::agent(&mounts)
            && state.scope.get(AGENT).is_none()
        {
            env.push(format!("{AGENT}={socket}"));
            env_outside_key.push(AGENT.to_owned());
        }
        let network = match run.network {
            ast::Network::Default => self.options.network,
            ast::Network::Host => Network::Host,
            ast::Network::None => Network::None,
        };
        let line = history::run(&state.scope.arguments(), &args);
        let op = Run {
            below: state.vertex,
            args,
            env,
            env_outside_key,
            cwd: state.directory().to_owned(),
            user: state.user().to_owned(),
            network,
            files,
            mounts,
            security: match run.security {
                Security::Sandbox => graph::Security::Sandbox,
                Security::Insecure => graph::Security::Insecure,
            },
            hostname: self.options.hostname().map(str::to_owned),
            shell: state.shell(),
            machine: self.options.machine.clone(),
            platform: state.platform.clone(),
        };
        let vertex = self.vertex(state, step, Op::Run(op), described(step, run))?;
        self.record(state, step, line, Some(vertex))
    }

    /// Returns a RUN's environment, and which of it must not decide about the cache.
    ///
    /// Proxies reach every RUN; only an ARG or ENV of that name makes them part of what is built.
    fn environment(&self, state: &State) -> (Vec<String>, Vec<String>) {
        let mut env = state.scope.environment();
        let mut outside = Vec::new();
        for (name, value) in arguments::proxies(&self.options.build_args) {
            if state.scope.get(&name).is_none() {
                env.push(format!("{name}={value}"));
                outside.push(name);
            }
        }
        (env, outside)
    }

    fn refuse_run(&self, state: &State, step: &Step<'_>, run: &ast::Run) -> Result<(), PlanError> {
        if let Some(device) = run.devices.first() {
            return Err(step.place.error(PlanErrorKind::not_supported("RUN --device"), device.span));
        }
        if run.security == Security::Insecure && !self.options.allow.contains(&Entitlement::SecurityInsecure)
        {
            return Err(step.place.error(PlanErrorKind::InsecureRefused, self.flag(step, "security")));
        }
        // A file must not take back what its builder said.
        let allowed =
            self.options.network == Network::Host || self.options.allow.contains(&Entitlement::NetworkHost);
        if run.network == ast::Network::Host && !allowed {
            return Err(step.place.error(PlanErrorKind::NetworkRefused, self.flag(step, "network")));
        }
        let (host, platform) = (&self.options.build_platform, &state.platform);
        // Variants of one architecture are tried: hosts rarely know their own.
        let same = host.os == platform.os && host.architecture == platform.architecture;
        let emulated = host.os == platform.os && self.options.emulated.contains(&platform.architecture);
        if !same && !emulated && host.distance(platform).is_none() {
            let kind = PlanErrorKind::ForeignRun { platform: platform.clone(), host: host.clone() };
            return Err(step.place.error(kind, step.statement.keyword.span));
        }
        Ok(())
    }

    /// Returns where a flag stands, as near as can be told.
    fn flag(&self, step: &Step<'_>, flag: &str) -> Span {
        let statement = &step.statement;
        let text = self.source.slice(statement.span).unwrap_or_default();
        match text.find(&format!("--{flag}")) {
            Some(at) => {
                let start = statement.span.range().start + at;
                Span::new(start, start + flag.len() + 2)
            }
            None => statement.keyword.span,
        }
    }
}

/// Returns what is executed, and the file that it needs.
fn command(state: &State, step: &Step<'_>, run: &ast::Run) -> Result<(Vec<String>, Vec<RunFile>), PlanError> {
    match (&run.command, run.script()) {
        (ShellOrExec::Shell(_, heredocs), Some(Script::File { name, content })) => {
            check_name(step, heredocs.first(), &name)?;
            // Through the shell, as BuildKit has it: the history says so too.
            let args = state.with_shell(&format!("{PIPES}/{name}"));
            Ok((args, vec![RunFile { name, content }]))
        }
        (_, Some(Script::Inline(line))) => Ok((state.with_shell(&line), Vec::new())),
        (ShellOrExec::Shell(line, _), _) => Ok((state.with_shell(&line.text), Vec::new())),
        (ShellOrExec::Exec(words), _) => {
            Ok((words.iter().map(|word| word.text.clone()).collect(), Vec::new()))
        }
    }
}

/// A heredoc becomes one file of one directory: its name must not lead elsewhere.
pub(super) fn check_name(step: &Step<'_>, heredoc: Option<&Heredoc>, name: &str) -> Result<(), PlanError> {
    if !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']) {
        return Ok(());
    }
    let span = heredoc.map_or(step.statement.span, |heredoc| heredoc.span);
    Err(step.place.error(PlanErrorKind::InvalidHeredocName { name: name.to_owned() }, span))
}

/// The text as written, with the first line of a script that is a heredoc.
fn described(step: &Step<'_>, run: &ast::Run) -> String {
    let text = title::text(step);
    let ShellOrExec::Shell(line, heredocs) = &run.command else { return text };
    let [heredoc] = heredocs.as_slice() else { return text };
    if heredoc.span != line.span {
        return text;
    }
    let mut lines = heredoc.body.trim().lines();
    let first = lines.next().unwrap_or_default();
    let more = if lines.next().is_some() { "..." } else { "" };
    format!("{text} ({first}{more})")
}
