//! A store whose layers of base images are brought in when somebody opens them.
//!
//! ```text
//! open(digest) ─ here? ─▶ the store's
//!              └ expected? ─▶ Fetch::blob, once ─▶ the store's
//! ```
//!
//! An image that only stands on its base needs none of the base's bytes, and where it is pushed to may
//! have them already. Asking what is here (`stat`) fetches nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use oxbox_layers::oci::{Algorithm, Descriptor, Digest};
use oxbox_layers::store::{Blob, BlobStore, BlobWriter, Layout, StoreError};

use crate::fetch::Fetch;

/// A layer that may be elsewhere still; locked while it is on its way.
type Expected = Arc<Mutex<Descriptor>>;

/// A store and what can be had beside.
pub struct Lazy {
    store: Arc<Layout>,
    fetch: Arc<dyn Fetch>,
    expected: Mutex<HashMap<Digest, Expected>>,
}

impl Lazy {
    /// Takes a store, and who brings in what is missing.
    pub fn new(store: Arc<Layout>, fetch: Arc<dyn Fetch>) -> Self {
        Self { store, fetch, expected: Mutex::default() }
    }

    /// Notes layers that can be had when they are opened.
    pub fn expect(&self, layers: impl IntoIterator<Item = Descriptor>) {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        for layer in layers {
            expected.entry(layer.digest).or_insert_with(|| Arc::new(Mutex::new(layer)));
        }
    }

    fn expected(&self, digest: &Digest) -> Option<Expected> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
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
        let Some(expected) = self.expected(digest) else { return Ok(None) };
        let layer = expected.lock().unwrap_or_else(PoisonError::into_inner);
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

    use oxbox_layers::oci::{Algorithm, Descriptor, MediaType, Platform, Reference};
    use oxbox_layers::store::{BlobStore as _, Layout};

    use super::Lazy;
    use crate::fetch::{Fetch, FetchError};

    struct Elsewhere {
        store: Arc<Layout>,
        fetched: AtomicUsize,
    }

    impl Fetch for Elsewhere {
        fn base(&self, reference: &Reference, _platform: &Platform) -> Result<Descriptor, FetchError> {
            Err(FetchError::Image { reference: reference.familiar(), source: "no images here".into() })
        }

        fn layer(&self, _layer: &Descriptor) -> Result<(), FetchError> {
            self.fetched.fetch_add(1, Ordering::SeqCst);
            let mut writer = self.store.writer(Algorithm::Sha256).unwrap();
            writer.write_all(b"layer").unwrap();
            writer.commit().unwrap();
            Ok(())
        }
    }

    #[test]
    fn an_expected_layer_is_fetched_once_however_many_open_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Layout::create(folder.path()).unwrap());
        let fetch = Arc::new(Elsewhere { store: Arc::clone(&store), fetched: AtomicUsize::new(0) });
        let lazy = Lazy::new(store, fetch.clone());
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
}
