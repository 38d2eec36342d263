//! Cache mounts: directories that outlive builds, shared by all builds of a state folder.
//!
//! ```text
//! $ROOT/mounts/<key, 32 hex>-<n>/        one directory that RUNs see; n > 0 only if others were taken
//!     files/                             what they see
//!     lock                               locked (flock) by who uses it, together or alone; its time is that of the last use
//!     about                              JSON: id, owner, what it was filled with; for people, du and export
//!     size                               bytes on disk, if it is no older than the lock
//! $ROOT/mounts/making/<pid>-<n>/         one that is still being filled, or going away
//! $ROOT/mounts/ids-<ids>/…               the same for a user namespace, whose files belong to other ids
//! $ROOT/locks/mounts                     locked while one is chosen, published or removed
//! ```
//!
//! As in BuildKit a cache is known by its id, by what a new one is filled with and by its owner, and
//! `sharing` says what happens while one is in use:
//!
//! | sharing | takes | else |
//! |---|---|---|
//! | shared | the one that others share now, else one that nobody uses | a new one |
//! | private | one that nobody uses | a new one |
//! | locked | one that nobody uses | waits, if there is any |
//!
//! A new one is filled aside and renamed into its place: nobody sees half of it. Nobody sleeps on a lock:
//! who finds all taken is told so, gives back what it has, and comes again later. So there is no order
//! in which two RUNs with two locked caches could wait for each other.
//!
//! Not here: what a RUN does with it (`op::run`), and what becomes of it in time (`housekeeping`).

mod kept;
mod take;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

pub use kept::{About, Kept, Removal};

use crate::dockerfile::mount::{FileOwner, Sharing};
use crate::exec::userns;
use crate::snapshot::SnapshotError;
use crate::snapshot::claim;
use crate::solve::{Key, KeyHasher};

/// The cache mounts of a state folder.
#[derive(Debug, Clone)]
pub struct Mounts {
    all: PathBuf,
    /// Of this process's user namespace.
    folder: PathBuf,
    making: PathBuf,
    locks: PathBuf,
}

/// What a RUN asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Which cache, with its namespace.
    pub id: String,
    /// What a new one is filled with, if with anything: a key of the files.
    pub filled: Option<Key>,
    /// Mode, owner and group of a new one.
    pub owner: FileOwner,
    /// What others may do meanwhile.
    pub sharing: Sharing,
}

/// A cache mount in use, until it is dropped.
#[derive(Debug)]
pub struct Held {
    name: String,
    path: PathBuf,
    // Closing it gives the lock back.
    _lock: File,
}

/// Why a cache mount cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MountsError {
    /// The system refused.
    #[error("cannot {verb} {}", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A folder to fill cannot be made.
    #[error("cannot make a cache mount")]
    Making(#[from] SnapshotError),
}

impl Wanted {
    /// Returns what the cache is called on disk. How it is shared is no part of it.
    pub fn name(&self) -> String {
        let FileOwner { mode, uid, gid } = self.owner;
        let mut hasher = KeyHasher::new("cache mount");
        hasher.field("id", &self.id).field("owner", format!("{mode:?} {uid:?} {gid:?}"));
        if let Some(filled) = &self.filled {
            hasher.field("filled", filled.as_bytes());
        }
        hasher.finish().name()
    }
}

impl Held {
    /// Returns the directory that a RUN sees.
    pub fn files(&self) -> PathBuf {
        self.path.join(FILES)
    }

    /// Returns the name that [`Wanted::name`] gave.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What of a mount's folder RUNs see.
const FILES: &str = "files";

/// The file whose lock is the mount's.
const LOCK: &str = "lock";

impl Mounts {
    /// Returns those of a state folder; nothing is made before one is taken.
    pub fn new(state: &Path) -> Self {
        let all = state.join("mounts");
        // Without a mark nothing of another namespace is taken for one's own: its files are out of reach.
        let folder = match userns::mark() {
            Ok(None) => all.clone(),
            Ok(Some(mark)) => all.join(mark),
            Err(_) => all.join(userns::MARK),
        };
        Self { making: folder.join("making"), folder, all, locks: state.join("locks") }
    }

    /// Removes what killed processes left unfinished.
    pub fn sweep(&self) -> Result<usize, MountsError> {
        match self.making.exists() {
            true => Ok(claim::sweep(&self.making)?),
            false => Ok(0),
        }
    }

    /// Makes the folders. Others must not read what is in a cache: it may hold setuid programs.
    fn prepare(&self) -> Result<(), MountsError> {
        for folder in [&self.making, &self.locks] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(failed("make", folder))?;
        }
        Ok(())
    }

    /// Waits for the turn to choose, publish or remove: no longer than a look at some files takes.
    fn turn(&self) -> Result<File, MountsError> {
        let path = self.locks.join("mounts");
        let file = File::options().create(true).append(true).open(&path).map_err(failed("open", &path))?;
        flock(&file, FlockOperation::LockExclusive).map_err(|errno| failed("lock", &path)(errno.into()))?;
        Ok(file)
    }

    /// Returns the mounts of a name in order of their numbers.
    fn slots(&self, name: &str) -> Result<Vec<Slot>, MountsError> {
        let mut slots = slots(&self.folder)?;
        slots.retain(|slot| slot.name == name);
        slots.sort_unstable_by_key(|slot| slot.number);
        Ok(slots)
    }

    /// Returns all mounts, those of other user namespaces too, in order of their places.
    fn everywhere(&self) -> Result<Vec<Slot>, MountsError> {
        let mut found = slots(&self.all)?;
        for path in entries(&self.all)? {
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| name.starts_with(userns::MARK)) {
                found.extend(slots(&path)?);
            }
        }
        found.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        Ok(found)
    }
}

fn slots(folder: &Path) -> Result<Vec<Slot>, MountsError> {
    Ok(entries(folder)?.into_iter().filter_map(Slot::read).collect())
}

/// Lists a folder; one that is missing is empty.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, MountsError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("list", folder)(error)),
    };
    entries.map(|entry| Ok(entry.map_err(failed("list", folder))?.path())).collect()
}

/// The folder of one mount.
#[derive(Debug)]
struct Slot {
    name: String,
    number: u32,
    path: PathBuf,
}

impl Slot {
    fn read(path: PathBuf) -> Option<Self> {
        let (name, number) = path.file_name()?.to_str()?.rsplit_once('-')?;
        let is_key = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (name, number) = (name.to_owned(), number.parse().ok().filter(|_| is_key)?);
        Some(Self { name, number, path })
    }
}

fn failed<'a>(verb: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> MountsError + 'a {
    move |source| MountsError::Io { verb, path: path.to_owned(), source }
}
