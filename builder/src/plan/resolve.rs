//! What each needed stage stands on and copies from, with base images brought in.
//!
//! ```text
//! target ─▶ its base and its COPY --from ─▶ theirs …      last stage to first: all that a stage
//!                                                         names stands before it
//! ```
//!
//! A base image's ONBUILD may name further stages, so this needs the configs; a stage that nothing names
//! is never looked at, and its base never fetched.

use std::borrow::Cow;
use std::collections::HashMap;

use oxbox_layers::oci::{Config, Platform, Reference};

use super::error::{PlanError, PlanErrorKind};
use super::options::{Base, Bases, Options};
use super::scope::{Expander, Scope};
use super::stages::{Outline, Stage};
use super::step::{CopyFrom, Origin, Place, Step};
use crate::dockerfile::ast::{Copy, Escape};
use crate::dockerfile::{Instruction, Statement, Word, parse_trigger, quote};

/// All that the target needs.
#[derive(Debug)]
pub(super) struct Needed<'f> {
    /// By number; the others are not needed.
    pub(super) stages: Vec<Option<Resolved<'f>>>,
    pub(super) images: Vec<Pulled>,
}

/// A stage whose names all have a meaning.
#[derive(Debug)]
pub(super) struct Resolved<'f> {
    pub(super) ground: Ground,
    /// What it does, ONBUILD of its base first.
    pub(super) steps: Vec<Step<'f>>,
}

/// What a stage stands on.
#[derive(Debug)]
pub(super) enum Ground {
    Scratch,
    Stage(usize),
    Image {
        /// Its place among the pulled ones.
        image: usize,
        /// As the file names it.
        name: String,
    },
}

/// An image brought in.
#[derive(Debug)]
pub(super) struct Pulled {
    pub(super) reference: Reference,
    pub(super) base: Base,
    /// What it runs on.
    pub(super) platform: Platform,
}

/// What FROM says, expanded.
struct Head {
    image: String,
    platform: Option<Platform>,
}

pub(super) struct Resolver<'r, 'f> {
    pub(super) outline: &'r Outline<'f>,
    pub(super) options: &'r Options,
    pub(super) escape: Escape,
    /// What FROM lines may use.
    pub(super) globals: &'r Scope,
    pub(super) bases: &'r mut dyn Bases,
}

impl<'f> Resolver<'_, 'f> {
    /// Resolves the target and all it needs.
    pub(super) fn resolve(mut self, target: usize) -> Result<Needed<'f>, PlanError> {
        // As in BuildKit, a broken FROM is an error even where it is not needed.
        let outline = self.outline;
        let heads = outline.stages.iter().map(|stage| self.head(stage)).collect::<Result<Vec<_>, _>>()?;
        let mut images = Images::default();
        let mut wanted = vec![false; heads.len()];
        let mut stages: Vec<Option<Resolved<'f>>> = heads.iter().map(|_| None).collect();
        wanted[target] = true;
        for number in (0..=target).rev() {
            if !wanted[number] {
                continue;
            }
            let resolved = self.stage(number, &heads[number], &mut images)?;
            for used in resolved.uses() {
                wanted[used] = true;
            }
            stages[number] = Some(resolved);
        }
        Ok(Needed { stages, images: images.pulled })
    }

    fn head(&mut self, stage: &Stage<'_>) -> Result<Head, PlanError> {
        let place = Place::file(self.escape);
        let from = stage.from;
        let expander = Expander { scope: self.globals, place: &place };
        let image = expander.word(&from.image)?;
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

    fn stage(&mut self, number: usize, head: &Head, images: &mut Images) -> Result<Resolved<'f>, PlanError> {
        let stage = &self.outline.stages[number];
        let ground = self.ground(number, head, images)?;
        let mut steps = self.triggers(stage, &ground, images)?;
        steps.extend(stage.body.iter().map(|statement| Step {
            statement: Cow::Borrowed(statement),
            place: Place::file(self.escape),
            origin: Origin::Stage,
            from: None,
        }));
        for step in &mut steps {
            let statement: &Statement = &step.statement;
            if let Instruction::Copy(copy) = &statement.instruction {
                step.from = self.copy_from(number, copy, &step.place, images)?;
            }
        }
        Ok(Resolved { ground, steps })
    }

    fn ground(&mut self, number: usize, head: &Head, images: &mut Images) -> Result<Ground, PlanError> {
        let stage = &self.outline.stages[number];
        let replaced = stage.name.iter().find(|name| self.options.contexts.contains(*name));
        if let Some(name) = replaced {
            let what = format!("replacing stage {} by a context", quote(name));
            return Err(stage.error(PlanErrorKind::not_supported(what)));
        }
        if let Some(base) = self.outline.find(&head.image, number) {
            return Ok(Ground::Stage(base));
        }
        if self.options.contexts.contains(&head.image) {
            let what = format!("FROM of the context {}", quote(&head.image));
            return Err(stage.error(PlanErrorKind::not_supported(what)));
        }
        if head.image == "scratch" {
            return Ok(Ground::Scratch);
        }
        let platform = head.platform.as_ref().unwrap_or(self.options.target_platform());
        let image = self.image(&head.image, platform, images).map_err(|kind| stage.error(kind))?;
        Ok(Ground::Image { image, name: head.image.clone() })
    }

    /// Returns what ONBUILD of the base has this stage do. Of a stage it is the stage's own ONBUILD only:
    /// triggers fire once and are not handed on.
    fn triggers(
        &self,
        stage: &Stage<'_>,
        ground: &Ground,
        images: &Images,
    ) -> Result<Vec<Step<'f>>, PlanError> {
        let step = |statement, place| Step { statement, place, origin: Origin::Trigger, from: None };
        match ground {
            Ground::Scratch => Ok(Vec::new()),
            Ground::Stage(base) => {
                let own = self.outline.stages[*base].body.iter();
                Ok(own
                    .filter_map(|statement| match &statement.instruction {
                        Instruction::Onbuild(onbuild) => Some(&*onbuild.trigger),
                        _ => None,
                    })
                    .map(|trigger| step(Cow::Borrowed(trigger), Place::file(self.escape)))
                    .collect())
            }
            Ground::Image { image, .. } => {
                let texts = on_build(&images.pulled[*image].base.config);
                let parsed = texts.iter().map(|text| {
                    let place = Place::trigger(text, stage.from.image.span);
                    match parse_trigger(text) {
                        Ok(statement) => Ok(step(Cow::Owned(statement), place)),
                        Err(mut errors) => Err(place.parse_error(errors.errors.remove(0))),
                    }
                });
                parsed.collect()
            }
        }
    }

    fn copy_from(
        &mut self,
        number: usize,
        copy: &Copy,
        place: &Place,
        images: &mut Images,
    ) -> Result<Option<CopyFrom>, PlanError> {
        let Some(Word { text, span }) = copy.from.as_ref().filter(|from| !from.text.is_empty()) else {
            return Ok(None);
        };
        let found = match text.parse::<i64>() {
            Ok(index) => self.stage_by_index(number, index, text),
            Err(_) => self.stage_by_name(number, text, images),
        };
        found.map(Some).map_err(|kind| place.error(kind, *span))
    }

    fn stage_by_index(&self, number: usize, index: i64, text: &str) -> Result<CopyFrom, PlanErrorKind> {
        let stages = self.outline.stages.len();
        match usize::try_from(index) {
            Ok(stage) if stage < number => Ok(CopyFrom::Stage(stage)),
            Ok(stage) if stage == number => Err(PlanErrorKind::SameStage),
            Ok(stage) if stage < stages => Err(PlanErrorKind::LaterStage { name: text.to_owned() }),
            _ => Err(PlanErrorKind::UnknownStageIndex { index, stages }),
        }
    }

    fn stage_by_name(
        &mut self,
        number: usize,
        name: &str,
        images: &mut Images,
    ) -> Result<CopyFrom, PlanErrorKind> {
        if self.options.contexts.contains(name) {
            return Ok(CopyFrom::Context(name.to_owned()));
        }
        if let Some(stage) = self.outline.find(name, number) {
            return Ok(CopyFrom::Stage(stage));
        }
        match self.outline.find(name, self.outline.stages.len()) {
            Some(stage) if stage == number => return Err(PlanErrorKind::SameStage),
            Some(_) => return Err(PlanErrorKind::LaterStage { name: name.to_owned() }),
            None => {}
        }
        if name == "scratch" {
            return Ok(CopyFrom::Scratch);
        }
        let image = self.image(name, self.options.target_platform(), images)?;
        Ok(CopyFrom::Image(image))
    }

    /// Brings an image in, once.
    fn image(
        &mut self,
        name: &str,
        platform: &Platform,
        images: &mut Images,
    ) -> Result<usize, PlanErrorKind> {
        let meant = || self.outline.meant(name);
        let reference: Reference = name.parse().map_err(|source| {
            let (name, meant) = (name.to_owned(), meant());
            PlanErrorKind::Reference { name, meant, source }
        })?;
        let reference = reference.or_latest();
        let wanted = (reference.to_string(), platform.clone());
        if let Some(&known) = images.known.get(&wanted) {
            return Ok(known);
        }
        let base = self.bases.base(&reference, platform).map_err(|source| {
            let (name, meant) = (name.to_owned(), meant());
            PlanErrorKind::Base { name, meant, source }
        })?;
        let says = base.config.platform();
        let platform =
            if says.os.is_empty() || says.architecture.is_empty() { platform.clone() } else { says };
        let place = images.pulled.len();
        images.pulled.push(Pulled { reference, base, platform: platform.normalised() });
        images.known.insert(wanted, place);
        Ok(place)
    }
}

/// Images brought in so far.
#[derive(Default)]
struct Images {
    pulled: Vec<Pulled>,
    known: HashMap<(String, Platform), usize>,
}

impl Resolved<'_> {
    /// Returns the numbers of the stages that this one needs.
    fn uses(&self) -> impl Iterator<Item = usize> {
        let base = match self.ground {
            Ground::Stage(stage) => Some(stage),
            _ => None,
        };
        let copied = self.steps.iter().filter_map(|step| match step.from {
            Some(CopyFrom::Stage(stage)) => Some(stage),
            _ => None,
        });
        base.into_iter().chain(copied)
    }
}

fn on_build(config: &Config) -> &[String] {
    config.config.as_ref().and_then(|container| container.on_build.as_deref()).unwrap_or_default()
}
