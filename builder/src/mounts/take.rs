//! Choosing a cache mount for a RUN, or making one.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use oxbox_layers::tree::recorded;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::kept::About;
use super::{FILES, Held, LOCK, Mounts, MountsError, Sharing, Slot, Wanted, failed};
use crate::snapshot::claim::Claim;

/// Mode of a new cache unless told otherwise.
const MODE: u32 = 0o755;

/// What there is for a RUN.
enum Choice {
    Taken(Held),
    /// All are in use, and it wants one of those.
    Busy,
    /// There is none, or none that it may have.
    None,
}

/// How a lock is held.
#[derive(Clone, Copy)]
enum Use {
    Together,
    Alone,
}

impl Mounts {
    /// Takes a cache mount; `None` if it must wait for others. Never waits.
    ///
    /// A new one is given to `fill`, empty and with the owner that is wanted; what fails there leaves nothing.
    pub fn take<E: From<MountsError>>(
        &self,
        wanted: &Wanted,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<Option<Held>, E> {
        match self.choose(wanted)? {
            Choice::Taken(held) => return Ok(Some(held)),
            Choice::Busy => return Ok(None),
            Choice::None => {}
        }
        // Without a turn: to fill one may take long.
        let claim = self.make(wanted)?;
        fill(&claim.path().join(FILES))?;
        Ok(self.publish(claim, wanted)?)
    }

    /// Whether all that is wanted could be taken now, as far as a look tells.
    pub fn are_free(&self, wanted: &[Wanted]) -> Result<bool, MountsError> {
        let mut held = Vec::new();
        for one in wanted {
            match self.choose(one)? {
                Choice::Taken(taken) => held.push(taken),
                Choice::None => {}
                Choice::Busy => return Ok(false),
            }
        }
        Ok(true)
    }

    fn choose(&self, wanted: &Wanted) -> Result<Choice, MountsError> {
        self.prepare()?;
        let _turn = self.turn()?;
        self.chosen(wanted)
    }

    fn chosen(&self, wanted: &Wanted) -> Result<Choice, MountsError> {
        let name = wanted.name();
        let slots = self.slots(&name)?;
        let held = |slot: Slot, lock| Held { name: name.clone(), path: slot.path, _lock: lock };
        let mut free = None;
        let is_any = !slots.is_empty();
        for slot in slots {
            match (wanted.sharing, lock(&slot, Use::Alone)?) {
                (Sharing::Private | Sharing::Locked, Some(file)) => {
                    return used(held(slot, file)).map(Choice::Taken);
                }
                (Sharing::Shared, Some(_)) if free.is_none() => free = Some(slot),
                (Sharing::Shared, None) => {
                    // Somebody has it: together with others, or alone?
                    if let Some(file) = lock(&slot, Use::Together)? {
                        return used(held(slot, file)).map(Choice::Taken);
                    }
                }
                _ => {}
            }
        }
        match free {
            Some(slot) => {
                let file = lock(&slot, Use::Together)?;
                let file = file.expect("because nobody else has a turn, and it was free a moment ago");
                used(held(slot, file)).map(Choice::Taken)
            }
            None if is_any && wanted.sharing == Sharing::Locked => Ok(Choice::Busy),
            None => Ok(Choice::None),
        }
    }

    fn make(&self, wanted: &Wanted) -> Result<Claim, MountsError> {
        let claim = Claim::new(&self.making)?;
        let files = claim.path().join(FILES);
        fs::create_dir(&files).map_err(failed("make", &files))?;
        own(&files, wanted)?;
        About::of(wanted).write(claim.path())?;
        let lock = claim.path().join(LOCK);
        fs::write(&lock, "").map_err(failed("make", &lock))?;
        Ok(claim)
    }

    /// Puts a new one into its place, unless another one is there by now that will do.
    fn publish(&self, claim: Claim, wanted: &Wanted) -> Result<Option<Held>, MountsError> {
        // Whatever it was filled with: who made it may say whose it is.
        own(&claim.path().join(FILES), wanted)?;
        let _turn = self.turn()?;
        match self.chosen(wanted)? {
            Choice::Taken(held) => return Ok(Some(held)),
            Choice::Busy => return Ok(None),
            Choice::None => {}
        }
        let name = wanted.name();
        let taken = self.slots(&name)?;
        let free = (0..).find(|number| taken.iter().all(|slot| slot.number != *number));
        let number = free.expect("because a folder has fewer entries than there are numbers");
        let path = self.folder.join(format!("{name}-{number}"));
        claim.publish(&path)?;
        match self.chosen(wanted)? {
            Choice::Taken(held) => Ok(Some(held)),
            Choice::Busy | Choice::None => Ok(None),
        }
    }
}

/// Gives a new cache its owner and its mode, where they are wanted.
fn own(files: &Path, wanted: &Wanted) -> Result<(), MountsError> {
    let owner = wanted.owner;
    // What fills it brings its own, but for what is asked for.
    if wanted.filled.is_none() || owner.uid.is_some() || owner.gid.is_some() || owner.mode.is_some() {
        let (uid, gid) = (owner.uid.unwrap_or(0), owner.gid.unwrap_or(0));
        match recorded::give(files, uid, gid) {
            // Who is not root has no other users' files to give; in the sandbox they are its root's.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !geteuid().is_root() => {
                tracing::debug!(uid, gid, "a cache mount keeps its owner");
            }
            done => done.map_err(failed("chown", files))?,
        }
        let mode = Permissions::from_mode(owner.mode.unwrap_or(MODE) & 0o7777);
        fs::set_permissions(files, mode).map_err(failed("set the mode of", files))?;
    }
    Ok(())
}

/// Notes that it is used now.
fn used(held: Held) -> Result<Held, MountsError> {
    // It only ages faster if this fails.
    let _ = held._lock.set_modified(SystemTime::now());
    Ok(held)
}

/// Takes the lock of a mount; `None` if somebody has it in another way.
fn lock(slot: &Slot, way: Use) -> Result<Option<File>, MountsError> {
    let path = slot.path.join(LOCK);
    let file = match File::options().append(true).open(&path) {
        Ok(file) => file,
        // Somebody deletes the whole state, as they may.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", &path)(error)),
    };
    let operation = match way {
        Use::Together => FlockOperation::NonBlockingLockShared,
        Use::Alone => FlockOperation::NonBlockingLockExclusive,
    };
    match flock(&file, operation) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(failed("lock", &path)(errno.into())),
    }
}

impl Mounts {
    /// Takes the lock of a mount that nobody uses; for who removes or exports it, in turn.
    pub(super) fn alone(slot: &Slot) -> Result<Option<File>, MountsError> {
        lock(slot, Use::Alone)
    }
}
