//! A graph under way, in which equal vertices are one.
//!
//! Two stages, or two platforms, that begin with the same image and the same RUN share both: a vertex that
//! would do the same on the same inputs is the one that is there. Its title and its line stay those of the
//! first.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::graph::{Graph, Op, Vertex, VertexId};

/// A graph under way.
#[derive(Debug, Default)]
pub(super) struct Growing {
    pub(super) graph: Graph,
    /// Vertices by the hash of what they do.
    known: HashMap<u64, Vec<VertexId>>,
}

/// A vertex of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// It was there.
    Known(VertexId),
    /// It was added.
    New(VertexId),
}

impl Added {
    pub(super) fn id(self) -> VertexId {
        match self {
            Self::Known(id) | Self::New(id) => id,
        }
    }
}

impl Growing {
    /// Adds a vertex, unless one that does the same is there.
    pub(super) fn add(&mut self, op: Op, title: impl Into<String>, line: usize) -> Added {
        let mut hasher = DefaultHasher::new();
        op.hash(&mut hasher);
        let same = self.known.entry(hasher.finish()).or_default();
        let is_there = |id: &&VertexId| self.graph.vertices[id.0].op == op;
        if let Some(&id) = same.iter().find(is_there) {
            if self.graph.vertices[id.0].line != line {
                self.graph.shared.insert((id, line));
            }
            return Added::Known(id);
        }
        let id = VertexId(self.graph.vertices.len());
        same.push(id);
        self.graph.vertices.push(Vertex { op, title: title.into(), line, exported: false });
        Added::New(id)
    }

    /// Marks the layers of an image: from its last vertex down to its base.
    pub(super) fn export(&mut self, top: VertexId) {
        let mut next = Some(top);
        while let Some(VertexId(place)) = next {
            let vertex = &mut self.graph.vertices[place];
            vertex.exported = true;
            next = vertex.op.below();
            if let Op::Merge(merge) = &vertex.op {
                let VertexId(above) = merge.above;
                self.graph.vertices[above].exported = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::graph::{Op, Workdir};
    use super::{Added, Growing};

    #[test]
    fn a_vertex_that_does_the_same_is_the_one_that_is_there() {
        let mut growing = Growing::default();
        let scratch = growing.add(Op::Scratch, "first", 1).id();
        let made =
            |path: &str| Op::Workdir(Workdir { below: scratch, path: path.to_owned(), user: String::new() });
        let a = growing.add(made("/a"), "a", 2);
        assert!(matches!(growing.add(made("/b"), "b", 3), Added::New(_)));
        assert_eq!(growing.add(made("/a"), "other", 4), Added::Known(a.id()));
        assert_eq!(growing.add(Op::Scratch, "other", 5), Added::Known(scratch));
        assert_eq!((growing.graph.vertices.len(), growing.graph.vertices[1].title.as_str()), (3, "a"));
        assert_eq!(growing.add(made("/a"), "a", 2), Added::Known(a.id()), "for another platform");
        assert_eq!(growing.graph.shared, [(scratch, 5), (a.id(), 4)].into());
    }
}
