//! One vertex that may have a layer of its own: found by its definition or its content, or made.
//!
//! ```text
//! definition ─hit▶ solved
//!      └miss▶ content key ─hit▶ solved             with inputs that may be known and not made
//!                  └miss▶ inputs ▶ lock ▶ op ▶ solved
//! ```

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use oxbox_layers::layer::{Layer, LayerWriter, Written};

use super::answer::Solver;
use super::cache::{Derivation, Seen};
use super::define::{Reading, exclude};
use super::explain::ledger::{Circumstance, Input as Seeming};
use super::gather::Choice;
use super::lock::Held;
use super::schedule::Step;
use super::solver::{SolveError, Solved, Workshop};
use super::{Key, KeyHasher};
use crate::context::{FileTree, Scratch};
use crate::op::archive::{self, Archive, ArchiveError};
use crate::op::copy::{self, CopyError, Dates, Input, Owner, Planned, Rules, Selected};
use crate::plan::graph::{self, Op, Source, Unpack, Vertex, VertexId, Workdir};
use crate::progress::Event;

/// One vertex being found or made.
pub(super) struct Job<'a> {
    pub(super) solver: &'a Solver<'a>,
    pub(super) workshop: &'a Workshop<'a>,
    pub(super) id: VertexId,
    pub(super) vertex: &'a Vertex,
    /// Whether nothing had to be done so far.
    pub(super) cached: bool,
    /// A lock that was waited for.
    held: Option<(Key, Held)>,
    effort: Effort,
    /// How the vertex is defined by what is there now; a source is defined by what it brings.
    pub(super) definition: Option<Key>,
    /// The content key, once it is known.
    pub(super) content: Option<Key>,
    /// What came in.
    inputs: Vec<Seeming>,
    /// Whether it was told that something is done.
    announced: bool,
    /// Which cache elsewhere had its layer, if one did.
    pub(super) from: Option<usize>,
    /// What its definition led to, now that it is done.
    pub(super) derivation: Option<Derivation>,
}

/// How far a job goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effort {
    /// It looks whether there is a layer.
    Find,
    /// It makes what there is not.
    Make,
}

impl<'a> Job<'a> {
    pub(super) fn new(
        solver: &'a Solver<'a>,
        id: VertexId,
        vertex: &'a Vertex,
        held: Option<(Key, Held)>,
    ) -> Self {
        let (workshop, definition) =
            (solver.workshop, solver.try_looked(id.0).map(|looked| looked.definition));
        Self {
            solver,
            workshop,
            id,
            vertex,
            cached: true,
            held,
            effort: Effort::Find,
            definition,
            content: None,
            inputs: Vec::new(),
            announced: false,
            from: None,
            derivation: None,
        }
    }

    /// Brings what a source is of.
    pub(super) fn bring(&mut self) -> Result<Step<Solved>, SolveError> {
        self.effort = Effort::Make;
        match &self.vertex.op {
            Op::Git(git) => self.git(git),
            Op::Http(http) => self.http(http),
            Op::Local(local) => self.local(local),
            Op::Image(image) => self.workshop.image(image).map(Step::Made),
            _ => Ok(Step::Made(Solved::of(Vec::new()))),
        }
    }

    /// Whether the vertex must be made again.
    pub(super) fn is_fresh(&self) -> bool {
        self.solver.is_fresh(self.id)
    }

    /// Finds the vertex or, once all inputs are made, makes it.
    pub(super) fn attempt(&mut self, inputs: &[Option<Arc<Solved>>]) -> Result<Step<Solved>, SolveError> {
        self.inputs = self.solver.inputs_now(self.id.0, inputs);
        let below = inputs[0].as_ref().expect("because what a vertex stands on is always made first");
        if let Some(solved) = self.by_definition(below, inputs)? {
            return Ok(Step::Made(solved));
        }
        if let Some(inputs) = inputs.iter().cloned().collect::<Option<Vec<_>>>() {
            self.effort = Effort::Make;
            let step = self.by_content(&inputs)?;
            self.note(&step, &inputs)?;
            return Ok(step);
        }
        if self.solver.is_fresh(self.id) {
            return Ok(Step::Wanting);
        }
        let inputs: Option<Vec<_>> =
            inputs.iter().enumerate().map(|(at, input)| self.outlined(at, input)).collect();
        let Some(known) = inputs else { return Ok(Step::Wanting) };
        // Whatever it lacks or dislikes, it tries again with inputs that are there.
        match self.by_content(&known) {
            Ok(step @ Step::Made(_)) => {
                known
                    .iter()
                    .enumerate()
                    .for_each(|(at, input)| self.solver.assume(self.id, at, input.chain_id));
                self.note(&step, &known)?;
                Ok(step)
            }
            Ok(_) | Err(_) => Ok(Step::Wanting),
        }
    }

    /// Returns an input as it was made, or else as notes say that it would be.
    fn outlined(&self, at: usize, input: &Option<Arc<Solved>>) -> Option<Arc<Solved>> {
        match input {
            Some(input) => Some(Arc::clone(input)),
            None if self.solver.may_assume(self.id, at).ok()? => self.solver.outlined(self.id, at),
            None => None,
        }
    }

    /// Finds or makes the vertex by what comes in.
    fn by_content(&mut self, inputs: &[Arc<Solved>]) -> Result<Step<Solved>, SolveError> {
        match &self.vertex.op {
            Op::Copy(copy) => self.copy(copy, inputs),
            Op::Run(run) => self.run(run, inputs),
            Op::Workdir(workdir) => self.workdir(workdir, &inputs[0]),
            Op::Git(_) | Op::Http(_) | Op::Image(_) | Op::Local(_) | Op::Merge(_) | Op::Scratch => {
                unreachable!("because none of these has a layer of its own")
            }
        }
    }

    /// Notes what the definition led to.
    fn note(&mut self, step: &Step<Solved>, inputs: &[Arc<Solved>]) -> Result<(), SolveError> {
        let Step::Made(made) = step else { return Ok(()) };
        let others = inputs[1..].iter().map(|input| Seen::Stack(input.chain_id)).collect();
        let (content, made, below) = (self.content, made.chain_id, inputs[0].chain_id);
        let derivation = Derivation { content, made, below, others };
        let (looked, definition) = (self.solver.looked(self.id.0), self.definition);
        let Some(definition) = definition else { return Ok(()) };
        let is_known = looked.definition == definition && looked.is_noted(&derivation);
        if !is_known {
            self.workshop.cache.put_derivation(&definition, &derivation, self.workshop.now)?;
        }
        self.derivation = Some(derivation);
        Ok(())
    }

    fn workdir(&mut self, workdir: &Workdir, below: &Arc<Solved>) -> Result<Step<Solved>, SolveError> {
        let owner = match workdir.user.as_str() {
            "" => Owner::default(),
            user => self.workshop.owner(user, below)?,
        };
        let mut planned = copy::plan_directory(&self.workshop.footing(below)?, &workdir.path, owner)?;
        self.planned(&mut planned, below)
    }

    fn copy(&mut self, copy: &graph::Copy, inputs: &[Arc<Solved>]) -> Result<Step<Solved>, SolveError> {
        let (below, others) = inputs.split_first().expect("because a copy stands on something");
        let mut others = others.iter();
        let names = copy.names.and_then(|_| others.next()).unwrap_or(below);
        let readings = self.readings()?;
        let mut readings = readings.iter();
        let mut sources = Vec::new();
        for source in &copy.sources {
            match source {
                Source::Inline { name, content } => {
                    sources.push(Input::Inline { name: name.clone(), content: content.clone() });
                }
                Source::Context { .. } => {
                    let reading = readings.next().expect("because every source of a context was read");
                    sources.extend(self.files(copy, source, reading.tree(), reading.choice.clone())?);
                }
                Source::Vertex { pattern, .. } => {
                    let other = others.next().expect("because every named vertex is among the inputs");
                    let tree = Arc::new(self.workshop.tree(other)?);
                    let choice = Choice::of(&*tree, pattern, copy.placing).map_err(CopyError::Select)?;
                    sources.extend(self.files(copy, source, tree, choice)?);
                }
            }
        }
        let rules = Rules {
            owner: copy.chown.as_deref().map(|text| self.workshop.owner(text, names)).transpose()?,
            mode: copy.chmod.clone(),
            exclude: exclude(copy)?,
        };
        let mut planned = copy::plan(&self.workshop.footing(below)?, sources, &copy.destination, rules)?;
        self.planned(&mut planned, below)
    }

    /// Returns what the vertex reads of contexts as they are now.
    pub(super) fn readings(&mut self) -> Result<Arc<Vec<Reading>>, SolveError> {
        let defined = self.solver.defined(self.id)?;
        self.definition = Some(defined.key);
        Ok(defined.readings)
    }

    /// Finds out what of a source is an archive to be unpacked.
    fn files(
        &self,
        copy: &graph::Copy,
        source: &Source,
        tree: Arc<dyn FileTree>,
        choice: Choice,
    ) -> Result<Vec<Input>, SolveError> {
        let selected = match choice {
            Choice::Parents(parents) => return Ok(vec![Input::Parents { tree, parents }]),
            Choice::Paths(selected) => selected,
        };
        let is_local = matches!(source, Source::Context { .. });
        if copy.unpack == Unpack::Nothing || (copy.unpack == Unpack::Local && !is_local) {
            return Ok(vec![Input::Paths { tree, selected }]);
        }
        let mut inputs = Vec::new();
        for one in selected {
            match (self.archive(&*tree, &one)?, inputs.last_mut()) {
                (Some(Archive { tree, directories }), _) => {
                    inputs.push(Input::Archive { tree: Arc::new(tree), directories });
                }
                (None, Some(Input::Paths { selected, .. })) => selected.push(one),
                (None, _) => inputs.push(Input::Paths { tree: Arc::clone(&tree), selected: vec![one] }),
            }
        }
        Ok(inputs)
    }

    fn archive(&self, tree: &dyn FileTree, one: &Selected) -> Result<Option<Archive>, SolveError> {
        let failed = |source: ArchiveError| {
            let pattern = String::from_utf8_lossy(&one.name).into_owned();
            SolveError::from(CopyError::Archive { pattern, source })
        };
        let node = tree.node(&one.path).map_err(CopyError::Tree)?;
        if node.is_none_or(|node| node.entry.size() == 0) {
            return Ok(None);
        }
        let mut contents = tree.contents(&mut [&*one.path].into_iter()).map_err(CopyError::Tree)?;
        let mut content = contents.open(&one.path, None).map_err(CopyError::Tree)?;
        if !archive::is_archive(&mut *content).map_err(failed)? {
            return Ok(None);
        }
        drop(content);
        let workshop = self.workshop;
        let fingerprint = tree.fingerprint(&one.path).map_err(CopyError::Tree)?;
        let key = KeyHasher::new("archive").field("content", &fingerprint).finish();
        let layer = match self.recorded(&key)? {
            Some(layer) => layer,
            None => {
                let content = contents.open(&one.path, Some(&fingerprint));
                let mut content = content.map_err(CopyError::Tree)?;
                let layer = archive::set_aside(&mut *content, &*workshop.store, &workshop.interrupt);
                let layer = layer.map_err(failed)?;
                workshop.cache.put(&key, &layer, workshop.now)?;
                layer
            }
        };
        archive::open(layer, &workshop.store, &workshop.spool).map(Some).map_err(failed)
    }

    pub(super) fn planned(
        &mut self,
        planned: &mut Planned,
        below: &Arc<Solved>,
    ) -> Result<Step<Solved>, SolveError> {
        if planned.is_empty() {
            return Ok(Step::Made(below.unchanged()));
        }
        let (epoch, now) = (self.workshop.epoch, self.workshop.now);
        let interrupt = &self.workshop.interrupt;
        let key = planned.key(epoch, self.workshop.threads, interrupt)?;
        self.found_or_made(key, below, |mut writer| {
            planned.write(&mut writer, Dates::of_epoch(epoch, now), interrupt)?;
            Ok(writer.finish_noted()?)
        })
    }

    /// Returns what the key led to before, or makes it and remembers.
    pub(super) fn found_or_made(
        &mut self,
        key: Key,
        below: &Arc<Solved>,
        make: impl FnOnce(LayerWriter) -> Result<Written, SolveError>,
    ) -> Result<Step<Solved>, SolveError> {
        self.content = Some(key);
        if let Some(layer) = self.cached(&key)? {
            return Ok(Step::Made(below.with(layer)));
        }
        if self.effort == Effort::Find {
            return Ok(Step::Wanting);
        }
        let held = match self.held.take().filter(|(locked, _)| *locked == key) {
            Some((_, held)) => held,
            None => match self.solver.take(self.id, &key)? {
                Some(held) => held,
                None => return Ok(Step::Later),
            },
        };
        // Whoever had the lock a moment ago may have made it.
        let layer = match self.cached(&key)? {
            Some(layer) => layer,
            None => self.made(&key, below, make)?,
        };
        drop(held);
        Ok(Step::Made(below.with(layer)))
    }

    fn made(
        &mut self,
        key: &Key,
        below: &Solved,
        make: impl FnOnce(LayerWriter) -> Result<Written, SolveError>,
    ) -> Result<Layer, SolveError> {
        self.cached = false;
        let workshop = self.workshop;
        self.announce()?;
        let (compression, place) = (workshop.compression_of(self.vertex), self.place());
        let last = match self.solver.is_fresh(self.id) {
            false => workshop.cache.last(&place)?,
            true => None,
        };
        let writer =
            LayerWriter::splicing(&*workshop.store, compression, workshop.threads.get(), last.as_ref())?;
        // What is much like the layer before it is made above that one's snapshot, for less.
        let (beside, writer) = match last {
            Some(_) => (None, writer),
            None => workshop.beside(self.id, writer),
        };
        let Written { layer, index, chunks, .. } = make(writer.indexed())?;
        if let Some(index) = index {
            workshop.indexes.put(layer.diff_id, index)?;
        }
        if let Some(chunks) = chunks {
            workshop.cache.put_last(&place, &chunks, workshop.now)?;
            workshop.indexes.note_chunks(chunks);
        }
        workshop.keep_beside(beside, below, &layer);
        self.remember(key, &layer)?;
        workshop.cache.describe(&layer, &self.vertex.title, workshop.now)?;
        Ok(layer)
    }

    /// Tells that there is something to do, once, and why.
    pub(super) fn announce(&mut self) -> Result<(), SolveError> {
        if std::mem::replace(&mut self.announced, true) {
            return Ok(());
        }
        let (vertex, title) = (self.id, self.vertex.title.as_str());
        // A source is made whenever it is asked for; whether it changed is not known before.
        let why = match self.solver.try_looked(vertex.0) {
            Some(looked) => {
                let circumstance = match &looked.derivation {
                    _ if self.solver.is_fresh(vertex) => Circumstance::Fresh,
                    Some(_) => Circumstance::Known,
                    None => Circumstance::Unknown,
                };
                let why =
                    self.solver.ledger.why(vertex.0, &self.inputs, circumstance, &self.workshop.reuse)?;
                Some(why.to_string())
            }
            None => None,
        };
        self.workshop.progress.event(Event::Started { vertex, title, why: why.as_deref() });
        Ok(())
    }

    /// What the vertex is called in its Dockerfile, and for which context, whatever is in the files: where
    /// to look for a layer with most of its chunks in common. A wrong guess costs time only.
    pub(super) fn place(&self) -> Key {
        let workshop = self.workshop;
        // What was brought from elsewhere is in another folder each time.
        let stays = |root: &&Path| workshop.spool.parent().is_none_or(|state| !Scratch::holds(state, root));
        let context = workshop.contexts.get(&None).map(|context| context.root()).filter(stays);
        let context = context.map(|root| root.as_os_str().as_bytes());
        let mut hasher = KeyHasher::new("place");
        hasher.field("context", context.unwrap_or_default()).field("title", &self.vertex.title);
        hasher.finish().compressed(self.workshop.compression_of(self.vertex))
    }
}
