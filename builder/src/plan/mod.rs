//! AST → graph: what must be made, in which order, and what the image will say of itself.
//!
//! ```text
//! File ─stages─▶ FROM by FROM ─resolve─▶ what the target needs, bases fetched ─lower─▶ Graph + StageResult
//! ```
//!
//! | room | holds |
//! |---|---|
//! | `options` | what the caller says, and where base images come from |
//! | `stages` | a file cut at its FROMs; stages by name and number |
//! | `resolve`, `step` | what each needed stage stands on and copies from; ONBUILD of its base |
//! | `scope`, `arguments` | ARG and ENV: what a variable is at each line |
//! | `state` | what a stage is so far |
//! | `lower`, `run`, `copy` | instructions that change the filesystem, as vertices |
//! | `mode` | `--chmod` |
//! | `metadata`, `ports`, `signal` | instructions that only change the config |
//! | `history` | the lines that instructions leave, as BuildKit writes them |
//! | `path` | paths as text |
//! | `error` | what can be wrong, and how it is shown |
//! | `graph` | the result |
//!
//! Nothing is read or run here, but for the base images' configs through [`Bases`].

pub(crate) mod arguments;
mod copy;
mod error;
pub mod graph;
mod history;
mod lower;
mod metadata;
pub mod mode;
mod options;
mod path;
mod ports;
mod resolve;
mod run;
pub(crate) mod scope;
mod signal;
pub(crate) mod stages;
mod state;
mod step;
#[cfg(test)]
mod tests;

pub use error::{MAX_WARNINGS, Meant, PlanError, PlanErrorKind, Warning};
pub use graph::{Graph, Op, StageResult, Vertex, VertexId};
pub use options::{Base, Bases, MemoryBases, Options};

pub use crate::fetch::FetchError;

use crate::dockerfile::{File, Instruction, SourceFile};
use error::Warnings;
use lower::{MAX_BYTES, Planner};
use resolve::Resolver;
use scope::{Expander, Scope};
use stages::Outline;
use state::State;
use step::Place;

/// All that a build of one target needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What is made.
    pub graph: Graph,
    /// What the image is, once that is made.
    pub result: StageResult,
    /// What deserves a look.
    pub warnings: Vec<Warning>,
}

/// Plans the build of a target. `source` is the text that `file` was parsed from; it tells the lines.
///
/// Base images are fetched through `bases`, those that the target does not need excepted.
///
/// # Errors
///
/// The first thing that is wrong with the file, an image that cannot be fetched, or what is not yet
/// supported, each with its place.
pub fn plan(file: &File, source: &str, options: &Options, bases: &mut dyn Bases) -> Result<Plan, PlanError> {
    let mut warnings = Warnings::default();
    warn_of_syntax(file, &mut warnings);
    let outline = stages::outline(file);
    let target = outline.target(options.target.as_deref()).map_err(|kind| PlanError {
        kind,
        span: None,
        trigger: None,
    })?;
    let globals = globals(file, &outline, options)?;
    let needed =
        Resolver { outline: &outline, options, escape: file.directives.escape, globals: &globals, bases }
            .resolve(target)?;
    warn_of_build_args(file, &needed, options, &mut warnings);
    let source = SourceFile::new(String::new(), source);
    let mut planner = Planner::new(&source, options, &globals);
    planner.stages(&outline, &needed)?;
    let Planner { mut graph, mut states, .. } = planner;
    let state = states.swap_remove(target).expect("because the target is needed");
    mark_exported(&mut graph, state.vertex);
    Ok(Plan { graph, result: finish(state, options), warnings: warnings.list })
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
    if !options.labels.is_empty() {
        let labels = state.container().labels.get_or_insert_default();
        labels.extend(options.labels.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    let config = &mut state.config;
    if let Some(asked) = &options.platform {
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

/// The layers from the target's last vertex down to its base are the image's.
fn mark_exported(graph: &mut Graph, top: VertexId) {
    let mut vertex = Some(top);
    while let Some(VertexId(place)) = vertex {
        let vertex_of_chain = &mut graph.vertices[place];
        vertex_of_chain.exported = true;
        vertex = vertex_of_chain.op.below();
    }
}

/// A `# syntax` asks for another reader of the file, which is never fetched.
fn warn_of_syntax(file: &File, warnings: &mut Warnings) {
    let Some(syntax) = &file.directives.syntax else { return };
    let name = syntax.text.split(['@', ':']).next().unwrap_or_default();
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    if !matches!(name, "docker/dockerfile" | "docker/dockerfile-upstream") {
        let message = "another syntax is not fetched, the file is read as a Dockerfile".to_owned();
        warnings.push(message, Some(syntax.span));
    }
}

/// A `--build-arg` that no ARG of the file takes is probably a slip.
fn warn_of_build_args(file: &File, needed: &resolve::Needed<'_>, options: &Options, warnings: &mut Warnings) {
    let triggers = needed.stages.iter().flatten().flat_map(|stage| &stage.steps).map(|step| &*step.statement);
    let statements = file.statements.iter().chain(triggers);
    let declared: std::collections::BTreeSet<&str> = statements
        .filter_map(|statement| match &statement.instruction {
            Instruction::Arg(arg) => Some(&arg.declarations),
            _ => None,
        })
        .flatten()
        .map(|declaration| declaration.name.text.as_str())
        .collect();
    for name in options.build_args.keys() {
        if !declared.contains(name.as_str()) && !arguments::is_predefined(name) {
            let message = format!("build argument {} is not used by any ARG", crate::dockerfile::quote(name));
            warnings.push(message, None);
        }
    }
}
