//! Files of web servers, for ADD and for contexts.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};

use oxbox_builder::{Downloaded, UrlRequest, Validators};
use oxbox_copy::client::{Client, Secret, Wanted, WebAnswer, WebBody};

/// How often a body is begun anew that broke off and could not be gone on with.
const TRIES: u32 = 3;

/// Why a file cannot be downloaded, beside what the client says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    /// It is larger than anybody wants it.
    #[error("it is larger than {limit} bytes")]
    TooLarge {
        /// How large it may be.
        limit: u64,
    },
    /// It cannot be written down.
    #[error("cannot write it down")]
    Write(#[source] io::Error),
}

/// Downloads a file, unless it is what is at hand.
///
/// Writes to `into` on the caller's thread, which waits for the network anyway.
pub(crate) async fn download(
    client: &Client,
    request: &UrlRequest<'_>,
    into: &mut File,
) -> anyhow::Result<Downloaded> {
    let wanted = Wanted {
        url: request.url.to_owned(),
        validators: theirs(request.at_hand),
        authorization: request.authorization.map(Secret::new),
    };
    let mut tried = 0;
    loop {
        tried += 1;
        let mut body = match client.file(&wanted).await? {
            WebAnswer::Unchanged => return Ok(Downloaded::Unchanged),
            WebAnswer::Body(body) => body,
        };
        match write(&mut body, request.max_bytes, into).await {
            Ok(()) => return Ok(Downloaded::Body(ours(body.validators()))),
            Err(error) if tried < TRIES && is_transient(&error) => {
                tracing::debug!(%error, tried, "again from the start");
                into.set_len(0).and_then(|()| into.rewind()).map_err(DownloadError::Write)?;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn write(body: &mut WebBody, limit: u64, into: &mut File) -> anyhow::Result<()> {
    let too_large = DownloadError::TooLarge { limit };
    if body.size().is_some_and(|size| size > limit) {
        return Err(too_large.into());
    }
    let mut size = 0;
    while let Some(piece) = body.piece().await? {
        size += piece.len() as u64;
        if size > limit {
            return Err(too_large.into());
        }
        into.write_all(&piece).map_err(DownloadError::Write)?;
    }
    Ok(())
}

fn is_transient(error: &anyhow::Error) -> bool {
    error.downcast_ref::<oxbox_copy::client::ClientError>().is_some_and(|error| error.is_transient())
}

fn theirs(validators: &Validators) -> oxbox_copy::client::Validators {
    let Validators { etag, last_modified } = validators.clone();
    oxbox_copy::client::Validators { etag, last_modified }
}

fn ours(validators: &oxbox_copy::client::Validators) -> Validators {
    let oxbox_copy::client::Validators { etag, last_modified } = validators.clone();
    Validators { etag, last_modified }
}
