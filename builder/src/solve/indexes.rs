//! Indexes of layers, kept by diff_id so that a layer's tar is read for its names only once.
//!
//! ```text
//! indexes/<diff_id hex>     blake3 of the rest (32 bytes) ‖ LayerIndex, packed
//! ```
//!
//! Everything here can be rebuilt from the store; a file that is damaged is made again.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use oxbox_layers::compress::ChunkIndex;
use oxbox_layers::layer::Layer;
use oxbox_layers::oci::{DiffId, Digest};
use oxbox_layers::stack::{IndexError, LayerIndex, Stack, StackError};
use oxbox_layers::store::BlobStore;

use super::{Cache, Key};

const HASH: usize = 32;

/// Largest index that is read back: far beyond that of a million files.
const MAX_INDEX_BYTES: u64 = 1 << 30;

/// The indexes of a state folder.
pub struct Indexes {
    folder: PathBuf,
    known: Mutex<HashMap<DiffId, Arc<LayerIndex>>>,
    /// What caches elsewhere say of layers that are not here: never written down.
    said: Mutex<HashMap<DiffId, Arc<LayerIndex>>>,
    /// Of layers that were written in this build, by blob.
    chunks: Mutex<HashMap<Digest, Arc<ChunkIndex>>>,
    /// Of layers that the cache knew, by blob: under which definition their chunks may be kept.
    places: Mutex<HashMap<Digest, Key>>,
}

/// Why layers cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum IndexesError {
    /// A layer's tar cannot be read.
    #[error("cannot read layer {layer}")]
    Layer {
        /// Which.
        layer: DiffId,
        /// Why not.
        #[source]
        source: Box<IndexError>,
    },
    /// The layers make no tree.
    #[error("the layers do not make a filesystem")]
    Stack(#[from] StackError),
    /// An index cannot be kept.
    #[error("cannot {verb} {}", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Indexes {
    /// Opens the folder, making it if it is not there.
    pub fn open(folder: &Path) -> Result<Self, IndexesError> {
        fs::create_dir_all(folder).map_err(io_error("make", folder))?;
        Ok(Self {
            folder: folder.to_owned(),
            known: Mutex::default(),
            said: Mutex::default(),
            chunks: Mutex::default(),
            places: Mutex::default(),
        })
    }

    /// Returns the merged tree of layers, bottom first.
    pub fn stack(&self, layers: &[Layer], store: &dyn BlobStore) -> Result<Stack, IndexesError> {
        let indexes = layers.iter().map(|layer| self.get(layer, store)).collect::<Result<_, _>>()?;
        Ok(Stack::of(indexes)?)
    }

    /// Returns the index of a layer, or what somebody says of one that is not here: for what may depend on it,
    /// and for no contents.
    pub fn get_or_said(
        &self,
        layer: &Layer,
        store: &dyn BlobStore,
        say: &dyn Fn(&Layer) -> Option<LayerIndex>,
    ) -> Result<Arc<LayerIndex>, IndexesError> {
        match self.said(layer, store, say)? {
            Some(said) => Ok(said),
            None => self.get(layer, store),
        }
    }

    /// Returns what somebody says of a layer of which nothing is known and that is not here.
    fn said(
        &self,
        layer: &Layer,
        store: &dyn BlobStore,
        say: &dyn Fn(&Layer) -> Option<LayerIndex>,
    ) -> Result<Option<Arc<LayerIndex>>, IndexesError> {
        let is_here = || store.stat(&layer.descriptor.digest).is_ok_and(|size| size.is_some());
        if self.at_hand(layer.diff_id)?.is_some() || is_here() {
            return Ok(None);
        }
        // Nobody is asked twice at the same time.
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = said.get(&layer.diff_id) {
            return Ok(Some(Arc::clone(said)));
        }
        let index = say(layer).map(Arc::new);
        said.extend(index.iter().map(|index| (layer.diff_id, Arc::clone(index))));
        Ok(index)
    }

    /// Keeps the index of a layer that was just written.
    pub fn put(&self, layer: DiffId, index: LayerIndex) -> Result<(), IndexesError> {
        self.save(layer, &index)?;
        self.remember(layer, index);
        Ok(())
    }

    /// Keeps the chunks of a layer that was just written, for as long as this lives.
    pub fn note_chunks(&self, chunks: ChunkIndex) {
        let digest = chunks.blob().digest;
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, Arc::new(chunks));
    }

    /// Notes where the chunks of a layer may be kept that was not written in this build.
    pub fn note_place(&self, layer: &Layer, definition: Key) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.insert(layer.descriptor.digest, definition);
    }

    /// Returns the chunks of a layer, if it was written in this build, or its definition led to no other
    /// one since.
    pub fn chunks(&self, layer: &Layer, cache: &Cache) -> Option<Arc<ChunkIndex>> {
        let digest = layer.descriptor.digest;
        let noted = self.chunks.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
        if noted.is_some() {
            return noted;
        }
        let place = self.places.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).copied()?;
        // Of use, but never needed.
        let last = cache.last(&place).ok().flatten()?;
        (last.blob().digest == digest).then(|| Arc::new(last))
    }

    /// Returns the index of a layer, which is read from its tar if it is not kept.
    ///
    /// # Errors
    ///
    /// [`IndexesError::Layer`] if the tar cannot be read.
    pub fn get(&self, layer: &Layer, store: &dyn BlobStore) -> Result<Arc<LayerIndex>, IndexesError> {
        if let Some(index) = self.at_hand(layer.diff_id)? {
            return Ok(index);
        }
        let failed = |error| IndexesError::Layer { layer: layer.diff_id, source: Box::new(error) };
        let index = LayerIndex::of_layer(layer, store).map_err(failed)?;
        self.save(layer.diff_id, &index)?;
        Ok(self.remember(layer.diff_id, index))
    }

    /// Returns an index that is known or kept.
    pub fn at_hand(&self, layer: DiffId) -> Result<Option<Arc<LayerIndex>>, IndexesError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&layer).cloned();
        match known {
            Some(index) => Ok(Some(index)),
            None => Ok(self.load(layer)?.map(|index| self.remember(layer, index))),
        }
    }

    fn remember(&self, layer: DiffId, index: LayerIndex) -> Arc<LayerIndex> {
        let index = Arc::new(index);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(layer).or_insert(index))
    }

    fn path(&self, layer: DiffId) -> PathBuf {
        self.folder.join(layer.0.hex())
    }

    /// Returns what is kept, unless it is not there or damaged.
    pub fn load(&self, layer: DiffId) -> Result<Option<LayerIndex>, IndexesError> {
        let path = self.path(layer);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.len() <= MAX_INDEX_BYTES => {}
            _ => return Ok(None),
        }
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(IndexesError::Io { verb: "read", path, source }),
        };
        let Some((hash, packed)) = bytes.split_at_checked(HASH) else { return Ok(None) };
        if blake3::hash(packed).as_bytes() != hash {
            return Ok(None);
        }
        Ok(LayerIndex::from_bytes(packed.to_vec()).ok())
    }

    fn save(&self, layer: DiffId, index: &LayerIndex) -> Result<(), IndexesError> {
        let path = self.path(layer);
        let mut file =
            tempfile::NamedTempFile::new_in(&self.folder).map_err(io_error("write in", &self.folder))?;
        let hash = blake3::hash(index.as_bytes());
        file.write_all(hash.as_bytes())
            .and_then(|()| file.write_all(index.as_bytes()))
            .map_err(io_error("write", &path))?;
        file.persist(&path).map_err(|error| IndexesError::Io {
            verb: "publish",
            path,
            source: error.error,
        })?;
        Ok(())
    }
}

fn io_error<'a>(verb: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> IndexesError + 'a {
    move |source| IndexesError::Io { verb, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use oxbox_layers::compress::Compression;
    use oxbox_layers::layer::{Layer, LayerWriter};
    use oxbox_layers::store::{BlobStore as _, Memory};
    use oxbox_layers::tar::{Entry, Kind};

    use super::Indexes;

    fn layer(store: &Memory) -> Layer {
        let mut writer = LayerWriter::new(store, Compression::None, 1).unwrap();
        writer.append(&Entry::new("etc", Kind::Directory, 0o755), &mut std::io::empty()).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn an_index_outlives_its_layers_blob() {
        let (folder, store) = (tempfile::tempdir().unwrap(), Memory::new());
        let layer = layer(&store);
        let layers = std::slice::from_ref(&layer);
        Indexes::open(folder.path()).unwrap().stack(layers, &store).unwrap();
        store.remove(&layer.descriptor.digest).unwrap();
        let again = Indexes::open(folder.path()).unwrap().stack(layers, &store).unwrap();
        assert!(again.get(b"etc").is_some());
    }

    #[test]
    fn a_damaged_index_is_made_again() {
        let (folder, store) = (tempfile::tempdir().unwrap(), Memory::new());
        let layer = layer(&store);
        let layers = std::slice::from_ref(&layer);
        Indexes::open(folder.path()).unwrap().stack(layers, &store).unwrap();
        let path = folder.path().join(layer.diff_id.0.hex());
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        let again = Indexes::open(folder.path()).unwrap().stack(layers, &store).unwrap();
        assert!(again.get(b"etc").is_some());
    }
}
