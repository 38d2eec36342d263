//! Moves images between registries, archives and stores.
//!
//! ```text
//! location     what a user wrote: `docker://…`, `oci:…`, `dir:…`
//! endpoint/    the places, behind two contracts: Source and Destination
//! client/      registries, over HTTP          config/   files that container tools share
//! transfer     the engine: walk, move what is missing, name it last
//!   select     which platforms          plan   every document and blob below the root
//!   progress   what it tells meanwhile
//! ```
//!
//! ```
//! use std::sync::Arc;
//!
//! use oxbox_copy::endpoint::{AnyDestination, AnySource, Places};
//! use oxbox_copy::progress::Silent;
//! use oxbox_copy::transfer::{Options, copy};
//!
//! # async fn example(places: &Places) -> Result<(), Box<dyn std::error::Error>> {
//! let source = AnySource::open(&"oci-archive:app.tar".parse()?, places).await?;
//! let destination = AnyDestination::create(&"store:example.org/app:1".parse()?, places).await?;
//! let report = copy(Arc::new(source), Arc::new(destination), &Options::default(), Arc::new(Silent)).await?;
//! println!("{} ({} bytes moved)", report.root.digest, report.bytes_moved);
//! # Ok(())
//! # }
//! ```

pub mod client;
pub mod config;
pub mod endpoint;
pub mod location;
pub mod plan;
pub mod progress;
pub mod select;
pub mod transfer;
