//! What a build needs from outside, as a trait that the binary implements with the copy engine.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;

use oxbox_layers::oci::{Descriptor, Digest, Platform, Reference};

use crate::depot::Depot;
use crate::plan::LayoutImage;

/// Base images and files from elsewhere.
pub trait Fetch: Send + Sync {
    /// Brings a base image into the local store and returns the descriptor of its manifest there.
    ///
    /// Called once for each image of a build, before anything runs. An index is resolved to the
    /// manifest that suits `platform`.
    ///
    /// Config and manifest are in the store afterwards; layers may be left where they are.
    fn base(&self, reference: &Reference, platform: &Platform) -> Result<Descriptor, FetchError>;

    /// Returns how caches elsewhere are reached.
    ///
    /// Who cannot reach any need not say so.
    fn depot(&self) -> Option<&dyn Depot> {
        None
    }

    /// Brings in a layer that [`Fetch::base`] left where it is, or that a [`Depot`] offered.
    fn layer(&self, layer: &Descriptor) -> Result<(), FetchError>;

    /// Brings an image of an OCI layout into the local store, as [`base`](Self::base) does.
    ///
    /// Who has no layouts need not say so.
    fn layout(&self, image: &LayoutImage, _platform: &Platform) -> Result<Descriptor, FetchError> {
        let source = Box::from("layouts cannot be read here");
        Err(FetchError::Layout { folder: image.folder.clone(), source })
    }

    /// Downloads what is at an address into an empty file, unless the server says that it is what is
    /// at hand. After an error the file holds anything.
    ///
    /// Called from many threads, while vertices are made. Who cannot download at all need not say so.
    fn url(&self, request: &UrlRequest<'_>, into: &mut File) -> Result<Downloaded, FetchError> {
        let _ = into;
        Err(FetchError::NoDownloads { url: shown(request.url) })
    }
}

/// A file that is wanted from a web server.
#[derive(Clone, Copy)]
pub struct UrlRequest<'a> {
    /// Where: http or https, perhaps with credentials in it.
    pub url: &'a str,
    /// What the server said of a body that is at hand; nothing asks for any body.
    pub at_hand: &'a Validators,
    /// Value of `Authorization`, in place of credentials in the address.
    pub authorization: Option<&'a str>,
    /// A body that is larger is an error.
    pub max_bytes: u64,
}

/// Credentials are nobody's but the server's.
impl fmt::Debug for UrlRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = f.debug_struct("UrlRequest");
        told.field("url", &shown(self.url)).field("at_hand", self.at_hand).finish_non_exhaustive()
    }
}

/// What a server says by which a body is known again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Validators {
    /// `ETag`, as it was sent.
    pub etag: Option<String>,
    /// `Last-Modified`, as it was sent.
    pub last_modified: Option<String>,
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Downloaded {
    /// The body is the one that is at hand.
    Unchanged,
    /// The body is in the file.
    Body(Validators),
}

/// Returns an address as messages show it: without credentials, and without a query, which often is one.
pub fn shown(url: &str) -> String {
    /// Longer ones say nothing more.
    const MAX_SHOWN: usize = 300;
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    let bare = match bare.split_once("://") {
        Some((scheme, rest)) => {
            let authority = rest.find('/').unwrap_or(rest.len());
            let host = rest[..authority].rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[host..])
        }
        None => bare.to_owned(),
    };
    bare.chars().take(MAX_SHOWN).collect()
}

/// Returns a text with the web addresses in it but for their users and passwords: those are nobody's but
/// the server's, and histories and titles are read by many. Of ssh, the user is part of the address.
pub fn without_users(text: &str) -> String {
    let (mut told, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        told.push_str(before);
        let is_web = before.ends_with("http://") || before.ends_with("https://");
        let is_end = |one: char| one.is_whitespace() || "/?#\"'".contains(one);
        let authority = &after[..after.find(is_end).unwrap_or(after.len())];
        let host = authority.rfind('@').filter(|_| is_web).map_or(0, |at| at + 1);
        rest = &after[host..];
    }
    told + rest
}

/// Why something could not be brought in.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no such image, neither in the store nor at its registry.
    #[error("image {reference} is not in the local store and cannot be pulled")]
    Image {
        /// Which image.
        reference: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A layer of a base image cannot be had.
    #[error("layer {digest} of a base image cannot be pulled")]
    Layer {
        /// Which layer.
        digest: Digest,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A cache elsewhere cannot be read.
    #[error("cannot read it")]
    Cache {
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no such image in the layout.
    #[error("image of the layout {} cannot be read", .folder.display())]
    Layout {
        /// The layout's folder.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Whoever builds has no way to download.
    #[error("{url} cannot be downloaded here")]
    NoDownloads {
        /// Address without credentials and query.
        url: String,
    },
    /// A download failed.
    #[error("cannot download {url}")]
    Url {
        /// Address without credentials and query.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

#[cfg(test)]
mod tests {
    use super::{shown, without_users};

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        for (url, expected) in [
            ("https://user:pw@q.io/a@b?token=1#x", "https://q.io/a@b"),
            ("https://q.io", "https://q.io"),
            ("git@q.io:a/b.git", "git@q.io:a/b.git"),
            ("ssh://git@q.io/a.git#main:sub", "ssh://q.io/a.git"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }

    #[test]
    fn addresses_without_their_users_lead_to_the_same_places() {
        for (url, expected) in [
            ("https://user:p@q.io/a@b?x=1#main:sub", "https://q.io/a@b?x=1#main:sub"),
            ("http://q.io?a=b@c", "http://q.io?a=b@c"),
            ("ssh://git@q.io/a", "ssh://git@q.io/a"),
            ("git@q.io:a", "git@q.io:a"),
            ("dir/a@b", "dir/a@b"),
            (
                "ADD [\"http://a:b@q.io\", \"https://c@q.io\", \"x@y\"]",
                "ADD [\"http://q.io\", \"https://q.io\", \"x@y\"]",
            ),
        ] {
            assert_eq!(without_users(url), expected);
        }
    }
}
