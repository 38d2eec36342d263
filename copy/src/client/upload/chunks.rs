//! Uploads in chunks, for what does not get through in one go, and of content of unknown size.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::stream::Stream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::StatusCode;
use oxbox_layers::oci::{Algorithm, Descriptor, Digest, Hasher};
use url::Url;

use super::Session;
use crate::client::answer::Place;
use crate::client::exchange::ExchangeError;
use crate::client::payload::{Content, Payload};
use crate::client::{ClientError, Repository};

/// Size of a chunk. Amazon's registry refuses less than 5 MiB, proxies cap bodies at 10 MiB and above.
const CHUNK_BYTES: u64 = 8 * 1024 * 1024;
/// Largest chunk that a registry may ask for.
const MAX_CHUNK_BYTES: u64 = 64 * 1024 * 1024;

impl Repository {
    /// Uploads content whose size and digest are known only when it ends, and returns them.
    pub async fn push_unknown(
        &self,
        content: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        algorithm: Algorithm,
    ) -> Result<(Digest, u64), ClientError> {
        let session = self.start_upload().await?;
        let result = self.push_counted(&session, content.boxed(), algorithm).await;
        if result.is_err() {
            self.cancel(&session).await;
        }
        result
    }

    async fn push_counted(
        &self,
        session: &Session,
        content: Content,
        algorithm: Algorithm,
    ) -> Result<(Digest, u64), ClientError> {
        let (content, passed) = counted(content, algorithm);
        // One PATCH for all: some registries keep only the last of several.
        let location = self.patch(&session.location, Payload::stream(content, None), None).await?;
        let (digest, size) = {
            let passed = passed.lock().unwrap_or_else(PoisonError::into_inner);
            (passed.hasher.clone().finish(), passed.size)
        };
        self.finish(&location, &digest, Payload::empty()).await?;
        Ok((digest, size))
    }

    pub(super) async fn push_chunks(
        &self,
        session: &Session,
        descriptor: &Descriptor,
        mut content: Content,
    ) -> Result<(), ClientError> {
        let size = session.min_chunk.clamp(CHUNK_BYTES, MAX_CHUNK_BYTES);
        let mut location = session.location.clone();
        let mut offset = 0;
        let mut rest = Bytes::new();
        loop {
            let chunk = fill(&mut content, &mut rest, size).await;
            let chunk = chunk.map_err(|source| ExchangeError::Content { url: session.place(), source })?;
            if chunk.is_empty() {
                break;
            }
            let length = chunk.len() as u64;
            location = self.push_chunk(location, offset, chunk).await?;
            offset += length;
        }
        self.finish(&location, &descriptor.digest, Payload::empty()).await
    }

    /// Sends one chunk, again where its answer was lost: the session says how much it has.
    async fn push_chunk(&self, mut location: Url, offset: u64, chunk: Bytes) -> Result<Url, ClientError> {
        let end = offset + chunk.len() as u64;
        let mut from = offset;
        let mut tried = 1;
        loop {
            let part = chunk.slice(usize::try_from(from - offset).unwrap_or(0)..);
            let range = format!("{from}-{}", end - 1);
            let error = match self.patch(&location, Payload::bytes(part), Some(&range)).await {
                Ok(next) => return Ok(next),
                Err(error) => error,
            };
            if tried >= self.host.policy.tries || !(is_out_of_step(&error) || error.is_transient()) {
                return Err(error);
            }
            self.host.clock.sleep(self.host.policy.backoff(tried, &*self.host.clock)).await;
            tried += 1;
            let (held, next) = self.upload_offset(&location).await?;
            location = next;
            if held == end {
                return Ok(location);
            }
            if !(offset..end).contains(&held) {
                let url = Place::of(&location).to_string();
                return Err(ClientError::UploadOffset { url, held, sent: end });
            }
            from = held;
        }
    }
}

fn is_out_of_step(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused { status, .. } if *status == StatusCode::RANGE_NOT_SATISFIABLE)
}

/// Takes the next `size` bytes of content, fewer only at its end. `rest` is what was read too much.
async fn fill(content: &mut Content, rest: &mut Bytes, size: u64) -> io::Result<Bytes> {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let mut chunk = BytesMut::new();
    loop {
        let wanted = size - chunk.len();
        chunk.extend_from_slice(&rest.split_to(wanted.min(rest.len())));
        if chunk.len() == size {
            return Ok(chunk.freeze());
        }
        match content.next().await {
            Some(piece) => *rest = piece?,
            None => return Ok(chunk.freeze()),
        }
    }
}

/// What has passed of a stream.
struct Passed {
    hasher: Hasher,
    size: u64,
}

/// Hashes and counts content as it passes.
fn counted(content: Content, algorithm: Algorithm) -> (Content, Arc<Mutex<Passed>>) {
    let passed = Arc::new(Mutex::new(Passed { hasher: Hasher::new(algorithm), size: 0 }));
    let shared = passed.clone();
    let counted = content.inspect_ok(move |piece| {
        let mut passed = shared.lock().unwrap_or_else(PoisonError::into_inner);
        passed.size += piece.len() as u64;
        passed.hasher.update(piece);
    });
    (counted.boxed(), passed)
}

#[cfg(test)]
mod tests {
    use std::io;

    use bytes::Bytes;
    use futures_util::{StreamExt as _, stream};

    use super::fill;

    #[tokio::test]
    async fn chunks_have_their_size_whatever_the_pieces_have() {
        let pieces = ["ab", "cdefg", "", "h"].map(|text| io::Result::Ok(Bytes::from(text)));
        let mut content = stream::iter(pieces).boxed();
        let mut rest = Bytes::new();
        let mut chunks = Vec::new();
        for _ in 0..4 {
            chunks.push(fill(&mut content, &mut rest, 3).await.unwrap());
        }
        assert_eq!(chunks, ["abc", "def", "gh", ""]);
    }
}
