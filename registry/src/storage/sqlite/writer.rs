//! The one connection that writes, on a thread of its own.
//!
//! ```text
//! queue: job job job ─▶ BEGIN · SAVEPOINT job · SAVEPOINT job · … · COMMIT (one sync) ─▶ answers
//! ```
//!
//! A job that fails rolls back to its savepoint and harms no other. Nobody is answered before the
//! commit, so an answer means durable.

use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::storage::StorageError;
use crate::storage::error::is_full;

/// Jobs that wait. Pushers beyond it are held back before they take memory.
const QUEUE: usize = 1024;

/// Jobs of one commit: bounds how long the first of them waits for the others.
const BATCH: usize = 64;

/// Does its part of a transaction, and returns what is to be told once the commit's fate is known.
type Job = Box<dyn FnOnce(&Connection) -> Tell + Send>;
type Tell = Box<dyn FnOnce(Committed) + Send>;

/// The fate of a transaction. An error of the commit belongs to every job in it, and cannot be cloned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Committed {
    Yes,
    No { full: bool },
}

#[derive(Debug)]
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(connection: Connection) -> Result<Self, StorageError> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new()
            .name("metadata-write".to_owned())
            .spawn(move || run(&connection, queue))
            .map_err(StorageError::io("start a thread for", "the metadata"))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs a job within a transaction, and returns its answer once that is durable.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        verb: &'static str,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let answer = saved(connection, job).map_err(StorageError::database(verb));
            Box::new(move |committed| {
                let answer = match committed {
                    Committed::Yes => answer,
                    Committed::No { full } => Err(StorageError::NotCommitted { full }),
                };
                // The caller may be gone; what it asked for is done all the same.
                drop(sender.send(answer));
            })
        });
        let jobs = self.jobs.as_ref().ok_or(StorageError::Closed)?;
        jobs.send(job).await.map_err(|_| StorageError::Closed)?;
        receiver.await.map_err(|_| StorageError::Closed)?
    }
}

impl Drop for Writer {
    /// Waits for what is queued, so that whoever opens the file next finds it whole and closed.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn run(connection: &Connection, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.blocking_recv() {
        let mut tells = Vec::new();
        let begun = connection.execute_batch("BEGIN IMMEDIATE");
        let mut next = Some(first);
        while let Some(job) = next {
            tells.push(job(connection));
            next = if tells.len() < BATCH { queue.try_recv().ok() } else { None };
        }
        let committed = match begun.and_then(|()| connection.execute_batch("COMMIT")) {
            Ok(()) => Committed::Yes,
            Err(error) => {
                tracing::error!(%error, jobs = tells.len(), "cannot commit to the metadata database");
                // A failed commit may leave the transaction open: a full disk does.
                if !connection.is_autocommit() {
                    drop(connection.execute_batch("ROLLBACK"));
                }
                Committed::No { full: is_full(&error) }
            }
        };
        tells.into_iter().for_each(|tell| tell(committed));
    }
}

/// Runs a job so that its failure undoes only its own work.
fn saved<T>(
    connection: &Connection,
    job: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    if connection.is_autocommit() {
        // BEGIN failed, or an error within the batch ended the transaction: nothing may slip through.
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT),
            Some("the transaction was not open".to_owned()),
        ));
    }
    connection.execute_batch("SAVEPOINT job")?;
    let answer = job(connection);
    if !connection.is_autocommit() {
        let undo = if answer.is_err() { "ROLLBACK TO job; RELEASE job" } else { "RELEASE job" };
        connection.execute_batch(undo)?;
    }
    answer
}
