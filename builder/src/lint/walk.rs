//! The instructions of each stage in order, with what is known when each is reached.
//!
//! ```text
//! FROM image   the image's variables, if its config is at hand; else checks of variables rest
//! FROM stage   what that stage ended with, then its ONBUILD
//! ENV, ARG     change what is known; a check sees what held before its instruction
//! ```

use std::borrow::Cow;

use oxbox_layers::oci::Config;

use super::finding::Sink;
use super::survey::{Ground, Site, Survey};
use super::variables::{Variables, Work};
use super::{Context, Stages, rules};
use crate::dockerfile::ast::{Arg, Env, Escape};
use crate::dockerfile::{Instruction, Statement, parse_trigger, quote};
use crate::plan::scope::Scope;

/// What doing one instruction of an ONBUILD is worth, in bytes of work.
const TRIGGER_COST: usize = 64;

/// What is known of a stage so far.
#[derive(Clone)]
pub(super) struct State<'f> {
    pub(super) scope: Scope,
    /// Whether the base image's config is at hand, and so all its variables.
    pub(super) base: Base,
    /// Whether SHELL was given, here or below.
    pub(super) has_shell: bool,
    /// Whether WORKDIR was given in this file, here or below.
    pub(super) has_workdir: bool,
    /// What ONBUILD has a stage on top of this one do.
    triggers: Vec<&'f Statement>,
    /// The last CMD, ENTRYPOINT and HEALTHCHECK of this stage.
    pub(super) commands: [Option<&'f Statement>; 3],
}

/// What is known of a base image.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    Known,
    Unknown,
}

/// The walk under way.
pub(super) struct Walk<'w, 'f> {
    pub(super) context: &'w Context<'w>,
    pub(super) survey: &'w Survey<'f>,
    pub(super) sink: &'w mut Sink,
    pub(super) work: &'w Work,
    pub(super) escape: Escape,
}

/// What is done at each instruction of the file, before what it changes is known.
pub(super) type Visit<'v, 'f> = dyn FnMut(&mut Walk<'_, 'f>, &mut State<'f>, &'f Statement) + 'v;

/// Looks at every stage that is asked for, first to last.
pub(super) fn walk<'f>(
    context: &Context<'_>,
    survey: &Survey<'f>,
    sink: &mut Sink,
    visit: &mut Visit<'_, 'f>,
) {
    let (work, escape) = (survey.work, survey.file.directives.escape);
    let needed = match context.stages {
        Stages::All => vec![true; survey.sites.len()],
        Stages::Target => survey.needed(context.options.target.as_deref()),
    };
    let mut walk = Walk { context, survey, sink, work, escape };
    let mut states: Vec<Option<State<'f>>> = Vec::new();
    for (number, site) in survey.sites.iter().enumerate() {
        let state = (needed[number] && !work.is_done()).then(|| walk.stage(site, &states, visit));
        states.push(state);
    }
    if work.is_done() {
        let message = "variables of the file are too large to follow: not all of it is checked";
        sink.note(message.to_owned(), None);
    }
}

impl<'f> Walk<'_, 'f> {
    fn stage(
        &mut self,
        site: &Site<'f>,
        states: &[Option<State<'f>>],
        visit: &mut Visit<'_, 'f>,
    ) -> State<'f> {
        let (mut state, triggers) = self.begin(site, states);
        for trigger in &triggers {
            // A file can have tens of thousands, and as many stages that do them all.
            self.work.spend(TRIGGER_COST);
            if self.work.is_done() {
                break;
            }
            self.apply(&mut state, trigger, Escape::default());
        }
        for statement in self.survey.outline.stages[site.number].body {
            visit(self, &mut state, statement);
            self.apply(&mut state, statement, self.escape);
            if let Instruction::Onbuild(onbuild) = &statement.instruction {
                state.triggers.push(&onbuild.trigger);
            }
        }
        state
    }

    /// Returns what a stage begins with, and the instructions that what it stands on has it do first.
    fn begin(
        &mut self,
        site: &Site<'f>,
        states: &[Option<State<'f>>],
    ) -> (State<'f>, Vec<Cow<'f, Statement>>) {
        match &site.ground {
            Ground::Scratch => (State::new(Base::Known), Vec::new()),
            Ground::Unknown => (State::new(Base::Unknown), Vec::new()),
            Ground::Stage(stage) => {
                let below = states[*stage].clone().unwrap_or_else(|| State::new(Base::Unknown));
                self.work.spend(below.scope.size());
                let triggers = below.triggers.iter().map(|trigger| Cow::Borrowed(*trigger)).collect();
                (State { triggers: Vec::new(), commands: [None; 3], ..below }, triggers)
            }
            Ground::Image(reference) => {
                let platform = site.platform.as_ref().unwrap_or(self.context.options.target_platform());
                let Some(config) = (self.context.base)(reference, platform) else {
                    let name = quote(&reference.familiar());
                    let message = format!(
                        "base image {name} is not at hand: its variables and platform are not checked"
                    );
                    self.sink.note(message, Some(site.from.image.span));
                    return (State::new(Base::Unknown), Vec::new());
                };
                rules::platform::of_base(self.sink, site, platform, &config);
                State::image(&config)
            }
        }
    }

    /// Learns what an instruction changes.
    fn apply(&self, state: &mut State<'f>, statement: &Statement, escape: Escape) {
        match &statement.instruction {
            Instruction::Arg(arg) => self.arg(state, arg, escape),
            Instruction::Env(env) => self.env(state, env, escape),
            Instruction::Shell(_) => state.has_shell = true,
            Instruction::Workdir(_) => state.has_workdir = true,
            _ => {}
        }
    }

    /// Later names of one ARG may use earlier ones.
    pub(super) fn arg(&self, state: &mut State<'_>, arg: &Arg, escape: Escape) {
        for declaration in &arg.declarations {
            let name = declaration.name.text.as_str();
            let given = self.context.options.build_args.get(name);
            let variables = Variables { scope: &state.scope, escape, work: self.work };
            let value = match (given, &declaration.default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => variables.expand(&default.text).map(|expanded| expanded.text),
                (None, None) => self.survey.globals.get(name).map(str::to_owned),
            };
            state.scope.declare(name);
            if let Some(value) = value {
                state.scope.set(name, &value);
            }
        }
    }

    fn env(&self, state: &mut State<'f>, env: &Env, escape: Escape) {
        let variables = Variables { scope: &state.scope, escape, work: self.work };
        let pairs: Vec<(String, Option<String>)> = env
            .pairs
            .iter()
            .filter_map(|pair| {
                let value = variables.expand(&pair.value.text).map(|expanded| expanded.text);
                Some((variables.expand(&pair.key.text)?.text, value))
            })
            .collect();
        for (name, value) in &pairs {
            match value {
                Some(value) => state.scope.set(name, value),
                // It is something, though nobody knows what.
                None => state.scope.declare(name),
            }
        }
    }

    /// Returns the variables that an instruction of the file sees.
    pub(super) fn variables<'v>(&'v self, state: &'v State<'_>) -> Variables<'v> {
        Variables { scope: &state.scope, escape: self.escape, work: self.work }
    }
}

impl<'f> State<'f> {
    fn new(base: Base) -> State<'f> {
        let mut scope = Scope::default();
        // Every image has one: the builder sees to that.
        scope.set("PATH", "/bin");
        let (triggers, commands) = (Vec::new(), [None; 3]);
        State { scope, base, has_shell: false, has_workdir: false, triggers, commands }
    }

    /// A stage on an image, and what the image's ONBUILD says.
    fn image(config: &Config) -> (State<'f>, Vec<Cow<'f, Statement>>) {
        let mut state = State::new(Base::Known);
        let Some(container) = &config.config else { return (state, Vec::new()) };
        for variable in container.env.iter().flatten() {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            state.scope.set(name, value);
        }
        state.has_shell = container.shell.as_ref().is_some_and(|shell| !shell.is_empty());
        let triggers = container.on_build.iter().flatten();
        let parsed = triggers.filter_map(|text| Some(Cow::Owned(parse_trigger(text).ok()?)));
        (state, parsed.collect())
    }
}
