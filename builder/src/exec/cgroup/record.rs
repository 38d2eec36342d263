//! What control groups this state's builders made, for whoever comes after a kill -9.
//!
//! ```text
//! <state>/groups/oxbox-4711-0-…  locked (flock) by its builder; a directory a line
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Each attempt fails only if another process swept at that very moment.
const MAX_ATTEMPTS: usize = 100;

/// Paths of some groups.
const MAX_RECORD_BYTES: u64 = 64 << 10;

/// The record of one RUN's groups; removed when dropped.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    file: File,
}

impl Record {
    pub(super) fn new(state: &Path, name: &str) -> io::Result<Self> {
        let folder = state.join("groups");
        fs::create_dir_all(&folder)?;
        let path = folder.join(name);
        for _ in 0..MAX_ATTEMPTS {
            let file = File::options().create(true).truncate(true).write(true).open(&path)?;
            // Somebody sweeps.
            flock(&file, FlockOperation::LockExclusive)?;
            if is_at(&file, &path)? {
                return Ok(Self { path, file });
            }
        }
        Err(io::Error::from(io::ErrorKind::ResourceBusy))
    }

    /// Notes a directory before it is made.
    pub(super) fn note(&mut self, directory: &Path) -> io::Result<()> {
        self.file.write_all(&[directory.as_os_str().as_bytes(), b"\n"].concat())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // A sweep does it otherwise.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes the groups that killed builders of this state left, with what runs in them.
///
/// # Errors
///
/// If the folder of records cannot be listed.
pub fn sweep(state: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(state.join("groups")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if let Err(error) = sweep_one(&path) {
            tracing::warn!(path = %path.display(), %error, "cannot remove what a killed build left");
        }
    }
    Ok(())
}

fn sweep_one(path: &Path) -> io::Result<()> {
    use std::io::Read as _;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) if is_at(&file, path)? => {}
        Ok(()) | Err(rustix::io::Errno::WOULDBLOCK) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let mut text = Vec::new();
    (&file).take(MAX_RECORD_BYTES).read_to_end(&mut text)?;
    for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let directory = PathBuf::from(std::ffi::OsString::from_vec(line.to_vec()));
        // Only what is named as ours are.
        if directory.file_name() == path.file_name() {
            super::remove(&directory)?;
        }
    }
    fs::remove_file(path)
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Record, sweep};

    #[test]
    fn a_record_lives_as_long_as_its_builder() {
        let state = tempfile::tempdir().unwrap();
        let group = state.path().join("oxbox-1-0");
        fs::create_dir(&group).unwrap();
        let mut record = Record::new(state.path(), "oxbox-1-0").unwrap();
        record.note(&group).unwrap();
        sweep(state.path()).unwrap();
        assert!(group.exists() && state.path().join("groups/oxbox-1-0").exists());
        drop(record);
        assert_eq!(fs::read_dir(state.path().join("groups")).unwrap().count(), 0);
    }

    #[test]
    fn what_a_dead_builder_left_is_removed_and_nothing_else() {
        let state = tempfile::tempdir().unwrap();
        let (group, other) = (state.path().join("oxbox-1-0"), state.path().join("other"));
        fs::create_dir(&group).unwrap();
        fs::create_dir(&other).unwrap();
        fs::create_dir(state.path().join("groups")).unwrap();
        let text = format!("{}\n{}\n", group.display(), other.display());
        fs::write(state.path().join("groups/oxbox-1-0"), text).unwrap();
        sweep(state.path()).unwrap();
        assert!(!group.exists() && other.exists());
        assert!(!state.path().join("groups/oxbox-1-0").exists());
    }

    #[test]
    fn without_records_there_is_nothing_to_sweep() {
        sweep(tempfile::tempdir().unwrap().path()).unwrap();
    }
}
