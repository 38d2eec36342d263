//! Opening the database file: settings of each connection, and the schema's version.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::storage::StorageError;

/// Written into the file's header, so that `file` and people know what it is: "oxbr".
const APPLICATION_ID: i64 = 0x6f78_6272;

/// The schema that `schema.sql` makes. Later ones are reached from here by steps, never by hand.
const SCHEMA: i64 = 1;

/// How long to wait for another process, such as an operator's `sqlite3`.
const BUSY: Duration = Duration::from_secs(10);

pub(super) fn open_writer(path: &Path) -> Result<Connection, StorageError> {
    let connection = Connection::open(path).map_err(StorageError::database("open"))?;
    settle(&connection).map_err(StorageError::database("set up"))?;
    let found = version(&connection).map_err(StorageError::database("read the version"))?;
    match found {
        0 => create(&connection).map_err(StorageError::database("create the schema"))?,
        SCHEMA => {}
        found => return Err(StorageError::TooNew { path: path.to_owned(), found, known: SCHEMA }),
    }
    Ok(connection)
}

pub(super) fn open_reader(path: &Path) -> Result<Connection, StorageError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(StorageError::database("open"))?;
    connection.busy_timeout(BUSY).map_err(StorageError::database("set up"))?;
    // Every statement of this room, parsed once for each connection.
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", "on")?;
    // A burst may grow the log; afterwards the disk gets the space back.
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA}; COMMIT;",
        include_str!("schema.sql")
    ))
}
