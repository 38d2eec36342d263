//! A file's stages as the checks see them: what each stands on, what it copies from, which are needed.
//!
//! Like the plan's `resolve`, but forgiving: what the plan refuses is `Ground::Unknown` here.

use oxbox_layers::oci::{Platform, Reference};

use super::variables::{Variables, Work};
use crate::dockerfile::ast::{Arg, From};
use crate::dockerfile::mount::MountKey;
use crate::dockerfile::{File, Instruction, Statement};
use crate::plan::Options;
use crate::plan::arguments::automatic;
use crate::plan::scope::Scope;
use crate::plan::stages::{Outline, Stage, outline};

/// The stages of a file.
pub(super) struct Survey<'f> {
    pub(super) file: &'f File,
    pub(super) options: &'f Options,
    pub(super) work: &'f Work,
    pub(super) outline: Outline<'f>,
    /// What FROM lines may use.
    pub(super) globals: Scope,
    /// One for each stage.
    pub(super) sites: Vec<Site<'f>>,
}

/// A stage.
pub(super) struct Site<'f> {
    pub(super) number: usize,
    /// Its FROM.
    pub(super) statement: &'f Statement,
    pub(super) from: &'f From,
    pub(super) ground: Ground,
    /// What FROM says, if it says one.
    pub(super) platform: Option<Platform>,
    /// Earlier stages that it needs.
    pub(super) uses: Vec<usize>,
}

/// What a stage stands on.
pub(super) enum Ground {
    Scratch,
    Stage(usize),
    Image(Reference),
    /// A named context, or nothing that makes sense.
    Unknown,
}

impl<'f> Survey<'f> {
    pub(super) fn of(file: &'f File, options: &'f Options, work: &'f Work) -> Survey<'f> {
        let (outline, globals, sites) = (outline(file), Scope::default(), Vec::new());
        let mut survey = Survey { file, options, work, outline, globals, sites };
        survey.globals = survey.globals_with(options);
        let is_from = |statement: &&Statement| matches!(statement.instruction, Instruction::From(_));
        let statements = file.statements.iter().filter(is_from);
        let numbered = statements.zip(&survey.outline.stages).enumerate();
        survey.sites =
            numbered.map(|(number, (statement, stage))| survey.site(number, statement, stage)).collect();
        survey
    }

    /// Returns which stages a target needs, itself included; all if there is no such target.
    pub(super) fn needed(&self, target: Option<&str>) -> Vec<bool> {
        let Ok(target) = self.outline.target(target) else { return vec![true; self.sites.len()] };
        let mut needed = vec![false; self.sites.len()];
        needed[target] = true;
        for number in (0..=target).rev().filter(|_| !self.sites.is_empty()) {
            if needed[number] {
                self.sites[number].uses.iter().for_each(|&used| needed[used] = true);
            }
        }
        needed
    }
    fn site(&self, number: usize, statement: &'f Statement, stage: &Stage<'f>) -> Site<'f> {
        let (from, variables) = (stage.from, self.variables(&self.globals));
        let image = variables.expand(&from.image.text).map(|expanded| expanded.text);
        let replaced = stage.name.iter().any(|name| self.options.context(name).is_some());
        let ground = match image {
            Some(image) if !replaced => self.ground(&image, number),
            _ => Ground::Unknown,
        };
        let platform =
            from.platform.as_ref().and_then(|word| variables.expand(&word.text)?.text.parse().ok());
        let mut uses = Vec::new();
        if let Ground::Stage(base) = ground {
            uses.push(base);
        }
        for statement in stage.body {
            uses.extend(self.copied(&statement.instruction, number));
        }
        Site { number, statement, from, ground, platform, uses }
    }

    fn ground(&self, image: &str, number: usize) -> Ground {
        if let Some(stage) = self.outline.find(image, number) {
            return Ground::Stage(stage);
        }
        match image {
            _ if self.options.context(image).is_some() => Ground::Unknown,
            "scratch" => Ground::Scratch,
            _ => image.parse().map_or(Ground::Unknown, |image: Reference| Ground::Image(image.or_latest())),
        }
    }

    /// Returns the stages that COPY --from and RUN --mount name.
    fn copied(&self, instruction: &Instruction, number: usize) -> Vec<usize> {
        let named = |name: &str| {
            let name = self.options.context(name).is_none().then_some(name)?;
            self.outline.find(name, number)
        };
        match instruction {
            Instruction::Copy(copy) => {
                let from = copy.from.as_ref().map(|from| from.text.as_str());
                let index = |from: &str| from.parse().ok().filter(|&index: &usize| index < number);
                from.and_then(|from| named(from).or_else(|| index(from))).into_iter().collect()
            }
            Instruction::Run(run) => {
                let options = run.mounts.iter().flat_map(|mount| &mount.options);
                let from = options.filter(|option| option.key == MountKey::From);
                from.filter_map(|option| named(option.value.as_deref()?)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Returns what FROM lines may use. A default that cannot be expanded is no value.
    pub(super) fn globals_with(&self, options: &Options) -> Scope {
        let mut globals = Scope::default();
        for (name, value) in automatic(options, &self.outline.target_name(options.target.as_deref())) {
            globals.set(&name, &value);
        }
        let declarations = self.outline.globals.iter().flat_map(|arg: &&Arg| &arg.declarations);
        for declaration in declarations {
            let name = declaration.name.text.as_str();
            let default =
                declaration.default.as_ref().and_then(|word| self.variables(&globals).expand(&word.text));
            let value = options.build_args.get(name).cloned().or(default.map(|expanded| expanded.text));
            globals.declare(name);
            if let Some(value) = value {
                globals.set(name, &value);
            }
        }
        globals
    }

    /// Returns what an instruction of the file sees of these variables.
    pub(super) fn variables<'v>(&'v self, scope: &'v Scope) -> Variables<'v> {
        Variables { scope, escape: self.file.directives.escape, work: self.work }
    }
}
