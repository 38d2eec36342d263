//! Fixtures and generators for tests: never part of the binary.
