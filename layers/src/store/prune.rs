//! Takes from a layout the entries that nobody named, and then all that no entry reaches.
//!
//! ```text
//! who is at work? ─▶ lock index.json ─▶ drop entries that no name holds up ─▶ sweep, the lock still held
//! ```
//!
//! Builds without a name leave such entries, and so do other tools when a name moves. The index is
//! durable before the first blob goes: killed at any point, all that it lists is here.

use std::collections::HashSet;
use std::fs::File;

use rustix::fs::FlockOperation;

use super::names::Entries;
use super::reach::ReachError;
use super::sweep::{Sweep, Swept};
use super::{Layout, disk, session};
use crate::oci::{Descriptor, Digest};

/// What a prune did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Entries that had no name, in the order of the index.
    pub unnamed: Vec<Descriptor>,
    /// What went with them, and what no entry reached before.
    pub swept: Swept,
}

impl Layout {
    /// Removes the entries that have no name and that nothing named needs, and then sweeps, all at once.
    ///
    /// The blobs of `keep` stay, whatever reaches them; what they in turn name does not. A referrer
    /// without a name stays while its subject does. A dry run tells what would go now. Who waits for
    /// whom, and what those at work keep, is as in [`Layout::sweep`]; readers of the index never wait.
    ///
    /// # Errors
    ///
    /// [`ReachError::Unreadable`] if a listed document is damaged; nothing is removed then.
    pub fn prune(&self, sweep: Sweep, keep: &HashSet<Digest>) -> Result<Pruned, ReachError> {
        // Lock order: sessions, then index, as in a sweep.
        let (at_work, _gate) = session::survey(&self.disk, sweep.leftover())?;
        let operation = match sweep {
            Sweep::Remove => FlockOperation::LockExclusive,
            Sweep::DryRun => FlockOperation::LockShared,
        };
        let _index: File = disk::lock(&self.disk.index_lock(), operation)?;
        let mut entries = self.entries()?;
        let unnamed = self.take_unnamed(&mut entries)?;
        let mut needed = self.needed(&entries)?;
        needed.extend(keep);
        if sweep == Sweep::Remove {
            self.write_entries(entries)?;
        }
        let swept = self.sweep_all_but(&needed, at_work, sweep)?;
        Ok(Pruned { unnamed, swept })
    }

    fn take_unnamed(&self, entries: &mut Entries) -> Result<Vec<Descriptor>, ReachError> {
        let held_up = self.held_up(entries)?;
        let unnamed = entries.iter().filter(|entry| !held_up.contains(&entry.digest)).cloned().collect();
        entries.retain(|entry| held_up.contains(&entry.digest));
        Ok(unnamed)
    }
}

#[cfg(test)]
mod tests;
