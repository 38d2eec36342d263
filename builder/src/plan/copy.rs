//! COPY and ADD.
//!
//! ```text
//! COPY a b            Copy on what is below
//! COPY --link a b     Copy on Scratch, and Merge of that with what is below
//! ADD https://h/x b   Http, and Copy of its file; ADD of a repository likewise
//! ```
//!
//! What their sources are is in `sources.rs`.

use super::error::{PlanError, PlanErrorKind};
use super::graph::{Copy, CopyInstruction, Merge, Op, Placing, Unpack};
use super::grow::Added;
use super::lower::Planner;
use super::mode::{Mode, ModeError};
use super::path;
use super::sources::{Sources, Tree};
use super::state::State;
use super::step::{Named, Step};
use crate::dockerfile::ast::{self, Word};
use crate::fetch::without_users;
use crate::op::copy::Owner;

/// What COPY and ADD have in common.
struct Files<'s> {
    sources: Sources<'s>,
    destination: &'s Word,
    chown: Option<&'s Word>,
    chmod: Option<&'s Word>,
    exclude: &'s [Word],
    placing: Placing,
    unpack: Unpack,
    layout: Layout,
}

/// What files are laid out on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// What is below: directories that are there stay as they are.
    Below,
    /// Nothing: `--link`.
    Nothing,
}

impl Layout {
    fn of(link: bool) -> Self {
        if link { Self::Nothing } else { Self::Below }
    }
}

impl Planner<'_> {
    pub(super) fn copy(
        &mut self,
        state: &mut State,
        step: &Step<'_>,
        copy: &ast::Copy,
    ) -> Result<(), PlanError> {
        let tree = match step.names.first() {
            Some(Some(Named::Context(name))) => Tree::Context(Some(name.clone())),
            Some(Some(named)) => self.named_vertex(step, named).map_or(Tree::Context(None), Tree::Vertex),
            Some(None) | None => Tree::Context(None),
        };
        let files = Files {
            sources: Sources {
                instruction: CopyInstruction::Copy,
                written: &copy.sources,
                tree,
                checksum: None,
                keep_git_dir: None,
            },
            destination: &copy.destination,
            chown: copy.chown.as_ref(),
            chmod: copy.chmod.as_ref(),
            exclude: &copy.exclude,
            placing: if copy.parents { Placing::Path } else { Placing::Name },
            unpack: Unpack::Nothing,
            layout: Layout::of(copy.link),
        };
        self.files(state, step, files)
    }

    pub(super) fn add(
        &mut self,
        state: &mut State,
        step: &Step<'_>,
        add: &ast::Add,
    ) -> Result<(), PlanError> {
        let files = Files {
            sources: Sources {
                instruction: CopyInstruction::Add,
                written: &add.sources,
                tree: Tree::Context(None),
                checksum: add.checksum.as_ref(),
                keep_git_dir: add.keep_git_dir,
            },
            destination: &add.destination,
            chown: add.chown.as_ref(),
            chmod: add.chmod.as_ref(),
            exclude: &add.exclude,
            placing: Placing::Name,
            unpack: match add.unpack {
                None => Unpack::Local,
                Some(true) => Unpack::Everything,
                Some(false) => Unpack::Nothing,
            },
            layout: Layout::of(add.link),
        };
        self.files(state, step, files)
    }

    fn files(&mut self, state: &mut State, step: &Step<'_>, files: Files<'_>) -> Result<(), PlanError> {
        let chown = self.expander(state, step).optional(files.chown)?.filter(|chown| !chown.is_empty());
        let chmod = self.expander(state, step).optional(files.chmod)?.filter(|chmod| !chmod.is_empty());
        let mode = match (files.chmod, &chmod) {
            (Some(word), Some(text)) => Some(Mode::parse(text).map_err(|ModeError { text }| {
                step.place.error(PlanErrorKind::InvalidMode { mode: text }, word.span)
            })?),
            _ => None,
        };
        // As in BuildKit, whose merging came before its chmod: with both, nothing is linked.
        let layout = if mode.is_some() { Layout::Below } else { files.layout };
        let found = self.sources(state, step, &files.sources)?;
        let destination = self.expander(state, step).word(files.destination)?;
        let line = history(&files, (chown.as_deref(), chmod.as_deref()), &found.names, &destination);
        let needs_names = chown.as_deref().is_some_and(Owner::needs_names);
        let text = without_users(&self.expanded_text(state, step));
        let below = match layout {
            Layout::Below => state.vertex,
            Layout::Nothing => self.named_vertex(step, &Named::Scratch).unwrap_or(state.vertex),
        };
        let op = Op::Copy(Copy {
            below,
            sources: found.sources,
            destination: path::destination(state.directory(), &destination),
            chown,
            chmod: mode,
            instruction: files.sources.instruction,
            exclude: files.exclude.iter().map(|pattern| pattern.text.clone()).collect(),
            placing: files.placing,
            unpack: files.unpack,
            names: (layout == Layout::Nothing && needs_names).then_some(state.vertex),
        });
        let mut parts: Vec<Added> = found.vertices;
        let vertex = match layout {
            Layout::Below => self.vertices(state, step, parts, (op, text))?,
            Layout::Nothing => {
                let above = self.part(step, op, text.clone())?;
                parts.push(above);
                let merge = Op::Merge(Merge { below: state.vertex, above: above.id() });
                self.vertices(state, step, parts, (merge, format!("LINK {text}")))?
            }
        };
        self.record(state, step, line, Some(vertex))
    }
}

/// `COPY --parents --chown=… --chmod=… src … dst # buildkit`: of other flags nothing is told.
fn history(
    files: &Files<'_>,
    (chown, chmod): (Option<&str>, Option<&str>),
    names: &[String],
    destination: &str,
) -> String {
    let mut line = match files.sources.instruction {
        CopyInstruction::Add => "ADD".to_owned(),
        CopyInstruction::Copy => "COPY".to_owned(),
    };
    if files.placing == Placing::Path {
        line.push_str(" --parents");
    }
    for (flag, value) in [("chown", chown), ("chmod", chmod)] {
        line.extend(value.map(|value| format!(" --{flag}={value}")));
    }
    format!("{line} {} {destination} # buildkit", names.join(" "))
}
