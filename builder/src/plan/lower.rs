//! Needed stages to vertices, first to last.
//!
//! ```text
//! FROM image ─▶ Image      FROM stage ─▶ that stage's last vertex      FROM scratch ─▶ Scratch
//! RUN, COPY, ADD, WORKDIR ─▶ one vertex each, on the one before       the rest ─▶ config and history
//! ```
//!
//! COPY and ADD are in `copy.rs`, RUN in `run.rs`, what makes no vertex in `metadata.rs`.

use super::error::{PlanError, PlanErrorKind};
use super::graph::{Graph, HistoryLine, Image, Op, Vertex, VertexId, Workdir};
use super::metadata::{Given, Metadata};
use super::options::Options;
use super::path;
use super::resolve::{Ground, Needed};
use super::scope::{Expander, Scope};
use super::stages::Outline;
use super::state::State;
use super::step::{Origin, Step};
use crate::dockerfile::word::expand;
use crate::dockerfile::{Instruction, SourceFile, Span, Word, ast};

/// The most that a plan may hold. Each RUN has the whole environment and each stage a config, so a file
/// of a megabyte could ask for gigabytes; real plans take some hundred kilobytes.
pub(super) const MAX_BYTES: usize = 64 << 20;

/// Turns stages into vertices.
pub(super) struct Planner<'p> {
    pub(super) source: &'p SourceFile,
    pub(super) options: &'p Options,
    pub(super) globals: &'p Scope,
    pub(super) graph: Graph,
    /// Stages that are done.
    pub(super) states: Vec<Option<State>>,
    /// Vertices of the stage under way.
    numbered: Vec<VertexId>,
    bytes: usize,
}

impl<'p> Planner<'p> {
    pub(super) fn new(source: &'p SourceFile, options: &'p Options, globals: &'p Scope) -> Self {
        let (graph, states, numbered) = (Graph::default(), Vec::new(), Vec::new());
        Self { source, options, globals, graph, states, numbered, bytes: 0 }
    }

    /// Plans every needed stage.
    pub(super) fn stages(&mut self, outline: &Outline<'_>, needed: &Needed<'_>) -> Result<(), PlanError> {
        for (number, resolved) in needed.stages.iter().enumerate() {
            let Some(resolved) = resolved else {
                self.states.push(None);
                continue;
            };
            let from = outline.stages[number].from.image.span;
            let mut state = self.ground(&resolved.ground, needed, from)?;
            self.charge(state.size()).map_err(|kind| kind.at(from))?;
            for step in &resolved.steps {
                self.step(&mut state, step, needed)?;
            }
            self.number(outline.label(number).as_deref());
            self.states.push(Some(state));
        }
        Ok(())
    }

    fn ground(&mut self, ground: &Ground, needed: &Needed<'_>, from: Span) -> Result<State, PlanError> {
        let line = self.line(from);
        let add = |graph: &mut Graph, op, title: String| {
            graph.vertices.push(Vertex { op, title, line, exported: false });
            VertexId(graph.vertices.len() - 1)
        };
        Ok(match ground {
            Ground::Scratch => {
                let vertex = add(&mut self.graph, Op::Scratch, "FROM scratch".to_owned());
                State::scratch(vertex, self.options.target_platform())
            }
            Ground::Image { image, name } => {
                let pulled = &needed.images[*image];
                let op = Op::Image(Image { name: name.clone(), manifest: pulled.base.manifest.clone() });
                let vertex = add(&mut self.graph, op, format!("FROM {}", pulled.reference));
                self.numbered.push(vertex);
                State::image(vertex, pulled.base.config.clone(), pulled.platform.clone())
            }
            Ground::Stage(stage) => {
                let state = self.states[*stage].as_ref();
                state.expect("because a stage that another stands on was needed and came first").child()
            }
        })
    }

    fn step(&mut self, state: &mut State, step: &Step<'_>, needed: &Needed<'_>) -> Result<(), PlanError> {
        match &step.statement.instruction {
            Instruction::Add(add) => self.add(state, step, add),
            Instruction::Copy(copy) => self.copy(state, step, copy, needed),
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

    pub(super) fn expander<'e>(&'e mut self, state: &'e State, step: &'e Step<'_>) -> Expander<'e> {
        Expander { scope: &state.scope, place: &step.place }
    }

    /// Returns an instruction's text with its variables replaced, for people.
    pub(super) fn expanded_text(&self, state: &State, step: &Step<'_>) -> String {
        let text = title_text(step);
        match expand(&text, step.place.escape, &|name| state.scope.get(name)) {
            Ok(expanded) => expanded.text,
            Err(_) => text,
        }
    }

    /// Adds a vertex on top of the stage.
    pub(super) fn vertex(
        &mut self,
        state: &mut State,
        step: &Step<'_>,
        op: Op,
        text: String,
    ) -> Result<VertexId, PlanError> {
        let span = step.statement.keyword.span;
        self.charge(size(&op) + text.len()).map_err(|kind| step.place.error(kind, span))?;
        let title = match step.origin {
            Origin::Stage => text,
            Origin::Trigger => format!("ONBUILD {text}"),
        };
        let line = self.line(step.place.of(span));
        self.graph.vertices.push(Vertex { op, title, line, exported: false });
        state.vertex = VertexId(self.graph.vertices.len() - 1);
        self.numbered.push(state.vertex);
        Ok(state.vertex)
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

    /// Writes `[stage 2/12]` before the titles of the stage that is done.
    fn number(&mut self, label: Option<&str>) {
        let total = self.numbered.len();
        let width = total.to_string().len();
        let label = label.map(|label| format!("{label} ")).unwrap_or_default();
        for (index, vertex) in self.numbered.drain(..).enumerate() {
            let title = &mut self.graph.vertices[vertex.0].title;
            *title = format!("[{label}{:>width$}/{total}] {title}", index + 1);
        }
    }

    pub(super) fn line(&self, span: Span) -> usize {
        self.source.position(span.start).line
    }

    fn charge(&mut self, bytes: usize) -> Result<(), PlanErrorKind> {
        self.bytes += bytes;
        if self.bytes > MAX_BYTES {
            return Err(PlanErrorKind::TooLarge { max_bytes: MAX_BYTES });
        }
        Ok(())
    }
}

/// Returns an instruction's text with its keyword in capitals.
pub(super) fn title_text(step: &Step<'_>) -> String {
    let Word { text: keyword, .. } = &step.statement.keyword;
    let rest = step.statement.text.strip_prefix(keyword.as_str()).unwrap_or_default();
    format!("{}{rest}", step.statement.instruction.keyword())
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
            strings(&run.args) + strings(&run.env) + strings(&run.env_outside_key) + run.cwd.len()
        }
        Op::Workdir(workdir) => workdir.path.len(),
        Op::Http(http) => http.url.len() + http.name.len(),
        Op::Git(git) => git.remote.len(),
        Op::Image(_) | Op::Local(_) | Op::Merge(_) | Op::Scratch => 0,
    };
    bytes + 256
}
