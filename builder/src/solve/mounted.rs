//! RUN: its key, and what its mounts are made of.
//!
//! ```text
//! binds ─▶ keys of their files ─▶ content key ─hit▶ layer
//!                                     └miss▶ materials ─▶ caches taken ─▶ run ─▶ layer
//!                                                            └ one is in use: later
//! ```
//!
//! Who waits for a locked cache mount holds nothing meanwhile, and occupies no thread.

use std::sync::{Arc, PoisonError};

use super::answer::Solver;
use super::define::{Reading, bound};
use super::job::Job;
use super::schedule::Step;
use super::solver::{SolveError, Solved, Workshop};
use super::{Key, KeyHasher};
use crate::context::FileTree;
use crate::mounts::Wanted;
use crate::op::run::{self, Backing, Material, RunError};
use crate::plan::graph::{Mount, MountFiles, MountTree, Run, VertexId};
use crate::progress::Event;

impl Job<'_> {
    pub(super) fn run(&mut self, run: &Run, inputs: &[Arc<Solved>]) -> Result<Step<Solved>, SolveError> {
        let (workshop, vertex, below) = (self.workshop, self.id, &inputs[0]);
        let readings = match run.mounts.is_empty() {
            true => Arc::default(),
            false => self.readings()?,
        };
        let bound = workshop.bound(run, &readings, &inputs[1..])?;
        let key = run::key(run, below.chain_id, &bound, workshop.epoch);
        let mut busy = Vec::new();
        let step = self.found_or_made(key, below, |writer| {
            let materials = workshop.materials(run, &readings, &bound, &inputs[1..])?;
            workshop.restore_mounts(run::wanted(run, &materials).values()).map_err(RunError::from)?;
            let mut output = |line: &[u8]| workshop.progress.event(Event::Output { vertex, line });
            let mut room = run::Room {
                store: &*workshop.store,
                snapshots: &*workshop.snapshots,
                known: &|layer| workshop.known(layer),
                backing: workshop.backing(&materials),
                surroundings: &workshop.surroundings,
                interrupt: &workshop.interrupt,
                epoch: workshop.epoch,
                output: &mut output,
            };
            let chain = below.outline().diff_ids();
            let stood_on = run::Below { chain: &chain, layers: &|| below.layers().as_slice() };
            let made = run::make(run, &stood_on, &mut room, writer);
            if matches!(made, Err(RunError::Busy)) {
                busy = run::wanted(run, &materials).into_values().collect();
            }
            Ok(made?)
        });
        match step {
            Err(SolveError::Run(RunError::Busy)) => {
                self.solver.put_off(self.id, busy);
                Ok(Step::Later)
            }
            step => step,
        }
    }
}

impl Workshop<'_> {
    fn backing<'b>(&'b self, materials: &'b [Material]) -> Backing<'b> {
        let Workshop { mounts, copies, secrets, agents, .. } = self;
        Backing { materials, mounts, copies, secrets, agents }
    }

    /// Returns a key of the files of each mount whose files decide about the result.
    fn bound(&self, run: &Run, readings: &[Reading], others: &[Arc<Solved>]) -> Result<Vec<Key>, SolveError> {
        let mut readings = readings.iter();
        let mut keys = Vec::new();
        for files in bound(run) {
            let mut hasher = KeyHasher::new("mounted");
            match &files.tree {
                MountTree::Context(_) => {
                    let reading = readings.next().expect("because every mount of a context was read");
                    reading.gathered.hash(&mut hasher);
                }
                MountTree::Nothing | MountTree::Vertex(_) => {
                    let tree = self.tree(&input(run, &files.tree, others))?;
                    self.gather(&tree, &files.path)?.hash(&mut hasher);
                }
            }
            keys.push(hasher.finish());
        }
        Ok(keys)
    }

    /// Returns what there is for each mount; `bound` are the keys of the binds' files.
    fn materials(
        &self,
        run: &Run,
        readings: &[Reading],
        bound: &[Key],
        others: &[Arc<Solved>],
    ) -> Result<Vec<Material>, SolveError> {
        let (mut readings, mut bound) = (readings.iter(), bound.iter());
        let mut materials = Vec::new();
        for mount in &run.mounts {
            materials.push(match mount {
                Mount::Bind { files, .. } => {
                    let key = bound.next().expect("because every bind has a key");
                    match &files.tree {
                        MountTree::Context(name) => {
                            let reading = readings.next().expect("because every mount of a context was read");
                            Material::Files(reading.tree(), of_context(name, files, key))
                        }
                        tree => Material::Layers(Arc::clone(input(run, tree, others).layers())),
                    }
                }
                Mount::Cache { files: Some(files), .. } => self.filling(run, files, others)?,
                Mount::Cache { .. } | Mount::Secret { .. } | Mount::Ssh { .. } | Mount::Tmpfs { .. } => {
                    Material::Nothing
                }
            });
        }
        Ok(materials)
    }

    /// Returns what a new cache begins with. Its key is that of the stage or image as it is now: a cache that
    /// began as something else is another one, as in BuildKit.
    fn filling(&self, run: &Run, files: &MountFiles, others: &[Arc<Solved>]) -> Result<Material, SolveError> {
        let mut hasher = KeyHasher::new("filling");
        hasher.field("path", &files.path);
        let tree: Arc<dyn FileTree> = match &files.tree {
            MountTree::Context(name) => {
                let look = self.context(name)?;
                self.gather(&*look, &files.path)?.hash(&mut hasher);
                look
            }
            // An empty one is like one that is filled with nothing.
            MountTree::Nothing if files.path.is_empty() => return Ok(Material::Nothing),
            tree => {
                let other = input(run, tree, others);
                let chain_id = other.chain_id.map(|chain_id| chain_id.to_string());
                hasher.field("chain", chain_id.unwrap_or_default());
                let tree = self.tree(&other)?;
                // Before a cache is made of it.
                self.found(&tree, &files.path)?;
                Arc::new(tree)
            }
        };
        Ok(Material::Files(tree, hasher.finish()))
    }
}

/// Returns the vertex whose files a mount shows; of scratch, nothing at all.
fn input(run: &Run, tree: &MountTree, others: &[Arc<Solved>]) -> Arc<Solved> {
    let MountTree::Vertex(vertex) = tree else { return Arc::new(Solved::of(Vec::new())) };
    let mut named = run.mounts.iter().filter_map(Mount::vertex);
    let place = named.position(|named| named == *vertex);
    Arc::clone(&others[place.expect("because every mounted vertex is among the inputs")])
}

/// Two contexts may hold the same, and yet be edited apart.
fn of_context(name: &Option<String>, files: &MountFiles, key: &Key) -> Key {
    let mut hasher = KeyHasher::new("copy of a context");
    hasher.field("name", format!("{name:?}")).field("path", &files.path).field("files", key.as_bytes());
    hasher.finish()
}

impl Solver<'_> {
    /// Notes that a RUN waits until these caches are free, and tells so.
    fn put_off(&self, vertex: VertexId, wanted: Vec<Wanted>) {
        let before = self.put_off.lock().unwrap_or_else(PoisonError::into_inner).insert(vertex.0, wanted);
        if before.is_none() {
            let line = b"waiting for a cache mount that another RUN has locked";
            self.workshop.progress.event(Event::Output { vertex, line });
        }
    }

    /// Whether a RUN must still wait for its caches.
    pub(super) fn is_put_off(&self, vertex: usize) -> Result<bool, SolveError> {
        let put_off = self.put_off.lock().unwrap_or_else(PoisonError::into_inner).get(&vertex).cloned();
        let Some(wanted) = put_off else { return Ok(false) };
        Ok(!self.workshop.mounts.are_free(&wanted).map_err(RunError::from)?)
    }
}
