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
        if !self.checkpoints.has_changed().unwrap_or(false) {
            return None;
        }
        self.checkpoints.borrow_and_update().clone()
    }

    /// Waits until all that was pushed would survive a crash.
    pub async fn finish(self) -> Result<Checkpoint, StorageError> {
        drop(self.pieces);
        self.done.await.unwrap_or(Err(StorageError::Closed))
    }
}

fn run(
    mut sink: impl Sink,
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
