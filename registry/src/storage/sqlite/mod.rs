//! Truth in one SQLite file.
//!
//! ```text
//! write(job) ─▶ [queue, 1024 deep] ─▶ writer thread: BEGIN; job, job, …; COMMIT ─▶ answers
//! read(job)  ─▶ one of 4 connections, on the runtime's blocking pool
//! ```
//!
//! The schema is `schema.sql`. WAL with `synchronous=FULL`: an answered write survives a power cut.
//! Jobs that queue up while the disk syncs share the next commit, so many small pushes cost few syncs.

mod connection;
mod links;
mod manifests;
mod readers;
mod rows;
#[cfg(test)]
mod tests;
mod uploads;
mod writer;

use std::path::Path;

use rusqlite::Connection;

use self::readers::Readers;
use self::writer::Writer;
use super::StorageError;

/// A metadata database.
#[derive(Debug)]
pub struct Sqlite {
    // Before the writer: readers must be gone for its last checkpoint to empty the log.
    readers: Readers,
    writer: Writer,
}

impl Sqlite {
    /// Opens a database, or makes one.
    ///
    /// # Errors
    ///
    /// [`StorageError::TooNew`] if a later version of this program wrote it.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        let writer = Writer::start(connection::open_writer(path)?)?;
        let readers = Readers::open(path)?;
        Ok(Self { readers, writer })
    }

    async fn read<T: Send + 'static>(
        &self,
        verb: &'static str,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.readers.run(job).await?.map_err(StorageError::database(verb))
    }

    async fn write<T: Send + 'static>(
        &self,
        verb: &'static str,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.writer.run(verb, job).await
    }
}
