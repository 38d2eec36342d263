//! What all handlers share: the storage, and the bounds on what goes on at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, OwnedSemaphorePermit, RwLock, Semaphore, SemaphorePermit, watch};
use tokio::time::timeout;

use crate::accept::SparseIndexes;
use crate::session::Sessions;
use crate::storage::{Blobs, Metadata, StorageError};

/// Uploads at a time, and downloads at a time. Each has a thread of its own and about 2 MiB of
/// memory; those beyond wait for their turn.
const TRANSFERS: usize = 1024;

/// Manifests that are read and parsed at a time: each may be 4 MiB and some times that once parsed.
const DOCUMENTS: usize = 32;

/// A registry: storage and rules, without a socket.
pub struct Registry {
    /// Bytes.
    pub(crate) blobs: Arc<dyn Blobs>,
    /// Truth.
    pub(crate) metadata: Arc<dyn Metadata>,
    /// Whether an index may name what is not here.
    pub(crate) sparse_indexes: SparseIndexes,
    /// How long a client may send nothing within a body.
    pub(crate) idle: Duration,
    pub(crate) sessions: Sessions,
    uploads: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
    documents: Semaphore,
    /// Held for reading by every request that writes, until all it did is kept.
    writes: Arc<RwLock<()>>,
    /// The last field: once this is gone, the storage is closed.
    stopping: watch::Sender<bool>,
}

impl Registry {
    /// Joins storage and rules.
    pub fn new(
        blobs: Arc<dyn Blobs>,
        metadata: Arc<dyn Metadata>,
        sparse_indexes: SparseIndexes,
        idle: Duration,
    ) -> Self {
        Self {
            blobs,
            metadata,
            sparse_indexes,
            idle,
            sessions: Sessions::default(),
            uploads: Arc::new(Semaphore::new(TRANSFERS)),
            downloads: Arc::new(Semaphore::new(TRANSFERS)),
            documents: Semaphore::new(DOCUMENTS),
            writes: Arc::default(),
            stopping: watch::Sender::new(false),
        }
    }

    /// Waits for a turn to take bytes.
    pub(crate) async fn upload_turn(&self) -> Result<OwnedSemaphorePermit, StorageError> {
        Arc::clone(&self.uploads).acquire_owned().await.map_err(|_| StorageError::Closed)
    }

    /// Waits for a turn to send bytes.
    pub(crate) async fn download_turn(&self) -> Result<OwnedSemaphorePermit, StorageError> {
        Arc::clone(&self.downloads).acquire_owned().await.map_err(|_| StorageError::Closed)
    }

    /// Waits for a turn to hold a manifest in memory.
    pub(crate) async fn document_turn(&self) -> Result<SemaphorePermit<'_>, StorageError> {
        self.documents.acquire().await.map_err(|_| StorageError::Closed)
    }

    /// Announces a request that writes; the server does not close before it is done.
    pub(crate) async fn write_turn(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.writes).read_owned().await
    }

    /// Returns what tells bodies that the server stops, and ends when the storage is closed.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Ends all uploads where they are, and waits until their offsets are kept.
    pub(crate) async fn settle(&self, patience: Duration) {
        self.stopping.send_replace(true);
        if timeout(patience, self.writes.write()).await.is_err() {
            tracing::warn!("uploads are still being written; they resume from their last checkpoint");
        }
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("sparse_indexes", &self.sparse_indexes).finish_non_exhaustive()
    }
}
