//! Definition keys: what a vertex is, told by what it does and by what its inputs are told to be.
//!
//! ```text
//! definition(source)  =  the chain_id of what it brought
//! definition(vertex)  =  what it does  ‖  definition of each input  ‖  what it reads of contexts
//! ```
//!
//! A content key is of what comes in, a definition of how that comes to be: it can be had before anything
//! is made, and with nothing at hand but the Dockerfile and the contexts. Of a base image its layers
//! count and not its config: what a step takes of that stands in the step's own fields.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::gather::{Choice, Gathered, Reader, Remembered};
use super::solver::{SolveError, Workshop};
use super::{Key, KeyHasher};
use crate::context::tree::{self, Last};
use crate::context::{FileTree, Ignore, Look};
use crate::op::copy::{CopyError, SelectError, Selected};
use crate::op::run;
use crate::plan::VertexId;
use crate::plan::graph::{Copy, Mount, MountFiles, MountTree, Op, Placing, Run, Source};

/// How long what was read of a context holds. Whoever edits a file while a long RUN is at work gets what is
/// there when it is copied, and not an error because it is not what it was when the build began.
const HOLDS: Duration = Duration::from_secs(1);

/// What a vertex is, and what it reads of contexts.
#[derive(Clone)]
pub(super) struct Defined {
    pub(super) key: Key,
    /// One for each source or mount that reads a context, in their order.
    pub(super) readings: Arc<Vec<Reading>>,
    read: Instant,
}

/// What one source or mount reads of a context.
pub(super) struct Reading {
    look: Arc<Look>,
    pub(super) choice: Choice,
    pub(super) gathered: Arc<Gathered>,
}

impl Defined {
    /// Whether what was read is surely what is there.
    pub(super) fn holds(&self) -> bool {
        self.readings.is_empty() || self.read.elapsed() < HOLDS
    }

    /// Returns all that was read.
    pub(super) fn gathered(&self) -> Vec<Arc<Gathered>> {
        self.readings.iter().map(|reading| Arc::clone(&reading.gathered)).collect()
    }
}

impl Reading {
    /// Returns the context as it was read: what is copied later must still be that.
    pub(super) fn tree(&self) -> Arc<dyn FileTree> {
        let (tree, gathered) = (Arc::clone(&self.look), Arc::clone(&self.gathered));
        Arc::new(Remembered { tree, gathered })
    }
}

impl Workshop<'_> {
    /// Defines a vertex that names others; `inputs` are their definitions.
    pub(super) fn define(&self, op: &Op, inputs: &[Key]) -> Result<Defined, SolveError> {
        let mut hasher = KeyHasher::new("definition");
        hasher.list("inputs", inputs.iter().map(Key::as_bytes)).field("epoch", self.epoch.to_le_bytes());
        let read = Instant::now();
        let mut readings = Vec::new();
        match op {
            Op::Copy(copy) => {
                hasher.field("copy", format!("{:?}", without_inputs(copy)));
                let exclude = exclude(copy)?;
                for source in &copy.sources {
                    if let Source::Context { name, pattern } = source {
                        readings.push(self.read_pattern(name, pattern, copy.placing, &exclude)?);
                    }
                }
            }
            Op::Merge(_) => _ = hasher.field("merge", ""),
            Op::Run(run) => {
                run::fields(run, &mut hasher);
                for files in bound(run) {
                    hasher.field("mounted", &files.path);
                    if let MountTree::Context(name) = &files.tree {
                        readings.push(self.read_path(name, &files.path)?);
                    }
                }
            }
            Op::Workdir(workdir) => {
                hasher.field("workdir", &workdir.path).field("user", &workdir.user);
            }
            Op::Git(_) | Op::Http(_) | Op::Image(_) | Op::Local(_) | Op::Scratch => {
                unreachable!("because a source names nothing, and is what it brings")
            }
        }
        readings.iter().for_each(|reading| reading.gathered.hash(&mut hasher));
        Ok(Defined { key: hasher.finish(), readings: Arc::new(readings), read })
    }

    /// Reads all of a tree below a path, for a mount. Links that the path leads through are followed.
    ///
    /// # Errors
    ///
    /// [`SelectError::Missing`] if nothing is there.
    pub(super) fn gather(&self, tree: &dyn FileTree, path: &str) -> Result<Gathered, SolveError> {
        let choice = Choice::Paths(vec![self.found(tree, path)?]);
        Ok(Gathered::of(tree, &choice, &self.reader(&Ignore::default()))?)
    }

    /// Returns where the path of a mount leads.
    pub(super) fn found(&self, tree: &dyn FileTree, path: &str) -> Result<Selected, SolveError> {
        let found = tree::resolve(tree, path.as_bytes(), Last::Follow).map_err(CopyError::Tree)?;
        match tree.node(&found).map_err(CopyError::Tree)? {
            Some(_) => Ok(Selected { name: Vec::new(), path: found }),
            None => {
                let error = SelectError::Missing { pattern: path.to_owned(), path: found };
                Err(CopyError::Select(error).into())
            }
        }
    }

    fn reader<'r>(&'r self, exclude: &'r Ignore) -> Reader<'r> {
        Reader { exclude, threads: self.threads, interrupt: &self.interrupt }
    }

    fn read_pattern(
        &self,
        name: &Option<String>,
        pattern: &str,
        placing: Placing,
        exclude: &Ignore,
    ) -> Result<Reading, SolveError> {
        let look = self.context(name)?;
        let choice = Choice::of(&*look, pattern, placing).map_err(|error| match error {
            SelectError::Missing { pattern, path } if look.hides(&path) => CopyError::Ignored { pattern },
            error => CopyError::Select(error),
        })?;
        let gathered = Arc::new(Gathered::of(&*look, &choice, &self.reader(exclude))?);
        Ok(Reading { look, choice, gathered })
    }

    fn read_path(&self, name: &Option<String>, path: &str) -> Result<Reading, SolveError> {
        let look = self.context(name)?;
        let found = self.found(&*look, path).map_err(|error| match error {
            SolveError::Copy(CopyError::Select(SelectError::Missing { pattern, path }))
                if look.hides(&path) =>
            {
                CopyError::Ignored { pattern }.into()
            }
            error => error,
        })?;
        let choice = Choice::Paths(vec![found]);
        let gathered = Arc::new(Gathered::of(&*look, &choice, &self.reader(&Ignore::default()))?);
        Ok(Reading { look, choice, gathered })
    }
}

/// Returns what a COPY leaves out of directories.
pub(super) fn exclude(copy: &Copy) -> Result<Ignore, SolveError> {
    Ignore::of_patterns(&copy.exclude).map_err(|source| CopyError::Exclude { source }.into())
}

/// Returns the files that a RUN sees besides what it stands on: they decide what comes out. What a cache
/// mount holds does not, nor what it was filled with.
pub(super) fn bound(run: &Run) -> impl Iterator<Item = &MountFiles> {
    run.mounts.iter().filter_map(|mount| match mount {
        Mount::Bind { files, .. } => Some(files),
        _ => None,
    })
}

/// A COPY without the numbers of the vertices that it names, which say where in a graph they stand. Its
/// other fields go into the key as they are, whichever there will be.
fn without_inputs(copy: &Copy) -> Copy {
    let nobody = VertexId(0);
    let source = |source: &Source| match source {
        Source::Vertex { pattern, .. } => Source::Vertex { vertex: nobody, pattern: pattern.clone() },
        source => source.clone(),
    };
    Copy {
        below: nobody,
        names: copy.names.map(|_| nobody),
        sources: copy.sources.iter().map(source).collect(),
        ..copy.clone()
    }
}
