//! A filesystem's directory form: scan, diff, apply, all beneath one root.

pub mod apply;
mod attributes;
pub mod diff;
pub mod emit;
mod error;
pub mod fold;
mod hide;
pub mod listing;
pub mod overlay;
mod parents;
mod place;
pub mod recorded;
pub mod root;
pub mod scan;
pub mod stack;
pub mod untold;
pub mod xattr;

pub use apply::{Applied, ApplyError, apply};
pub use diff::DiffError;
pub use emit::{ChangeSink, EmitError, emit};
pub use error::TreeError;
pub use fold::fold;
pub use listing::Listing;
pub use root::Root;
pub use stack::Stack;
pub use xattr::Xattrs;

#[cfg(test)]
mod tests;
