//! Moves images between registries, archives and stores.
//!
//! ```text
//! location     what a user wrote: `docker://…`, `oci:…`, `dir:…`
//! endpoint/    the places, behind two contracts: Source and Destination
//! transfer     the engine: walk, move what is missing, name it last
//!   select     which platforms          plan   every document and blob below the root
//!   progress   what it tells meanwhile
//! ```

pub mod endpoint;
pub mod location;
pub mod plan;
pub mod progress;
pub mod select;
pub mod transfer;
