//! A file from an HTTP server: one file in a layer.
//!
//! ```text
//! checksum said, its body at hand ─────────────────────────────▶ layer         nothing is asked
//! GET If-None-Match ─▶ 304 ────────────────────────────────────▶ layer
//!                   └▶ 200 body ─▶ sha256, name, time = key ─┬─▶ layer         as another address had it
//!                                                            └─▶ written, noted
//! ```
//!
//! The file is root's, 0600, and as old as the server says, or of 1970: what Docker makes of it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;

use oxbox_layers::layer::LayerWriter;
use oxbox_layers::oci::{Algorithm, Digest, Hasher};
use oxbox_layers::tar::{Entry, Kind};

use crate::fetch::{self, Downloaded, Fetch, FetchError, UrlRequest, Validators};
use crate::lent::{HeaderError, Secrets};
use crate::plan::graph::Http;
use crate::solve::{Key, KeyHasher};

/// The largest file that is downloaded, as the largest archive that is unpacked.
pub const MAX_BYTES: u64 = 64 << 30;

/// 128 KiB: what is hashed at a time.
const BUFFER_BYTES: usize = 128 << 10;

/// Mode of the file: nobody said who may read it.
const MODE: u32 = 0o600;

/// Why a file cannot be added from a server.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Another body came than the instruction promises.
    #[error("{url} is {actual}, not {expected}")]
    Checksum {
        /// Where, without credentials and query.
        url: String,
        /// What was promised.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// A name that no file can have, or that layers use for deletions.
    #[error("a download cannot be called {name:?}")]
    Name {
        /// The name, cut.
        name: String,
    },
    /// A secret that is for this server cannot be used.
    #[error(transparent)]
    Authorization(#[from] HeaderError),
    /// The server says that nothing changed, of which nobody spoke.
    #[error("{url} has not changed, says the server, though nothing of it is at hand")]
    Nothing {
        /// Where, without credentials and query.
        url: String,
    },
    /// It could not be downloaded.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The file that the body goes into fails.
    #[error("cannot {verb} a temporary file for {url}")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// For what.
        url: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A body that came, in a file without a name.
pub struct Body {
    /// Its content, from the start.
    pub file: File,
    /// Its length.
    pub size: u64,
    /// Of its content.
    pub digest: Digest,
    /// What the server said of it.
    pub validators: Validators,
}

/// Returns the key under which downloads from this address are noted.
pub fn source_of_url(http: &Http) -> Key {
    KeyHasher::new("download of an address").field("url", &http.url).finish()
}

/// Returns the key under which a download with this checksum is noted, wherever it came from.
pub fn source_of_checksum(checksum: &Digest) -> Key {
    KeyHasher::new("download of a checksum").field("checksum", checksum.to_string()).finish()
}

/// Returns the key of the layer that holds a body.
pub fn key(http: &Http, digest: &Digest, validators: &Validators, epoch: i64) -> Key {
    let mut hasher = KeyHasher::new("http");
    hasher.field("digest", digest.to_string()).field("name", &http.name);
    hasher.field("mode", MODE.to_le_bytes());
    hasher.field("mtime", modified(validators).min(epoch).to_le_bytes());
    hasher.finish()
}

/// Downloads the file and checks it; `None` if it is still the one that is at hand.
pub fn download(
    http: &Http,
    at_hand: &Validators,
    (fetch, secrets): (&dyn Fetch, &Secrets),
    spool: &Path,
) -> Result<Option<Body>, HttpError> {
    let name = http.name.as_str();
    if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) || name.starts_with(".wh.") {
        return Err(HttpError::Name { name: name.chars().take(160).collect() });
    }
    let url = fetch::shown(&http.url);
    let failed = |verb| {
        let url = url.clone();
        move |source| HttpError::Io { verb, url, source }
    };
    let mut file = tempfile::tempfile_in(spool).map_err(failed("make"))?;
    let authorization = secrets.of_file(&http.url)?;
    let authorization = authorization.as_deref();
    let request = UrlRequest { url: &http.url, at_hand, authorization, max_bytes: MAX_BYTES };
    let Downloaded::Body(validators) = fetch.url(&request, &mut file)? else { return Ok(None) };
    let algorithm = http.checksum.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
    let (promised, digest, size) = hashed(&mut file, algorithm).map_err(failed("read"))?;
    if let Some(expected) = http.checksum
        && expected != promised
    {
        return Err(HttpError::Checksum { url, expected, actual: promised });
    }
    Ok(Some(Body { file, size, digest, validators }))
}

/// Writes the layer.
pub fn write(
    http: &Http,
    body: &mut Body,
    writer: &mut LayerWriter,
    epoch: i64,
) -> Result<(), oxbox_layers::layer::LayerError> {
    let kind = Kind::File { size: body.size };
    let entry =
        Entry { mtime: modified(&body.validators).min(epoch), ..Entry::new(http.name.as_str(), kind, MODE) };
    writer.append(&entry, &mut body.file)
}

/// Returns the time that the server gave, in seconds; 1970 if it gave none.
fn modified(validators: &Validators) -> i64 {
    let text = validators.last_modified.as_deref().unwrap_or_default();
    jiff::fmt::rfc2822::parse(text).map_or(0, |time| time.timestamp().as_second().max(0))
}

/// Returns the file's digest by an algorithm, the one by which it is known here, and its size; and goes
/// back to its start.
fn hashed(file: &mut File, algorithm: Algorithm) -> io::Result<(Digest, Digest, u64)> {
    file.rewind()?;
    let mut own = Hasher::new(Algorithm::Sha256);
    let mut other = (algorithm != Algorithm::Sha256).then(|| Hasher::new(algorithm));
    let (mut buffer, mut size) = (vec![0; BUFFER_BYTES], 0);
    loop {
        let length = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        own.update(&buffer[..length]);
        if let Some(other) = &mut other {
            other.update(&buffer[..length]);
        }
        size += length as u64;
    }
    file.rewind()?;
    let digest = own.finish();
    Ok((other.map_or(digest, Hasher::finish), digest, size))
}

#[cfg(test)]
mod tests {
    use oxbox_layers::oci::Digest;

    use super::{Http, Validators, key, modified};

    fn http(url: &str, name: &str) -> Http {
        Http { url: url.to_owned(), name: name.to_owned(), checksum: None }
    }

    fn dated(text: &str) -> Validators {
        Validators { etag: None, last_modified: Some(text.to_owned()) }
    }

    #[test]
    fn a_file_is_as_old_as_its_server_says() {
        assert_eq!(modified(&dated("Sun, 09 Sep 2001 01:46:40 GMT")), 1_000_000_000);
        for odd in ["", "yesterday", "Mon, 01 Jan 1900 00:00:00 GMT"] {
            assert_eq!(modified(&dated(odd)), 0, "{odd}");
        }
        assert_eq!(modified(&Validators::default()), 0);
    }

    #[test]
    fn the_key_is_of_body_name_and_time_and_not_of_the_address() {
        let (digest, epoch) = (Digest::sha256(b"x"), 2_000_000_000);
        let day = dated("Sun, 09 Sep 2001 01:46:40 GMT");
        let one = key(&http("https://a/x", "x"), &digest, &day, epoch);
        assert_eq!(one, key(&http("https://b/x", "x"), &digest, &day, epoch));
        assert_ne!(one, key(&http("https://a/x", "y"), &digest, &day, epoch));
        assert_ne!(one, key(&http("https://a/x", "x"), &Digest::sha256(b"y"), &day, epoch));
        let next = dated("Mon, 10 Sep 2001 01:46:40 GMT");
        assert_ne!(one, key(&http("https://a/x", "x"), &digest, &next, epoch));
        // Both are cut to the epoch.
        let cut = |day| key(&http("https://a/x", "x"), &digest, day, 900_000_000);
        assert_eq!(cut(&day), cut(&next));
    }
}
