//! `--call=outline`: what a build of a target can be given. Fields are named as buildx names them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::describe::description;
use super::finding::Sink;
use super::report::{Location, Source, Spots};
use super::survey::Survey;
use super::variables::Work;
use super::walk::{State, Walk, walk};
use super::{Context, Stages};
use crate::dockerfile::mount::Mount;
use crate::dockerfile::word::{WordError, expand};
use crate::dockerfile::{File, Instruction, Span, Statement};
use crate::plan::PlanError;

/// What a build of a target can be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outline {
    /// The target's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the comment above it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Build arguments of the stages that it needs, in the order of the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Argument>,
    /// Secrets that they mount.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// SSH agents that they mount.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ssh: Vec<Ssh>,
    /// Caches that they mount.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cache: Vec<CacheMount>,
    /// The file.
    pub sources: Vec<Source>,
}

/// A build argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Argument {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it would be: given, or the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    pub location: Location,
}

/// A secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Secret {
    pub name: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    pub location: Location,
}

/// An SSH agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Ssh {
    pub name: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    pub location: Location,
}

/// A cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct CacheMount {
    pub id: String,
    pub location: Location,
}

/// Returns what a build of the target can be given.
///
/// # Errors
///
/// [`UnknownTarget`](crate::plan::PlanErrorKind::UnknownTarget).
pub fn outline(file: &File, name: &str, source: &str, context: &Context<'_>) -> Result<Outline, PlanError> {
    let work = Work::new();
    let survey = Survey::of(file, context.options, &work);
    let target = survey.outline.target(context.options.target.as_deref());
    let target = target.map_err(|kind| PlanError { kind, span: None, trigger: None })?;
    let site = &survey.sites[target];
    let mut gathering = Gathering { used: used_globals(&survey), ..Gathering::default() };
    for statement in file.statements.iter().take_while(|one| matches!(one.instruction, Instruction::Arg(_))) {
        gathering.globals(statement, &survey);
    }
    // Nothing is reported here.
    let mut sink = Sink::silent();
    let context = Context { stages: Stages::Target, ..*context };
    walk(&context, &survey, &mut sink, &mut |walk, state, statement| {
        gathering.statement(walk, state, statement);
    });
    let spots = Spots::of(name, source);
    let alias = site.from.alias.as_ref();
    let description = alias.and_then(|alias| description(&site.statement.comments, &alias.name.text));
    Ok(gathering.finish(site.from.stage_name(), description, &spots))
}

/// Returns the ARGs above the first FROM that needed FROM lines use, by way of others too.
fn used_globals(survey: &Survey<'_>) -> BTreeSet<String> {
    let variables = survey.variables(&survey.globals);
    let names = |text: &str| match variables.expand(text) {
        Some(expanded) => expanded.used.into_iter().chain(expanded.undefined).collect(),
        None => BTreeSet::new(),
    };
    let mut used = BTreeSet::new();
    let needed = survey.needed(survey.options.target.as_deref());
    for (site, _) in survey.sites.iter().zip(needed).filter(|(_, needed)| *needed) {
        used.extend(names(&site.from.image.text));
        used.extend(site.from.platform.iter().flat_map(|word| names(&word.text)));
    }
    let declarations = survey.outline.globals.iter().rev().flat_map(|arg| arg.declarations.iter().rev());
    for declaration in declarations {
        if used.contains(&declaration.name.text) {
            used.extend(declaration.default.iter().flat_map(|word| names(&word.text)));
        }
    }
    used
}

/// What was found so far, each by its name.
#[derive(Default)]
struct Gathering {
    used: BTreeSet<String>,
    /// Descriptions of ARGs above the first FROM; a stage's own says more.
    described: BTreeMap<String, String>,
    args: BTreeMap<String, (Span, Option<String>, Option<String>)>,
    secrets: BTreeMap<String, (Span, bool)>,
    ssh: BTreeMap<String, (Span, bool)>,
    cache: BTreeMap<String, Span>,
}

impl Gathering {
    fn globals(&mut self, statement: &Statement, survey: &Survey<'_>) {
        let Instruction::Arg(arg) = &statement.instruction else { return };
        for declaration in &arg.declarations {
            let name = &declaration.name.text;
            let said = description(&statement.comments, name);
            if let Some(said) = &said {
                self.described.insert(name.clone(), said.clone());
            }
            if self.used.contains(name) {
                let value = survey.globals.get(name).map(str::to_owned);
                self.args.insert(name.clone(), (declaration.name.span, said, value));
            }
        }
    }

    fn statement(&mut self, walk: &mut Walk<'_, '_>, state: &mut State<'_>, statement: &Statement) {
        match &statement.instruction {
            Instruction::Arg(arg) => {
                // Learnt here already, for what it is now: the walk does so again.
                let mut after = state.clone();
                walk.arg(&mut after, arg, walk.escape);
                for declaration in &arg.declarations {
                    let name = &declaration.name.text;
                    let said = description(&statement.comments, name);
                    let said = said.or_else(|| self.described.get(name).cloned());
                    let value = after.scope.get(name).map(str::to_owned);
                    self.args.entry(name.clone()).or_insert((declaration.name.span, said, value));
                }
            }
            Instruction::Run(run) => {
                let scope = &state.scope;
                let mut expander = |text: &str| -> Result<String, WordError> {
                    expand(text, walk.escape, &|name| scope.get(name)).map(|expanded| expanded.text)
                };
                for mount in &run.mounts {
                    // What is wrong with it is the plan's to tell.
                    if let Ok(resolved) = mount.resolve(&mut expander) {
                        self.mount(resolved, mount.text.span);
                    }
                }
            }
            _ => {}
        }
    }

    fn mount(&mut self, mount: Mount, span: Span) {
        match mount {
            Mount::Secret(secret) => {
                self.secrets.entry(secret.id).or_insert((span, false)).1 |= secret.required;
            }
            Mount::Ssh(ssh) => {
                let name = ssh.id.unwrap_or_else(|| "default".to_owned());
                self.ssh.entry(name).or_insert((span, false)).1 |= ssh.required;
            }
            Mount::Cache(cache) => {
                self.cache.entry(cache.id.unwrap_or(cache.target)).or_insert(span);
            }
            Mount::Bind(_) | Mount::Tmpfs(_) => {}
        }
    }

    fn finish(self, name: Option<String>, description: Option<String>, spots: &Spots) -> Outline {
        let mut args: Vec<_> = self.args.into_iter().collect();
        args.sort_by_key(|(_, (span, ..))| *span);
        let location = |span| spots.location(span);
        let args = args.into_iter().map(|(name, (span, description, value))| Argument {
            name,
            description,
            value,
            location: location(span),
        });
        let secrets = self.secrets.into_iter();
        let ssh = self.ssh.into_iter();
        Outline {
            name,
            description,
            args: args.collect(),
            secrets: secrets
                .map(|(name, (span, required))| Secret { name, required, location: location(span) })
                .collect(),
            ssh: ssh
                .map(|(name, (span, required))| Ssh { name, required, location: location(span) })
                .collect(),
            cache: self
                .cache
                .into_iter()
                .map(|(id, span)| CacheMount { id, location: location(span) })
                .collect(),
            sources: spots.sources(),
        }
    }
}
