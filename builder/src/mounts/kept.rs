//! The cache mounts that are there: what they are, how large, and how one goes.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{FILES, LOCK, Mounts, MountsError, Slot, Wanted, failed};
use crate::dockerfile::mount::{FileOwner, Sharing};
use crate::snapshot::claim::Claim;

/// The note of what a mount is.
const ABOUT: &str = "about";

/// The note of how large it is.
const SIZE: &str = "size";

/// A note that is longer is none: ids have some dozen bytes.
const MAX_NOTE_BYTES: u64 = 64 << 10;

/// A cache mount at rest or in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Where its folder is among the mounts: key and number.
    pub name: String,
    /// What it is of.
    pub about: About,
    /// The directory that RUNs see.
    pub files: PathBuf,
    /// When a RUN last took it.
    pub used: SystemTime,
}

/// What a cache mount is of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Its id, with the namespace; empty if the note was lost.
    #[serde(default)]
    pub id: String,
    /// Mode that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// User that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Key of what it was filled with at first, 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filled: Option<String>,
}

/// What became of a mount that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Gone,
    /// A RUN uses it.
    InUse,
}

impl About {
    pub(super) fn of(wanted: &Wanted) -> Self {
        let FileOwner { mode, uid, gid } = wanted.owner;
        let filled = wanted.filled.map(|key| key.to_string());
        Self { id: wanted.id.clone(), mode, uid, gid, filled }
    }

    /// Returns what a RUN would ask for to get this one.
    pub(crate) fn wanted(&self) -> Wanted {
        let Self { id, mode, uid, gid, filled } = self;
        Wanted {
            id: id.clone(),
            filled: filled.as_ref().and_then(|key| key.parse().ok()),
            owner: FileOwner { mode: *mode, uid: *uid, gid: *gid },
            sharing: Sharing::Locked,
        }
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), MountsError> {
        let path = folder.join(ABOUT);
        let text = serde_json::to_vec(self).expect("because it is plain data");
        fs::write(&path, text).map_err(failed("write", &path))
    }

    fn read(folder: &Path) -> Option<Self> {
        let path = folder.join(ABOUT);
        let is_note = fs::metadata(&path).is_ok_and(|found| found.len() <= MAX_NOTE_BYTES);
        serde_json::from_slice(&fs::read(path).ok().filter(|_| is_note)?).ok()
    }
}

impl Mounts {
    /// Returns those that are there, in order of their names.
    pub fn list(&self) -> Result<Vec<Kept>, MountsError> {
        let kept = self.everywhere()?.into_iter().filter_map(|slot| {
            // Without a lock it is just going away.
            let used = fs::metadata(slot.path.join(LOCK)).and_then(|found| found.modified()).ok()?;
            let about = About::read(&slot.path).unwrap_or_default();
            let name = slot.path.strip_prefix(&self.all).ok()?.to_str()?.to_owned();
            Some(Kept { name, about, files: slot.path.join(FILES), used })
        });
        Ok(kept.collect())
    }

    /// Returns what a mount takes on disk: as it was noted, if no RUN took it since, else as `measure` says.
    pub fn bytes(&self, kept: &Kept, measure: impl FnOnce(&Path) -> u64) -> Result<u64, MountsError> {
        let folder = self.all.join(&kept.name);
        if let Some(bytes) = noted(&folder.join(SIZE), kept.used) {
            return Ok(bytes);
        }
        let bytes = measure(&kept.files);
        let Some(slot) = Slot::read(folder.clone()) else { return Ok(bytes) };
        self.prepare()?;
        let _turn = self.turn()?;
        // While a RUN uses it, it grows: not even a note of now would hold.
        if let Some(lock) = Self::alone(&slot)?
            && lock.metadata().and_then(|found| found.modified()).is_ok_and(|used| used == kept.used)
        {
            // It is measured again if this fails. The clock of inodes is behind that of `used`.
            let noted = File::create(folder.join(SIZE)).and_then(|mut file| {
                file.write_all(format!("{bytes}\n").as_bytes())?;
                file.set_modified(SystemTime::now())
            });
            noted.unwrap_or_else(|error| tracing::debug!(%error, "cannot note the size of a cache mount"));
        }
        Ok(bytes)
    }

    /// Whether a RUN uses it now.
    pub fn is_in_use(&self, name: &str) -> Result<bool, MountsError> {
        let Some(slot) = Slot::read(self.all.join(name)) else { return Ok(false) };
        self.prepare()?;
        let _turn = self.turn()?;
        Ok(slot.path.exists() && Self::alone(&slot)?.is_none())
    }

    /// Removes a mount, unless a RUN uses it.
    pub fn remove(&self, name: &str) -> Result<Removal, MountsError> {
        let Some(slot) = Slot::read(self.all.join(name)) else { return Ok(Removal::Gone) };
        self.prepare()?;
        let claim = Claim::new(&self.making)?;
        let turn = self.turn()?;
        if !slot.path.exists() {
            return Ok(Removal::Gone);
        }
        let Some(_lock) = Self::alone(&slot)? else { return Ok(Removal::InUse) };
        fs::rename(&slot.path, claim.path().join("removed")).map_err(failed("set aside", &slot.path))?;
        drop(turn);
        // The files go with the claim, and nobody waits for that.
        Ok(Removal::Gone)
    }

    /// Takes a mount that nobody uses away from RUNs as long as the lock is held, to read what is in it;
    /// `None` if it is gone or in use.
    pub fn lock(&self, name: &str) -> Result<Option<(PathBuf, File)>, MountsError> {
        let Some(slot) = Slot::read(self.all.join(name)) else { return Ok(None) };
        self.prepare()?;
        let _turn = self.turn()?;
        if !slot.path.exists() {
            return Ok(None);
        }
        Ok(Self::alone(&slot)?.map(|lock| (slot.path.join(FILES), lock)))
    }

    /// Makes a mount that is like one of another machine, unless there is one like it; `false` if there is.
    /// `fill` gets the empty directory.
    pub fn restore<E: From<MountsError>>(
        &self,
        about: &About,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<bool, E> {
        let wanted = about.wanted();
        if !self.slots(&wanted.name())?.is_empty() {
            return Ok(false);
        }
        let mut is_new = false;
        let held = self.take(&wanted, |files| {
            is_new = true;
            fill(files)
        })?;
        drop(held);
        Ok(is_new)
    }
}

/// Reads what a mount takes, if that was noted since it was used.
fn noted(path: &Path, used: SystemTime) -> Option<u64> {
    let found = fs::metadata(path).ok().filter(|found| found.len() <= MAX_NOTE_BYTES)?;
    let is_later = found.modified().ok()? >= used;
    fs::read_to_string(path).ok().filter(|_| is_later)?.trim().parse().ok()
}
