//! An image as it stands at some place: its documents, read and verified.

use futures_util::TryStreamExt as _;
use oxbox_copy::endpoint::{EndpointError, Source};
use oxbox_layers::oci::raw::MAX_DOCUMENT_BYTES;
use oxbox_layers::oci::{
    Config, Descriptor, Digest, Document, DocumentError, Index, Manifest, Platform, Raw, RawError,
};

/// Indexes within indexes on the way to a platform; nobody nests more than two.
const MAX_NESTED: usize = 8;

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    /// The place failed.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The bytes are what was promised, but no document.
    #[error("{digest} is no manifest or index")]
    Document {
        /// What was read.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: DocumentError,
    },
    /// The config is none.
    #[error("config {digest} cannot be understood")]
    Config {
        /// The config.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: RawError,
    },
    /// The config broke off.
    #[error("config {digest} cannot be read")]
    Broken {
        /// The config.
        digest: Digest,
        /// How.
        #[source]
        source: std::io::Error,
    },
    /// No manifest of the index suits.
    #[error("there is no image for {wanted}, only for {offered}")]
    NoPlatform {
        /// What was asked for.
        wanted: Platform,
        /// What there is.
        offered: String,
    },
}

/// Reads the manifest or index that a descriptor names.
pub(crate) async fn document<S: Source>(source: &S, named: &Descriptor) -> Result<Document, ImageError> {
    let bytes = source.document(named).await?;
    Document::parse_with(bytes, Some(&named.media_type), named.digest.algorithm())
        .map_err(|source| ImageError::Document { digest: named.digest, source })
}

/// Reads the manifest for a platform: the document itself, if it is one.
pub(crate) async fn manifest<S: Source>(
    source: &S,
    mut found: Document,
    wanted: &Platform,
) -> Result<Document, ImageError> {
    for _ in 0..MAX_NESTED {
        let Document::Index(index) = &found else { break };
        let child = index.select(wanted).ok_or_else(|| no_platform(wanted, index))?;
        found = document(source, child).await?;
    }
    Ok(found)
}

/// Reads a manifest's config whatever it is: images have one that can be understood, artifacts any.
pub(crate) async fn config_bytes<S: Source>(source: &S, manifest: &Manifest) -> Result<Vec<u8>, ImageError> {
    let Descriptor { digest, size, .. } = manifest.config;
    if size > MAX_DOCUMENT_BYTES as u64 {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let source = RawError::TooLarge { size, limit: MAX_DOCUMENT_BYTES };
        return Err(ImageError::Config { digest, source });
    }
    let stream = source.blob(&manifest.config).await?;
    let fault = stream.fault();
    let collected: Result<Vec<_>, std::io::Error> = stream.try_collect().await;
    // What broke the stream is the reason; what the stream made of it is an echo.
    let failed = |source| fault.take().map_or(ImageError::Broken { digest, source }, ImageError::Endpoint);
    Ok(collected.map_err(failed)?.concat())
}

/// Reads an image's config.
pub(crate) async fn config<S: Source>(source: &S, manifest: &Manifest) -> Result<Raw<Config>, ImageError> {
    let Descriptor { digest, media_type, .. } = &manifest.config;
    let bytes = config_bytes(source, manifest).await?;
    Raw::parse_with(bytes, media_type.clone(), digest.algorithm())
        .map_err(|source| ImageError::Config { digest: *digest, source })
}

fn no_platform(wanted: &Platform, index: &Index) -> ImageError {
    let platforms = index.manifests.iter().filter_map(|child| child.platform.as_ref());
    let offered: Vec<String> = platforms.map(ToString::to_string).collect();
    ImageError::NoPlatform { wanted: wanted.clone(), offered: offered.join(", ") }
}
