//! What a name of FROM, `COPY --from` or a mount means: a stage, a context or an image.
//!
//! ```text
//! FROM x             earlier stage ▸ context ▸ scratch ▸ image
//! --from=x           context ▸ earlier stage ▸ scratch ▸ image         --from=0: the first stage
//! AS x               a context of that name stands in the stage's place
//! ```

use oxbox_layers::oci::{Platform, Reference};

use super::contexts::Context;
use super::error::PlanErrorKind;
use super::images::Image;
use super::resolve::{Ground, Head, Resolver};
use super::step::Named;

/// The name of nothing.
const SCRATCH: &str = "scratch";

impl Resolver<'_, '_> {
    /// Returns what a stage stands on.
    pub(super) fn ground(&mut self, number: usize, head: &Head) -> Result<Ground, PlanErrorKind> {
        if let Some(base) = self.outline.find(&head.image, number) {
            return Ok(Ground::Stage(base));
        }
        if let Some((name, context)) = self.options.context(&head.image) {
            return self.context_ground(number, name, context, head);
        }
        if head.image == SCRATCH {
            return Ok(Ground::Scratch);
        }
        let platform = head.platform.as_ref().unwrap_or(self.options.target_platform());
        let image = self.image(&head.image, platform)?;
        Ok(Ground::Image { image, name: head.image.clone() })
    }

    /// Returns a context as what a stage stands on.
    pub(super) fn context_ground(
        &mut self,
        number: usize,
        name: &str,
        context: &Context,
        head: &Head,
    ) -> Result<Ground, PlanErrorKind> {
        let platform = head.platform.as_ref().unwrap_or(self.options.target_platform());
        Ok(match self.context(number, name, context, platform)? {
            Named::Context(name) => Ground::Folder(name),
            Named::Image { image, name } => Ground::Image { image, name },
            Named::Scratch => Ground::Scratch,
            Named::Stage(stage) => Ground::Stage(stage),
        })
    }

    fn context(
        &mut self,
        number: usize,
        name: &str,
        context: &Context,
        platform: &Platform,
    ) -> Result<Named, PlanErrorKind> {
        let image = match context {
            Context::Folder => return Ok(Named::Context(name.to_owned())),
            Context::Image(reference) if reference.name() == "docker.io/library/scratch" => {
                return Ok(Named::Scratch);
            }
            Context::Image(reference) => Image::Named(reference.clone()),
            Context::Layout(layout) => Image::OfLayout(layout.clone()),
            Context::Stage(stage) => return self.context_of_stage(number, name, stage),
        };
        let image = self.images.bring(self.bases, image, platform).map_err(|source| {
            let (name, meant) = (name.to_owned(), None);
            PlanErrorKind::Base { name, meant, source }
        })?;
        Ok(Named::Image { image, name: name.to_owned() })
    }

    fn context_of_stage(&self, number: usize, name: &str, stage: &str) -> Result<Named, PlanErrorKind> {
        if let Some(found) = self.outline.find(stage, number) {
            return Ok(Named::Stage(found));
        }
        match self.outline.find(stage, self.outline.stages.len()) {
            Some(found) if found == number => Err(PlanErrorKind::SameStage),
            Some(_) => Err(PlanErrorKind::LaterStage { name: stage.to_owned() }),
            None => {
                let (name, stage, meant) = (name.to_owned(), stage.to_owned(), self.outline.meant(stage));
                Err(PlanErrorKind::ContextOfNoStage { name, stage, meant })
            }
        }
    }

    pub(super) fn stage_by_index(
        &mut self,
        number: usize,
        index: i64,
        text: &str,
    ) -> Result<Named, PlanErrorKind> {
        let stages = self.outline.stages.len();
        match usize::try_from(index) {
            Ok(stage) if stage < number => self.earlier_stage(stage),
            Ok(stage) if stage == number => Err(PlanErrorKind::SameStage),
            Ok(stage) if stage < stages => Err(PlanErrorKind::LaterStage { name: text.to_owned() }),
            _ => Err(PlanErrorKind::UnknownStageIndex { index, stages }),
        }
    }

    /// Returns what `--from` means.
    pub(super) fn named(&mut self, number: usize, name: &str) -> Result<Named, PlanErrorKind> {
        let options = self.options;
        if let Some((name, context)) = options.context(name) {
            return self.context(number, name, context, options.target_platform());
        }
        if let Some(stage) = self.outline.find(name, number) {
            return self.earlier_stage(stage);
        }
        match self.outline.find(name, self.outline.stages.len()) {
            Some(stage) if stage == number => return Err(PlanErrorKind::SameStage),
            Some(_) => return Err(PlanErrorKind::LaterStage { name: name.to_owned() }),
            None => {}
        }
        if name == SCRATCH {
            return Ok(Named::Scratch);
        }
        let image = self.image(name, options.target_platform())?;
        Ok(Named::Image { image, name: name.to_owned() })
    }

    /// A stage that a folder stands in for is read as that folder: nothing needs to be made of it.
    fn earlier_stage(&self, stage: usize) -> Result<Named, PlanErrorKind> {
        let name = self.outline.stages[stage].name.as_deref();
        match name.and_then(|name| self.options.context(name)) {
            Some((name, Context::Folder)) => Ok(Named::Context(name.to_owned())),
            _ => Ok(Named::Stage(stage)),
        }
    }

    fn image(&mut self, name: &str, platform: &Platform) -> Result<usize, PlanErrorKind> {
        let meant = || self.outline.meant(name);
        let reference: Reference = name.parse().map_err(|source| {
            let (name, meant) = (name.to_owned(), meant());
            PlanErrorKind::Reference { name, meant, source }
        })?;
        let image = Image::Named(reference.or_latest());
        self.images.bring(self.bases, image, platform).map_err(|source| {
            let (name, meant) = (name.to_owned(), meant());
            PlanErrorKind::Base { name, meant, source }
        })
    }
}
