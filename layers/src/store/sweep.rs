//! Removes from a layout what no entry of its index reaches, while others may be at work in it.
//!
//! ```text
//! who is at work? ─▶ hold index.json still ─▶ walk it ─▶ remove what is unreachable and unused ─▶ leftovers
//! ```
//!
//! Killed at any point it has removed some blobs that nothing needs, and the next one removes the rest.
//! How those at work are spared is in `session.rs`; what is reachable is in `reach.rs`.

use std::collections::HashSet;
use std::fs::File;

use rustix::fs::FlockOperation;

use super::disk;
use super::owned::{self, Leftover, Owner};
use super::reach::ReachError;
use super::session::{self, AtWork};
use super::{Committed, Layout, StoreError};
use crate::oci::Digest;

/// Whether a sweep removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// Remove what may go.
    Remove,
    /// Only tell what would go.
    DryRun,
}

/// What a sweep did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// The blobs that went.
    pub removed: Vec<Committed>,
    /// How many unfinished files of killed processes went.
    pub leftovers: u64,
    /// Bytes of all that went.
    pub bytes: u64,
    /// How many unreachable blobs stay, since somebody at work may rely on them.
    pub kept_busy: u64,
}

impl Layout {
    /// Removes the blobs that no entry reaches, and what killed processes left unfinished.
    ///
    /// Names wait while it runs; readers and writers do not, but who begins to write while nobody else
    /// is at work. A handle that is at work keeps its own blobs too: sweep by one that was just opened.
    ///
    /// # Errors
    ///
    /// [`ReachError::Unreadable`] if a listed document is damaged; nothing is removed then.
    pub fn sweep(&self, sweep: Sweep) -> Result<Swept, ReachError> {
        // Lock order: sessions, then index. Whoever holds the index never waits for the other.
        let (at_work, _gate) = session::survey(&self.disk, sweep.leftover())?;
        let _index: File = disk::lock(&self.disk.index_lock(), FlockOperation::LockShared)?;
        let needed = self.needed(&self.entries()?)?;
        self.sweep_all_but(&needed, at_work, sweep)
    }

    /// Removes those of `spare` that no entry reaches, and what killed processes left unfinished.
    ///
    /// For who knows what is not needed, and would not have all of a large store listed for it. The rest is
    /// as in [`Layout::sweep`].
    ///
    /// # Errors
    ///
    /// As [`Layout::sweep`].
    pub fn sweep_only(&self, spare: &[Digest], sweep: Sweep) -> Result<Swept, ReachError> {
        let (at_work, _gate) = session::survey(&self.disk, sweep.leftover())?;
        let _index: File = disk::lock(&self.disk.index_lock(), FlockOperation::LockShared)?;
        let needed = self.needed(&self.entries()?)?;
        let mut blobs = Vec::new();
        for digest in spare.iter().filter(|digest| !needed.contains(digest)) {
            if let Some(metadata) = disk::stat(&self.disk.blob(digest))? {
                blobs.push(Committed { digest: *digest, size: metadata.len() });
            }
        }
        self.take_all(blobs, at_work, sweep)
    }

    /// Removes what killed processes left unfinished, and nothing else; for the start of a process.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be listed or removed.
    pub fn sweep_leftovers(&self) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        self.take_leftovers(Sweep::Remove, &mut swept)?;
        Ok(swept)
    }

    /// Removes the blobs that are not among these. The index must be locked, and those at work known.
    pub(super) fn sweep_all_but(
        &self,
        needed: &HashSet<Digest>,
        at_work: AtWork,
        sweep: Sweep,
    ) -> Result<Swept, ReachError> {
        let mut spare = self.blobs()?;
        spare.retain(|blob| !needed.contains(&blob.digest));
        self.take_all(spare, at_work, sweep)
    }

    fn take_all(
        &self,
        mut spare: Vec<Committed>,
        at_work: AtWork,
        sweep: Sweep,
    ) -> Result<Swept, ReachError> {
        // Documents before layers, roughly: cut off halfway, what is left is no manifest without layers.
        spare.sort_by_key(|blob| blob.size);
        let mut swept = Swept::default();
        for blob in spare {
            if self.take(&blob, at_work, sweep)? {
                swept.bytes += blob.size;
                swept.removed.push(blob);
            } else {
                swept.kept_busy += 1;
            }
        }
        self.take_leftovers(sweep, &mut swept)?;
        Ok(swept)
    }

    fn take(&self, blob: &Committed, at_work: AtWork, sweep: Sweep) -> Result<bool, StoreError> {
        let path = self.disk.blob(&blob.digest);
        match sweep {
            Sweep::Remove => session::remove_unused(&path, at_work),
            Sweep::DryRun => {
                Ok(disk::stat(&path)?.is_none_or(|metadata| session::is_unused(&metadata, at_work)))
            }
        }
    }

    fn take_leftovers(&self, sweep: Sweep, swept: &mut Swept) -> Result<(), StoreError> {
        for path in disk::list(&self.disk.writing())? {
            if let Some(Owner::Gone(bytes)) = owned::reap(&path, sweep.leftover())? {
                swept.leftovers += 1;
                swept.bytes += bytes;
            }
        }
        Ok(())
    }
}

impl Sweep {
    pub(super) fn leftover(self) -> Leftover {
        match self {
            Self::Remove => Leftover::Remove,
            Self::DryRun => Leftover::Keep,
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
