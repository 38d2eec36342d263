//! A distribution registry: bytes on disk, truth in SQLite.
