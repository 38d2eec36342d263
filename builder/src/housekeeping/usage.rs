//! What takes how much space, and how much of it could go.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oxbox_layers::oci::ChainId;
use oxbox_layers::store::{BlobStore as _, Layout, Sweep};

use super::{HousekeepingError, cache, list, measure};
use crate::mounts::{Kept, Mounts};
use crate::solve::Remembered;

/// All that a state folder holds. No byte is in two of these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Blobs that images with a name have.
    pub named: Part,
    /// Blobs that only images without a name have.
    pub unnamed: Part,
    /// Layers that the cache remembers, the least recently used first: those of images among them.
    pub layers: Vec<CachedLayer>,
    /// Blobs that nobody knows.
    pub unknown: Part,
    /// What killed processes left in the store.
    pub unfinished: Part,
    /// Layers unpacked for RUN.
    pub snapshots: Vec<Unpacked>,
    /// Directories that RUNs mount, the least recently used first.
    pub mounts: Vec<CacheMount>,
    /// Indexes of layers.
    pub indexes: Part,
    /// What is known of contexts' files.
    pub contexts: Part,
    /// The cache's database.
    pub database: u64,
    /// Contents set aside.
    pub temporary: Part,
    /// What else is there.
    pub others: Vec<(PathBuf, u64)>,
}

/// So many things, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Part {
    /// How many.
    pub count: usize,
    /// Bytes of all.
    pub bytes: u64,
}

/// A layer that the cache remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedLayer {
    /// What the cache knows of it.
    pub remembered: Remembered,
    /// Bytes of its blob; nothing if that is gone.
    pub bytes: Option<u64>,
    /// Whether an image has it too.
    pub shared: bool,
}

/// An unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Which.
    pub layer: ChainId,
    /// What it takes on disk.
    pub bytes: u64,
    /// When a step last stood on it.
    pub used: SystemTime,
}

/// A directory that RUNs mount and builds outlive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    /// What it is, and where.
    pub kept: Kept,
    /// What it takes on disk.
    pub bytes: u64,
    /// Whether a RUN has it now.
    pub in_use: bool,
}

impl Usage {
    /// Returns the layers that the cache alone needs.
    pub fn cache_only(&self) -> Part {
        let own = self.layers.iter().filter(|layer| !layer.shared);
        own.filter_map(|layer| layer.bytes).fold(Part::default(), Part::and)
    }

    /// Returns the bytes of everything.
    pub fn total(&self) -> u64 {
        let parts = [self.named, self.unnamed, self.cache_only(), self.unknown, self.unfinished];
        let rebuildable = [self.indexes, self.contexts, self.temporary];
        let parts: u64 = parts.iter().chain(&rebuildable).map(|part| part.bytes).sum();
        let others: u64 = self.others.iter().map(|(_, bytes)| bytes).sum();
        parts + self.unpacked().bytes + self.mounted().bytes + self.database + others
    }

    /// Returns the unpacked layers in all.
    pub fn unpacked(&self) -> Part {
        self.snapshots.iter().map(|one| one.bytes).fold(Part::default(), Part::and)
    }

    /// Returns the cache mounts in all.
    pub fn mounted(&self) -> Part {
        self.mounts.iter().map(|one| one.bytes).fold(Part::default(), Part::and)
    }
}

impl Part {
    fn and(self, bytes: u64) -> Self {
        Self { count: self.count + 1, bytes: self.bytes + bytes }
    }
}

/// Looks at all that a state folder holds; `store` is its store, if there is one.
pub fn usage(state: &Path, store: Option<&Layout>) -> Result<Usage, HousekeepingError> {
    let cache = cache(state)?;
    let mut usage = Usage::default();
    if let Some(store) = store {
        store_usage(store, &mut usage)?;
    }
    if let Some(cache) = &cache {
        let needed = store.map(Layout::reached).transpose()?.unwrap_or_default();
        for remembered in cache.layers()? {
            let bytes = store.map(|store| store.stat(&remembered.digest)).transpose()?.flatten();
            let shared = needed.contains(&remembered.digest);
            usage.layers.push(CachedLayer { remembered, bytes, shared });
        }
    }
    // So far they are among the unknown.
    let own = usage.cache_only();
    usage.unknown.count -= own.count.min(usage.unknown.count);
    usage.unknown.bytes = usage.unknown.bytes.saturating_sub(own.bytes);
    let unpacked = measure::snapshots(state, cache.as_ref())?.into_iter();
    usage.snapshots = unpacked
        .map(|one| Unpacked { layer: one.kept.layer, bytes: one.bytes, used: one.kept.used })
        .collect();
    usage.snapshots.sort_by_key(|one| one.used);
    let here = Mounts::new(state);
    for (kept, bytes) in measure::mounts(state)? {
        let in_use = here.is_in_use(&kept.name)?;
        usage.mounts.push(CacheMount { kept, bytes, in_use });
    }
    usage.mounts.sort_by_key(|one| one.kept.used);
    let files = |folder: &str| {
        let files = list(&state.join(folder))?;
        Ok::<_, HousekeepingError>(
            files.iter().map(|path| measure::tree(path)).fold(Part::default(), Part::and),
        )
    };
    (usage.indexes, usage.contexts, usage.temporary) = (files("indexes")?, files("stat")?, files("tmp")?);
    let database = ["cache.db", "cache.db-wal", "cache.db-shm", "cache.db.damaged"];
    usage.database = database.iter().map(|name| measure::file(&state.join(name))).sum();
    let known = ["store", "snapshots", "roots", "mounts", "indexes", "stat", "tmp", "locks"];
    usage.others = measure::others(state, &known);
    Ok(usage)
}

fn store_usage(store: &Layout, usage: &mut Usage) -> Result<(), HousekeepingError> {
    let (named, reached) = (store.reached_by_names()?, store.reached()?);
    for blob in store.blobs()? {
        let part = match () {
            () if named.contains(&blob.digest) => &mut usage.named,
            () if reached.contains(&blob.digest) => &mut usage.unnamed,
            () => &mut usage.unknown,
        };
        *part = part.and(blob.size);
    }
    let left = store.sweep_only(&[], Sweep::DryRun)?;
    usage.unfinished =
        Part { count: usize::try_from(left.leftovers).unwrap_or(usize::MAX), bytes: left.bytes };
    Ok(())
}
