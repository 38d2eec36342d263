//! Names and documents of the OCI image and distribution specs.
//!
//! ```text
//! digest      of stored bytes; diff_id and chain_id are types of their own
//! descriptor  what a document says of another blob     platform, media_type, annotation: its parts
//! raw         a document's exact bytes beside its view  manifest, index, config: the views
//! document    a manifest or an index, told apart        graph: what each one names
//! reference   `registry/repository:tag@digest`          wire: paths, headers and error codes of the protocol
//! ```

pub mod annotation;
pub mod config;
pub mod descriptor;
pub mod digest;
pub mod document;
pub mod graph;
pub mod index;
pub mod manifest;
pub mod media_type;
pub mod platform;
pub mod raw;
pub mod reference;
pub mod wire;

pub use config::{Config, ContainerConfig, History, RootFs};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, ChainId, DiffId, Digest, DigestError, Hasher};
pub use document::{Document, DocumentError};
pub use index::Index;
pub use manifest::Manifest;
pub use media_type::{Compressed, Kind, MediaType};
pub use platform::Platform;
pub use raw::{Raw, RawError};
pub use reference::{Reference, ReferenceError};
