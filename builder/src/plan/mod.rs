//! AST → graph: what must be made, in which order, and what the image will say of itself.
//!
//! ```text
//! File ─stages─▶ FROM by FROM ─resolve─▶ what the target needs, bases fetched ─lower─▶ Graph + StageResult
//! ```
//!
//! | room | holds |
//! |---|---|
//! | `options`, `contexts`, `bases` | what the caller says, and where base images come from |
//! | `stages` | a file cut at its FROMs; stages by name and number |
//! | `resolve`, `name`, `images`, `step` | what each needed stage stands on and reads from; ONBUILD of its base |
//! | `scope`, `arguments`, `epoch` | ARG and ENV: what a variable is at each line |
//! | `state` | what a stage is so far |
//! | `lower`, `run`, `mounts`, `copy`, `sources` | instructions that change the filesystem, as vertices |
//! | `remote` | addresses of repositories and of files elsewhere |
//! | `mode` | `--chmod` |
//! | `metadata`, `ports`, `signal` | instructions that only change the config |
//! | `history`, `title` | the lines that instructions leave, as BuildKit writes them, and what people see |
//! | `path` | paths as text |
//! | `emulation` | which foreign programs run here |
//! | `error`, `warning` | what can be wrong, and how it is shown |
//! | `graph`, `grow` | the result, in which equal vertices are one |
//!
//! Nothing is read or run here, but for the base images' configs through [`Bases`].

pub(crate) mod arguments;
mod bases;
mod contexts;
mod copy;
mod edits;
mod emulation;
mod epoch;
mod error;
pub mod graph;
mod grow;
mod history;
mod images;
mod lower;
mod metadata;
pub mod mode;
mod mounts;
mod name;
mod options;
mod path;
mod ports;
pub mod remote;
mod resolve;
mod run;
pub(crate) mod scope;
mod signal;
mod sources;
pub(crate) mod stages;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod title;
mod warning;

pub use bases::{Base, Bases, MemoryBases};
pub use contexts::{Context, ContextError, LayoutImage, LayoutPick};
pub use edits::Edits;
pub use emulation::{BINFMT_MISC, emulated};
pub use error::{Meant, PlanError, PlanErrorKind, PlanErrors};
pub use graph::{Graph, Op, StageResult, Vertex, VertexId};
pub use options::{Entitlement, EntitlementError, Options};
pub use warning::{MAX_WARNINGS, Warning};

pub use crate::fetch::FetchError;

use std::collections::BTreeSet;

use oxbox_layers::oci::Platform;

use crate::dockerfile::{File, SourceFile};
use error::Errors;
use grow::Growing;
use images::Images;
use lower::{MAX_BYTES, Planner};
use resolve::Resolver;
use scope::{Expander, Scope};
use stages::Outline;
use state::State;
use step::Place;
use title::{Form, Titles};
use warning::Warnings;

/// All that a build of one target needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What is made.
    pub graph: Graph,
    /// What the images are, once that is made: one for each platform, in the order of [`Options::platforms`].
    pub results: Vec<StageResult>,
    /// What is made of them.
    pub form: ResultForm,
    /// The latest time of new layers, if the file or an argument says: SOURCE_DATE_EPOCH.
    pub epoch: Option<i64>,
    /// What deserves a look.
    pub warnings: Vec<Warning>,
}

/// What a build's images are together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultForm {
    /// There is one, and nothing around it.
    Image,
    /// An index of them.
    Index,
}

/// Plans the build of a target. `source` is the text that `file` was parsed from; it tells the lines.
///
/// Base images are fetched through `bases`, those that the target does not need excepted.
///
/// # Errors
///
/// What is wrong with the file, images that cannot be fetched, or what is not yet supported, each with its
/// place.
pub fn plan(file: &File, source: &str, options: &Options, bases: &mut dyn Bases) -> Result<Plan, PlanErrors> {
    let mut warnings = Warnings::default();
    warning::of_syntax(file, options, &mut warnings);
    let outline = stages::outline(file);
    let target = outline.target(options.target.as_deref()).map_err(PlanError::nowhere)?;
    let source = SourceFile::new(String::new(), source);
    let form = if options.wants_index() { ResultForm::Index } else { ResultForm::Image };
    let mut drawing = Drawing {
        file,
        source: &source,
        outline: &outline,
        target,
        titles: if form == ResultForm::Index { Form::PlatformAndStage } else { Form::Stage },
        bases,
        images: Images::default(),
        growing: Growing::default(),
        errors: Errors::default(),
        bytes: 0,
        declared: BTreeSet::new(),
    };
    let mut results = Vec::new();
    let mut epoch = None;
    for platform in platforms(options) {
        let (result, said) = drawing.platform(options.only(platform.as_ref()));
        results.extend(result);
        epoch = epoch.or(said);
    }
    warning::of_build_args(file, &drawing.declared, options, &mut warnings);
    let Drawing { errors, mut growing, .. } = drawing;
    errors.finish()?;
    for result in &results {
        growing.export(result.vertex);
    }
    Ok(Plan { graph: growing.graph, results, form, epoch, warnings: warnings.list })
}

/// Returns the platforms to plan for, each once; one without a name if none was asked for.
fn platforms(options: &Options) -> Vec<Option<Platform>> {
    let mut platforms = Vec::new();
    for platform in &options.platforms {
        let platform = Some(platform.normalised());
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    if platforms.is_empty() { vec![None] } else { platforms }
}

/// A plan under way: what all platforms have in common.
struct Drawing<'d> {
    file: &'d File,
    source: &'d SourceFile,
    outline: &'d Outline<'d>,
    target: usize,
    titles: Form,
    bases: &'d mut dyn Bases,
    images: Images,
    growing: Growing,
    errors: Errors,
    bytes: usize,
    /// Names that ONBUILD of base images declares.
    declared: BTreeSet<String>,
}

impl Drawing<'_> {
    /// Plans for one platform. What is wrong is among the errors; then there is no result.
    fn platform(&mut self, mut options: Options) -> (Option<StageResult>, Option<i64>) {
        let globals = globals(self.file, self.outline, &options);
        let Some(mut globals) = self.errors.keep(globals) else { return (None, None) };
        let epoch = epoch::resolve(&mut options, &mut globals).map_err(PlanError::nowhere);
        let Some(epoch) = self.errors.keep(epoch) else { return (None, None) };
        let escape = self.file.directives.escape;
        let resolver = Resolver {
            outline: self.outline,
            options: &options,
            escape,
            globals: &globals,
            bases: &mut *self.bases,
            images: &mut self.images,
            errors: &mut self.errors,
        };
        let needed = resolver.resolve(self.target);
        let steps = needed.stages.iter().flatten().flat_map(|stage| &stage.steps);
        self.declared.extend(steps.flat_map(warning::declared));
        let mut planner = Planner {
            source: self.source,
            options: &options,
            globals: &globals,
            images: &self.images,
            growing: &mut self.growing,
            errors: &mut self.errors,
            bytes: &mut self.bytes,
            states: Vec::new(),
            titles: Titles::new(self.titles),
        };
        planner.stages(self.outline, &needed);
        let state = planner.states.into_iter().nth(self.target).flatten();
        let result = state.filter(|_| self.errors.is_empty()).map(|state| finish(state, &options));
        (result, epoch)
    }
}

/// Returns what FROM lines may use: platforms, and the ARGs before the first of them.
fn globals(file: &File, outline: &Outline<'_>, options: &Options) -> Result<Scope, PlanError> {
    let mut globals = Scope::default();
    let target = outline.target_name(options.target.as_deref());
    for (name, value) in arguments::automatic(options, &target) {
        globals.set(&name, &value);
    }
    let place = Place::file(file.directives.escape);
    let mut bytes = 0;
    for declaration in outline.globals.iter().flat_map(|arg| &arg.declarations) {
        let name = declaration.name.text.as_str();
        let value = match options.build_args.get(name) {
            Some(value) => Some(value.clone()),
            None => Expander { scope: &globals, place: &place }.optional(declaration.default.as_ref())?,
        };
        globals.declare(name);
        if let Some(value) = value {
            // Each may double the one before: `ARG b=$a$a`.
            bytes += value.len();
            if bytes > MAX_BYTES {
                let kind = PlanErrorKind::TooLarge { max_bytes: MAX_BYTES };
                return Err(kind.at(declaration.name.span));
            }
            globals.set(name, &value);
        }
    }
    Ok(globals)
}

/// The image is for the platform that was asked for, or else for that of its base.
fn finish(mut state: State, options: &Options) -> StageResult {
    options.edits.finish(&mut state);
    let config = &mut state.config;
    if let Some(asked) = options.platforms.first() {
        let same = config.os == asked.os && config.architecture == asked.architecture;
        config.os.clone_from(&asked.os);
        config.architecture.clone_from(&asked.architecture);
        if asked.variant.is_some() || !same {
            config.variant.clone_from(&asked.variant);
        }
        if asked.os_version.is_some() || !same {
            config.os_version.clone_from(&asked.os_version);
        }
    }
    let platform = config.platform().normalised();
    (config.os, config.architecture, config.variant) = (platform.os, platform.architecture, platform.variant);
    state.result()
}
