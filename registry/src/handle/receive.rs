//! A body on its way into an upload, and the span of the upload that a chunk claims to be.

use http::HeaderMap;
use http::header::CONTENT_RANGE;

use crate::body::{BodyError, Incoming};
use crate::range::number;
use crate::registry::Registry;
use crate::storage::metadata::UploadRecord;
use crate::storage::{Appender, Checkpoint, StorageError, UploadId};

/// What became of a body.
pub(super) struct Received {
    /// How far the upload came; durable, though the metadata may not know yet.
    pub(super) checkpoint: Checkpoint,
    /// Where the metadata has it.
    pub(super) noted: u64,
    /// Whether the body came whole.
    pub(super) end: Result<(), BodyError>,
}

/// Whether the metadata is told of checkpoints on the way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Notes {
    /// The upload is a session, and resumes from them.
    Kept,
    /// The upload is this one request.
    None,
}

/// Feeds a body to an upload.
pub(super) async fn receive(
    registry: &Registry,
    upload: &UploadId,
    from: Checkpoint,
    body: &mut Incoming,
    notes: Notes,
    limit: Option<u64>,
) -> Result<Received, StorageError> {
    let mut noted = from.offset;
    // Not before there are bytes: a closing request mostly has none, and needs no thread.
    let mut under_way: Option<Appender> = None;
    let end = loop {
        let bytes = match body.next().await {
            Err(error) => break Err(error),
            Ok(None) => break Ok(()),
            Ok(Some(bytes)) => bytes,
        };
        if let Some(limit) = limit
            && body.taken() > limit
        {
            break Err(BodyError::TooLarge { limit });
        }
        let appender = match &mut under_way {
            Some(appender) => appender,
            none => none.insert(registry.blobs.append(upload, from.clone())?),
        };
        let is_taken = appender.push(bytes).await;
        if let Some(checkpoint) = appender.durable()
            && notes == Notes::Kept
        {
            note(registry, upload, noted, &checkpoint).await?;
            noted = checkpoint.offset;
        }
        if !is_taken {
            // The thread has failed: `finish` says why.
            break Ok(());
        }
    };
    let checkpoint = match under_way {
        Some(appender) => appender.finish().await?,
        None => from,
    };
    Ok(Received { checkpoint, noted, end })
}

/// Tells the metadata how far a session has come.
pub(super) async fn note(
    registry: &Registry,
    upload: &UploadId,
    from: u64,
    checkpoint: &Checkpoint,
) -> Result<(), StorageError> {
    if checkpoint.offset == from {
        return Ok(());
    }
    let to = UploadRecord {
        offset: checkpoint.offset,
        algorithm: checkpoint.digester.algorithm(),
        hash: checkpoint.digester.save(),
    };
    match registry.metadata.advance(upload, from, to).await? {
        true => Ok(()),
        // Sessions have one writer at a time, so only another process can have moved it.
        false => Err(StorageError::Broken { what: "upload offset", value: from.to_string() }),
    }
}

/// The bytes of the upload that a chunk claims to be, last one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Span {
    pub(super) fn length(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

/// Reads a chunk's `Content-Range`: `0-99`, and as other specs write it, `bytes 0-99/*`.
///
/// # Errors
///
/// What is wrong with it, for the client.
pub(super) fn span(headers: &HeaderMap) -> Result<Option<Span>, &'static str> {
    let Some(value) = headers.get(CONTENT_RANGE) else { return Ok(None) };
    let text = value.to_str().map_err(|_| "its Content-Range is no text")?;
    let text = text.strip_prefix("bytes").unwrap_or(text).trim_start_matches([' ', '=']);
    let (text, _total) = text.split_once('/').unwrap_or((text, ""));
    let numbers = text.split_once('-').and_then(|(first, last)| Some((number(first)?, number(last)?)));
    match numbers {
        Some((first, last)) if first <= last => Ok(Some(Span { first, last })),
        Some(_) => Err("its Content-Range ends before it starts"),
        None => Err("its Content-Range cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::{Span, span};

    fn read(text: &str) -> Result<Option<Span>, &'static str> {
        let mut headers = HeaderMap::new();
        headers.insert("content-range", text.parse().unwrap());
        span(&headers)
    }

    #[test]
    fn a_span_is_read_with_and_without_its_unit() {
        let expected = Ok(Some(Span { first: 2, last: 9 }));
        for text in ["2-9", "bytes 2-9/*", "bytes 2-9/100", "bytes=2-9"] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert_eq!(Span { first: 2, last: 9 }.length(), 8);
    }

    #[test]
    fn a_span_that_cannot_be_is_refused() {
        for text in ["", "9-2", "a-b", "-5", "5-", "1", "+1-2", "0-99999999999999999999"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(span(&HeaderMap::new()), Ok(None));
    }
}
