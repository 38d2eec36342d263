//! Moves images between registries, archives and stores.
