//! Moves images between registries, archives and stores.
//!
//! ```text
//! location     what a user wrote: `docker://…`, `oci:…`, `dir:…`      endpoint/  the places, behind two contracts
//! ```

pub mod endpoint;
pub mod location;
