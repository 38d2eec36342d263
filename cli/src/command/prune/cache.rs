//! The build cache: what it remembers, and the layers that were unpacked for RUN.
//!
//! Both are made again when they are needed. Builds under way keep the snapshots that they stand on.

use oxbox_builder::snapshot::{Overlay, Snapshotter as _};
use oxbox_builder::solve::Cache;

use crate::settings::Root;

/// Forgets everything; returns how many records and how many unpacked layers there were.
pub(super) fn forget(root: &Root) -> anyhow::Result<(usize, usize)> {
    let (mut records, mut snapshots) = (0, 0);
    // Opening makes what is not there, and nothing is to be made by removing.
    if root.cache().try_exists().unwrap_or(true) {
        records = Cache::open(&root.cache())?.forget_before(i64::MAX)?;
    }
    if root.snapshots().try_exists().unwrap_or(true) {
        snapshots = Overlay::open(root.path())?.prune(&mut |_| false)?;
    }
    Ok((records, snapshots))
}
