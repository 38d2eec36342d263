//! A store whose layers of base images and of caches elsewhere are brought in when somebody opens them.
//!
//! ```text
//! open(digest) ─ here? ─▶ the store's
//!              ├ offered, by a cache? ─▶ Fetch::layer, once ─▶ the tar as promised? ─▶ the store's
//!              │                                               └ refused, from then on
//!              └ expected, of a base? ─▶ Fetch::layer, once ─▶ the store's
//! ```
//!
//! An image that only stands on its base needs none of the base's bytes, and where it is pushed to may
//! have them already. Asking what is here (`stat`) fetches nothing. What a cache says of a layer's tar is
//! only its word: snapshots and indexes are kept by that name, and stay when the cache is forgotten.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oxbox_layers::layer::Layer;
use oxbox_layers::oci::{Algorithm, Descriptor, Digest};
use oxbox_layers::stack::LayerIndex;
use oxbox_layers::store::{Blob, BlobStore, BlobWriter, Layout, StoreError};

use crate::fetch::Fetch;

/// A layer that may be elsewhere still; locked while it is on its way.
type Expected = Arc<Mutex<Descriptor>>;

/// A layer that a cache offers.
struct Offered {
    layer: Layer,
    /// Locked while it is on its way.
    turn: Mutex<()>,
}

/// A store and what can be had beside.
pub struct Lazy {
    store: Arc<Layout>,
    fetch: Arc<dyn Fetch>,
    expected: Mutex<HashMap<Digest, Expected>>,
    offered: Mutex<HashMap<Digest, Arc<Offered>>>,
    refused: Mutex<Refused>,
}

/// Layers that were offered and are of no use, and why not, in the order in which that turned out.
#[derive(Default)]
struct Refused {
    digests: HashSet<Digest>,
    told: Vec<(Digest, String)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lazy {
    /// Takes a store, and who brings in what is missing.
    pub fn new(store: Arc<Layout>, fetch: Arc<dyn Fetch>) -> Self {
        let (expected, offered, refused) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { store, fetch, expected, offered, refused }
    }

    /// Notes layers that can be had when they are opened.
    pub fn expect(&self, layers: impl IntoIterator<Item = Descriptor>) {
        let mut expected = lock(&self.expected);
        for layer in layers {
            expected.entry(layer.digest).or_insert_with(|| Arc::new(Mutex::new(layer)));
        }
    }

    /// Notes layers that a cache says it has. Of two that say different things of one blob the first counts.
    pub fn offer(&self, layers: impl IntoIterator<Item = Layer>) {
        let mut offered = lock(&self.offered);
        for layer in layers {
            let digest = layer.descriptor.digest;
            offered.entry(digest).or_insert_with(|| Arc::new(Offered { layer, turn: Mutex::default() }));
        }
    }

    /// Whether a layer, with just this tar in it, is offered and was not refused.
    pub fn offers(&self, layer: &Layer) -> bool {
        let digest = layer.descriptor.digest;
        if lock(&self.refused).digests.contains(&digest) {
            return false;
        }
        let offered = lock(&self.offered);
        offered.get(&digest).is_some_and(|offered| {
            let offered = &offered.layer;
            offered.diff_id == layer.diff_id && offered.descriptor.size == layer.descriptor.size
        })
    }

    /// Whether a layer that is here holds the tar that it is said to; it is refused if not.
    pub fn verify(&self, layer: &Layer) -> bool {
        match LayerIndex::of_layer(layer, &*self.store) {
            Ok(_) => true,
            Err(error) => {
                self.refuse(layer.descriptor.digest, error.to_string());
                false
            }
        }
    }

    /// Has a layer that was offered never be taken again.
    pub fn refuse(&self, digest: Digest, why: String) {
        let mut refused = lock(&self.refused);
        if refused.digests.insert(digest) {
            refused.told.push((digest, why));
        }
    }

    /// Returns how much was refused so far.
    pub fn count_refused(&self) -> usize {
        lock(&self.refused).told.len()
    }

    /// Returns what was refused so far, and why.
    pub fn refused(&self) -> Vec<(Digest, String)> {
        lock(&self.refused).told.clone()
    }

    fn expected(&self, digest: &Digest) -> Option<Expected> {
        lock(&self.expected).get(digest).cloned()
    }

    fn open_offered(&self, digest: &Digest) -> Result<Option<Box<dyn Blob>>, StoreError> {
        let Some(offered) = lock(&self.offered).get(digest).cloned() else { return Ok(None) };
        let (layer, _turn) = (&offered.layer, lock(&offered.turn));
        // Whoever had the turn before may have brought it, or tried.
        if let Some(blob) = self.store.open(digest)? {
            return Ok(Some(blob));
        }
        if lock(&self.refused).digests.contains(digest) {
            return Ok(None);
        }
        self.fetch.layer(&layer.descriptor).map_err(|source| {
            let why = std::error::Error::source(&source).map_or(source.to_string(), ToString::to_string);
            self.refuse(*digest, why);
            StoreError::Elsewhere { digest: *digest, source: Box::new(source) }
        })?;
        if !self.verify(layer) {
            return Ok(None);
        }
        self.store.open(digest)
    }
}

impl BlobStore for Lazy {
    fn stat(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        self.store.stat(digest)
    }

    fn open(&self, digest: &Digest) -> Result<Option<Box<dyn Blob>>, StoreError> {
        if let Some(blob) = self.store.open(digest)? {
            return Ok(Some(blob));
        }
        // First: of what a base has too, a cache may still say something else.
        if let Some(blob) = self.open_offered(digest)? {
            return Ok(Some(blob));
        }
        let Some(expected) = self.expected(digest) else { return Ok(None) };
        let layer = lock(&expected);
        // Whoever had the lock before may have brought it.
        if let Some(blob) = self.store.open(digest)? {
            return Ok(Some(blob));
        }
        self.fetch
            .layer(&layer)
            .map_err(|source| StoreError::Elsewhere { digest: *digest, source: Box::new(source) })?;
        self.store.open(digest)
    }

    fn writer(&self, algorithm: Algorithm) -> Result<Box<dyn BlobWriter>, StoreError> {
        self.store.writer(algorithm)
    }

    fn remove(&self, digest: &Digest) -> Result<bool, StoreError> {
        self.store.remove(digest)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use oxbox_layers::layer::Layer;
    use oxbox_layers::oci::{Algorithm, Descriptor, DiffId, Digest, MediaType, Platform, Reference};
    use oxbox_layers::store::{BlobStore as _, Layout};

    use super::Lazy;
    use crate::fetch::{Fetch, FetchError};

    struct Elsewhere {
        store: Arc<Layout>,
        content: &'static [u8],
        fetched: AtomicUsize,
    }

    impl Fetch for Elsewhere {
        fn base(&self, reference: &Reference, _platform: &Platform) -> Result<Descriptor, FetchError> {
            Err(FetchError::Image { reference: reference.familiar(), source: "no images here".into() })
        }

        fn layer(&self, layer: &Descriptor) -> Result<(), FetchError> {
            self.fetched.fetch_add(1, Ordering::SeqCst);
            if self.content.is_empty() {
                return Err(FetchError::Layer { digest: layer.digest, source: "it is gone".into() });
            }
            let mut writer = self.store.writer(Algorithm::Sha256).unwrap();
            writer.write_all(self.content).unwrap();
            writer.commit().unwrap();
            Ok(())
        }
    }

    /// A store beside which this can be had.
    fn beside(content: &'static [u8]) -> (tempfile::TempDir, Arc<Elsewhere>, Lazy) {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Layout::create(folder.path()).unwrap());
        let fetch = Arc::new(Elsewhere { store: Arc::clone(&store), content, fetched: AtomicUsize::new(0) });
        let lazy = Lazy::new(store, fetch.clone());
        (folder, fetch, lazy)
    }

    /// An empty tar.
    const TAR: &[u8] = &[0; 1024];

    fn offered(tar: &[u8]) -> Layer {
        let descriptor = Descriptor::of(MediaType::OCI_LAYER, TAR);
        Layer { descriptor, diff_id: DiffId(Digest::sha256(tar)) }
    }

    #[test]
    fn an_expected_layer_is_fetched_once_however_many_open_it() {
        let (_folder, fetch, lazy) = beside(b"layer");
        let layer = Descriptor::of(MediaType::OCI_LAYER_GZIP, b"layer");
        assert!(lazy.open(&layer.digest).unwrap().is_none());
        lazy.expect([layer.clone()]);
        assert_eq!(lazy.stat(&layer.digest).unwrap(), None);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(lazy.open(&layer.digest).unwrap().unwrap().size(), 5));
            }
        });
        assert_eq!(fetch.fetched.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn an_offered_layer_is_fetched_once_and_holds_what_was_said() {
        let (_folder, fetch, lazy) = beside(TAR);
        let layer = offered(TAR);
        assert!(!lazy.offers(&layer));
        lazy.offer([layer.clone()]);
        assert!(lazy.offers(&layer) && !lazy.offers(&offered(b"other")));
        assert_eq!(fetch.fetched.load(Ordering::SeqCst), 0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!(lazy.open(&layer.descriptor.digest).unwrap().is_some()));
            }
        });
        assert_eq!((fetch.fetched.load(Ordering::SeqCst), lazy.count_refused()), (1, 0));
    }

    #[test]
    fn a_layer_with_another_tar_than_was_said_is_refused() {
        let (_folder, fetch, lazy) = beside(TAR);
        let layer = offered(b"that of another layer");
        lazy.offer([layer.clone()]);
        assert!(lazy.open(&layer.descriptor.digest).unwrap().is_none());
        assert!(!lazy.offers(&layer));
        assert_eq!((fetch.fetched.load(Ordering::SeqCst), lazy.count_refused()), (1, 1));
    }

    #[test]
    fn what_a_cache_says_of_a_bases_layer_is_looked_at_and_the_base_has_it_all_the_same() {
        let (_folder, _fetch, lazy) = beside(TAR);
        let layer = offered(b"that of another layer");
        lazy.expect([layer.descriptor.clone()]);
        lazy.offer([layer.clone()]);
        assert!(lazy.open(&layer.descriptor.digest).unwrap().is_some());
        assert_eq!((lazy.offers(&layer), lazy.count_refused()), (false, 1));
    }

    #[test]
    fn a_layer_that_is_gone_is_refused_and_not_asked_for_again() {
        let (_folder, fetch, lazy) = beside(b"");
        let layer = offered(TAR);
        lazy.offer([layer.clone()]);
        assert!(lazy.open(&layer.descriptor.digest).is_err());
        assert!(lazy.open(&layer.descriptor.digest).unwrap().is_none());
        assert_eq!(fetch.fetched.load(Ordering::SeqCst), 1);
        assert_eq!(lazy.refused(), [(layer.descriptor.digest, "it is gone".to_owned())]);
    }
}
