//! Makes one vertex: looks its key up, or does what its operation says.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use oxbox_layers::compress::Compression;
use oxbox_layers::image::{Image, ImageError};
use oxbox_layers::layer::{Layer, LayerError, LayerWriter};
use oxbox_layers::stack::{LayerIndex, Stack};
use oxbox_layers::store::{BlobStore, StoreError};

use super::{Cache, CacheError, Indexes, IndexesError, Key, KeyHasher};
use crate::context::{Directory, FileTree, LayerTree};
use crate::exec::Interrupt;
use crate::op::archive::{self, Archive, ArchiveError};
use crate::op::copy::{self, CopyError, Input, Mode, Names, Owner, Planned, Rules, SelectError};
use crate::op::run::{self, RunError};
use crate::plan::graph::{self, CopyInstruction, Op, Source, Vertex, VertexId, Workdir};
use crate::progress::{Event, Progress};
use crate::snapshot::Snapshotter;

/// `/etc/passwd` and `/etc/group` beyond this are not looked into.
const MAX_NAMES_BYTES: u64 = 8 << 20;

/// Whether what was made before is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// It is.
    Allowed,
    /// Everything is made again, and remembered.
    Forbidden,
}

/// All that a solver works with.
pub struct Workshop<'a> {
    /// Where layers go.
    pub store: Arc<dyn BlobStore>,
    /// What keys led to.
    pub cache: Cache,
    /// What is in layers.
    pub indexes: Indexes,
    /// Where layers are unpacked for RUN.
    pub snapshots: Box<dyn Snapshotter>,
    /// Contexts by name; the main one has none.
    pub contexts: BTreeMap<Option<String>, Arc<Directory>>,
    /// Where large contents go for a while.
    pub spool: PathBuf,
    /// How exported layers are compressed.
    pub compression: Compression,
    /// How many threads compress one layer.
    pub threads: NonZero<usize>,
    /// No entry of a new layer is later.
    pub epoch: i64,
    /// Whether the cache answers.
    pub reuse: Reuse,
    /// The time now, for what the cache notes.
    pub now: i64,
    /// Ends commands when the build is given up.
    pub interrupt: Interrupt,
    /// Who listens.
    pub progress: &'a dyn Progress,
}

/// A vertex that is made.
pub struct Solved {
    /// The filesystem, bottom first.
    pub layers: Arc<Vec<Layer>>,
    /// Whether its own layer is the last of them.
    pub has_own_layer: bool,
    stack: OnceLock<Arc<Stack>>,
}

/// Why a vertex cannot be made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant carries its own room's error")]
pub enum SolveError {
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error("base image {name} cannot be used")]
    Image { name: String, source: ImageError },
    #[error(transparent)]
    Indexes(#[from] IndexesError),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error("the build was interrupted")]
    Interrupted,
    #[error("there is no build context {name:?}")]
    NoContext { name: String },
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot download {url:?}: ADD of a URL is not supported yet")]
    Url { url: String },
}

impl Workshop<'_> {
    /// Makes one vertex; `inputs` are those of [`Op::inputs`], in that order.
    pub fn make(&self, id: VertexId, vertex: &Vertex, inputs: &[Arc<Solved>]) -> Result<Solved, SolveError> {
        if self.interrupt.is_sent() {
            return Err(SolveError::Interrupted);
        }
        let began = Instant::now();
        let title = vertex.title.as_str();
        // What a stage stands on is neither made nor remembered here.
        let is_base = matches!(vertex.op, Op::Scratch | Op::Image(_));
        let mut job = Job { workshop: self, id, vertex, cached: !is_base };
        let solved = match &vertex.op {
            Op::Scratch => Ok(Solved::of(Vec::new())),
            Op::Image(image) => self.image(image),
            Op::Workdir(workdir) => job.workdir(workdir, &inputs[0]),
            Op::Copy(copy) => job.copy(copy, inputs),
            Op::Run(run) => job.run(run, &inputs[0]),
        };
        let elapsed = began.elapsed();
        self.progress.event(match &solved {
            Ok(_) if job.cached => Event::Cached { vertex: id, title },
            Ok(_) => Event::Done { vertex: id, title, elapsed },
            Err(_) if self.interrupt.is_sent() => Event::Cancelled { vertex: id, title },
            Err(_) => Event::Failed { vertex: id, title, elapsed },
        });
        solved
    }

    fn image(&self, image: &graph::Image) -> Result<Solved, SolveError> {
        let loaded = Image::load(&*self.store, &image.manifest)
            .map_err(|source| SolveError::Image { name: image.name.clone(), source })?;
        Ok(Solved::of(loaded.layers))
    }

    fn tree(&self, solved: &Solved) -> Result<LayerTree, SolveError> {
        let stack = self.stack(solved)?;
        Ok(LayerTree::new(stack, Arc::clone(&solved.layers), Arc::clone(&self.store), &self.spool))
    }

    fn stack(&self, solved: &Solved) -> Result<Arc<Stack>, SolveError> {
        if let Some(stack) = solved.stack.get() {
            return Ok(Arc::clone(stack));
        }
        let stack = Arc::new(self.indexes.stack(&solved.layers, &*self.store)?);
        Ok(Arc::clone(solved.stack.get_or_init(|| stack)))
    }

    /// Reads the owner that `--chown` or USER names, with the image's own files.
    fn owner(&self, text: &str, below: &Solved) -> Result<Owner, SolveError> {
        let mut names = Names::default();
        if Owner::needs_names(text) {
            let stack = self.stack(below)?;
            let read = |path: &[u8]| {
                oxbox_layers::stack::read_file(&stack, &*self.store, &below.layers, path, MAX_NAMES_BYTES)
                    .map(Option::unwrap_or_default)
                    .map_err(|source| CopyError::Tree(source_error(source)))
            };
            names = Names { passwd: read(b"etc/passwd")?, group: read(b"etc/group")? };
        }
        Owner::read(text, &names).map_err(|source| CopyError::Owner { source }.into())
    }
}

fn source_error(source: oxbox_layers::stack::ContentError) -> crate::context::TreeError {
    crate::context::TreeError::Layers { source: Box::new(source) }
}

/// One vertex being made.
struct Job<'a> {
    workshop: &'a Workshop<'a>,
    id: VertexId,
    vertex: &'a Vertex,
    /// Whether nothing had to be done so far.
    cached: bool,
}

impl Job<'_> {
    fn workdir(&mut self, workdir: &Workdir, below: &Arc<Solved>) -> Result<Solved, SolveError> {
        let owner = match workdir.user.as_str() {
            "" => Owner::default(),
            user => self.workshop.owner(user, below)?,
        };
        let mut planned = copy::plan_directory(&self.workshop.tree(below)?, &workdir.path, owner)?;
        self.planned(&mut planned, below)
    }

    fn copy(&mut self, copy: &graph::Copy, inputs: &[Arc<Solved>]) -> Result<Solved, SolveError> {
        let (below, others) = inputs.split_first().expect("because a copy stands on something");
        let mut others = others.iter();
        let mut sources = Vec::new();
        for source in &copy.sources {
            let other = matches!(source, Source::Vertex { .. }).then(|| others.next()).flatten();
            self.source(copy, source, other, &mut sources)?;
        }
        let mode = copy.chmod.as_deref().map(Mode::parse).transpose();
        let rules = Rules {
            owner: copy.chown.as_deref().map(|text| self.workshop.owner(text, below)).transpose()?,
            mode: mode.map_err(|source| CopyError::Mode { source })?,
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
            (Source::Url { url, .. }, _) => return Err(SolveError::Url { url: url.clone() }),
            (Source::Context { name, pattern }, _) => {
                let context = self.context(name)?;
                let selected = copy::select(&*context, pattern).map_err(|error| match error {
                    SelectError::Missing { pattern, path } if context.hides(&path) => {
                        CopyError::Ignored { pattern }
                    }
                    error => CopyError::Select(error),
                })?;
                self.paths(copy.instruction, context, selected, inputs)?;
            }
            (Source::Vertex { pattern, .. }, Some(other)) => {
                let tree = Arc::new(self.workshop.tree(other)?);
                let selected = copy::select(&*tree, pattern).map_err(CopyError::Select)?;
                inputs.push(Input::Paths { tree, selected });
            }
            (Source::Vertex { .. }, None) => unreachable!("because every named vertex is among the inputs"),
        }
        Ok(())
    }

    fn context(&self, name: &Option<String>) -> Result<Arc<Directory>, SolveError> {
        let context = self.workshop.contexts.get(name).cloned();
        context.ok_or_else(|| SolveError::NoContext { name: name.clone().unwrap_or_default() })
    }

    /// Splits what an ADD selected into archives, which are unpacked, and the rest.
    fn paths(
        &self,
        instruction: CopyInstruction,
        tree: Arc<Directory>,
        selected: Vec<copy::Selected>,
        inputs: &mut Vec<Input>,
    ) -> Result<(), SolveError> {
        if instruction == CopyInstruction::Copy {
            inputs.push(Input::Paths { tree, selected });
            return Ok(());
        }
        for one in selected {
            match self.archive(&*tree, &one)? {
                Some(Archive { tree, directories }) => {
                    inputs.push(Input::Archive { tree: Arc::new(tree), directories });
                }
                None => inputs.push(Input::Paths { tree: tree.clone(), selected: vec![one] }),
            }
        }
        Ok(())
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
                let layer = archive::set_aside(&mut *content.map_err(CopyError::Tree)?, &*workshop.store);
                let layer = layer.map_err(failed)?;
                workshop.cache.put(&key, &layer, workshop.now)?;
                layer
            }
        };
        archive::open(layer, &workshop.store, &workshop.spool).map(Some).map_err(failed)
    }

    fn planned(&mut self, planned: &mut Planned, below: &Arc<Solved>) -> Result<Solved, SolveError> {
        if planned.is_empty() {
            return Ok(Solved {
                layers: Arc::clone(&below.layers),
                has_own_layer: false,
                stack: OnceLock::new(),
            });
        }
        let epoch = self.workshop.epoch;
        let interrupt = &self.workshop.interrupt;
        let key = planned.key(epoch, self.workshop.threads, interrupt)?;
        let layer = self.cached_or(&key, |_, mut writer| {
            planned.write(&mut writer, epoch, interrupt)?;
            Ok(writer.finish_indexed()?)
        })?;
        Ok(below.with(layer))
    }

    fn run(&mut self, run: &graph::Run, below: &Arc<Solved>) -> Result<Solved, SolveError> {
        let workshop = self.workshop;
        let key = run::key(run, &below.layers, workshop.epoch);
        let vertex = self.id;
        let layer = self.cached_or(&key, |_, writer| {
            let mut output = |line: &[u8]| workshop.progress.event(Event::Output { vertex, line });
            let mut room = run::Room {
                store: &*workshop.store,
                snapshots: &*workshop.snapshots,
                interrupt: &workshop.interrupt,
                epoch: workshop.epoch,
                output: &mut output,
            };
            Ok(run::make(run, &below.layers, &mut room, writer)?)
        })?;
        Ok(below.with(layer))
    }

    /// Returns what the key led to before, or makes it and remembers.
    fn cached_or(
        &mut self,
        key: &Key,
        make: impl FnOnce(&Self, LayerWriter) -> Result<(Layer, Option<LayerIndex>), SolveError>,
    ) -> Result<Layer, SolveError> {
        if let Some(layer) = self.cached(key)? {
            return Ok(layer);
        }
        self.cached = false;
        let workshop = self.workshop;
        workshop.progress.event(Event::Started { vertex: self.id, title: &self.vertex.title });
        let writer =
            LayerWriter::new(&*workshop.store, self.compression(), workshop.threads.get())?.indexed();
        let (layer, index) = make(self, writer)?;
        if let Some(index) = index {
            workshop.indexes.put(layer.diff_id, index)?;
        }
        self.remember(key, &layer)?;
        Ok(layer)
    }

    /// Returns a layer that the key led to before, compressed as it is wanted.
    fn cached(&mut self, key: &Key) -> Result<Option<Layer>, SolveError> {
        let wanted = self.compression();
        if let Some(layer) = self.recorded(&key.compressed(wanted))? {
            return Ok(Some(layer));
        }
        let Some(layer) = self.recorded(key)? else { return Ok(None) };
        if !self.vertex.exported {
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

impl Solved {
    fn of(layers: Vec<Layer>) -> Self {
        Self { layers: Arc::new(layers), has_own_layer: false, stack: OnceLock::new() }
    }

    fn with(&self, layer: Layer) -> Self {
        let mut layers = (*self.layers).clone();
        layers.push(layer);
        Self { layers: Arc::new(layers), has_own_layer: true, stack: OnceLock::new() }
    }
}
