//! Bytes on their way into an upload: one channel, one thread, and checkpoints on the way.
//!
//! ```text
//! handler ── push(Bytes) ──▶ [channel, 8 deep] ──▶ thread: write, hash ── each 64 MiB: sync ──▶ checkpoint
//!    ▲                                                                                             │
//!    └────────────── durable(): the newest offset that would survive a crash ◀─────────────────────┘
//! ```
//!
//! The thread is the upload's own and not one of the runtime's: a client that trickles may hold it
//! for hours, and five hundred of them must not stop the metadata from being read.

use std::thread;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Digester, StorageError};

/// Pieces between client and thread. Pieces are at most as large as hyper's read buffer
/// (`server::READ_BUFFER_BYTES`), so an upload holds 2 MiB of memory at most.
const DEPTH: usize = 8;

/// Bytes between checkpoints: what a client must send again after the server was killed. At the
/// usual speeds of disks a sync of this much takes well under a second.
const CHECKPOINT_BYTES: u64 = 64 * 1024 * 1024;

/// How far an upload has come, and the hash of exactly that.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Bytes that would survive a crash.
    pub offset: u64,
    /// Their hash, running.
    pub digester: Digester,
}

/// Where an appender's bytes go.
pub(crate) trait Sink: Send {
    /// Takes bytes behind those it has.
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError>;
    /// Returns once all bytes taken would survive a crash.
    fn sync(&mut self) -> Result<(), StorageError>;
    /// Gives back the space of what stands behind an offset.
    fn forget(&mut self, offset: u64) -> Result<(), StorageError>;
}

/// The handler's end of an upload being written. If it is dropped the thread still finishes what was
/// pushed, but nobody learns how far it came: the next appender goes back to the last checkpoint.
#[derive(Debug)]
pub struct Appender {
    pieces: mpsc::Sender<Bytes>,
    checkpoints: watch::Receiver<Option<Checkpoint>>,
    done: oneshot::Receiver<Result<Checkpoint, StorageError>>,
}

impl Appender {
    /// Starts the thread that feeds `open`'s sink, which is opened on that thread.
    pub(crate) fn start<S, F>(open: F, from: Checkpoint) -> Result<Self, StorageError>
    where
        S: Sink,
        F: FnOnce() -> Result<S, StorageError> + Send + 'static,
    {
        let (pieces, receiver) = mpsc::channel(DEPTH);
        let (sender, checkpoints) = watch::channel(None);
        let (finished, done) = oneshot::channel();
        thread::Builder::new()
            .name("blob-write".to_owned())
            .spawn(move || {
                let result = open().and_then(|sink| run(sink, from, receiver, &sender));
                // Nobody listens if the handler was dropped: the bytes are simply not counted.
                drop(finished.send(result));
            })
            .map_err(StorageError::io("start a thread for", "an upload"))?;
        Ok(Self { pieces, checkpoints, done })
    }

    /// Hands over bytes, waiting while the disk is behind. `false` once the thread has failed, which
    /// [`Appender::finish`] then tells.
    pub async fn push(&self, bytes: Bytes) -> bool {
        self.pieces.send(bytes).await.is_ok()
    }

    /// Returns a checkpoint that was reached since this was last asked.
    pub fn durable(&mut self) -> Option<Checkpoint> {
        let newest = self.checkpoints.borrow_and_update();
        if newest.has_changed() { newest.clone() } else { None }
    }

    /// Waits until all that was pushed would survive a crash.
    pub async fn finish(self) -> Result<Checkpoint, StorageError> {
        drop(self.pieces);
        self.done.await.unwrap_or(Err(StorageError::Closed))
    }
}

fn run(
    mut sink: impl Sink,
    from: Checkpoint,
    pieces: mpsc::Receiver<Bytes>,
    checkpoints: &watch::Sender<Option<Checkpoint>>,
) -> Result<Checkpoint, StorageError> {
    let start = from.offset;
    feed(&mut sink, from, pieces, checkpoints).inspect_err(|_| {
        // On a full disk, bytes that do not count would keep it full.
        let counted = checkpoints.borrow().as_ref().map_or(start, |checkpoint| checkpoint.offset);
        drop(sink.forget(counted));
    })
}

fn feed(
    sink: &mut impl Sink,
    mut at: Checkpoint,
    mut pieces: mpsc::Receiver<Bytes>,
    checkpoints: &watch::Sender<Option<Checkpoint>>,
) -> Result<Checkpoint, StorageError> {
    let mut synced = at.offset;
    while let Some(bytes) = pieces.blocking_recv() {
        sink.write(&bytes)?;
        at.digester.update(&bytes);
        at.offset += bytes.len() as u64;
        if at.offset - synced >= CHECKPOINT_BYTES {
            sink.sync()?;
            synced = at.offset;
            checkpoints.send_replace(Some(at.clone()));
        }
    }
    sink.sync()?;
    Ok(at)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use oxbox_layers::oci::Algorithm;

    use super::{Appender, CHECKPOINT_BYTES, Checkpoint, Sink};
    use crate::storage::{Digester, StorageError};

    /// A disk with so many bytes of space, and what it was told to forget.
    struct Full {
        space: u64,
        forgotten: Arc<Mutex<Option<u64>>>,
    }

    impl Sink for Full {
        fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
            let left = self.space.checked_sub(bytes.len() as u64);
            self.space = left.ok_or(StorageError::Closed)?;
            Ok(())
        }

        fn sync(&mut self) -> Result<(), StorageError> {
            Ok(())
        }

        fn forget(&mut self, offset: u64) -> Result<(), StorageError> {
            *self.forgotten.lock().unwrap() = Some(offset);
            Ok(())
        }
    }

    fn beginning() -> Checkpoint {
        Checkpoint { offset: 0, digester: Digester::new(Algorithm::Sha256) }
    }

    #[tokio::test]
    async fn a_disk_that_fills_up_keeps_what_counts_and_forgets_the_rest() {
        let forgotten = Arc::new(Mutex::new(None));
        let sink = Full { space: CHECKPOINT_BYTES + 5, forgotten: Arc::clone(&forgotten) };
        let mut appender = Appender::start(move || Ok(sink), beginning()).unwrap();
        let piece = Bytes::from(vec![0; 1024 * 1024]);
        for _ in 0..=CHECKPOINT_BYTES / piece.len() as u64 {
            appender.push(piece.clone()).await;
        }
        // The thread has ended once nothing can be pushed.
        while appender.push(piece.clone()).await {}
        assert_eq!(appender.durable().map(|checkpoint| checkpoint.offset), Some(CHECKPOINT_BYTES));
        assert!(appender.finish().await.is_err());
        assert_eq!(*forgotten.lock().unwrap(), Some(CHECKPOINT_BYTES));
    }
}
