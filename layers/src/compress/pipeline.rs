//! From `write` calls of any size to chunks, and to the thread that compresses them.
//!
//! The caller's thread does everything until a second chunk begins: a small layer must not pay for
//! starting threads. After that, and if there is more than one thread to use, `pool.rs` takes over.

use std::io::{self, Write};
use std::mem;
use std::sync::Arc;

use super::Compression;
use super::block::{self, Block, Encoder};
use super::cut::{Cutter, Lengths, Part};
use super::frame::{Finished, Frame};
use super::pool::Pool;
use super::splice::Previous;
use crate::oci::Hasher;

/// Starts compressing into `writer` with up to `threads` compressing threads.
///
/// With one thread, or for less than a chunk of input, all is done by the caller's thread.
/// More threads than a format can use within its memory bound are not started.
pub fn compressor<W: Write + Send + 'static>(
    compression: Compression,
    threads: usize,
    writer: W,
) -> Compressor<W> {
    Compressor {
        compression,
        threads,
        previous: None,
        cutter: Cutter::new(Lengths::of(compression)),
        is_cut: false,
        filling: Block::default(),
        engine: Engine::Inline(Box::new(Inline { encoder: None, frame: Frame::new(compression, writer) })),
    }
}

/// A writer that compresses what it takes.
///
/// Dropping it drops the inner writer, with whatever has reached it. After an error it is of no more use.
pub struct Compressor<W: Write + Send + 'static> {
    compression: Compression,
    threads: usize,
    previous: Option<Arc<Previous>>,
    cutter: Cutter,
    /// The filling chunk is whole: what comes next begins another.
    is_cut: bool,
    filling: Block,
    engine: Engine<W>,
}

enum Engine<W: Write + Send + 'static> {
    Inline(Box<Inline<W>>),
    Pooled(Pool<W>),
    /// An error was returned; what was written is of no use.
    Failed,
}

/// All that a stream needs on the caller's own thread.
struct Inline<W> {
    encoder: Option<Encoder>,
    frame: Frame<W>,
}

impl<W: Write + Send + 'static> Compressor<W> {
    /// Has the input hashed beside being compressed. Before the first write only.
    #[must_use]
    pub fn hash_input(mut self, hasher: Hasher) -> Self {
        if let Engine::Inline(inline) = &mut self.engine {
            inline.frame.hash_input(hasher);
        }
        self
    }

    /// Has the chunks remembered, and those of a `previous` blob taken over where they are the same. The
    /// bytes are what they would be without. Before the first write only. Of what is not compressed nothing
    /// is taken over.
    #[must_use]
    pub fn splice(mut self, previous: Previous) -> Self {
        if let Engine::Inline(inline) = &mut self.engine {
            inline.frame.keep_chunks();
            self.cutter = Cutter::new(Lengths::noted(self.compression));
            self.previous = (self.compression != Compression::None).then(|| Arc::new(previous));
        }
        self
    }

    /// Compresses what is left, writes the format's end and returns the inner writer, not flushed.
    pub fn finish(self) -> io::Result<W> {
        self.finish_hashed().map(|finished| finished.writer)
    }

    /// Does as [`Compressor::finish`] and tells what the input was.
    pub fn finish_hashed(mut self) -> io::Result<Finished<W>> {
        if !self.filling.input.is_empty() {
            self.submit()?;
        }
        match mem::replace(&mut self.engine, Engine::Failed) {
            Engine::Inline(inline) => inline.frame.finish(),
            Engine::Pooled(pool) => pool.finish()?.finish(),
            Engine::Failed => Err(failed_before()),
        }
    }

    /// Hands the filled chunk on; another one, empty, takes its place.
    fn submit(&mut self) -> io::Result<()> {
        let result = self.try_submit();
        if result.is_err() {
            self.engine = Engine::Failed;
        }
        result
    }

    fn try_submit(&mut self) -> io::Result<()> {
        let filled = mem::take(&mut self.filling);
        match &mut self.engine {
            Engine::Inline(inline) => {
                self.filling = inline.take(self.compression, self.previous.as_ref(), filled)?
            }
            Engine::Pooled(pool) => self.filling = pool.exchange(filled)?,
            Engine::Failed => return Err(failed_before()),
        }
        Ok(())
    }

    /// Starts the threads, if there is more to come than one chunk and there are threads to use.
    fn grow(&mut self) -> io::Result<()> {
        if self.threads < 2 || !matches!(self.engine, Engine::Inline(_)) {
            return Ok(());
        }
        if let Engine::Inline(inline) = mem::replace(&mut self.engine, Engine::Failed) {
            let workers = self.threads.min(block::most_workers(self.compression));
            self.engine =
                Engine::Pooled(Pool::start(self.compression, workers, self.previous.as_ref(), inline.frame)?);
        }
        Ok(())
    }
}

impl<W: Write + Send + 'static> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if mem::take(&mut self.is_cut) {
            self.grow()?;
            self.submit()?;
        }
        let taken = match self.cutter.take(bytes) {
            Part::All => bytes.len(),
            Part::Last(taken) => {
                self.is_cut = true;
                taken
            }
        };
        self.filling.fill(&bytes[..taken], self.cutter.most());
        Ok(taken)
    }

    /// Does nothing: a flush that showed in the bytes would make them depend on the caller.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Inline<W> {
    fn take(
        &mut self,
        compression: Compression,
        previous: Option<&Arc<Previous>>,
        mut block: Block,
    ) -> io::Result<Block> {
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => none.insert(Encoder::new(compression, previous.cloned())?),
        };
        encoder.encode(&mut block)?;
        self.frame.take(&block)?;
        block.input.clear();
        Ok(block)
    }
}

fn failed_before() -> io::Error {
    io::Error::other("compression failed before")
}
