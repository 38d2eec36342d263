//! Snapshots as overlayfs wants them: each layer a directory, with the kernel's own whiteouts.
//!
//! ```text
//! $ROOT/snapshots/                       0700: layers hold setuid programs
//!   ids-<mark>/                          the same once more, as a user namespace with these ids sees it
//!   <chain_id hex>/fs/                   one layer: devices 0:0 for what it hides, opaque directories marked
//!   <chain_id hex>/unpacked              see marker.rs
//!   <digest hex>/{fs,unpacked}           several layers as one, see units.rs
//!   <chain_id hex>/contents              see contents.rs: of what others may be made above
//!   active/<pid>-<number>/fs/            what a step writes, or a layer that is being unpacked
//!   active/<pid>-<number>/{work,merged}  what the kernel wants besides
//!   active/<pid>-<number>/lowers         the snapshots a step or a layer stands on, one hex a line
//! $ROOT/locks/snapshots                  shared while a step takes its layers, exclusive while one is pruned
//! $ROOT/locks/snapshot-<chain_id hex>    held while the layer is unpacked; gone with its last holder
//! ```
//!
//! Nothing is mounted here. The sandbox does that in its own mount namespace, from [`Active::root`].

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use oxbox_layers::oci::{ChainId, DiffId};
use oxbox_layers::tar::Entry;
use rustix::fs::{FlockOperation, flock, syncfs};

use super::above;
use super::claim::{self, Claim};
use super::marker::{self, Form, Marker, RootEntry, Size, Trust};
use super::seen::Seen;
use super::turn::{self, Turn};
use super::{Active, Layers, SnapshotError, Snapshotter, Swept, io_error, unpack};
use crate::exec::{self, userns};
use fold::Plans;
use units::{Folding, Unit};

/// After this long the kernel has written a file back by itself (`dirty_expire_centisecs` is 30 s), so
/// that syncing it waits for nothing.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

/// Somebody who prunes at the same moment may take layers away that were just unpacked. That it happens again
/// and again is no coincidence.
const MAX_ATTEMPTS: usize = 10;

/// What the name of a layer's lock begins with.
const TURN: &str = "snapshot-";

mod fold;
mod parallel;
mod reuse;
pub(super) mod units;

/// What a claim's `fs` was filled with.
struct Made {
    root: RootEntry,
    form: Form,
    size: Size,
}

/// Snapshots for overlayfs, mounted by root.
#[derive(Debug)]
pub struct Overlay {
    snapshots: PathBuf,
    active: PathBuf,
    locks: PathBuf,
    boot: String,
    seen: Seen,
    folding: Folding,
    plans: Plans,
}

/// A snapshot at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Which layer it is of.
    pub layer: ChainId,
    /// Where it is.
    pub path: PathBuf,
    /// When a step last stood on it, or when it was made.
    pub used: SystemTime,
    /// Whose its files are.
    pub files: Files,
}

/// Whose the files of a snapshot are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// Its own.
    Own,
    /// Those of other snapshots, which do not go before it.
    Linked,
}

impl Overlay {
    /// Opens the snapshots beneath the state directory `state`, which are made if there are none.
    pub fn open(state: &Path) -> Result<Self, SnapshotError> {
        let all = state.join("snapshots");
        // Owners and marks mean something else to each user namespace.
        let folder = userns::mark().map_err(io_error("read the ids of", &all))?;
        Self::open_in(state, folder.map_or(all.clone(), |folder| all.join(folder)))
    }

    /// Opens all snapshots that there are: this process's own, and those of every user namespace.
    pub fn open_all(state: &Path) -> Result<Vec<Self>, SnapshotError> {
        let own = Self::open(state)?;
        let is_other = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            *path != own.snapshots && name.is_some_and(|name| name.starts_with(userns::MARK))
        };
        let others = claim::directories(&state.join("snapshots"))?.into_iter().filter(is_other);
        let mut all = others.map(|path| Self::open_in(state, path)).collect::<Result<Vec<_>, _>>()?;
        all.push(own);
        Ok(all)
    }

    fn open_in(state: &Path, snapshots: PathBuf) -> Result<Self, SnapshotError> {
        let all = state.join("snapshots");
        let active = snapshots.join("active");
        let locks = state.join("locks");
        for directory in [&active, &locks] {
            let make = DirBuilder::new().recursive(true).mode(0o700).create(directory);
            make.map_err(io_error("make", directory))?;
        }
        // Also if it was made by something that knew no better.
        fs::set_permissions(&all, Permissions::from_mode(0o700)).map_err(io_error("protect", &all))?;
        Ok(Self {
            snapshots,
            active,
            locks,
            boot: marker::boot_id()?,
            seen: Seen::default(),
            folding: Folding::USUAL,
            plans: Plans::default(),
        })
    }

    /// Says when layers are folded.
    #[cfg(test)]
    pub(super) fn folding(self, folding: Folding) -> Self {
        Self { folding, ..self }
    }

    /// Returns the snapshots that are here, in no order.
    pub fn list(&self) -> Result<Vec<Kept>, SnapshotError> {
        let kept = claim::directories(&self.snapshots)?.into_iter().filter_map(|path| {
            let layer = named(&path)?.1;
            // Without a marker it is just going away.
            let used = Marker::used(&path)?;
            let form = Marker::read(&path).ok()??.form;
            let files = if matches!(form, Form::Folded { .. }) { Files::Linked } else { Files::Own };
            Some(Kept { layer, path, used, files })
        });
        Ok(kept.collect())
    }

    /// Returns where a layer's snapshot is, if it is here.
    pub fn place(&self, layer: &ChainId) -> PathBuf {
        self.snapshots.join(layer.0.hex())
    }

    fn lock(&self, name: &str, operation: FlockOperation) -> Result<File, SnapshotError> {
        let path = self.locks.join(name);
        let file = File::options().create(true).append(true).open(&path).map_err(io_error("open", &path))?;
        flock(&file, operation).map_err(io_error("lock", &path))?;
        Ok(file)
    }

    fn lock_layer(&self, layer: &ChainId) -> Result<Turn, SnapshotError> {
        Turn::wait(self.locks.join(format!("{TURN}{}", layer.0.hex())))
    }

    /// Returns the marker of a layer that is here and can be believed, together with what it stands on.
    fn believed(&self, layer: &ChainId) -> Result<Option<Marker>, SnapshotError> {
        let Some(marker) = self.trusted(layer)? else { return Ok(None) };
        let Form::Above { base } = marker.form else { return Ok(Some(marker)) };
        let base = self.trusted(&base)?;
        // Its base may have been made anew since, and then it may be above another one.
        Ok(base.filter(|base| !matches!(base.form, Form::Above { .. })).map(|_| marker))
    }

    fn trusted(&self, layer: &ChainId) -> Result<Option<Marker>, SnapshotError> {
        let marker = self.seen.read(layer, &self.place(layer))?;
        Ok(marker.filter(|marker| marker.trust(&self.boot) != Trust::Lost))
    }

    /// Makes the snapshot of a layer of what `fill` puts into a claim's `fs`.
    fn make(
        &self,
        layer: &ChainId,
        fill: &mut dyn FnMut(&Claim) -> Result<Made, SnapshotError>,
    ) -> Result<(), SnapshotError> {
        let _lock = self.lock_layer(layer)?;
        if self.believed(layer)?.is_some() {
            return Ok(());
        }
        let claim = Claim::new(&self.active)?;
        make_directory(&claim.path().join("fs"))?;
        let Made { root, form, size } = fill(&claim)?;
        self.publish(claim, layer, Marker::new(&self.boot, root, form).sized(size))
    }

    /// Puts a claim into the place of a layer, whose lock is held.
    fn publish(&self, claim: Claim, layer: &ChainId, marker: Marker) -> Result<(), SnapshotError> {
        remove_list(&claim)?;
        marker.write(claim.path())?;
        let place = self.place(layer);
        if place.exists() {
            // It did not survive a crash of the machine.
            self.set_aside(&place)?;
        }
        claim.publish(&place).map(|_| ())
    }

    /// Takes a snapshot out of its place at once, and its files away after that; `false` without one.
    fn set_aside(&self, place: &Path) -> Result<Option<Claim>, SnapshotError> {
        let claim = Claim::new(&self.active)?;
        match fs::rename(place, claim.path().join("removed")) {
            Ok(()) => Ok(Some(claim)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("set aside", place)(error)),
        }
    }

    /// Returns the names of all snapshots that living steps stand on.
    fn in_use(&self) -> Result<HashSet<String>, SnapshotError> {
        let mut used = HashSet::new();
        for path in claim::directories(&self.active)? {
            // A claim without a list stands on nothing, or is just going away.
            let list = fs::read_to_string(path.join("lowers")).unwrap_or_default();
            used.extend(list.lines().map(str::to_owned));
        }
        Ok(used)
    }

    /// Takes every snapshot out of its place that nobody uses, `keep` says no to, and none that stays is
    /// made of.
    fn set_aside_unless(&self, keep: &mut dyn FnMut(&ChainId) -> bool) -> Result<Vec<Claim>, SnapshotError> {
        let _lock = self.lock("snapshots", FlockOperation::LockExclusive)?;
        let mut stay = HashSet::new();
        self.add_with_bases(self.in_use()?, &mut stay)?;
        let mut unused = Vec::new();
        for path in claim::directories(&self.snapshots)? {
            let Some((name, layer)) = named(&path) else { continue };
            if stay.contains(name) {
                continue;
            }
            match keep(&layer) {
                true => self.add_with_bases([name.to_owned()], &mut stay)?,
                false => unused.push(path),
            }
        }
        unused.retain(|path| named(path).is_some_and(|(name, _)| !stay.contains(name)));
        let aside = unused.iter().map(|path| self.set_aside(path));
        aside.filter_map(Result::transpose).collect()
    }

    /// Adds snapshots and all that they stand on.
    fn add_with_bases(
        &self,
        names: impl IntoIterator<Item = String>,
        stay: &mut HashSet<String>,
    ) -> Result<(), SnapshotError> {
        let mut waiting: Vec<String> = names.into_iter().collect();
        while let Some(name) = waiting.pop() {
            if let Some(marker) = Marker::read(&self.snapshots.join(&name))? {
                let bases = marker.form.stands_on().iter().map(|base| base.0.hex());
                waiting.extend(bases.filter(|base| !stay.contains(base)));
            }
            stay.insert(name);
        }
        Ok(())
    }

    /// Returns how many layers of the chain, from the lowest, are here whole. Until a step stands on them,
    /// another process may remove them.
    pub fn unpacked(&self, chain: &[DiffId]) -> Result<usize, SnapshotError> {
        for (count, layer) in chain_ids(chain).iter().enumerate() {
            if self.believed(layer)?.is_none() {
                return Ok(count);
            }
        }
        Ok(chain.len())
    }

    /// Makes a root of layers that are here.
    fn stand_on(&self, chain: &[DiffId]) -> Result<Active, SnapshotError> {
        let claim = Claim::new(&self.active)?;
        let units = self.take(&claim, chain)?;
        for name in ["fs", "work", "merged"] {
            make_directory(&claim.path().join(name))?;
        }
        let upper = claim.path().join("fs");
        dress(&upper, self.speaking(&units).as_deref())?;
        let lowers = self.lowers(&units);
        let root = exec::Root::Overlay(self.stack(&claim, &lowers));
        let (chain, size) = (units.last().map(Unit::chain), OnceLock::new());
        Ok(Active { root, upper, lowers, chain, noted: None, size, before: None, claim })
    }

    /// Describes the mount: relative to the snapshots, for the kernel takes 255 bytes of each path.
    fn stack(&self, claim: &Claim, lowers: &[PathBuf]) -> exec::Overlay {
        let below = |path: &Path| {
            path.strip_prefix(&self.snapshots).expect("all of it is made beneath the snapshots").to_owned()
        };
        let own = |name| below(&claim.path().join(name));
        let mut stacked: Vec<_> = lowers.iter().map(|lower| below(lower)).collect();
        if stacked.is_empty() {
            // The kernel wants at least one; the mount point is an empty directory.
            stacked.push(own("merged"));
        }
        exec::Overlay {
            directory: self.snapshots.clone(),
            lowers: stacked,
            upper: own("fs"),
            work: own("work"),
            mountpoint: own("merged"),
        }
    }

    /// Makes the young snapshots of this boot trusted for good, once they have settled.
    fn settle(&self, young: &[(PathBuf, Marker)]) -> Result<(), SnapshotError> {
        if young.is_empty() {
            return Ok(());
        }
        let directory = File::open(&self.snapshots).map_err(io_error("open", &self.snapshots))?;
        syncfs(&directory).map_err(io_error("sync", &self.snapshots))?;
        young.iter().try_for_each(|(path, marker)| marker.write_synced(path))
    }
}

impl Snapshotter for Overlay {
    fn prepare_from(&self, chain: &[DiffId], layers: &dyn Layers) -> Result<Active, SnapshotError> {
        for _ in 0..MAX_ATTEMPTS {
            match self.stand_on(chain) {
                // Most often all are here: a RUN leaves its own, and to look at hundreds of layers twice shows.
                Err(SnapshotError::Missing { .. }) => self.unpack_missing(chain, layers)?,
                prepared => return prepared,
            }
        }
        self.stand_on(chain)
    }

    fn blank(&self) -> Result<Option<Active>, SnapshotError> {
        self.stand_on(&[]).map(Some)
    }

    fn changes(&self, active: &Active) -> Result<Vec<Entry>, SnapshotError> {
        let entries = unpack::changes(active.upper(), active.lowers())?;
        let _ = active.size.set(Size::of(entries.len()));
        Ok(entries)
    }

    fn commit(&self, active: Active, layer: &DiffId) -> Result<(), SnapshotError> {
        let Active { claim, chain, noted, size, .. } = active;
        let name = chain.map_or(ChainId(layer.0), |chain| chain.then(layer));
        let _lock = self.lock_layer(&name)?;
        if self.believed(&name)?.is_some() {
            return Ok(());
        }
        for name in ["work", "merged"] {
            let path = claim.path().join(name);
            fs::remove_dir_all(&path).map_err(io_error("remove", &path))?;
        }
        // The changes of a step have no entry for the root: what it did to it ends with it.
        let noted = noted.as_ref().map(|noted| (&*noted.index, &*noted.chunks));
        let form = above::note(claim.path(), *layer, chain, noted)?;
        let counted = noted.map(|(index, _)| Size::counted(index.iter())).or(size.into_inner());
        let marker = Marker::new(&self.boot, RootEntry::Inherited, form).sized(counted.unwrap_or(Size::Any));
        self.publish(claim, &name, marker)
    }

    fn prune(&self, keep: &mut dyn FnMut(&ChainId) -> bool) -> Result<usize, SnapshotError> {
        // The files go when the claims are dropped, and nobody waits for that with a lock.
        self.set_aside_unless(keep).map(|aside| aside.len())
    }

    fn sweep(&self) -> Result<Swept, SnapshotError> {
        let mut swept = Swept { abandoned: claim::sweep(&self.active)?, doubtful: 0 };
        turn::sweep(&self.locks, TURN)?;
        let mut young = Vec::new();
        for path in claim::directories(&self.snapshots)? {
            if path == self.active {
                continue;
            }
            // Without a marker another sweep is just taking it away.
            let Some(marker) = Marker::read(&path)? else { continue };
            match marker.trust(&self.boot) {
                Trust::ThisBoot if has_settled(&path) => young.push((path, marker)),
                Trust::Synced | Trust::ThisBoot => {}
                Trust::Lost => swept.doubtful += usize::from(self.set_aside(&path)?.is_some()),
            }
        }
        self.settle(&young)?;
        Ok(swept)
    }
}

fn make_directory(path: &Path) -> Result<(), SnapshotError> {
    fs::create_dir(path).map_err(io_error("make", path))
}

/// Empties a claim's directory of what was tried in vain.
fn start_again(claim: &Claim) -> Result<(), SnapshotError> {
    let directory = claim.path().join("fs");
    fs::remove_dir_all(&directory).map_err(io_error("remove", &directory))?;
    make_directory(&directory)?;
    remove_list(claim)
}

/// Removes the list of what a claim stands on, when it becomes a snapshot.
fn remove_list(claim: &Claim) -> Result<(), SnapshotError> {
    let path = claim.path().join("lowers");
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &path)(error)),
        _ => Ok(()),
    }
}

/// Returns the chain_id of each layer of a chain, the lowest first.
fn chain_ids(chain: &[DiffId]) -> Vec<ChainId> {
    let mut names: Vec<ChainId> = Vec::with_capacity(chain.len());
    for layer in chain {
        names.push(names.last().map_or(ChainId(layer.0), |below| below.then(layer)));
    }
    names
}

/// Returns name and chain_id of the snapshot at `path`; `None` if no snapshot is called so.
fn named(path: &Path) -> Option<(&str, ChainId)> {
    let name = path.file_name()?.to_str()?;
    let layer =
        ["sha256", "sha512"].iter().find_map(|algorithm| format!("{algorithm}:{name}").parse().ok())?;
    Some((name, ChainId(layer)))
}

/// Gives the root that a step sees the attributes of the topmost layer that has some for it.
fn dress(upper: &Path, speaking: Option<&Path>) -> Result<(), SnapshotError> {
    let mode = |mode| {
        fs::set_permissions(upper, Permissions::from_mode(mode)).map_err(io_error("set the mode of", upper))
    };
    let Some(lower) = speaking else { return mode(0o755) };
    let meta = fs::metadata(lower).map_err(io_error("stat", lower))?;
    std::os::unix::fs::chown(upper, Some(meta.uid()), Some(meta.gid())).map_err(io_error("chown", upper))?;
    mode(meta.mode() & 0o7777)?;
    let modified = meta.modified().map_err(io_error("stat", lower))?;
    let times = fs::FileTimes::new().set_modified(modified);
    File::open(upper).and_then(|file| file.set_times(times)).map_err(io_error("set the time of", upper))
}

fn has_settled(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|meta| meta.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age >= SETTLED_AFTER))
}

#[cfg(test)]
mod tests;
