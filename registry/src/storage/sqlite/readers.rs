//! Connections that only read: each sees the last commit, and none waits for the writer.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use rusqlite::Connection;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::connection;
use crate::storage::StorageError;

/// Reads at a time. A read is tens of microseconds unless the disk is asked, and the cores are few.
const CONNECTIONS: usize = 4;

#[derive(Debug)]
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    turns: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Self, StorageError> {
        let idle = (0..CONNECTIONS).map(|_| connection::open_reader(path)).collect::<Result<_, _>>()?;
        Ok(Self { idle: Arc::new(Mutex::new(idle)), turns: Arc::new(Semaphore::new(CONNECTIONS)) })
    }

    /// Runs a job on an idle connection.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> Result<T, StorageError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| StorageError::Closed)?;
        let idle = Arc::clone(&self.idle);
        let run = move || {
            let connection = lock(&idle).pop().expect("because there are as many connections as turns");
            let answer = job(&connection);
            lock(&idle).push(connection);
            // Only now, also if the caller has gone meanwhile.
            drop(turn);
            answer
        };
        spawn_blocking(run).await.map_err(|_| StorageError::Closed)
    }
}

fn lock(idle: &Mutex<Vec<Connection>>) -> MutexGuard<'_, Vec<Connection>> {
    idle.lock().expect("because no holder of the lock panics")
}
