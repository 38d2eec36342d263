//! Reading ahead: one thread reads (and decompresses, and hashes) while another uses what was read.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

/// 256 KiB: a hop between threads costs a few microseconds, decompressing so much 500 and more.
const CHUNK: usize = 256 << 10;

/// Chunks read ahead: 1 MiB evens out what the two sides cost from entry to entry.
const AHEAD: usize = 4;

/// A reader whose inner reader runs on a thread of its own, at most 1.5 MiB ahead.
///
/// An error comes where it stands in the stream. After a drop the thread ends at its next chunk; it
/// is not awaited, since the inner reader may be waiting for something that never comes.
pub struct ReadAhead {
    chunks: Receiver<io::Result<Vec<u8>>>,
    spare: Sender<Vec<u8>>,
    current: Vec<u8>,
    position: usize,
}

impl ReadAhead {
    /// Starts the thread.
    pub fn new(reader: impl Read + Send + 'static) -> io::Result<Self> {
        let (sender, chunks) = sync_channel(AHEAD);
        let (spare, emptied) = channel();
        thread::Builder::new().name("read-ahead".to_owned()).spawn(move || run(reader, &sender, &emptied))?;
        Ok(Self { chunks, spare, current: Vec::new(), position: 0 })
    }
}

impl Read for ReadAhead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == self.current.len() && !buffer.is_empty() {
            match self.chunks.recv() {
                Ok(chunk) => {
                    let emptied = std::mem::replace(&mut self.current, chunk?);
                    self.position = 0;
                    // The thread has ended where it takes none back.
                    let _ = self.spare.send(emptied);
                }
                // Sent nothing more: the end was reached, or told as an error before.
                Err(_) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len() - self.position);
        buffer[..count].copy_from_slice(&self.current[self.position..self.position + count]);
        self.position += count;
        Ok(count)
    }
}

fn run(mut reader: impl Read, sender: &SyncSender<io::Result<Vec<u8>>>, emptied: &Receiver<Vec<u8>>) {
    loop {
        let mut chunk = emptied.try_recv().unwrap_or_default();
        let result = fill(&mut reader, &mut chunk);
        if !chunk.is_empty() && sender.send(Ok(chunk)).is_err() {
            return;
        }
        match result {
            Ok(Filled::Whole) => {}
            Ok(Filled::ToTheEnd) => return,
            Err(error) => {
                // Nobody may be left to read it.
                let _ = sender.send(Err(error));
                return;
            }
        }
    }
}

enum Filled {
    Whole,
    ToTheEnd,
}

fn fill(reader: &mut impl Read, chunk: &mut Vec<u8>) -> io::Result<Filled> {
    chunk.clear();
    let count = reader.take(CHUNK as u64).read_to_end(chunk)?;
    Ok(if count < CHUNK { Filled::ToTheEnd } else { Filled::Whole })
}
