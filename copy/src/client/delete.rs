//! Deleting manifests, tags and blobs.
//!
//! ```text
//! DELETE /v2/<name>/manifests/<tag or digest>     202 │ 404 │ 405 not allowed here
//! DELETE /v2/<name>/blobs/<digest>
//! ```
//!
//! Deleting a tag leaves the manifest and its other tags alone, where the registry can: one that
//! cannot answers 405 or 400, and nothing is deleted in its place.
//!
//! distribution-spec v1.1.1, spec.md#content-management

use http::{Method, StatusCode};
use oxbox_layers::oci::Digest;

use super::call::Call;
use super::{ClientError, Repository, TagOrDigest};

impl Repository {
    /// Deletes a manifest by digest, or a tag; `false` if it was not here.
    pub async fn delete_manifest(&self, name: &TagOrDigest) -> Result<bool, ClientError> {
        self.delete(self.manifest_call(Method::DELETE, name)).await
    }

    /// Deletes a blob; `false` if it was not here.
    pub async fn delete_blob(&self, digest: &Digest) -> Result<bool, ClientError> {
        self.delete(self.blob_call(Method::DELETE, digest)).await
    }

    async fn delete(&self, call: Call) -> Result<bool, ClientError> {
        let response = self.host.call(&call).await?;
        match response.status() {
            StatusCode::ACCEPTED | StatusCode::OK | StatusCode::NO_CONTENT => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(ClientError::refused(Method::DELETE, response).await),
        }
    }
}
