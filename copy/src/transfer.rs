//! The engine of every move: walk, move what is missing, name it last.
//!
//! ```text
//! resolve ▶ select ▶ plan ▶ each blob, N at a time:  has? skip │ mount │ fetch ▶ verify ▶ push
//!                         ▶ documents, leaves first   ▶ publish the root
//! ```
//!
//! A transfer that fails or is dropped moves no name: what it has pushed until then is unnamed, and the
//! next attempt finds it. Blobs under way at that moment are discarded by the threads that write them,
//! which may be a moment later; shutting the runtime down waits for them. Memory is bounded by the number of blobs under way, whatever their size.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use oxbox_layers::oci::{Descriptor, Digest, Document};
use tokio::task::JoinSet;

use crate::endpoint::{BlobStream, Destination, EndpointError, Source, Takes};
use crate::plan::{self, Plan, PlanError};
use crate::progress::{Event, Progress};
use crate::select::{self, SelectError, Selection};

/// How an image is copied.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which platforms.
    pub selection: Selection,
    /// Whether signatures, SBOMs and whatever else refers to the image come along.
    pub referrers: Referrers,
    /// Blobs under way at the same time.
    pub blobs_at_once: NonZeroUsize,
    /// How often one blob is tried while its errors are transient.
    pub attempts: u32,
    /// Before the second attempt; doubled before each further one.
    pub retry_delay: Duration,
}

/// What becomes of manifests that refer to the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Referrers {
    /// They stay behind.
    Leave,
    /// They are copied, and what refers to them too.
    Follow,
}

/// How a blob came to be at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Its bytes were moved.
    Copied,
    /// It was there already.
    Present,
    /// It was taken over from another repository of the same registry.
    Mounted,
    /// It is nondistributable, the source has it not, and its manifest says where it lives.
    LeftAtUrls,
}

/// What a transfer did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The root as it stands at the destination.
    pub root: Descriptor,
    /// Every blob, in the order of the documents.
    pub blobs: Vec<(Descriptor, Outcome)>,
    /// Documents that were pushed, the root included.
    pub documents: usize,
    /// Bytes of blobs that were moved; bytes of broken attempts are not counted.
    pub bytes_moved: u64,
}

/// Why an image could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The source or the destination could not be used at all.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A blob did not make it.
    #[error("cannot copy blob {digest} ({size} bytes)")]
    Blob {
        /// The blob.
        digest: Digest,
        /// Its promised size.
        size: u64,
        /// Why not.
        #[source]
        source: EndpointError,
    },
    /// A manifest or an index was not taken.
    #[error("cannot write manifest {digest}")]
    Document {
        /// The document.
        digest: Digest,
        /// Why not.
        #[source]
        source: EndpointError,
    },
    /// The documents could not be read.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The platforms that were asked for are not there.
    #[error(transparent)]
    Select(#[from] SelectError),
}

impl Default for Options {
    /// Everything but referrers, six blobs at a time as skopeo does, three attempts.
    fn default() -> Self {
        Self {
            selection: Selection::All,
            referrers: Referrers::Leave,
            blobs_at_once: NonZeroUsize::new(6).expect("because six is not zero"),
            attempts: 3,
            retry_delay: Duration::from_secs(1),
        }
    }
}

/// What every blob's task needs.
struct Job<S, D> {
    source: Arc<S>,
    destination: Arc<D>,
    progress: Arc<dyn Progress>,
    attempts: u32,
    retry_delay: Duration,
}

/// Copies one image. Dropping the future cancels it.
pub async fn copy<S: Source + 'static, D: Destination + 'static>(
    source: Arc<S>,
    destination: Arc<D>,
    options: &Options,
    progress: Arc<dyn Progress>,
) -> Result<Report, TransferError> {
    let resolved = source.resolve().await?;
    let root = plan::fetch_document(&*source, &resolved).await?;
    let takes = destination.takes();
    let selected = select::select(&*source, root, &options.selection, takes).await?;
    let plan = plan::draw(&*source, &*destination, selected, options.referrers).await?;
    let bytes = plan.blobs.iter().fold(0, |sum: u64, blob| sum.saturating_add(blob.size));
    progress.report(Event::Planned { blobs: plan.blobs.len(), bytes });
    let width = match takes {
        Takes::Anything => options.blobs_at_once.get(),
        Takes::InOrder | Takes::OneImage => 1,
    };
    let Options { attempts, retry_delay, .. } = *options;
    let job = Job { source, destination, progress, attempts, retry_delay };
    Arc::new(job).carry_out(plan, width).await
}

impl<S: Source + 'static, D: Destination + 'static> Job<S, D> {
    async fn carry_out(self: Arc<Self>, plan: Plan, width: usize) -> Result<Report, TransferError> {
        let Plan { root, documents, blobs } = plan;
        let outcomes = Arc::clone(&self).move_blobs(&blobs, width).await?;
        for level in &documents {
            self.push_documents(level, width).await?;
        }
        let failed = |source| TransferError::Document { digest: root.digest(), source };
        self.destination.publish(&root).await.map_err(failed)?;
        self.progress.report(Event::Published(root.descriptor()));
        let blobs: Vec<(Descriptor, Outcome)> = blobs.into_iter().zip(outcomes).collect();
        let moved = blobs.iter().filter(|(_, outcome)| *outcome == Outcome::Copied);
        Ok(Report {
            root: root.descriptor(),
            bytes_moved: moved.map(|(blob, _)| blob.size).sum(),
            blobs,
            documents: documents.iter().map(Vec::len).sum::<usize>() + 1,
        })
    }

    /// Moves every blob; the first that fails cancels the others.
    async fn move_blobs(
        self: Arc<Self>,
        blobs: &[Descriptor],
        width: usize,
    ) -> Result<Vec<Outcome>, TransferError> {
        let mut outcomes = vec![Outcome::Present; blobs.len()];
        let mut waiting = blobs.iter().cloned().enumerate();
        // Tasks of their own, so that hashing uses all cores. Dropping the set cancels them.
        let mut tasks = JoinSet::new();
        loop {
            while tasks.len() < width
                && let Some((position, blob)) = waiting.next()
            {
                let job = Arc::clone(&self);
                tasks.spawn(async move { (position, job.move_blob(&blob).await) });
            }
            let Some(joined) = tasks.join_next().await else { return Ok(outcomes) };
            let (position, moved) =
                joined.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            outcomes[position] = moved?;
        }
    }

    async fn push_documents(&self, documents: &[Document], width: usize) -> Result<(), TransferError> {
        let push = |document: Document| async move {
            let failed = |source| TransferError::Document { digest: document.digest(), source };
            self.destination.push_document(&document).await.map_err(failed)
        };
        stream::iter(documents.to_vec()).map(push).buffered(width).try_collect().await
    }

    async fn move_blob(&self, blob: &Descriptor) -> Result<Outcome, TransferError> {
        let failed = |source| TransferError::Blob { digest: blob.digest, size: blob.size, source };
        let outcome = self.bring(blob).await.map_err(failed)?;
        self.progress.report(Event::Finished { descriptor: blob.clone(), outcome });
        Ok(outcome)
    }

    async fn bring(&self, blob: &Descriptor) -> Result<Outcome, EndpointError> {
        if self.destination.has_blob(blob).await? {
            return Ok(Outcome::Present);
        }
        if let Some(origin) = self.source.origin(blob)
            && self.destination.mount(blob, &origin).await?
        {
            return Ok(Outcome::Mounted);
        }
        self.progress.report(Event::Started(blob.clone()));
        let mut attempts = 1;
        loop {
            match self.send(blob).await {
                Ok(()) => return Ok(Outcome::Copied),
                // Foreign layers live at their urls; registries hold some of them all the same.
                Err(EndpointError::Absent { .. }) if is_foreign(blob) => return Ok(Outcome::LeftAtUrls),
                Err(error) if error.is_transient() && attempts < self.attempts => {
                    let (digest, reason) = (blob.digest, error.to_string());
                    self.progress.report(Event::Restarted { digest, attempts, reason });
                    tokio::time::sleep(self.retry_delay.saturating_mul(1 << (attempts - 1).min(16))).await;
                    attempts += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves a blob's bytes once.
    async fn send(&self, blob: &Descriptor) -> Result<(), EndpointError> {
        let content = match blob.inlined() {
            Some(bytes) => BlobStream::of_bytes(blob, "the manifest", bytes.into()),
            None => self.source.blob(blob).await?,
        };
        let fault = content.fault();
        let (progress, digest) = (Arc::clone(&self.progress), blob.digest);
        let metered = content.metered(move |bytes| progress.report(Event::Advanced { digest, bytes }));
        let pushed = self.destination.push_blob(blob, metered).await;
        // What broke the stream is the reason; what the destination made of it is an echo.
        pushed.map_err(|error| fault.take().unwrap_or(error))
    }
}

fn is_foreign(blob: &Descriptor) -> bool {
    blob.media_type.is_nondistributable() && blob.urls.as_ref().is_some_and(|urls| !urls.is_empty())
}

#[cfg(test)]
mod tests;
