//! Upload sessions.

use futures_util::FutureExt;
use oxbox_layers::oci::Algorithm;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Sqlite;
use super::rows::{now, signed, unsigned};
use crate::name::Repository;
use crate::storage::UploadId;
use crate::storage::metadata::{Answer, UploadRecord, Uploads};

impl Uploads for Sqlite {
    fn begin(&self, upload: &UploadId, repository: &Repository, algorithm: Algorithm) -> Answer<'_, ()> {
        let (upload, repository) = (upload.clone(), repository.clone());
        let job = move |db: &Connection| {
            db.prepare_cached(
                "INSERT INTO upload (id, repo, algorithm, offset, hash, started, touched) \
                 VALUES (?1, ?2, ?3, 0, x'', ?4, ?4)",
            )?
            .execute(params![upload.as_str(), repository.as_str(), algorithm.name(), now()])?;
            Ok(())
        };
        self.write("begin an upload", job).boxed()
    }

    fn upload(&self, upload: &UploadId, repository: &Repository) -> Answer<'_, Option<UploadRecord>> {
        let (upload, repository) = (upload.clone(), repository.clone());
        let job = move |db: &Connection| {
            db.prepare_cached("SELECT offset, algorithm, hash FROM upload WHERE id = ?1 AND repo = ?2")?
                .query_row([upload.as_str(), repository.as_str()], record)
                .optional()
        };
        self.read("find an upload", job).boxed()
    }

    fn advance(&self, upload: &UploadId, from: u64, to: UploadRecord) -> Answer<'_, bool> {
        let upload = upload.clone();
        let job = move |db: &Connection| {
            let moved = db
                .prepare_cached(
                    "UPDATE upload SET offset = ?3, hash = ?4, touched = ?5 WHERE id = ?1 AND offset = ?2",
                )?
                .execute(params![upload.as_str(), signed(from), signed(to.offset), to.hash, now()])?;
            Ok(moved == 1)
        };
        self.write("advance an upload", job).boxed()
    }

    fn end(&self, upload: &UploadId) -> Answer<'_, bool> {
        let upload = upload.clone();
        let job = move |db: &Connection| {
            let ended = db.prepare_cached("DELETE FROM upload WHERE id = ?1")?.execute([upload.as_str()])?;
            Ok(ended == 1)
        };
        self.write("end an upload", job).boxed()
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<UploadRecord> {
    let name: String = row.get(1)?;
    let algorithm = Algorithm::from_name(&name).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(1, Type::Text, format!("no algorithm {name:?}").into())
    })?;
    Ok(UploadRecord { offset: unsigned(row, 0)?, algorithm, hash: row.get(2)? })
}
