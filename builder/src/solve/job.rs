//! One vertex with a layer of its own: from its inputs to a key, and to the layer by cache or by work.

use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use oxbox_layers::compress::Compression;
use oxbox_layers::layer::{Layer, LayerWriter, Written};

use super::solver::{Reuse, SolveError, Solved, Workshop};
use super::{Key, KeyHasher};
use crate::context::{FileTree, Ignore, Look};
use crate::op::archive::{self, Archive, ArchiveError};
use crate::op::copy::{self, CopyError, Dates, Input, Owner, Planned, Rules, SelectError};
use crate::op::run;
use crate::plan::graph::{self, Placing, Source, Unpack, Vertex, VertexId, Workdir};
use crate::progress::Event;

/// One vertex being made.
pub(super) struct Job<'a> {
    pub(super) workshop: &'a Workshop<'a>,
    pub(super) id: VertexId,
    pub(super) vertex: &'a Vertex,
    /// Whether nothing had to be done so far.
    pub(super) cached: bool,
    /// Whether it was told that something is done.
    pub(super) announced: bool,
}

impl Job<'_> {
    pub(super) fn workdir(&mut self, workdir: &Workdir, below: &Arc<Solved>) -> Result<Solved, SolveError> {
        let owner = match workdir.user.as_str() {
            "" => Owner::default(),
            user => self.workshop.owner(user, below)?,
        };
        let mut planned = copy::plan_directory(&self.workshop.tree(below)?, &workdir.path, owner)?;
        self.planned(&mut planned, below)
    }

    pub(super) fn copy(&mut self, copy: &graph::Copy, inputs: &[Arc<Solved>]) -> Result<Solved, SolveError> {
        let (below, others) = inputs.split_first().expect("because a copy stands on something");
        let mut others = others.iter();
        let names = copy.names.and_then(|_| others.next()).unwrap_or(below);
        let mut sources = Vec::new();
        for source in &copy.sources {
            let other = matches!(source, Source::Vertex { .. }).then(|| others.next()).flatten();
            self.source(copy, source, other, &mut sources)?;
        }
        let rules = Rules {
            owner: copy.chown.as_deref().map(|text| self.workshop.owner(text, names)).transpose()?,
            mode: copy.chmod.clone(),
            exclude: Ignore::of_patterns(&copy.exclude).map_err(|source| CopyError::Exclude { source })?,
        };
        let mut planned = copy::plan(&self.workshop.tree(below)?, sources, &copy.destination, rules)?;
        self.planned(&mut planned, below)
    }

    /// Turns a source of the graph into what is copied.
    fn source(
        &self,
        copy: &graph::Copy,
        source: &Source,
        other: Option<&Arc<Solved>>,
        inputs: &mut Vec<Input>,
    ) -> Result<(), SolveError> {
        match (source, other) {
            (Source::Inline { name, content }, _) => {
                inputs.push(Input::Inline { name: name.clone(), content: content.clone() });
            }
            (Source::Context { name, pattern }, _) => {
                let context = self.context(name)?;
                let files = self.files(copy, source, pattern, context.clone());
                inputs.extend(files.map_err(|error| match error {
                    SolveError::Copy(CopyError::Select(SelectError::Missing { pattern, path }))
                        if context.hides(&path) =>
                    {
                        CopyError::Ignored { pattern }.into()
                    }
                    error => error,
                })?);
            }
            (Source::Vertex { pattern, .. }, Some(other)) => {
                let tree = Arc::new(self.workshop.tree(other)?);
                inputs.extend(self.files(copy, source, pattern, tree)?);
            }
            (Source::Vertex { .. }, None) => unreachable!("because every named vertex is among the inputs"),
        }
        Ok(())
    }

    pub(super) fn context(&self, name: &Option<String>) -> Result<Arc<Look>, SolveError> {
        let context = self.workshop.contexts.get(name).map(|context| Arc::new(context.look()));
        context.ok_or_else(|| SolveError::NoContext { name: name.clone().unwrap_or_default() })
    }

    /// Finds what a pattern means, and what of that is an archive to be unpacked.
    fn files(
        &self,
        copy: &graph::Copy,
        source: &Source,
        pattern: &str,
        tree: Arc<dyn FileTree>,
    ) -> Result<Vec<Input>, SolveError> {
        if copy.placing == Placing::Path {
            let parents = copy::select_parents(&*tree, pattern).map_err(CopyError::Select)?;
            return Ok(vec![Input::Parents { tree, parents }]);
        }
        let selected = copy::select(&*tree, pattern).map_err(CopyError::Select)?;
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

    fn archive(&self, tree: &dyn FileTree, one: &copy::Selected) -> Result<Option<Archive>, SolveError> {
        let failed = |source: ArchiveError| {
            let pattern = String::from_utf8_lossy(&one.name).into_owned();
            SolveError::from(CopyError::Archive { pattern, source })
        };
        let node = tree.node(&one.path).map_err(CopyError::Tree)?;
        if node.is_none_or(|node| node.entry.size() == 0) {
            return Ok(None);
        }
        let mut contents = tree.contents(std::slice::from_ref(&one.path)).map_err(CopyError::Tree)?;
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
    ) -> Result<Solved, SolveError> {
        if planned.is_empty() {
            return Ok(below.unchanged());
        }
        let (epoch, now) = (self.workshop.epoch, self.workshop.now);
        let interrupt = &self.workshop.interrupt;
        let key = planned.key(epoch, self.workshop.threads, interrupt)?;
        let layer = self.cached_or(&key, below, |mut writer| {
            planned.write(&mut writer, Dates::of_epoch(epoch, now), interrupt)?;
            Ok(writer.finish_noted()?)
        })?;
        Ok(below.with(layer))
    }

    pub(super) fn run(&mut self, run: &graph::Run, below: &Arc<Solved>) -> Result<Solved, SolveError> {
        let workshop = self.workshop;
        let key = run::key(run, &below.layers, workshop.epoch);
        let vertex = self.id;
        let layer = self.cached_or(&key, below, |writer| {
            let mut output = |line: &[u8]| workshop.progress.event(Event::Output { vertex, line });
            let mut room = run::Room {
                store: &*workshop.store,
                snapshots: &*workshop.snapshots,
                known: &|layer| workshop.known(layer),
                interrupt: &workshop.interrupt,
                epoch: workshop.epoch,
                output: &mut output,
            };
            Ok(run::make(run, &below.layers, &mut room, writer)?)
        })?;
        Ok(below.with(layer))
    }

    /// Returns what the key led to before, or makes it and remembers.
    pub(super) fn cached_or(
        &mut self,
        key: &Key,
        below: &Solved,
        make: impl FnOnce(LayerWriter) -> Result<Written, SolveError>,
    ) -> Result<Layer, SolveError> {
        if let Some(layer) = self.cached(key)? {
            return Ok(layer);
        }
        self.cached = false;
        let workshop = self.workshop;
        self.announce();
        let (compression, definition) = (self.compression(), self.definition());
        let last = match workshop.reuse {
            Reuse::Allowed => workshop.cache.last(&definition)?,
            Reuse::Forbidden => None,
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
            workshop.cache.put_last(&definition, &chunks, workshop.now)?;
            workshop.indexes.note_chunks(chunks);
        }
        workshop.keep_beside(beside, below, &layer);
        self.remember(key, &layer)?;
        workshop.cache.describe(&layer, &self.vertex.title, workshop.now)?;
        Ok(layer)
    }

    /// Tells that there is something to do, once.
    pub(super) fn announce(&mut self) {
        if !std::mem::replace(&mut self.announced, true) {
            let (vertex, title) = (self.id, self.vertex.title.as_str());
            self.workshop.progress.event(Event::Started { vertex, title, why: None });
        }
    }

    /// What the vertex is called in its Dockerfile, and for which context, whatever is in the files: where
    /// to look for a layer with most of its chunks in common. A wrong guess costs time only.
    fn definition(&self) -> Key {
        let context = self.workshop.contexts.get(&None).map(|context| context.root().as_os_str().as_bytes());
        let mut hasher = KeyHasher::new("definition");
        hasher.field("context", context.unwrap_or_default()).field("title", &self.vertex.title);
        hasher.finish().compressed(self.compression())
    }

    /// Returns a layer that the key led to before, compressed as it is wanted.
    pub(super) fn cached(&mut self, key: &Key) -> Result<Option<Layer>, SolveError> {
        let wanted = self.compression();
        if let Some(layer) = self.recorded(&key.compressed(wanted))? {
            self.workshop.indexes.note_place(&layer, self.definition());
            return Ok(Some(layer));
        }
        let Some(layer) = self.recorded(key)? else { return Ok(None) };
        if !self.vertex.exported {
            self.workshop.indexes.note_place(&layer, self.definition());
            return Ok(Some(layer));
        }
        self.cached = false;
        let workshop = self.workshop;
        let layer = layer.recompress(&*workshop.store, wanted, workshop.threads.get())?;
        self.remember(key, &layer)?;
        Ok(Some(layer))
    }

    /// Returns the layer of a record whose blob is still there.
    fn recorded(&self, key: &Key) -> Result<Option<Layer>, SolveError> {
        let workshop = self.workshop;
        if workshop.reuse == Reuse::Forbidden {
            return Ok(None);
        }
        let Some(layer) = workshop.cache.get(key, workshop.now)? else { return Ok(None) };
        let is_there = workshop.store.stat(&layer.descriptor.digest)? == Some(layer.descriptor.size);
        Ok(is_there.then_some(layer))
    }

    /// Notes a layer twice: as itself, for whoever takes any compression, and in the one that it has. The
    /// level counts too, or the digest of an image would depend on what was built before.
    fn remember(&self, key: &Key, layer: &Layer) -> Result<(), SolveError> {
        let workshop = self.workshop;
        workshop.cache.put(key, layer, workshop.now)?;
        workshop.cache.put(&key.compressed(self.compression()), layer, workshop.now)?;
        Ok(())
    }

    /// Layers of stages that are never exported are not worth compressing.
    fn compression(&self) -> Compression {
        match self.vertex.exported {
            true => self.workshop.compression,
            false => Compression::None,
        }
    }
}
