//! Needed stages to vertices, first to last.
//!
//! ```text
//! FROM image ─▶ Image      FROM stage ─▶ that stage's last vertex      FROM scratch ─▶ Scratch
//! RUN, COPY, ADD, WORKDIR ─▶ one vertex each, on the one before       the rest ─▶ config and history
//! ```
//!
//! COPY and ADD are in `copy.rs`, RUN in `run.rs`, what makes no vertex in `metadata.rs`, titles in `title.rs`.

use super::error::{Errors, PlanError, PlanErrorKind};
use super::graph::{HistoryLine, Image, Local, Op, VertexId, Workdir};
use super::grow::{Added, Growing};
use super::images::Images;
use super::metadata::{Given, Metadata};
use super::options::Options;
use super::path;
use super::resolve::{Ground, Needed, Resolved};
use super::scope::{Expander, Scope};
use super::stages::Outline;
use super::state::State;
use super::step::{Named, Step};
use super::title::Titles;
use crate::dockerfile::{Instruction, SourceFile, Span, ast};

/// The most that a plan may hold. Each RUN has the whole environment and each stage a config, so a file
/// of a megabyte could ask for gigabytes; real plans take some hundred kilobytes.
pub(super) const MAX_BYTES: usize = 64 << 20;

/// Turns stages into vertices.
pub(super) struct Planner<'p> {
    pub(super) source: &'p SourceFile,
    pub(super) options: &'p Options,
    pub(super) globals: &'p Scope,
    pub(super) images: &'p Images,
    /// What all platforms share.
    pub(super) growing: &'p mut Growing,
    pub(super) errors: &'p mut Errors,
    /// Roughly what the plan takes so far.
    pub(super) bytes: &'p mut usize,
    /// Stages that are done; those that failed are not.
    pub(super) states: Vec<Option<State>>,
    /// Titles of the stage under way.
    pub(super) titles: Titles,
}

impl Planner<'_> {
    /// Plans every needed stage. What is wrong is among the errors.
    pub(super) fn stages(&mut self, outline: &Outline<'_>, needed: &Needed<'_>) {
        for (number, resolved) in needed.stages.iter().enumerate() {
            let from = outline.stages[number].from.image.span;
            let state = resolved.as_ref().and_then(|resolved| {
                let state = self.stage(resolved, from);
                self.titles.write(outline.label(number).as_deref(), &mut self.growing.graph);
                state
            });
            self.states.push(state);
            if self.errors.is_full() {
                return;
            }
        }
    }

    /// Plans a stage. An instruction that fails leaves the others alone, unless they depend on what it would
    /// have set; then the stage ends there.
    fn stage(&mut self, resolved: &Resolved<'_>, from: Span) -> Option<State> {
        let mut state = self.ground(resolved, from)?;
        let charged = self.charge(state.size()).map_err(|kind| kind.at(from));
        self.errors.keep(charged)?;
        for step in &resolved.steps {
            // It stands on, or reads, what failed already.
            if step.stages().any(|stage| self.states[stage].is_none()) {
                continue;
            }
            if let Err(error) = self.step(&mut state, step) {
                let ends = is_poisonous(&step.statement.instruction)
                    || matches!(error.kind, PlanErrorKind::TooLarge { .. });
                self.errors.push(error);
                if ends {
                    return None;
                }
            }
        }
        Some(state)
    }

    fn ground(&mut self, resolved: &Resolved<'_>, from: Span) -> Option<State> {
        let line = self.line(from);
        let asked = resolved.platform.as_ref().unwrap_or(self.options.target_platform());
        Some(match &resolved.ground {
            Ground::Scratch => {
                let vertex = self.growing.add(Op::Scratch, "FROM scratch", line).id();
                State::scratch(vertex, self.options.target_platform())
            }
            Ground::Folder(name) => {
                let op = Op::Local(Local { name: name.clone() });
                let vertex = self.growing.add(op, format!("FROM {name}"), line);
                self.titles.add(&[vertex], asked, None);
                State::scratch(vertex.id(), asked)
            }
            Ground::Image { image, name } => {
                let pulled = &self.images.pulled[*image];
                let op = Op::Image(Image { name: name.clone(), manifest: pulled.base.manifest.clone() });
                let vertex = self.growing.add(op, format!("FROM {}", pulled.title), line);
                self.titles.add(&[vertex], &pulled.platform, None);
                let mut state =
                    State::image(vertex.id(), pulled.base.config.clone(), pulled.platform.clone());
                self.options.edits.begin(&mut state);
                state
            }
            Ground::Stage(stage) => self.states[*stage].as_ref()?.child(),
        })
    }

    /// Returns the vertex of what an instruction names; nothing for a folder.
    pub(super) fn named_vertex(&mut self, step: &Step<'_>, named: &Named) -> Option<VertexId> {
        let line = self.line(step.place.of(step.statement.keyword.span));
        Some(match named {
            Named::Context(_) => return None,
            Named::Stage(stage) => {
                let state = self.states[*stage].as_ref();
                state.expect("because a step that needs a stage without a state is left out").vertex
            }
            Named::Image { image, name } => {
                let pulled = &self.images.pulled[*image];
                let op = Op::Image(Image { name: name.clone(), manifest: pulled.base.manifest.clone() });
                self.growing.add(op, format!("FROM {}", pulled.title), line).id()
            }
            Named::Scratch => self.growing.add(Op::Scratch, "FROM scratch", line).id(),
        })
    }

    fn step(&mut self, state: &mut State, step: &Step<'_>) -> Result<(), PlanError> {
        match &step.statement.instruction {
            Instruction::Add(add) => self.add(state, step, add),
            Instruction::Copy(copy) => self.copy(state, step, copy),
            Instruction::Run(run) => self.run(state, step, run),
            Instruction::Workdir(workdir) => self.workdir(state, step, workdir),
            instruction => {
                let given = Given { build_args: &self.options.build_args, globals: self.globals };
                let mut metadata = Metadata { state, place: &step.place };
                match metadata.apply(instruction, given)? {
                    Some(line) => self.record(state, step, line, None),
                    None => Ok(()),
                }
            }
        }
    }

    fn workdir(
        &mut self,
        state: &mut State,
        step: &Step<'_>,
        workdir: &ast::Workdir,
    ) -> Result<(), PlanError> {
        let written = self.expander(state, step).word(&workdir.path)?;
        let directory = path::join(state.directory(), &written);
        let line = format!("WORKDIR {directory}");
        state.container().working_dir = Some(directory.clone());
        if directory == "/" {
            return self.record(state, step, line, None);
        }
        let op = Workdir { below: state.vertex, path: directory, user: state.user().to_owned() };
        let title = self.expanded_text(state, step);
        let vertex = self.vertex(state, step, Op::Workdir(op), title)?;
        self.record(state, step, line, Some(vertex))
    }

    pub(super) fn expander<'e>(&'e self, state: &'e State, step: &'e Step<'_>) -> Expander<'e> {
        Expander { scope: &state.scope, place: &step.place }
    }

    /// Adds a vertex on top of the stage.
    pub(super) fn vertex(
        &mut self,
        state: &mut State,
        step: &Step<'_>,
        op: Op,
        text: String,
    ) -> Result<VertexId, PlanError> {
        self.vertices(state, step, Vec::new(), (op, text))
    }

    /// Adds a vertex on top of the stage, and those that it alone is made of; they share a number.
    pub(super) fn vertices(
        &mut self,
        state: &mut State,
        step: &Step<'_>,
        mut parts: Vec<Added>,
        (op, text): (Op, String),
    ) -> Result<VertexId, PlanError> {
        let top = self.part(step, op, text)?;
        parts.push(top);
        state.vertex = top.id();
        self.titles.add(&parts, &state.platform, Some(&state.scope));
        Ok(state.vertex)
    }

    /// Adds a vertex beside the stage.
    pub(super) fn part(&mut self, step: &Step<'_>, op: Op, text: String) -> Result<Added, PlanError> {
        let span = step.statement.keyword.span;
        self.charge(size(&op) + text.len()).map_err(|kind| step.place.error(kind, span))?;
        let line = self.line(step.place.of(span));
        Ok(self.growing.add(op, text, line))
    }

    /// Adds a line to the stage's history.
    pub(super) fn record(
        &mut self,
        state: &mut State,
        step: &Step<'_>,
        created_by: String,
        vertex: Option<VertexId>,
    ) -> Result<(), PlanError> {
        let span = step.statement.keyword.span;
        self.charge(created_by.len()).map_err(|kind| step.place.error(kind, span))?;
        state.history.push(HistoryLine { created_by, vertex });
        Ok(())
    }

    pub(super) fn line(&self, span: Span) -> usize {
        self.source.position(span.start).line
    }

    fn charge(&mut self, bytes: usize) -> Result<(), PlanErrorKind> {
        *self.bytes += bytes;
        if *self.bytes > MAX_BYTES {
            return Err(PlanErrorKind::TooLarge { max_bytes: MAX_BYTES });
        }
        Ok(())
    }
}

/// Whether what follows an instruction means nothing once that failed.
fn is_poisonous(instruction: &Instruction) -> bool {
    matches!(
        instruction,
        Instruction::Arg(_) | Instruction::Env(_) | Instruction::User(_) | Instruction::Workdir(_)
    )
}

/// Returns roughly how many bytes an operation takes.
fn size(op: &Op) -> usize {
    use super::graph::Source;
    let strings = |strings: &[String]| strings.iter().map(|string| string.len() + 24).sum::<usize>();
    let bytes = match op {
        Op::Copy(copy) => {
            let sources = copy.sources.iter().map(|source| match source {
                Source::Context { pattern, .. } | Source::Vertex { pattern, .. } => pattern.len() + 64,
                Source::Inline { name, content } => name.len() + content.len() + 64,
            });
            sources.sum::<usize>() + copy.destination.len() + strings(&copy.exclude)
        }
        Op::Run(run) => {
            let mounts = run.mounts.len() * 256;
            strings(&run.args) + strings(&run.env) + strings(&run.env_outside_key) + run.cwd.len() + mounts
        }
        Op::Workdir(workdir) => workdir.path.len(),
        Op::Http(http) => http.url.len() + http.name.len(),
        Op::Git(git) => git.remote.len(),
        Op::Image(_) | Op::Local(_) | Op::Merge(_) | Op::Scratch => 0,
    };
    bytes + 256
}
