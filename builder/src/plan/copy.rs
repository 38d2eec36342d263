//! COPY and ADD.

use super::error::{PlanError, PlanErrorKind};
use super::graph::{Copy, CopyInstruction, Image, Op, Placing, Source, Unpack, Vertex, VertexId};
use super::lower::Planner;
use super::mode::{Mode, ModeError};
use super::path;
use super::resolve::Needed;
use super::run::check_name;
use super::state::State;
use super::step::{CopyFrom, Step};
use crate::dockerfile::ast::{self, Word};
use crate::dockerfile::{Span, cut};

/// What COPY and ADD have in common.
struct Files<'s> {
    instruction: CopyInstruction,
    sources: &'s [ast::Source],
    destination: &'s Word,
    chown: Option<&'s Word>,
    chmod: Option<&'s Word>,
    from: Tree,
}

/// Whose files plain sources are.
enum Tree {
    Context(Option<String>),
    Vertex(VertexId),
}

impl Planner<'_> {
    pub(super) fn copy(
        &mut self,
        state: &mut State,
        step: &Step<'_>,
        copy: &ast::Copy,
        needed: &Needed<'_>,
    ) -> Result<(), PlanError> {
        self.refuse_flags(
            step,
            &[("link", copy.link), ("parents", copy.parents), ("exclude", !copy.exclude.is_empty())],
        )?;
        let from = match &step.from {
            None => Tree::Context(None),
            Some(CopyFrom::Context(name)) => Tree::Context(Some(name.clone())),
            Some(from) => Tree::Vertex(self.copied_vertex(step, from, copy, needed)),
        };
        let files = Files {
            instruction: CopyInstruction::Copy,
            sources: &copy.sources,
            destination: &copy.destination,
            chown: copy.chown.as_ref(),
            chmod: copy.chmod.as_ref(),
            from,
        };
        self.files(state, step, files)
    }

    pub(super) fn add(
        &mut self,
        state: &mut State,
        step: &Step<'_>,
        add: &ast::Add,
    ) -> Result<(), PlanError> {
        self.refuse_flags(
            step,
            &[
                ("link", add.link),
                ("exclude", !add.exclude.is_empty()),
                ("keep-git-dir", add.keep_git_dir.is_some()),
                ("unpack", add.unpack.is_some()),
            ],
        )?;
        let files = Files {
            instruction: CopyInstruction::Add,
            sources: &add.sources,
            destination: &add.destination,
            chown: add.chown.as_ref(),
            chmod: add.chmod.as_ref(),
            from: Tree::Context(None),
        };
        // Before the checksum: what cannot be added at all is told first.
        let checksum = add.checksum.as_ref().map(|checksum| checksum.span);
        self.files(state, step, files)?;
        match checksum {
            Some(span) => Err(step.place.error(PlanErrorKind::ChecksumOfLocalFile, span)),
            None => Ok(()),
        }
    }

    /// Returns the vertex whose files are copied; an image that only this COPY names becomes one.
    fn copied_vertex(
        &mut self,
        step: &Step<'_>,
        from: &CopyFrom,
        copy: &ast::Copy,
        needed: &Needed<'_>,
    ) -> VertexId {
        let (op, title) = match from {
            CopyFrom::Stage(stage) => {
                let state = self.states[*stage].as_ref();
                return state.expect("because a stage that is copied from was needed and came first").vertex;
            }
            CopyFrom::Image(image) => {
                let pulled = &needed.images[*image];
                let name = copy.from.as_ref().map(|from| from.text.clone()).unwrap_or_default();
                let op = Op::Image(Image { name, manifest: pulled.base.manifest.clone() });
                (op, format!("FROM {}", pulled.reference))
            }
            CopyFrom::Scratch | CopyFrom::Context(_) => (Op::Scratch, "FROM scratch".to_owned()),
        };
        let line = self.line(step.place.of(step.statement.keyword.span));
        self.graph.vertices.push(Vertex { op, title, line, exported: false });
        VertexId(self.graph.vertices.len() - 1)
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
        let (sources, names) = self.sources(state, step, &files)?;
        let destination = self.expander(state, step).word(files.destination)?;
        let line = history(&files, (chown.as_deref(), chmod.as_deref()), &names, &destination);
        let op = Copy {
            below: state.vertex,
            sources,
            destination: path::destination(state.directory(), &destination),
            chown,
            chmod: mode,
            instruction: files.instruction,
            exclude: Vec::new(),
            placing: Placing::Name,
            unpack: match files.instruction {
                CopyInstruction::Add => Unpack::Local,
                CopyInstruction::Copy => Unpack::Nothing,
            },
            names: None,
        };
        let title = self.expanded_text(state, step);
        let vertex = self.vertex(state, step, Op::Copy(op), title)?;
        self.record(state, step, line, Some(vertex))
    }

    /// Returns the sources, and their names in the history: paths first, then heredocs.
    fn sources(
        &mut self,
        state: &State,
        step: &Step<'_>,
        files: &Files<'_>,
    ) -> Result<(Vec<Source>, Vec<String>), PlanError> {
        let (mut sources, mut names) = (Vec::new(), Vec::new());
        for word in files.sources.iter().filter_map(path_of) {
            let pattern = self.expander(state, step).word(word)?;
            check_local(files.instruction, &pattern).map_err(|kind| step.place.error(kind, word.span))?;
            names.push(pattern.clone());
            sources.push(match &files.from {
                Tree::Context(name) => Source::Context { name: name.clone(), pattern },
                Tree::Vertex(vertex) => Source::Vertex { vertex: *vertex, pattern },
            });
        }
        for source in files.sources {
            let ast::Source::Heredoc(heredoc) = source else { continue };
            check_name(step, Some(heredoc), &heredoc.name)?;
            let content = self.expander(state, step).heredoc(heredoc)?;
            names.push(format!("<<{}", heredoc.name));
            sources.push(Source::Inline { name: heredoc.name.clone(), content });
        }
        Ok((sources, names))
    }

    fn refuse_flags(&self, step: &Step<'_>, flags: &[(&str, bool)]) -> Result<(), PlanError> {
        let Some((flag, _)) = flags.iter().find(|(_, given)| *given) else { return Ok(()) };
        let what = format!("{} --{flag}", step.statement.instruction.keyword());
        Err(step.place.error(PlanErrorKind::not_supported(what), self.flag(step, flag)))
    }

    /// Returns where a flag stands, as near as can be told.
    pub(super) fn flag(&self, step: &Step<'_>, flag: &str) -> Span {
        let statement = &step.statement;
        let text = self.source.slice(statement.span).unwrap_or_default();
        match text.find(&format!("--{flag}")) {
            Some(at) => {
                let start = statement.span.range().start + at;
                Span::new(start, start + flag.len() + 2)
            }
            None => statement.keyword.span,
        }
    }
}

fn path_of(source: &ast::Source) -> Option<&Word> {
    match source {
        ast::Source::Path(word) => Some(word),
        ast::Source::Heredoc(_) => None,
    }
}

/// `COPY --chown=… --chmod=… src … dst # buildkit`
fn history(
    files: &Files<'_>,
    (chown, chmod): (Option<&str>, Option<&str>),
    names: &[String],
    destination: &str,
) -> String {
    let mut line = match files.instruction {
        CopyInstruction::Add => "ADD".to_owned(),
        CopyInstruction::Copy => "COPY".to_owned(),
    };
    for (flag, value) in [("chown", chown), ("chmod", chmod)] {
        line.extend(value.map(|value| format!(" --{flag}={value}")));
    }
    format!("{line} {} {destination} # buildkit", names.join(" "))
}

/// Whether a source is a local path.
fn check_local(instruction: CopyInstruction, source: &str) -> Result<(), PlanErrorKind> {
    let git = is_git(source);
    let remote = git || source.starts_with("http://") || source.starts_with("https://");
    match instruction {
        _ if !remote => Ok(()),
        CopyInstruction::Copy => Err(PlanErrorKind::RemoteCopy { source_text: source.to_owned() }),
        CopyInstruction::Add if git => {
            Err(PlanErrorKind::not_supported(format!("ADD of the git repository {:?}", cut(source))))
        }
        CopyInstruction::Add => {
            Err(PlanErrorKind::not_supported(format!("ADD of the URL {:?}", cut(source))))
        }
    }
}

/// Whether a source names a git repository: `git://…`, `ssh://…`, `user@host:path` or `https://….git#…`.
fn is_git(source: &str) -> bool {
    if let Some((scheme, rest)) = source.split_once("://") {
        let path = rest.split(['#', '?']).next().unwrap_or_default();
        return match scheme {
            "git" | "ssh" => true,
            "http" | "https" => path.ends_with(".git"),
            _ => false,
        };
    }
    let Some((user, rest)) = source.split_once('@') else { return false };
    let is_word = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let host = rest.split_once(':').map(|(host, _)| host);
    is_word(user) && host.is_some_and(is_word)
}

#[cfg(test)]
mod tests {
    use super::is_git;

    #[test]
    fn repositories_are_told_from_paths_and_urls() {
        for source in
            ["git@host:a/b.git", "git://h/x", "ssh://h/x", "https://h/x.git", "https://h/x.git#v1:d"]
        {
            assert!(is_git(source), "{source}");
        }
        for source in ["a@b/c", "https://h/x.tar", "x.git", "a b@c:d", "https://h/x#.git"] {
            assert!(!is_git(source), "{source}");
        }
    }
}
