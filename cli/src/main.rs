//! `oxbox`: builds, moves and serves OCI images.
fn main() {}
