//! Rows to types and back. What does not parse was not written by this program, and is an error.

use std::str::FromStr;

use oxbox_layers::oci::Digest;
use oxbox_layers::oci::graph::Role;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::name::Repository;

/// A digest in a column.
pub(super) struct Text(pub(super) Digest);

impl FromSql for Text {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Digest::from_str(value.as_str()?).map(Self).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

impl ToSql for Text {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.to_string().into())
    }
}

/// Sizes and offsets: SQLite's integers are signed.
pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// Sizes and offsets: no file is larger than what a signed number holds.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// The word for an edge's kind.
pub(super) fn kind(role: Role) -> &'static str {
    match role {
        Role::Config => "config",
        Role::Layer => "layer",
        Role::Child => "child",
    }
}

/// A value that should be JSON and is not.
pub(super) fn not_json(column: usize, error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

/// The number of a repository, if it ever held anything.
pub(super) fn repo(connection: &Connection, repository: &Repository) -> rusqlite::Result<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT id FROM repo WHERE name = ?1")?;
    statement.query_row([repository.as_str()], |row| row.get(0)).optional()
}

/// The number of a repository, which may begin with this.
pub(super) fn repo_or_new(connection: &Connection, repository: &Repository) -> rusqlite::Result<i64> {
    if let Some(id) = repo(connection, repository)? {
        return Ok(id);
    }
    connection.prepare_cached("INSERT INTO repo (name) VALUES (?1)")?.insert([repository.as_str()])
}
