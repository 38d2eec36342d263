//! The file that the cache is in: its tables, how it is opened, and what becomes of one that is damaged.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use super::{builds, chunks, derivations, facts, records, usage};
use crate::solve::downloads;

/// Changes whenever the tables do; another version's file is emptied, since it can be rebuilt.
const SCHEMA_VERSION: i32 = 8;

/// The tables of each room.
const SCHEMAS: [&str; 7] = [
    records::SCHEMA,
    derivations::SCHEMA,
    chunks::SCHEMA,
    usage::SCHEMA,
    facts::SCHEMA,
    builds::SCHEMA,
    downloads::SCHEMA,
];

/// How long another process may hold the database. Transactions here take microseconds, so that only a
/// machine in trouble comes near.
const BUSY: Duration = Duration::from_secs(30);

/// Between two attempts to open a file that somebody else is making.
const AGAIN: Duration = Duration::from_millis(2);

/// Opens the file, making it if it is not there.
///
/// SQLite does not wait for whoever turns a new file into one with a WAL at the same moment, whatever the
/// timeout says: it could not tell that from a deadlock.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let began = Instant::now();
    loop {
        match Connection::open(path).and_then(prepare) {
            Err(error) if is_busy(&error) && began.elapsed() < BUSY => std::thread::sleep(AGAIN),
            result => return result,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

/// Makes a database that goes with this process.
pub(super) fn connect_nowhere() -> rusqlite::Result<Connection> {
    prepare(Connection::open_in_memory()?)
}

fn prepare(connection: Connection) -> rusqlite::Result<Connection> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // Losing the last records in a power cut costs a rebuild, never a wrong image.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let is_current = || -> rusqlite::Result<bool> {
        let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok(version == SCHEMA_VERSION)
    };
    if !is_current()? {
        // Looked at again under the lock: somebody else may be making the tables right now.
        let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate)?;
        if !is_current()? {
            SCHEMAS.iter().try_for_each(|schema| transaction.execute_batch(schema))?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        }
        transaction.commit()?;
    }
    Ok(connection)
}

/// Whether the file is no database, or not a whole one.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

/// Moves a damaged database out of the way, with what SQLite keeps beside it. Another process that has
/// it open goes on with a file that nobody will look at again, which costs it some records.
pub(super) fn put_aside(path: &Path) -> rusqlite::Result<()> {
    let beside = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    for end in ["-wal", "-shm"] {
        // Most often there is none.
        let _ = std::fs::remove_file(beside(end));
    }
    std::fs::rename(path, beside(".damaged")).map_err(|_| rusqlite::Error::InvalidPath(path.to_owned()))
}
