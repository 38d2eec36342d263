//! What a prune would take, without taking it.
//!
//! ```text
//! <temporary>/oxbox-prune-…/   index.json, oci-layout   copies, from which unnamed images are taken away
//!                              blobs ─▶ the store's     only read
//! ```
//!
//! The store can tell which blobs no entry reaches, but not which none would reach once the unnamed
//! entries were gone: so they go from a copy of the index.
//! TODO: goes when `Layout::sweep` can leave unnamed entries out of account itself.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};

use oxbox_layers::store::{Layout, Sweep};

use super::Pruned;

/// Why the copy cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {path}", path = .path.display())]
pub(crate) struct RehearsalError {
    verb: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// A folder that goes when dropped.
struct Stage(PathBuf);

impl Drop for Stage {
    fn drop(&mut self) {
        // Two small files and a link; what stays behind does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns what would go if nobody were at work.
pub(super) fn rehearse(layout: &Layout) -> anyhow::Result<Pruned> {
    let stage = stage(layout.root())?;
    let copy = Layout::open(&stage.0)?;
    let unnamed = copy.remove_unnamed()?.iter().map(|entry| entry.digest).collect();
    let swept = copy.sweep(Sweep::DryRun)?;
    Ok(Pruned { dry_run: true, ..Pruned::new(unnamed, swept) })
}

fn stage(store: &Path) -> Result<Stage, RehearsalError> {
    let path = std::env::temp_dir().join(format!("oxbox-prune-{}", std::process::id()));
    let failed = |verb, path: &Path| {
        let path = path.to_owned();
        move |source| RehearsalError { verb, path, source }
    };
    // Private, and not there before: whoever owns the temporary folder gets no say.
    fs::DirBuilder::new().mode(0o700).create(&path).map_err(failed("make", &path))?;
    let stage = Stage(path);
    let blobs = fs::canonicalize(store.join("blobs")).map_err(failed("find", &store.join("blobs")))?;
    symlink(&blobs, stage.0.join("blobs")).map_err(failed("link", &blobs))?;
    for name in ["index.json", "oci-layout"] {
        fs::copy(store.join(name), stage.0.join(name)).map_err(failed("copy", &store.join(name)))?;
    }
    Ok(stage)
}
