//! Blobs: whether they are there, and their content.
//!
//! ```text
//! HEAD /v2/<name>/blobs/<digest>   200 Content-Length │ 404
//! GET  /v2/<name>/blobs/<digest>   200 │ 30x elsewhere │ 404        content: download
//! ```
//!
//! distribution-spec v1.1.1, spec.md#pulling-blobs and #checking-if-content-exists-in-the-registry

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use http::{Method, StatusCode, header};
use oxbox_layers::oci::wire::Path;
use oxbox_layers::oci::{Descriptor, Digest};
use reqwest::Response;

use super::answer::Place;
use super::call::Call;
use super::{ClientError, Download, Repository};

impl Repository {
    /// Returns the size of a blob, `None` if it is not here.
    ///
    /// A blob whose size the registry does not tell is here as well: `Some(None)`.
    pub async fn stat_blob(&self, digest: &Digest) -> Result<Option<Option<u64>>, ClientError> {
        let response = self.host.call(&self.blob_call(Method::HEAD, digest)).await?;
        match response.status() {
            StatusCode::OK => Ok(Some(content_length(&response))),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(ClientError::refused(Method::HEAD, response).await),
        }
    }

    /// Opens a blob, `None` if it is not here. Its content comes unverified but for the size;
    /// [`Download::verified`] checks the digest too.
    pub async fn open_blob(&self, descriptor: &Descriptor) -> Result<Option<Download>, ClientError> {
        Download::open(self.clone(), descriptor).await
    }

    /// Reads a small blob whole and verified, `None` if it is not here.
    ///
    /// # Errors
    ///
    /// [`ClientError::WrongSize`] also for one that is larger than `limit`.
    pub async fn read_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Option<Bytes>, ClientError> {
        if descriptor.size > limit {
            let url = self.blob_call(Method::GET, &descriptor.digest).place(&self.host.domain);
            return Err(ClientError::WrongSize { url, expected: limit, actual: descriptor.size });
        }
        let Some(download) = self.open_blob(descriptor).await? else { return Ok(None) };
        let content = download.verified().try_fold(BytesMut::new(), |mut content, piece| async move {
            content.extend_from_slice(&piece);
            Ok(content)
        });
        Ok(Some(content.await?.freeze()))
    }

    pub(super) fn blob_call(&self, method: Method, digest: &Digest) -> Call {
        let digest = digest.to_string();
        let path = Path::Blob { name: &self.path, digest: &digest };
        Call::new(method, &path, &self.path, self.scopes())
    }
}

/// Reads `Content-Length` from the header: for HEAD there is no body that would know.
pub(super) fn content_length(response: &Response) -> Option<u64> {
    response.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Returns the address of an answer, as errors name it.
pub(super) fn place(response: &Response) -> String {
    Place::of(response.url()).to_string()
}
