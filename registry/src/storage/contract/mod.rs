//! What every store must keep to, whatever it is made of: one suite for each trait, run by each
//! implementation. A new one adds a line to its suite's list.

mod blobs;
mod metadata;
