//! What each needed stage stands on and reads from, with base images brought in.
//!
//! ```text
//! target ─▶ its base, its COPY --from and its mounts ─▶ theirs …      last stage to first: all that a stage
//!                                                                     names stands before it
//! ```
//!
//! A base image's ONBUILD may name further stages, so this needs the configs; a stage that nothing names
//! is never looked at, and its base never fetched. What a name means is in `name.rs`.

use std::borrow::Cow;

use oxbox_layers::oci::{Config, Platform};

use super::bases::Bases;
use super::error::{Errors, PlanError, PlanErrorKind};
use super::images::Images;
use super::options::Options;
use super::scope::{Expander, Scope};
use super::stages::{Outline, Stage};
use super::step::{Named, Origin, Place, Step};
use crate::dockerfile::ast::Escape;
use crate::dockerfile::mount::{MountFlag, MountKey};
use crate::dockerfile::{Instruction, Span, Statement, parse_trigger};

/// All that the target needs.
#[derive(Debug)]
pub(super) struct Needed<'f> {
    /// By number; the others are not needed.
    pub(super) stages: Vec<Option<Resolved<'f>>>,
}

/// A stage whose names all have a meaning.
#[derive(Debug)]
pub(super) struct Resolved<'f> {
    pub(super) ground: Ground,
    /// What FROM says it is for.
    pub(super) platform: Option<Platform>,
    /// What it does, ONBUILD of its base first.
    pub(super) steps: Vec<Step<'f>>,
}

/// What a stage stands on.
#[derive(Debug)]
pub(super) enum Ground {
    Scratch,
    Stage(usize),
    /// A context's folder.
    Folder(String),
    Image {
        /// Its place among the pulled ones.
        image: usize,
        /// As the file names it.
        name: String,
    },
}

/// What FROM says, expanded.
pub(super) struct Head {
    pub(super) image: String,
    pub(super) platform: Option<Platform>,
}

pub(super) struct Resolver<'r, 'f> {
    pub(super) outline: &'r Outline<'f>,
    pub(super) options: &'r Options,
    pub(super) escape: Escape,
    /// What FROM lines may use.
    pub(super) globals: &'r Scope,
    pub(super) bases: &'r mut dyn Bases,
    pub(super) images: &'r mut Images,
    pub(super) errors: &'r mut Errors,
}

impl<'f> Resolver<'_, 'f> {
    /// Resolves the target and all it needs. What is wrong is among the errors.
    pub(super) fn resolve(mut self, target: usize) -> Needed<'f> {
        // As in BuildKit, a broken FROM is an error even where it is not needed.
        let outline = self.outline;
        let heads: Vec<Option<Head>> = outline
            .stages
            .iter()
            .enumerate()
            .map(|(number, stage)| {
                let head = self.head(number, stage);
                self.errors.keep(head)
            })
            .collect();
        let mut wanted = vec![false; heads.len()];
        let mut stages: Vec<Option<Resolved<'f>>> = heads.iter().map(|_| None).collect();
        wanted[target] = true;
        for number in (0..=target).rev() {
            let Some(head) = heads[number].as_ref().filter(|_| wanted[number]) else { continue };
            let Some(resolved) = self.stage(number, head) else { continue };
            for used in resolved.uses() {
                wanted[used] = true;
            }
            stages[number] = Some(resolved);
        }
        Needed { stages }
    }

    fn head(&self, number: usize, stage: &Stage<'_>) -> Result<Head, PlanError> {
        let place = Place::file(self.escape);
        let from = stage.from;
        let expander = Expander { scope: self.globals, place: &place };
        let image = match &self.options.first_base {
            Some(base) if number == 0 => base.clone(),
            _ => expander.word(&from.image)?,
        };
        if image.is_empty() {
            return Err(stage.error(PlanErrorKind::BlankImage { written: from.image.text.clone() }));
        }
        let Some(word) = &from.platform else { return Ok(Head { image, platform: None }) };
        let platform = expander.word(word)?;
        if platform.is_empty() {
            return Err(PlanErrorKind::BlankPlatform { written: word.text.clone() }.at(word.span));
        }
        let platform: Platform =
            platform.parse().map_err(|source| PlanErrorKind::Platform { source }.at(word.span))?;
        Ok(Head { image, platform: Some(platform.normalised()) })
    }

    fn stage(&mut self, number: usize, head: &Head) -> Option<Resolved<'f>> {
        let stage = &self.outline.stages[number];
        let platform = head.platform.clone();
        let replaced = stage.name.as_deref().and_then(|name| self.options.context(name));
        if let Some((name, context)) = replaced {
            // What stands in the place of a stage does nothing of what the stage would have done.
            let ground = self.context_ground(number, name, context, head);
            let ground = self.errors.keep(ground.map_err(|kind| stage.error(kind)))?;
            return Some(Resolved { ground, platform, steps: Vec::new() });
        }
        let ground = self.ground(number, head).map_err(|kind| stage.error(kind));
        let ground = self.errors.keep(ground)?;
        let mut steps = self.triggers(stage, &ground);
        steps.extend(stage.body.iter().map(|statement| Step {
            statement: Cow::Borrowed(statement),
            place: Place::file(self.escape),
            origin: Origin::Stage,
            names: Vec::new(),
        }));
        // A step that names nothing is told, and left out: the others can be looked at all the same.
        steps.retain_mut(|step| {
            let names = self.names(number, step);
            names.map(|names| step.names = names).is_some()
        });
        Some(Resolved { ground, platform, steps })
    }

    /// Returns what ONBUILD of the base has this stage do. Of a stage it is the stage's own ONBUILD only:
    /// triggers fire once and are not handed on.
    fn triggers(&mut self, stage: &Stage<'_>, ground: &Ground) -> Vec<Step<'f>> {
        let step = |statement, place| Step { statement, place, origin: Origin::Trigger, names: Vec::new() };
        match ground {
            Ground::Scratch | Ground::Folder(_) => Vec::new(),
            Ground::Stage(base) => {
                let own = self.outline.stages[*base].body.iter();
                own.filter_map(|statement| match &statement.instruction {
                    Instruction::Onbuild(onbuild) => Some(&*onbuild.trigger),
                    _ => None,
                })
                .map(|trigger| step(Cow::Borrowed(trigger), Place::file(self.escape)))
                .collect()
            }
            Ground::Image { image, .. } => {
                let mut steps = Vec::new();
                for text in on_build(&self.images.pulled[*image].base.config) {
                    let place = Place::trigger(text, stage.from.image.span);
                    match parse_trigger(text) {
                        Ok(statement) => steps.push(step(Cow::Owned(statement), place)),
                        Err(mut errors) => self.errors.push(place.parse_error(errors.errors.remove(0))),
                    }
                }
                steps
            }
        }
    }

    /// Returns what an instruction names; nothing if one of them has no meaning.
    fn names(&mut self, number: usize, step: &Step<'_>) -> Option<Vec<Option<Named>>> {
        let statement: &Statement = &step.statement;
        match &statement.instruction {
            Instruction::Copy(copy) => {
                let Some(from) = copy.from.as_ref().filter(|from| !from.text.is_empty()) else {
                    return Some(Vec::new());
                };
                let found = match from.text.parse::<i64>() {
                    Ok(index) => self.stage_by_index(number, index, &from.text),
                    Err(_) => self.named(number, &from.text),
                };
                self.kept(step, from.span, found).map(|named| vec![Some(named)])
            }
            // As in BuildKit, stages are named here, and never counted.
            Instruction::Run(run) => {
                let mut names = Vec::new();
                for mount in &run.mounts {
                    names.push(match from_of(mount) {
                        None => None,
                        Some(from) => {
                            let found = self.named(number, from);
                            Some(self.kept(step, mount.text.span, found)?)
                        }
                    });
                }
                Some(names)
            }
            _ => Some(Vec::new()),
        }
    }

    fn kept(&mut self, step: &Step<'_>, span: Span, found: Result<Named, PlanErrorKind>) -> Option<Named> {
        self.errors.keep(found.map_err(|kind| step.place.error(kind, span)))
    }
}

impl Resolved<'_> {
    /// Returns the numbers of the stages that this one needs.
    fn uses(&self) -> impl Iterator<Item = usize> {
        let base = match self.ground {
            Ground::Stage(stage) => Some(stage),
            _ => None,
        };
        base.into_iter().chain(self.steps.iter().flat_map(Step::stages))
    }
}

/// Returns what a mount's `from` says; a blank one says nothing.
fn from_of(mount: &MountFlag) -> Option<&str> {
    let from = mount.options.iter().rev().find(|option| option.key == MountKey::From);
    from?.value.as_deref().filter(|from| !from.is_empty())
}

fn on_build(config: &Config) -> &[String] {
    config.config.as_ref().and_then(|container| container.on_build.as_deref()).unwrap_or_default()
}
