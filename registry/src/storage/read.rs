//! Bytes on their way out: a thread reads ahead, a bounded channel holds it back.
//!
//! ```text
//! thread: pread 256 KiB ──▶ [channel, 4 deep] ──▶ response body
//! ```
//!
//! A range that fits one piece is read by one job of the runtime's pool instead: most requests are
//! for configs. The thread is the response's own, for the reason that `append` gives.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::{ByteStream, StorageError};

/// Bytes of one piece: below it the hop between thread and socket shows, above it the caches thrash.
const PIECE_BYTES: u64 = 256 * 1024;

/// Pieces between disk and socket: enough to hide a seek, 1 MiB for each response.
const DEPTH: usize = 4;

/// Reads a range of a file. Opening it is part of the job, so that errors come before the headers.
pub(crate) async fn file(path: PathBuf, range: Range<u64>) -> Result<ByteStream, StorageError> {
    let first = range.start..range.end.min(range.start + PIECE_BYTES);
    let rest = first.end..range.end;
    let job = move || {
        let file = File::open(&path).map_err(StorageError::io("open", &path))?;
        let bytes = piece(&file, &path, first)?;
        Ok::<_, StorageError>((file, path, bytes))
    };
    let (file, path, bytes) = spawn_blocking(job).await.map_err(|_| StorageError::Closed)??;
    let head = stream::iter([Ok(bytes)]);
    if rest.is_empty() {
        return Ok(head.boxed());
    }
    Ok(head.chain(ahead(file, path, rest)?).boxed())
}

/// Starts the thread that reads ahead.
fn ahead(file: File, path: PathBuf, mut range: Range<u64>) -> Result<ByteStream, StorageError> {
    let (sender, mut receiver) = mpsc::channel(DEPTH);
    let read = move || {
        while !range.is_empty() {
            let next = range.start..range.end.min(range.start + PIECE_BYTES);
            range.start = next.end;
            let bytes = piece(&file, &path, next);
            let failed = bytes.is_err();
            if sender.blocking_send(bytes).is_err() || failed {
                return;
            }
        }
    };
    thread::Builder::new()
        .name("blob-read".to_owned())
        .spawn(read)
        .map_err(StorageError::io("start a thread for", "a download"))?;
    Ok(stream::poll_fn(move |context| receiver.poll_recv(context)).boxed())
}

fn piece(file: &File, path: &std::path::Path, range: Range<u64>) -> Result<Bytes, StorageError> {
    let length = usize::try_from(range.end - range.start).expect("because a piece has 256 KiB at most");
    let mut buffer = vec![0; length];
    file.read_exact_at(&mut buffer, range.start).map_err(StorageError::io("read", path))?;
    Ok(buffer.into())
}
