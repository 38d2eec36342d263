//! A filesystem's archive form, in one canonical byte form.

pub mod entry;

pub use entry::{Entry, Kind};
