//! Whole roots, written to in place, for where nothing can be mounted.
//!
//! ```text
//! $ROOT/roots/                          0700: layers hold setuid programs
//!   <pid>-<number>/                     locked (flock) by who writes to it
//!     fs/                               a whole filesystem
//!     listing                           what is in it, see layers::tree::listing
//!     stands                            boot id, newline, the diff_id of each layer in it, the lowest first
//! ```
//!
//! A RUN most often stands on what the last one left: the root that a step leaves is the next one's, and what that
//! changes is found by one `stat` for each file. Nothing is copied. A root with fewer layers than are wanted gets
//! the others on top; if none is free that has some of them, a new one is made of the layers' tars.
//!
//! Who writes to a root takes `stands` away first, and puts it back last. So a root that somebody was killed over
//! is never trusted again: it has no `stands`. Neither is one of another boot, which was never synced. What a step
//! added that failed is taken away, and the root is what it was; if it changed what was there, the root goes.
//!
//! Nothing is cloned, where a filesystem could (`FICLONE`), to have what was before a step: of 20 000 files that
//! takes 0.2 s of CPU on XFS and Btrfs, the listing of new inodes and the removal of the clone 0.1 to 0.2 more, and
//! as long as to make the root of its tars, 0.6 s of CPU and half a second. Each RUN would have to pay it beforehand,
//! which otherwise costs a `stat` for each file, 0.03 s.

use std::cmp::Reverse;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use oxbox_layers::oci::{ChainId, DiffId};
use oxbox_layers::tar::{Entry, Reader};
use oxbox_layers::tree::apply::{Contents, Devices, Entries, Options, Ownership, Whiteouts};
use oxbox_layers::tree::listing::{Looked, Moment};
use oxbox_layers::tree::{Listing, Root, Xattrs};

use super::claim::{self, Claim};
use super::{Active, Files, Kept, Layers, SnapshotError, Snapshotter, Swept, io_error, marker, unpack};
use crate::exec;
use stands::Stands;

mod stands;

/// Roots that wait for the next step. Each is as large as an image; a build with more branches than this makes
/// those anew that were of use the longest ago.
const MAX_FREE: usize = 4;

/// Keeps whole roots.
#[derive(Debug)]
pub struct Plain {
    roots: PathBuf,
    boot: String,
}

/// What a root held when a step began.
#[derive(Debug)]
pub(super) struct Before {
    chain: Vec<DiffId>,
    listing: Listing,
    since: Moment,
    after: Mutex<Option<Looked>>,
    boot: String,
}

impl Active {
    /// Throws away what a command wrote that failed. A root that is written to in place stays for the next step if
    /// nothing was done but to add to it.
    ///
    /// Where it cannot be told, or taken back, the root goes; then it is made of the layers' tars once more.
    pub fn give_up(self) {
        let Self { claim, before, .. } = self;
        let Some(before) = before.filter(|before| !before.chain.is_empty()) else { return };
        let root = fs_of(&claim);
        match before.take_back(&claim) {
            Ok(true) => claim.leave(),
            Ok(false) => tracing::debug!(root = %root.display(), "a failed step changed what was there"),
            Err(error) => {
                tracing::debug!(root = %root.display(), %error, "a failed step cannot be taken back")
            }
        }
    }
}

impl Before {
    fn take_back(self, claim: &Claim) -> Result<bool, SnapshotError> {
        let root = Root::open(&fs_of(claim))?;
        let Some(listing) = self.listing.restore(&root, self.since)? else { return Ok(false) };
        write_listing(claim, &listing)?;
        Stands { boot: self.boot, chain: self.chain }.write(claim.path())?;
        Ok(true)
    }
}

impl Plain {
    /// Opens the roots beneath the state directory `state`; they are made when they are needed.
    pub fn new(state: &Path) -> Result<Self, SnapshotError> {
        let roots = state.join("roots");
        let make = DirBuilder::new().recursive(true).mode(0o700).create(&roots);
        make.map_err(io_error("make", &roots))?;
        // Also if it was made by something that knew no better.
        fs::set_permissions(&roots, Permissions::from_mode(0o700)).map_err(io_error("protect", &roots))?;
        Ok(Self { roots, boot: marker::boot_id()? })
    }

    /// Tells whether there may be roots beneath a state directory.
    pub fn is_used(state: &Path) -> bool {
        state.join("roots").is_dir()
    }

    /// Returns the roots that wait for a step, by what stands in them.
    pub fn list(&self) -> Result<Vec<Kept>, SnapshotError> {
        let free = self.free()?.into_iter().filter_map(|(path, stands)| {
            Some(Kept {
                layer: ChainId::of(&stands.chain)?,
                used: Stands::used(&path),
                path,
                files: Files::Own,
            })
        });
        Ok(free.collect())
    }

    /// Returns the roots that can be trusted. Some may be taken by somebody before they can be taken here.
    fn free(&self) -> Result<Vec<(PathBuf, Stands)>, SnapshotError> {
        let mut free = Vec::new();
        for path in claim::directories(&self.roots)? {
            let stands = Stands::read(&path)?;
            free.extend(stands.filter(|stands| stands.boot == self.boot).map(|stands| (path, stands)));
        }
        Ok(free)
    }

    /// Takes the root that has the most layers of a chain and no others; an empty one if there is none.
    fn take(&self, chain: &[DiffId]) -> Result<Taken, SnapshotError> {
        let mut free = self.free()?;
        free.retain(|(_, stands)| !stands.chain.is_empty() && chain.starts_with(&stands.chain));
        free.sort_by_key(|(path, stands)| Reverse((stands.chain.len(), Stands::used(path))));
        for (path, _) in free {
            // Whatever it was before it was locked, it may be something else now.
            let Some(claim) = Claim::take(&path)? else { continue };
            match Stands::read(&path)? {
                Some(stands) if stands.boot == self.boot && chain.starts_with(&stands.chain) => {
                    Stands::remove(&path)?;
                    if let Some(listing) = read_listing(&path)? {
                        return Ok(Taken { claim, layers: stands.chain.len(), listing: Some(listing) });
                    }
                }
                Some(_) => claim.leave(),
                // Left by a step that failed; it goes.
                None => {}
            }
        }
        let claim = Claim::new(&self.roots)?;
        let fs = fs_of(&claim);
        fs::create_dir(&fs).map_err(io_error("make", &fs))?;
        fs::set_permissions(&fs, Permissions::from_mode(0o755)).map_err(io_error("set the mode of", &fs))?;
        Ok(Taken { claim, layers: 0, listing: None })
    }

    fn keep(&self, active: Active, layer: &DiffId) -> Result<(), SnapshotError> {
        let Active { claim, before, .. } = active;
        let Some(before) = before else { return Ok(()) };
        let root = Root::open(&fs_of(&claim))?;
        before.listing.restore_root(&root)?;
        let after = before.after.into_inner().unwrap_or_else(PoisonError::into_inner);
        let listing = match after {
            Some(after) => after.finish(&root)?,
            None => look(&root, &before.listing, before.since)?.1.finish(&root)?,
        };
        write_listing(&claim, &listing)?;
        let chain = before.chain.into_iter().chain([*layer]).collect();
        Stands { boot: self.boot.clone(), chain }.write(claim.path())?;
        claim.leave();
        Ok(())
    }

    /// Leaves a root as it was found.
    fn give_back(&self, claim: Claim, chain: &[DiffId]) -> Result<(), SnapshotError> {
        if !chain.is_empty() {
            Stands { boot: self.boot.clone(), chain: chain.to_vec() }.write(claim.path())?;
            claim.leave();
        }
        Ok(())
    }

    /// Removes the roots beyond the most that wait, those that were of use the longest ago.
    fn thin_out(&self) -> Result<(), SnapshotError> {
        let mut free = self.free()?;
        free.sort_by_key(|(path, _)| Reverse(Stands::used(path)));
        for (path, _) in free.into_iter().skip(MAX_FREE) {
            drop(Claim::take(&path)?);
        }
        Ok(())
    }
}

/// A root that is this process's.
struct Taken {
    claim: Claim,
    /// How many layers are in it.
    layers: usize,
    listing: Option<Listing>,
}

impl Snapshotter for Plain {
    fn prepare_from(&self, chain: &[DiffId], layers: &dyn Layers) -> Result<Active, SnapshotError> {
        let Taken { claim, layers: there, listing } = self.take(chain)?;
        let upper = fs_of(&claim);
        let root = Root::open(&upper)?;
        let listing = match listing {
            Some(listing) if there == chain.len() => listing,
            before => {
                // Looked for before anything is written: a root that cannot be used stays what it was.
                let first = match there < chain.len() {
                    true => open(&root, layers, there)?,
                    false => None,
                };
                if let (None, Some(layer)) = (&first, chain.get(there)) {
                    self.give_back(claim, &chain[..there])?;
                    return Err(SnapshotError::Missing { layer: *layer });
                }
                let contents = put_on(&root, chain, (there, first), layers)?;
                Listing::of(&root, before.as_ref(), &contents)?
            }
        };
        let before = Before {
            chain: chain.to_vec(),
            listing,
            // Whatever is written from now on is the step's.
            since: Moment::now(),
            after: Mutex::new(None),
            boot: self.boot.clone(),
        };
        Ok(Active {
            root: exec::Root::Directory(upper.clone()),
            upper,
            lowers: Vec::new(),
            chain: ChainId::of(chain),
            noted: None,
            size: OnceLock::new(),
            before: Some(before),
            claim,
        })
    }

    fn blank(&self) -> Result<Option<Active>, SnapshotError> {
        Ok(None)
    }

    fn changes(&self, active: &Active) -> Result<Vec<Entry>, SnapshotError> {
        let Some(before) = &active.before else { return Ok(Vec::new()) };
        let (entries, looked) = look(&Root::open(active.upper())?, &before.listing, before.since)?;
        *before.after.lock().unwrap_or_else(PoisonError::into_inner) = Some(looked);
        Ok(entries)
    }

    fn commit(&self, active: Active, layer: &DiffId) -> Result<(), SnapshotError> {
        self.keep(active, layer)?;
        self.thin_out()
    }

    fn prune(&self, keep: &mut dyn FnMut(&ChainId) -> bool) -> Result<usize, SnapshotError> {
        let mut removed = 0;
        for path in claim::directories(&self.roots)? {
            let Some(claim) = Claim::take(&path)? else { continue };
            let chain = Stands::read(&path)?.and_then(|stands| ChainId::of(&stands.chain));
            match chain {
                Some(chain) if keep(&chain) => claim.leave(),
                Some(_) => removed += 1,
                None => {}
            }
        }
        Ok(removed)
    }

    fn sweep(&self) -> Result<Swept, SnapshotError> {
        let mut swept = Swept::default();
        for path in claim::directories(&self.roots)? {
            let Some(claim) = Claim::take(&path)? else { continue };
            match Stands::read(&path)? {
                Some(stands) if stands.boot == self.boot => claim.leave(),
                Some(_) => swept.doubtful += 1,
                None => swept.abandoned += 1,
            }
        }
        self.thin_out()?;
        Ok(swept)
    }
}

/// Puts the layers of a chain onto a root that has some already; returns what the files hold that were written.
fn put_on(
    root: &Root,
    chain: &[DiffId],
    (there, first): (usize, Option<Tar>),
    layers: &dyn Layers,
) -> Result<Contents, SnapshotError> {
    let mut all = Contents::new();
    let mut next = first;
    for at in there..chain.len() {
        let tar = next.take().ok_or(SnapshotError::Missing { layer: chain[at] })?;
        if at + 1 < chain.len() {
            // Read ahead and decompressed while this one is unpacked.
            next = open(root, layers, at + 1)?;
        }
        all.extend(put_one(root, tar)?);
    }
    Ok(all)
}

type Tar = Box<dyn Read>;

fn open(root: &Root, layers: &dyn Layers, at: usize) -> Result<Option<Tar>, SnapshotError> {
    layers.open(at).map_err(io_error("open a layer for", root.path()))
}

fn put_one(root: &Root, tar: Tar) -> Result<Contents, SnapshotError> {
    let options = Options {
        ownership: Ownership::Keep,
        // Not every container may make them.
        devices: Devices::Recorded,
        whiteouts: Whiteouts::Apply,
        xattrs: Xattrs::CapabilityAndUser,
        max_bytes: unpack::MAX_LAYER_BYTES,
        max_entries: unpack::MAX_LAYER_ENTRIES,
    };
    let mut archive = Reader::new(BufReader::with_capacity(unpack::READ_BYTES, tar));
    let mut apply = || {
        let mut entries = Entries::new(root, &options)?.noting_contents();
        while let Some(entry) = archive.next()? {
            entries.apply(&entry, &mut archive)?;
        }
        entries.finish_noted()
    };
    let (applied, contents) =
        apply().map_err(|source| SnapshotError::Unpack { path: root.path().to_owned(), source })?;
    for skipped in &applied.skipped {
        tracing::warn!(?skipped, "left out of a layer");
    }
    unpack::drain(archive.into_inner()).map_err(io_error("read the end of a layer for", root.path()))?;
    Ok(contents)
}

fn look(root: &Root, listing: &Listing, since: Moment) -> Result<(Vec<Entry>, Looked), SnapshotError> {
    listing
        .changes(root, since)
        .map_err(|source| SnapshotError::Changes { path: root.path().to_owned(), source })
}

fn fs_of(claim: &Claim) -> PathBuf {
    claim.path().join("fs")
}

fn write_listing(claim: &Claim, listing: &Listing) -> Result<(), SnapshotError> {
    let path = claim.path().join("listing");
    fs::write(&path, listing.to_bytes()).map_err(io_error("write", &path))
}

/// Reads the listing of a root; `None` if it is damaged.
fn read_listing(directory: &Path) -> Result<Option<Listing>, SnapshotError> {
    let path = directory.join("listing");
    match fs::read(&path) {
        Ok(bytes) => Ok(Listing::from_bytes(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", &path)(error)),
    }
}

#[cfg(test)]
mod tests;
