//! What a solver works with, and what comes out: a vertex as layers.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use oxbox_layers::compress::Compression;
use oxbox_layers::image::{Image, ImageError};
use oxbox_layers::layer::{Layer, LayerError};
use oxbox_layers::oci::ChainId;
use oxbox_layers::stack::Stack;
use oxbox_layers::store::{BlobStore, StoreError};

use super::lock::LockError;
use super::outline::{Outline, Source};
use super::{Cache, CacheError, Indexes, IndexesError, Locks, Reuse};
use crate::context::{Directory, LayerTree, Look};
use crate::depot::Stocks;
use crate::exec::Interrupt;
use crate::fetch::Fetch;
use crate::lent::{Agents, Secrets};
use crate::mounts::Mounts;
use crate::op::copy::{CopyError, Names, Owner};
use crate::op::git::{GitError, Repositories};
use crate::op::http::HttpError;
use crate::op::run::Surroundings;
use crate::op::run::{Copies, RunError};
use crate::plan::graph::{self, VertexId};
use crate::progress::Progress;
use crate::snapshot::{Known, Snapshotter};

/// `/etc/passwd` and `/etc/group` beyond this are not looked into.
const MAX_NAMES_BYTES: u64 = 8 << 20;

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
    /// Vertices whose layers are unpacked while they are written.
    pub stood_on: HashSet<VertexId>,
    /// Directories that RUNs see and builds outlive.
    pub mounts: Mounts,
    /// What RUNs see of contexts.
    pub copies: Copies,
    /// Secrets that were given for it.
    pub secrets: Secrets,
    /// SSH agents that were given for it.
    pub agents: Agents,
    /// Contexts by name; the main one has none.
    pub contexts: BTreeMap<Option<String>, Arc<Directory>>,
    /// What other machines' builds led to.
    pub stocks: Stocks<'a>,
    /// What brings files from elsewhere.
    pub fetch: &'a dyn Fetch,
    /// What was fetched of git repositories.
    pub repositories: Repositories,
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
    /// One maker for each key.
    pub locks: Locks,
    /// The time now, for what the cache notes.
    pub now: i64,
    /// Ends commands when the build is given up.
    pub interrupt: Interrupt,
    /// What the caller gives to every RUN.
    pub surroundings: Surroundings,
    /// Who listens.
    pub progress: &'a dyn Progress,
}

/// A vertex that is made.
pub struct Solved {
    outline: Arc<Outline>,
    /// The layers of the outline, once somebody wants them.
    layers: OnceLock<Arc<Vec<Layer>>>,
    /// What the layers are together; `None` of none.
    pub chain_id: Option<ChainId>,
    /// Whether its own layer is the last of them.
    pub has_own_layer: bool,
}

/// Why a vertex cannot be made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant carries its own room's error")]
pub enum SolveError {
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("base image {name} cannot be used")]
    Image { name: String, source: ImageError },
    #[error(transparent)]
    Indexes(#[from] IndexesError),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("the build was interrupted")]
    Interrupted,
    #[error("there is no build context {name:?}")]
    NoContext { name: String },
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Workshop<'_> {
    pub(super) fn image(&self, image: &graph::Image) -> Result<Solved, SolveError> {
        let loaded = Image::load(&*self.store, &image.manifest)
            .map_err(|source| SolveError::Image { name: image.name.clone(), source })?;
        Ok(Solved::of(loaded.layers))
    }

    /// Looks at a context as it is now.
    pub(super) fn context(&self, name: &Option<String>) -> Result<Arc<Look>, SolveError> {
        let context = self.contexts.get(name).map(|context| Arc::new(context.look()));
        context.ok_or_else(|| SolveError::NoContext { name: name.clone().unwrap_or_default() })
    }

    pub(super) fn tree(&self, solved: &Solved) -> Result<LayerTree, SolveError> {
        Ok(self.tree_of(self.stack(solved)?, solved))
    }

    /// Returns what a step stands on, to be looked into for links, directories and names: layers that are not
    /// here are not brought in for it if a cache elsewhere says what is in them.
    pub(super) fn footing(&self, solved: &Solved) -> Result<LayerTree, SolveError> {
        Ok(self.tree_of(self.footing_stack(solved)?, solved))
    }

    fn tree_of(&self, stack: Arc<Stack>, solved: &Solved) -> LayerTree {
        let outline = Arc::clone(&solved.outline);
        let layers = move || Arc::new(outline.layers());
        LayerTree::new(stack, layers, Arc::clone(&self.store), &self.spool)
    }

    pub(super) fn stack(&self, solved: &Solved) -> Result<Arc<Stack>, SolveError> {
        let index = |layer: &Layer| self.indexes.get(layer, &*self.store);
        Ok(solved.outline.stack(Source::Layers, &index)?)
    }

    fn footing_stack(&self, solved: &Solved) -> Result<Arc<Stack>, SolveError> {
        if self.stocks.is_empty() {
            return self.stack(solved);
        }
        let say = |layer: &Layer| self.stocks.index(layer);
        let index = |layer: &Layer| self.indexes.get_or_said(layer, &*self.store, &say);
        Ok(solved.outline.stack(Source::Sayings, &index)?)
    }

    /// Returns what was noted of a layer when it was written here.
    pub(super) fn known(&self, layer: &Layer) -> Option<Known<'_>> {
        let chunks = self.indexes.chunks(layer, &self.cache)?;
        // Without it the layer is unpacked whole, and an error that matters shows there.
        let index = self.indexes.get(layer, &*self.store).ok()?;
        Some(Known { index, chunks, store: &*self.store })
    }

    /// Reads the owner that `--chown` or USER names, with the image's own files.
    pub(super) fn owner(&self, text: &str, below: &Solved) -> Result<Owner, SolveError> {
        let mut names = Names::default();
        if Owner::needs_names(text) {
            let stack = self.footing_stack(below)?;
            let read = |path: &[u8]| {
                oxbox_layers::stack::read_file(&stack, &*self.store, below.layers(), path, MAX_NAMES_BYTES)
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

impl Solved {
    /// Returns the filesystem, bottom first.
    pub fn layers(&self) -> &Arc<Vec<Layer>> {
        self.layers.get_or_init(|| Arc::new(self.outline.layers()))
    }

    /// Returns the layer that the vertex itself made.
    pub fn own_layer(&self) -> Option<&Layer> {
        self.outline.last().filter(|_| self.has_own_layer)
    }

    pub(super) fn outline(&self) -> &Arc<Outline> {
        &self.outline
    }

    pub(super) fn unchanged(&self) -> Self {
        let (outline, layers) = (Arc::clone(&self.outline), self.layers.clone());
        Self { outline, layers, chain_id: self.chain_id, has_own_layer: false }
    }

    pub(super) fn of(layers: Vec<Layer>) -> Self {
        Self::outlined(&Outline::with(None, layers))
    }

    /// Takes layers that stand on nothing but each other, and may not be here.
    pub(super) fn outlined(outline: &Arc<Outline>) -> Self {
        Self {
            outline: Arc::clone(outline),
            layers: OnceLock::new(),
            chain_id: outline.chain_id,
            has_own_layer: false,
        }
    }

    /// Puts the layers of a vertex that stands on nothing on top.
    pub(super) fn on_top(&self, above: &Self) -> Self {
        match above.layers().as_slice() {
            [] => Self { has_own_layer: above.has_own_layer, ..self.unchanged() },
            layers => {
                let outline = Outline::with(Some(&self.outline), layers.to_vec());
                Self { has_own_layer: above.has_own_layer, ..Self::outlined(&outline) }
            }
        }
    }

    pub(super) fn with(&self, layer: Layer) -> Self {
        let outline = Outline::with(Some(&self.outline), vec![layer]);
        Self { has_own_layer: true, ..Self::outlined(&outline) }
    }
}
