//! What must be made again because somebody says so.
//!
//! A step that must be is made once in one build, however often it is named. RUN is executed; COPY and
//! ADD read what they copy, write their layer and do not ask whether it was written before; WORKDIR
//! looks. Sources are asked whether they changed, as always. All of it is noted for later builds.

use std::collections::BTreeSet;

use crate::dockerfile::SourceFile;
use crate::plan::Graph;
use crate::plan::stages::{Outline, Stage};

/// Whether what was made before is taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Reuse {
    /// It is.
    #[default]
    Allowed,
    /// Not in the stages of these names, written in any case.
    Except(BTreeSet<String>),
    /// Everything is made again, and remembered.
    Forbidden,
}

impl Reuse {
    /// Returns which vertices of a graph must be made again. A stage is told by the lines of its FROM and
    /// the next; ONBUILD stands at its FROM.
    pub(crate) fn fresh(&self, graph: &Graph, outline: &Outline<'_>, source: &SourceFile) -> Vec<bool> {
        let names = match self {
            Self::Allowed => return vec![false; graph.vertices.len()],
            Self::Forbidden => return vec![true; graph.vertices.len()],
            Self::Except(names) => names,
        };
        let is_named = |stage: usize| {
            let name = outline.stages[stage].name.as_deref();
            name.is_some_and(|name| names.iter().any(|asked| asked.eq_ignore_ascii_case(name)))
        };
        let named: Vec<bool> = (0..outline.stages.len()).map(is_named).collect();
        let of_vertex = stages(graph, outline, source);
        let mut fresh: Vec<bool> =
            of_vertex.into_iter().map(|stage| stage.is_some_and(|stage| named[stage])).collect();
        let lines = lines(outline, source);
        for (vertex, line) in &graph.shared {
            fresh[vertex.0] |= stage_at(&lines, *line).is_some_and(|stage| named[stage]);
        }
        fresh
    }

    /// Returns the names that no stage has.
    pub(crate) fn unknown(&self, outline: &Outline<'_>) -> Vec<&str> {
        let Self::Except(names) = self else { return Vec::new() };
        let is_known = |name: &&str| outline.find(name, outline.stages.len()).is_some();
        names.iter().map(String::as_str).filter(|name| !is_known(name)).collect()
    }
}

/// Returns the stage that each vertex stands in, by the lines of the file.
pub(crate) fn stages(graph: &Graph, outline: &Outline<'_>, source: &SourceFile) -> Vec<Option<usize>> {
    let lines = lines(outline, source);
    graph.vertices.iter().map(|vertex| stage_at(&lines, vertex.line)).collect()
}

/// Returns where each stage begins.
fn lines(outline: &Outline<'_>, source: &SourceFile) -> Vec<usize> {
    let begin = |stage: &Stage<'_>| source.position(stage.from.image.span.start).line;
    outline.stages.iter().map(begin).collect()
}

fn stage_at(lines: &[usize], line: usize) -> Option<usize> {
    lines.partition_point(|&begin| begin <= line).checked_sub(1)
}
