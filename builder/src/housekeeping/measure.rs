//! How many bytes things take on disk.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::HousekeepingError;
use crate::mounts::{Kept as Mount, Mounts};
use crate::snapshot::{Files, Kept, Overlay, Plain};
use crate::solve::Cache;

/// `st_blocks` counts these, whatever the filesystem's own blocks are.
const BLOCK: u64 = 512;

/// A snapshot and what it takes.
pub(super) struct Measured {
    pub(super) kept: Kept,
    pub(super) bytes: u64,
}

/// Returns the bytes of a file, 0 if it is not there.
pub(super) fn file(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |found| found.blocks() * BLOCK)
}

/// Returns the bytes of a folder and all in it, a file with several names once; what goes meanwhile does
/// not count.
pub(super) fn tree(path: &Path) -> u64 {
    let (mut bytes, mut seen, mut waiting) = (0, HashSet::new(), vec![path.to_owned()]);
    while let Some(path) = waiting.pop() {
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        if found.is_dir() {
            let entries = fs::read_dir(&path).into_iter().flatten().filter_map(Result::ok);
            waiting.extend(entries.map(|entry| entry.path()));
        } else if found.nlink() > 1 && !seen.insert(identity(&found)) {
            continue;
        }
        bytes += found.blocks() * BLOCK;
    }
    bytes
}

/// Returns the bytes of a folder and the folders in it.
fn directories(path: &Path) -> u64 {
    let (mut bytes, mut waiting) = (0, vec![path.to_owned()]);
    while let Some(path) = waiting.pop() {
        bytes += file(&path);
        let entries = fs::read_dir(&path).into_iter().flatten().filter_map(Result::ok);
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        waiting.extend(folders.map(|entry| entry.path()));
    }
    bytes
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// Returns the snapshots with their sizes. Each is walked once; the cache knows the rest.
pub(super) fn snapshots(state: &Path, cache: Option<&Cache>) -> Result<Vec<Measured>, HousekeepingError> {
    let known = cache.map(Cache::measured).transpose()?.unwrap_or_default();
    let all = match state.join("snapshots").exists() {
        true => Overlay::open_all(state)?,
        false => Vec::new(),
    };
    let mut lists = all.iter().map(Overlay::list).collect::<Result<Vec<_>, _>>()?;
    if Plain::is_used(state) {
        lists.push(Plain::new(state)?.list()?);
    }
    let measured: Vec<Measured> = lists
        .into_iter()
        .flatten()
        .map(|kept| {
            let measure = || match kept.files {
                Files::Own => tree(&kept.path),
                Files::Linked => directories(&kept.path),
            };
            let bytes = known.get(&kept.layer.0.hex()).copied().unwrap_or_else(measure);
            Measured { kept, bytes }
        })
        .collect();
    let is_news = |one: &Measured| !known.contains_key(&one.kept.layer.0.hex());
    if let Some(cache) = cache
        && (known.len() != measured.len() || measured.iter().any(is_news))
    {
        let sizes: Vec<_> = measured.iter().map(|one| (one.kept.layer.0.hex(), one.bytes)).collect();
        cache.put_measured(sizes.iter().map(|(name, bytes)| (name.as_str(), *bytes)))?;
    }
    Ok(measured)
}

/// Returns the cache mounts with what they take. Those that a RUN had since they were measured are walked.
pub(super) fn mounts(state: &Path) -> Result<Vec<(Mount, u64)>, HousekeepingError> {
    let mounts = Mounts::new(state);
    let kept = mounts.list()?.into_iter();
    kept.map(|kept| Ok((kept.clone(), mounts.bytes(&kept, tree)?))).collect()
}

/// Returns the path of a snapshot's state folder entry that is not ours to know, with its bytes.
pub(super) fn others(state: &Path, known: &[&str]) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(state).into_iter().flatten().filter_map(Result::ok);
    let is_known = |name: &str| known.contains(&name) || name.starts_with("cache.db");
    let others = entries.filter(|entry| !is_known(&entry.file_name().to_string_lossy()));
    others.map(|entry| (entry.path(), tree(&entry.path()))).collect()
}
