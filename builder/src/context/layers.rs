//! A stack of layers as a tree: what COPY sees of a base image and of another stage.
//!
//! Everything comes from the layers' tars; nothing is unpacked and nothing mounted.

use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use oxbox_layers::layer::Layer;
use oxbox_layers::stack::{Content, ContentError, Contents, Found, Stack};
use oxbox_layers::store::BlobStore;
use oxbox_layers::tar::Kind;

use super::{FileContents, FileTree, Node, Paths, TreeError, unchanged};

/// Lists layers, the bottom first.
type List = Box<dyn FnOnce() -> Arc<Vec<Layer>> + Send>;

/// The merged tree of some layers.
pub struct LayerTree {
    stack: Arc<Stack>,
    layers: LazyLock<Arc<Vec<Layer>>, List>,
    store: Arc<dyn BlobStore>,
    /// Where contents go that do not fit into memory.
    spool: PathBuf,
}

impl LayerTree {
    /// Takes a stack, and its layers, bottom first: they are listed if files are read. Of many, the list costs
    /// more than a look.
    pub fn new(
        stack: Arc<Stack>,
        layers: impl FnOnce() -> Arc<Vec<Layer>> + Send + 'static,
        store: Arc<dyn BlobStore>,
        spool: impl Into<PathBuf>,
    ) -> Self {
        let layers = LazyLock::new(Box::new(layers) as List);
        Self { stack, layers, store, spool: spool.into() }
    }

    fn content(&self, path: &[u8]) -> Result<Content, TreeError> {
        let found = self.stack.get(path).and_then(|found| found.content);
        found.ok_or_else(|| TreeError::Missing { path: path.to_vec() })
    }
}

impl FileTree for LayerTree {
    fn node(&self, path: &[u8]) -> Result<Option<Node>, TreeError> {
        Ok(self.stack.get(path).map(|Found { entry, content }| {
            let is_file = matches!(entry.kind, Kind::File { size } if size > 0);
            let identity = content.filter(|_| is_file);
            Node { entry, identity: identity.map(|content| (content.layer.into(), content.ordinal.into())) }
        }))
    }

    fn children(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, TreeError> {
        Ok(self.stack.children(path).map(|found| found.entry.name().to_vec()).collect())
    }

    /// As of a file in a context: it does not show which layer a content lies in.
    fn fingerprint(&self, path: &[u8]) -> Result<Vec<u8>, TreeError> {
        let content = self.content(path)?;
        Ok(unchanged::fingerprint(&content.body.hash, content.size))
    }

    fn contents(&self, paths: &mut Paths<'_>) -> Result<Box<dyn FileContents + '_>, TreeError> {
        let wanted = paths.map(|path| self.content(path)).collect::<Result<Vec<_>, _>>()?;
        let contents = Contents::gather(&*self.store, &self.layers, wanted, &self.spool).map_err(failed)?;
        Ok(Box::new(Gathered { tree: self, contents }))
    }
}

struct Gathered<'a> {
    tree: &'a LayerTree,
    contents: Contents,
}

impl FileContents for Gathered<'_> {
    /// A layer cannot change, so that fingerprints need no look.
    fn open(&mut self, path: &[u8], _fingerprint: Option<&[u8]>) -> Result<Box<dyn Read + '_>, TreeError> {
        let content = self.tree.content(path)?;
        Ok(Box::new(self.contents.open(&content).map_err(failed)?))
    }
}

fn failed(source: ContentError) -> TreeError {
    TreeError::Layers { source: Box::new(source) }
}
