//! Annotation keys that oxbox reads or writes.
//!
//! image-spec v1.1.1, annotations.md#pre-defined-annotation-keys

/// A name within an OCI layout's `index.json`; a tag, or a whole reference.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// When the image was made, RFC 3339.
pub const CREATED: &str = "org.opencontainers.image.created";
/// The whole name of an image, as containerd writes it into layouts.
pub const CONTAINERD_IMAGE_NAME: &str = "io.containerd.image.name";
/// What an attestation manifest of BuildKit is: `attestation-manifest`.
pub const DOCKER_REFERENCE_TYPE: &str = "vnd.docker.reference.type";
