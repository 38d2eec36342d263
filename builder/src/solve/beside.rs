//! Layers that are unpacked while they are written, because a RUN will stand on them.

use std::collections::HashSet;

use oxbox_layers::layer::{Layer, LayerWriter};

use super::solver::{Solved, Workshop};
use crate::plan::graph::{Graph, Op, VertexId};
use crate::snapshot::Beside;

/// Returns the vertices whose layers some RUN stands on. A RUN's own is there once it ran.
pub fn stood_on(graph: &Graph) -> HashSet<VertexId> {
    let mut found = HashSet::new();
    let runs = graph.vertices.iter().filter(|vertex| matches!(vertex.op, Op::Run(_)));
    let mut waiting: Vec<VertexId> = runs.filter_map(|vertex| vertex.op.below()).collect();
    while let Some(next) = waiting.pop() {
        if !found.insert(next) {
            continue;
        }
        let op = &graph.vertices[next.0].op;
        waiting.extend(op.below());
        if let Op::Merge(merge) = op {
            waiting.push(merge.above);
        }
    }
    found.retain(|below| matches!(graph.vertices[below.0].op, Op::Copy(_)));
    found
}

impl Workshop<'_> {
    /// Starts unpacking what a vertex will write. A failure costs time only.
    pub(super) fn beside(&self, vertex: VertexId, writer: LayerWriter) -> (Option<Beside>, LayerWriter) {
        if !self.stood_on.contains(&vertex) {
            return (None, writer);
        }
        match Beside::start(&*self.snapshots) {
            Ok(Some((beside, sink))) => (Some(beside), writer.copied_to(Box::new(sink))),
            Ok(None) => (None, writer),
            Err(error) => {
                tracing::debug!(%error, "a layer is not unpacked beside being written");
                (None, writer)
            }
        }
    }

    /// Keeps what was unpacked, now that the layer has a name.
    pub(super) fn keep_beside(&self, beside: Option<Beside>, below: &Solved, layer: &Layer) {
        let (Some(beside), Some(known)) = (beside, self.known(layer)) else { return };
        if let Err(error) = beside.finish(&*self.snapshots, below.chain_id, &layer.diff_id, &known) {
            tracing::debug!(%error, "a layer was not unpacked beside being written");
        }
    }
}
