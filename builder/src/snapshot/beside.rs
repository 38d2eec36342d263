//! A layer unpacked beside being written: its tar need not be decompressed again for the RUN that follows.
//!
//! ```text
//! COPY ─▶ tar ─┬─▶ chunks ─▶ blob             and when that is done, it is known what the layer is called
//!              └─▶ files of a claim ──────────────────────▶ its snapshot
//! ```
//!
//! It is a guess that may fail or be dropped at any moment: then the layer is unpacked when it is needed.

use std::io::{self, Read, Write};
use std::mem;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use oxbox_layers::oci::{ChainId, DiffId};
use oxbox_layers::stack::delta;

use super::{Active, Known, SnapshotError, Snapshotter, io_error, unpack};

/// 256 KiB: a hop between threads costs a few microseconds, unpacking so much 300 and more.
const PIECE_BYTES: usize = 256 << 10;

/// 2 MiB on the way even out what the two sides cost from file to file.
const PIECES: usize = 8;

/// A layer that is being unpacked. Dropping it discards that, and waits for it: so the tar must have ended.
pub struct Beside {
    /// There until it is waited for.
    thread: Option<JoinHandle<Result<Active, SnapshotError>>>,
}

impl Beside {
    /// Starts with nothing; returns what takes the layer's tar, to be dropped at its end. `None` where layers
    /// are not kept by themselves.
    pub fn start(snapshots: &dyn Snapshotter) -> Result<Option<(Self, TarSink)>, SnapshotError> {
        let Some(active) = snapshots.blank()? else { return Ok(None) };
        let (sender, pieces) = sync_channel(PIECES);
        let (back, spare) = sync_channel(PIECES);
        let directory = active.upper().to_owned();
        // It owns the directory, which must not go while it writes there.
        let work = move || {
            let mut pieces = Pieces { pieces, back, current: io::Cursor::default() };
            unpack::unpack(active.upper(), None, &mut pieces).map(|_| active)
        };
        let thread = thread::Builder::new().name("unpack".to_owned()).spawn(work);
        let thread = thread.map_err(io_error("start a thread for", &directory))?;
        Ok(Some((Self { thread: Some(thread) }, TarSink { sender, spare, filling: Vec::new() })))
    }

    /// Keeps what was unpacked as the snapshot of a layer on others. Blocks until all is unpacked.
    pub fn finish(
        mut self,
        snapshots: &dyn Snapshotter,
        below: Option<ChainId>,
        layer: &DiffId,
        known: &Known<'_>,
    ) -> Result<(), SnapshotError> {
        let thread = self.thread.take().expect("because nobody else waits for it");
        let unpacked = match thread.join() {
            Ok(unpacked) => unpacked,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let mut active = unpacked?;
        // What lies below was not looked at.
        if !delta::is_self_contained(&known.index) {
            return Ok(());
        }
        active.keep_above(below, known);
        snapshots.commit(active, layer)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // A process that ends before would leave what was unpacked so far.
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Takes the tar of a layer.
pub struct TarSink {
    sender: SyncSender<Vec<u8>>,
    /// Pieces that were read: memory that goes round is not asked of the system again and again.
    spare: Receiver<Vec<u8>>,
    filling: Vec<u8>,
}

impl Write for TarSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE_BYTES - self.filling.len();
        let taken = &bytes[..bytes.len().min(room)];
        if self.filling.capacity() == 0 {
            self.filling = self.spare.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE_BYTES));
        }
        self.filling.extend_from_slice(taken);
        if self.filling.len() == PIECE_BYTES {
            self.flush()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = mem::take(&mut self.filling);
        if piece.is_empty() {
            return Ok(());
        }
        self.sender.send(piece).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

impl Drop for TarSink {
    fn drop(&mut self) {
        // Where nobody takes it any more, nobody misses it.
        let _ = self.flush();
    }
}

struct Pieces {
    pieces: Receiver<Vec<u8>>,
    back: SyncSender<Vec<u8>>,
    current: io::Cursor<Vec<u8>>,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.current.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            match self.pieces.recv() {
                Ok(piece) => {
                    let mut read = mem::replace(&mut self.current, io::Cursor::new(piece)).into_inner();
                    read.clear();
                    if read.capacity() > 0 {
                        // If there are enough of them, or nobody fills them any more, it just goes.
                        let _ = self.back.try_send(read);
                    }
                }
                Err(_) => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read as _, Write as _};
    use std::sync::Arc;

    use oxbox_layers::compress::Compression;
    use oxbox_layers::layer::{LayerWriter, Written};
    use oxbox_layers::oci::{ChainId, DiffId, Digest};
    use oxbox_layers::store::Memory;
    use oxbox_layers::tar::{Entry, Kind};

    use super::super::{Known, Overlay, Snapshotter as _};
    use super::Beside;

    fn write(store: &Memory, copy: super::TarSink, paths: &[&str]) -> Written {
        let writer = LayerWriter::splicing(store, Compression::GZIP, 1, None).unwrap();
        let mut writer = writer.indexed().copied_to(Box::new(copy));
        for path in paths {
            let kind = match path.ends_with('/') {
                true => Kind::Directory,
                false => Kind::File { size: 300_000 },
            };
            let entry = Entry::new(path.trim_end_matches('/'), kind, 0o755);
            writer.append(&entry, &mut std::io::repeat(7).take(entry.size())).unwrap();
        }
        writer.finish_noted().unwrap()
    }

    fn known<'a>(written: &Written, store: &'a Memory) -> Known<'a> {
        let index = Arc::new(written.index.clone().unwrap());
        Known { index, chunks: Arc::new(written.chunks.clone().unwrap()), store }
    }

    #[test]
    fn a_layer_is_unpacked_when_it_is_written() {
        let (state, store) = (tempfile::tempdir().unwrap(), Memory::new());
        let overlay = Overlay::open(state.path()).unwrap();
        let base = DiffId(Digest::sha256(b"base"));
        overlay.commit(overlay.prepare(&[]).unwrap(), &base).unwrap();
        let (beside, sink) = Beside::start(&overlay).unwrap().unwrap();
        let written = write(&store, sink, &["src/", "src/a", "src/b"]);
        let layer = written.layer.diff_id;
        beside.finish(&overlay, Some(ChainId(base.0)), &layer, &known(&written, &store)).unwrap();
        assert_eq!(overlay.unpacked(&[base, layer]).unwrap(), 2);
        let lowers = overlay.prepare(&[base, layer]).unwrap().lowers().to_vec();
        assert_eq!(fs::read(lowers[0].join("src/b")).unwrap(), [7; 300_000]);
    }

    #[test]
    fn a_layer_that_leans_on_what_lies_below_is_not_kept() {
        let (state, store) = (tempfile::tempdir().unwrap(), Memory::new());
        let overlay = Overlay::open(state.path()).unwrap();
        let (beside, sink) = Beside::start(&overlay).unwrap().unwrap();
        let written = write(&store, sink, &["src/a"]);
        let layer = written.layer.diff_id;
        beside.finish(&overlay, None, &layer, &known(&written, &store)).unwrap();
        assert_eq!(overlay.unpacked(&[layer]).unwrap(), 0);
    }

    #[test]
    fn a_layer_that_is_given_up_leaves_nothing_once_it_is_dropped() {
        let state = tempfile::tempdir().unwrap();
        let overlay = Overlay::open(state.path()).unwrap();
        let store = Memory::new();
        for _ in 0..20 {
            let (beside, sink) = Beside::start(&overlay).unwrap().unwrap();
            let writer = LayerWriter::splicing(&store, Compression::GZIP, 1, None).unwrap();
            let mut writer = writer.indexed().copied_to(Box::new(sink));
            for number in 0..100 {
                let entry = Entry::new(format!("{number}"), Kind::File { size: 9000 }, 0o755);
                writer.append(&entry, &mut std::io::repeat(7).take(9000)).unwrap();
            }
            drop(writer);
            drop(beside);
            assert_eq!(fs::read_dir(state.path().join("snapshots/active")).unwrap().count(), 0);
        }
    }

    #[test]
    fn what_is_no_tar_leaves_nothing_and_stops_nobody() {
        let (state, store) = (tempfile::tempdir().unwrap(), Memory::new());
        let overlay = Overlay::open(state.path()).unwrap();
        let (beside, mut sink) = Beside::start(&overlay).unwrap().unwrap();
        sink.write_all(&[1; 512]).unwrap();
        sink.flush().unwrap();
        // Far more than fits on the way: whoever writes the layer goes on without a reader.
        let written = write(&store, sink, &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]);
        let layer = written.layer.diff_id;
        beside.finish(&overlay, None, &layer, &known(&written, &store)).unwrap_err();
        assert_eq!(fs::read_dir(state.path().join("snapshots/active")).unwrap().count(), 0);
        assert_eq!(overlay.unpacked(&[layer]).unwrap(), 0);
    }
}
