//! What a state folder holds of past builds: which layers it remembers, and how it is emptied.
//!
//! ```text
//! cache.db      records ─▶ remembered layers, which a sweep of the store spares     forget: no record is left
//! snapshots/    layers unpacked for RUN                                             forget: those not in use go
//! indexes/      what is in layers            sweep: those of layers that are gone   forget: all go
//! tmp/          contents set aside for a while: files without a name, or leftovers  forget: all go
//! ```
//!
//! All of it can be rebuilt, and builds may be under way: whatever goes is a miss to them, no failure.
//! Nothing here makes what is not there.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oxbox_layers::image::{Image, ImageError};
use oxbox_layers::oci::graph::successors;
use oxbox_layers::oci::{Descriptor, DiffId, Digest};
use oxbox_layers::store::{Layout, StoreError, Sweep, read_document};

use crate::snapshot::{Overlay, SnapshotError, Snapshotter as _};
use crate::solve::{Cache, CacheError};

/// An unfinished index this old is nobody's: writing one takes seconds.
const ABANDONED_AFTER: Duration = Duration::from_secs(60 * 60);

/// What was forgotten, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Records of the cache.
    pub records: usize,
    /// Unpacked layers.
    pub snapshots: usize,
    /// Indexes of layers.
    pub indexes: usize,
}

/// Why a state folder cannot be kept in order.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant carries its own room's error")]
pub enum HousekeepingError {
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Snapshots(#[from] SnapshotError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot {verb} {}", .path.display())]
    Io { verb: &'static str, path: PathBuf, source: io::Error },
}

/// Returns the blobs of the layers that the cache remembers.
pub fn remembered(state: &Path) -> Result<HashSet<Digest>, HousekeepingError> {
    let Some(cache) = cache(state)? else { return Ok(HashSet::new()) };
    Ok(cache.used_since(i64::MIN)?.into_iter().map(|layer| layer.descriptor.digest).collect())
}

/// Forgets past builds. Snapshots that a step stands on stay.
pub fn forget(state: &Path, sweep: Sweep) -> Result<Forgotten, HousekeepingError> {
    let mut forgotten = Forgotten::default();
    if let Some(cache) = cache(state)? {
        forgotten.records = match sweep {
            Sweep::Remove => cache.forget_before(i64::MAX)?,
            Sweep::DryRun => cache.count()?,
        };
    }
    if state.join("snapshots").exists() {
        forgotten.snapshots = prune_snapshots(state, sweep)?;
    }
    for path in list(&state.join("indexes"))? {
        forgotten.indexes += usize::from(layer_of(&path).is_some() && remove(&path, sweep)?);
    }
    for path in list(&state.join("tmp"))? {
        remove(&path, sweep)?;
    }
    Ok(forgotten)
}

/// Removes the indexes of layers that neither the cache nor an entry of the store knows; returns how many.
///
/// `gone` are entries of the store that do not count: those that a dry run would have taken.
pub fn sweep_indexes(
    state: &Path,
    store: &Layout,
    gone: &[Descriptor],
    sweep: Sweep,
) -> Result<usize, HousekeepingError> {
    let files = list(&state.join("indexes"))?;
    if files.is_empty() {
        return Ok(0);
    }
    let mut known = listed(store, gone)?;
    if let Some(cache) = cache(state)? {
        known.extend(cache.used_since(i64::MIN)?.into_iter().map(|layer| layer.diff_id));
    }
    let mut swept = 0;
    for path in files {
        let goes = match layer_of(&path) {
            Some(layer) => !known.contains(&layer),
            None => is_abandoned(&path),
        };
        swept += usize::from(goes && remove(&path, sweep)?);
    }
    Ok(swept)
}

fn cache(state: &Path) -> Result<Option<Cache>, HousekeepingError> {
    let path = state.join("cache.db");
    // Opening makes what is not there, and nothing is to be made by removing.
    match path.exists() {
        true => Ok(Some(Cache::open(&path)?)),
        false => Ok(None),
    }
}

fn prune_snapshots(state: &Path, sweep: Sweep) -> Result<usize, HousekeepingError> {
    let snapshots = Overlay::open(state)?;
    let mut spare = 0;
    // Asked of those that nobody uses, and of no others.
    let removed = snapshots.prune(&mut |_| {
        spare += 1;
        sweep == Sweep::DryRun
    })?;
    Ok(match sweep {
        Sweep::Remove => removed,
        Sweep::DryRun => spare,
    })
}

/// Returns the layers of all images that the store lists.
fn listed(store: &Layout, gone: &[Descriptor]) -> Result<HashSet<DiffId>, HousekeepingError> {
    let mut waiting: Vec<Descriptor> = store.entries()?.iter().cloned().collect();
    waiting.retain(|entry| gone.iter().all(|other| other.digest != entry.digest));
    let (mut seen, mut layers) = (HashSet::new(), HashSet::new());
    while let Some(descriptor) = waiting.pop() {
        if !seen.insert(descriptor.digest) {
            continue;
        }
        match Image::load(store, &descriptor) {
            Ok(image) => layers.extend(image.layers.iter().map(|layer| layer.diff_id)),
            Err(ImageError::Index { .. }) => {
                let index = read_document(store, &descriptor);
                waiting.extend(index.iter().flat_map(successors).map(|(_, child)| child.clone()));
            }
            Err(ImageError::Store(error)) => return Err(error.into()),
            // What is no image, or is damaged, has no layers that a build could stand on.
            Err(_) => {}
        }
    }
    Ok(layers)
}

/// Returns the layer that an index is of; `None` for a file that is not finished.
fn layer_of(path: &Path) -> Option<DiffId> {
    let name = path.file_name()?.to_str()?;
    ["sha256", "sha512"].iter().find_map(|algorithm| format!("{algorithm}:{name}").parse().ok()).map(DiffId)
}

fn is_abandoned(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age >= ABANDONED_AFTER))
}

/// Lists a folder's files; one that is missing has none.
fn list(folder: &Path) -> Result<Vec<PathBuf>, HousekeepingError> {
    let failed = |source| HousekeepingError::Io { verb: "list", path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect()
}

/// Removes a file; `false` if it was gone already.
fn remove(path: &Path, sweep: Sweep) -> Result<bool, HousekeepingError> {
    if sweep == Sweep::DryRun {
        return Ok(true);
    }
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(HousekeepingError::Io { verb: "remove", path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};
    use std::fs;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use oxbox_layers::compress::Compression;
    use oxbox_layers::image::Image;
    use oxbox_layers::layer::{Layer, LayerWriter};
    use oxbox_layers::oci::{Config, Descriptor, MediaType, Platform, Raw, RootFs};
    use oxbox_layers::store::{Layout, Sweep};
    use oxbox_layers::tar::{Entry, Kind};

    use super::{Forgotten, forget, remembered, sweep_indexes};
    use crate::snapshot::{Overlay, Snapshotter as _};
    use crate::solve::{Cache, Indexes, KeyHasher};

    fn layer(store: &Layout, name: &str) -> Layer {
        let mut writer = LayerWriter::new(store, Compression::None, 1).unwrap();
        writer.append(&Entry::new(name, Kind::Directory, 0o755), &mut std::io::empty()).unwrap();
        writer.finish().unwrap()
    }

    fn image(store: &Layout, layer: &Layer) -> Descriptor {
        let rootfs = RootFs { diff_ids: vec![layer.diff_id], ..RootFs::default() };
        let config = Config { rootfs, ..Config::scratch(&Platform::host()) };
        let config = Raw::write(config, MediaType::OCI_CONFIG);
        Image::assemble(config, vec![layer.clone()], BTreeMap::new()).unwrap().write(store).unwrap()
    }

    /// A state folder with a store, and three layers in it that have an index each.
    fn state() -> (tempfile::TempDir, Layout, Vec<Layer>) {
        let state = tempfile::tempdir().unwrap();
        let store = Layout::create(state.path().join("store")).unwrap();
        let layers: Vec<Layer> = ["a", "b", "c"].map(|name| layer(&store, name)).to_vec();
        let indexes = Indexes::open(&state.path().join("indexes")).unwrap();
        for layer in &layers {
            indexes.stack(std::slice::from_ref(layer), &store).unwrap();
        }
        (state, store, layers)
    }

    fn remember(state: &Path, layer: &Layer) {
        let key = KeyHasher::new("k").field("digest", layer.descriptor.digest.to_string()).finish();
        Cache::open(&state.join("cache.db")).unwrap().put(&key, layer, 7).unwrap();
    }

    fn has_index(state: &Path, layer: &Layer) -> bool {
        state.join("indexes").join(layer.diff_id.0.hex()).exists()
    }

    #[test]
    fn an_empty_state_remembers_nothing_and_stays_empty() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(remembered(state.path()).unwrap(), HashSet::new());
        assert_eq!(forget(state.path(), Sweep::Remove).unwrap(), Forgotten::default());
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_layer_is_remembered_until_it_is_forgotten() {
        let (state, _store, layers) = state();
        remember(state.path(), &layers[0]);
        assert_eq!(remembered(state.path()).unwrap(), HashSet::from([layers[0].descriptor.digest]));
        forget(state.path(), Sweep::Remove).unwrap();
        assert_eq!(remembered(state.path()).unwrap(), HashSet::new());
    }

    #[test]
    fn a_dry_run_tells_what_is_forgotten_next() {
        let (state, _store, layers) = state();
        remember(state.path(), &layers[0]);
        let snapshots = Overlay::open(state.path()).unwrap();
        let in_use = snapshots.prepare(&[]).unwrap();
        snapshots.commit(in_use, &layers[0].diff_id).unwrap();
        snapshots.commit(snapshots.prepare(&[]).unwrap(), &layers[1].diff_id).unwrap();
        let stands_on_it = snapshots.prepare(&[layers[0].diff_id]).unwrap();
        fs::create_dir(state.path().join("tmp")).unwrap();
        fs::write(state.path().join("tmp/left"), "").unwrap();
        let told = forget(state.path(), Sweep::DryRun).unwrap();
        assert_eq!(told, Forgotten { records: 1, snapshots: 1, indexes: 3 });
        assert_eq!(forget(state.path(), Sweep::Remove).unwrap(), told);
        assert_eq!(forget(state.path(), Sweep::Remove).unwrap(), Forgotten::default());
        assert_eq!(fs::read_dir(state.path().join("tmp")).unwrap().count(), 0);
        drop(stands_on_it);
        assert_eq!(forget(state.path(), Sweep::Remove).unwrap().snapshots, 1);
    }

    #[test]
    fn an_index_goes_with_the_last_that_knew_its_layer() {
        let (state, store, layers) = state();
        remember(state.path(), &layers[0]);
        let named = image(&store, &layers[1]);
        store.tag("app", &named).unwrap();
        assert_eq!(sweep_indexes(state.path(), &store, &[], Sweep::DryRun).unwrap(), 1);
        assert_eq!(sweep_indexes(state.path(), &store, &[named], Sweep::DryRun).unwrap(), 2);
        assert_eq!(sweep_indexes(state.path(), &store, &[], Sweep::Remove).unwrap(), 1);
        let left: Vec<bool> = layers.iter().map(|layer| has_index(state.path(), layer)).collect();
        assert_eq!(left, [true, true, false]);
    }

    #[test]
    fn an_unfinished_index_is_left_to_its_writer_for_a_while() {
        let (state, store, layers) = state();
        let old = state.path().join("indexes/.tmpOld");
        for path in [&old, &state.path().join("indexes/.tmpNew")] {
            fs::write(path, "").unwrap();
        }
        let file = fs::File::options().write(true).open(&old).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(2 * 3600)).unwrap();
        layers.iter().for_each(|layer| remember(state.path(), layer));
        assert_eq!(sweep_indexes(state.path(), &store, &[], Sweep::Remove).unwrap(), 1);
        assert!(!old.exists());
    }
}
