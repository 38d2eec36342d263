//! OCI names, bytes, archives and trees: everything an image is made of, without network or processes.
//!
//! ```text
//! oci/       names and documents: digest, descriptor, manifest, index, config, reference
//! store/     blobs at rest: the contract, a standard OCI layout, memory
//! tar/       a filesystem's archive form, one canonical byte form
//! tree/      a filesystem's directory form: scan, diff, apply, all beneath one root
//! compress   gzip and zstd, bytes independent of the number of threads
//! layer      entries → tar → diff_id → compressed → digest → blob, in one pass
//! image      a manifest, its config and its layers, read and written together
//! stack      the merged tree of layers, from their tars alone
//! validate   every digest, size and diff_id derived again
//! ```
//!
//! Nothing here talks to a network or starts a process; everything blocks.
//!
//! ```
//! use oxbox_layers::oci::Digest;
//!
//! let empty = Digest::sha256(b"");
//! assert_eq!(empty.to_string().len(), "sha256:".len() + 64);
//! ```

pub mod compare;
pub mod compress;
pub mod image;
pub mod layer;
pub mod oci;
pub mod stack;
pub mod store;
pub mod tar;
pub mod tree;
pub mod validate;
