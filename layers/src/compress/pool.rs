//! Blocks compressed on several threads and written in order by one more.
//!
//! ```text
//!            ┌▶ worker ─┐
//! caller ─▶──┼▶ worker ─┼─▶ writer: orders, hashes the input, writes
//!    ▲       └▶ worker ─┘     │
//!    └───────── spare ◀───────┘      workers + 2 blocks go round: the bound on memory
//! ```

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::Compression;
use super::block::{Block, Encoder};
use super::frame::Frame;
use super::splice::Previous;

/// The threads of one stream. Dropping it stops and awaits them, and drops the writer.
pub(super) struct Pool<W: Write + Send + 'static> {
    /// To the workers; without workers, to the writer.
    filled: Option<SyncSender<io::Result<Block>>>,
    spare: Receiver<Block>,
    threads: Vec<JoinHandle<()>>,
    writer: Option<JoinHandle<io::Result<Frame<W>>>>,
    /// Blocks that may still be made.
    allowance: usize,
    submitted: u64,
}

impl<W: Write + Send + 'static> Pool<W> {
    /// Starts `workers` threads and the writer's. Without workers the blocks go straight to the writer.
    pub(super) fn start(
        compression: Compression,
        workers: usize,
        previous: Option<&Arc<Previous>>,
        frame: Frame<W>,
    ) -> io::Result<Self> {
        // One block being filled and one being written, besides what the workers hold.
        let blocks = workers + 2;
        let (to_writer, encoded) = sync_channel(blocks);
        let (to_caller, spare) = sync_channel(blocks);
        let submitted = frame.blocks();
        let writer = spawn("layer-write", move || write_in_order(frame, &encoded, &to_caller))?;
        let mut pool = Self {
            filled: None,
            spare,
            threads: Vec::new(),
            writer: Some(writer),
            allowance: blocks - 1,
            submitted,
        };
        if workers == 0 {
            pool.filled = Some(to_writer);
            return Ok(pool);
        }
        let (to_workers, filled) = sync_channel(blocks);
        let filled = Arc::new(Mutex::new(filled));
        for _ in 0..workers {
            let mut encoder = Encoder::new(compression, previous.cloned())?;
            let (filled, to_writer) = (Arc::clone(&filled), to_writer.clone());
            pool.threads.push(spawn("layer-compress", move || work(&mut encoder, &filled, &to_writer))?);
        }
        pool.filled = Some(to_workers);
        Ok(pool)
    }

    /// Takes a filled block and returns an empty one; waits while all blocks are under way.
    ///
    /// # Errors
    ///
    /// The one that stopped a worker or the writer.
    pub(super) fn exchange(&mut self, mut block: Block) -> io::Result<Block> {
        block.sequence = self.submitted;
        self.submitted += 1;
        let sent = self.filled.as_ref().is_some_and(|filled| filled.send(Ok(block)).is_ok());
        if sent {
            if let Ok(block) = self.spare.try_recv() {
                return Ok(block);
            }
            if self.allowance > 0 {
                self.allowance -= 1;
                return Ok(Block::default());
            }
            if let Ok(block) = self.spare.recv() {
                return Ok(block);
            }
        }
        // Threads end early for one reason only, and the writer's knows it.
        Err(self.stop().err().unwrap_or_else(died))
    }

    /// Waits until all is written.
    pub(super) fn finish(mut self) -> io::Result<Frame<W>> {
        let frame = self.stop()?;
        if frame.blocks() == self.submitted { Ok(frame) } else { Err(died()) }
    }

    fn stop(&mut self) -> io::Result<Frame<W>> {
        self.filled = None;
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| died())?;
        }
        self.writer.take().ok_or_else(died)?.join().map_err(|_| died())?
    }
}

impl<W: Write + Send + 'static> Drop for Pool<W> {
    fn drop(&mut self) {
        // Awaited so that the inner writer is gone when the owner's drop returns.
        drop(self.stop());
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

fn work(
    encoder: &mut Encoder,
    filled: &Mutex<Receiver<io::Result<Block>>>,
    to_writer: &SyncSender<io::Result<Block>>,
) {
    loop {
        let next = filled.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Ok(mut block)) = next else { return };
        let encoded = encoder.encode(&mut block).map(|()| block);
        let stop = encoded.is_err();
        if to_writer.send(encoded).is_err() || stop {
            return;
        }
    }
}

fn write_in_order<W: Write>(
    mut frame: Frame<W>,
    encoded: &Receiver<io::Result<Block>>,
    to_caller: &SyncSender<Block>,
) -> io::Result<Frame<W>> {
    // Never more than the blocks that go round.
    let mut early = BTreeMap::new();
    for block in encoded {
        let block = block?;
        early.insert(block.sequence, block);
        while let Some(mut block) = early.remove(&frame.blocks()) {
            frame.take(&block)?;
            block.input.clear();
            // The caller may have finished already and want no more of them.
            let _ = to_caller.try_send(block);
        }
    }
    Ok(frame)
}

fn died() -> io::Error {
    io::Error::other("a compressing thread died")
}
