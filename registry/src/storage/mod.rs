//! Where a registry keeps what it was given: bytes in one place, truth in another.
//!
//! ```text
//! blobs      the contract for bytes             disk, memory: the places
//! metadata   the contract for what is where     sqlite: one file
//! append     bytes on their way into an upload  read: bytes on their way out
//! digester   a hash that survives a restart
//! ```
//!
//! A blob is there when the metadata says so; bytes alone mean nothing. So the order of every publish
//! is bytes, then links, then names, and a crash leaves at most bytes that nobody sees.

pub mod append;
pub mod blobs;
#[cfg(test)]
pub(crate) mod contract;
pub mod digester;
pub mod disk;
pub mod error;
pub mod memory;
pub mod metadata;
pub mod read;
pub mod sqlite;
pub mod upload;

pub use append::{Appender, Checkpoint};
pub use blobs::{BlobKey, Blobs, ByteStream};
pub use digester::Digester;
pub use disk::Disk;
pub use error::StorageError;
pub use memory::Memory;
pub use metadata::{Links, Manifests, Metadata, Uploads};
pub use sqlite::Sqlite;
pub use upload::UploadId;
