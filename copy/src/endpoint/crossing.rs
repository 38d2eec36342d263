//! Where bytes cross between tasks and threads: one blocking job for a whole blob, a bounded channel
//! between.
//!
//! ```text
//! read_blob    job: open, read 256 KiB, read … ─ channel of 4 ─▶ BlobStream
//! write_blob   BlobStream ─ channel of 4 ─▶ Pieces (a Read) ─▶ job: write, verify, publish
//! ```
//!
//! At most (4 + 2) pieces of a blob are in memory on either side, so a copy at full width stays within
//! a few dozen MiB whatever the size of its blobs.

use std::io::{self, Read, Write};

use bytes::{Buf as _, Bytes};
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::{self, JoinError};

use super::{BlobStream, EndpointError, FileError, Subject};
use oxbox_layers::oci::Descriptor;

/// Bytes of one piece: below it the hop between threads shows, above it nothing is won
/// (measured for serving files; see docs/dependencies.md).
const PIECE_BYTES: usize = 256 * 1024;
/// Pieces that wait between the two sides: enough to ride out a slow write, few enough to bound memory.
const PIECES_WAITING: usize = 4;

type Opened = Result<(Box<dyn Read + Send>, std::path::PathBuf), EndpointError>;

/// Runs a blocking job on a thread, all at once.
pub(super) async fn run<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, EndpointError> + Send + 'static,
) -> Result<T, EndpointError> {
    match task::spawn_blocking(job).await.map_err(JoinError::try_into_panic) {
        Ok(result) => result,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime is shutting down, and drops this task next.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// Streams what `open` opens. The path is for errors only.
pub(super) async fn read_blob(
    descriptor: &Descriptor,
    place: String,
    open: impl FnOnce() -> Opened + Send + 'static,
) -> Result<BlobStream, EndpointError> {
    let (mut reader, path) = run(open).await?;
    let (sender, receiver) = mpsc::channel(PIECES_WAITING);
    let (subject, whence) = (Subject::Blob(descriptor.digest), place.clone());
    // Ends when the blob does, or at the first piece after the stream was dropped.
    task::spawn_blocking(move || {
        loop {
            let item = match read_piece(&mut reader) {
                Ok(piece) if piece.is_empty() => return,
                Ok(piece) => Ok(piece),
                Err(source) => {
                    Err(EndpointError::file(subject.clone(), &whence, FileError::of("read", &path)(source)))
                }
            };
            let broken = item.is_err();
            if sender.blocking_send(item).is_err() || broken {
                return;
            }
        }
    });
    let pieces = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    Ok(BlobStream::new(descriptor, place, pieces))
}

/// Reads one piece; empty at the end.
fn read_piece(reader: &mut dyn Read) -> io::Result<Bytes> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(Bytes::from(buffer))
}

/// Runs a blocking job that reads the stream to its end. A stream that breaks off reads as an error,
/// never as an end, so whatever the job was about to publish it discards.
pub(super) async fn write_blob<T: Send + 'static>(
    content: BlobStream,
    job: impl FnOnce(Pieces) -> Result<T, EndpointError> + Send + 'static,
) -> Result<T, EndpointError> {
    let (sender, receiver) = mpsc::channel(PIECES_WAITING);
    let job = run(move || job(Pieces { receiver, current: Bytes::new(), ended: false }));
    let (result, ()) = tokio::join!(job, feed(content, sender));
    result
}

/// Sends pieces until the stream ends or the job hangs up; `None` says that the end was a good one.
async fn feed(mut content: BlobStream, sender: Sender<Option<Bytes>>) {
    loop {
        let piece = match content.next().await {
            Some(Ok(piece)) => Some(piece),
            Some(Err(_)) => return,
            None => None,
        };
        let last = piece.is_none();
        if sender.send(piece).await.is_err() || last {
            return;
        }
    }
}

/// The blocking end of a [`BlobStream`].
pub(super) struct Pieces {
    receiver: Receiver<Option<Bytes>>,
    current: Bytes,
    ended: bool,
}

impl Pieces {
    /// Writes all there is, piece by piece, and returns how many bytes that were.
    pub(super) fn copy_to(mut self, sink: &mut dyn Write) -> io::Result<u64> {
        let mut written = 0;
        loop {
            self.refill()?;
            if self.current.is_empty() {
                return Ok(written);
            }
            sink.write_all(&self.current)?;
            written += self.current.len() as u64;
            self.current.clear();
        }
    }

    /// Waits for the next piece that is not empty, or the end.
    fn refill(&mut self) -> io::Result<()> {
        while self.current.is_empty() && !self.ended {
            match self.receiver.blocking_recv() {
                Some(Some(piece)) => self.current = piece,
                Some(None) => self.ended = true,
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the source broke off")),
            }
        }
        Ok(())
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.refill()?;
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use bytes::Bytes;
    use futures_util::{TryStreamExt as _, stream};
    use oxbox_layers::oci::{Descriptor, MediaType};

    use super::{PIECE_BYTES, read_blob, write_blob};
    use crate::endpoint::{BlobStream, EndpointError, FileError, Subject};

    fn content() -> Vec<u8> {
        (0..PIECE_BYTES * 7 + 13).map(|byte| (byte % 251) as u8).collect()
    }

    fn read_all(mut pieces: super::Pieces) -> Result<Vec<u8>, EndpointError> {
        let mut bytes = Vec::new();
        pieces.read_to_end(&mut bytes).map_err(|source| {
            EndpointError::file(Subject::Image, "test:", FileError::of("read", "x")(source))
        })?;
        Ok(bytes)
    }

    #[tokio::test]
    async fn what_is_read_is_what_is_written() {
        let bytes = content();
        let descriptor = Descriptor::of(MediaType::OCI_LAYER, &bytes);
        let reader = std::io::Cursor::new(bytes.clone());
        let stream = read_blob(&descriptor, "test:".to_owned(), move || Ok((Box::new(reader), "x".into())));
        assert_eq!(write_blob(stream.await.unwrap(), read_all).await.unwrap(), bytes);
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_is_never_an_end() {
        let descriptor = Descriptor::of(MediaType::OCI_LAYER, b"abcdef");
        let stream = BlobStream::new(&descriptor, "test:", stream::iter([Ok(Bytes::from_static(b"abc"))]));
        assert!(write_blob(stream, read_all).await.is_err());
    }

    #[tokio::test]
    async fn a_reader_that_fails_is_the_streams_fault() {
        struct Broken;
        impl std::io::Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("bad sector"))
            }
        }
        let descriptor = Descriptor::of(MediaType::OCI_LAYER, b"abcdef");
        let stream = read_blob(&descriptor, "test:".to_owned(), || Ok((Box::new(Broken), "x".into()))).await;
        let stream = stream.unwrap();
        let fault = stream.fault();
        assert!(stream.try_collect::<Vec<_>>().await.is_err());
        assert!(matches!(fault.take(), Some(EndpointError::Failed { .. })));
    }
}
