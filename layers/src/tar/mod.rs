//! A filesystem's archive form, in one canonical byte form.

mod block;
mod decode;
pub mod entry;
mod error;
pub mod limit;
mod path;
mod pax;
pub mod read;
mod sparse;
pub mod whiteout;
pub mod write;

pub use entry::{Entry, Kind};
pub(crate) use error::Quoted;
pub use error::TarError;
pub use read::Reader;
pub use write::{Writer, check};

#[cfg(test)]
mod tests;
