//! Copies of contexts' files that RUNs mount: one for all that only read it, for as long as a build lasts.
//!
//! ```text
//! state/scratch/<pid>-<number>/      see context::scratch; gone with the build, or swept by the next one
//! ```

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::files::{FilesError, lay_out};
use crate::context::{FileTree, Scratch};
use crate::exec::Interrupt;
use crate::solve::Key;

/// The copies of a build.
#[derive(Debug)]
pub struct Copies {
    state: PathBuf,
    /// By key of the files. Who needs one that is being made waits for it.
    made: Mutex<HashMap<Key, Place>>,
}

/// Where a copy is, once it is made; who makes it has the lock.
type Place = Arc<Mutex<Option<Arc<Copied>>>>;

/// Files that were laid out.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) place: PathBuf,
    // Removed with it.
    _folder: Scratch,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopiesError {
    /// The files cannot be laid out.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// There is no folder for them.
    #[error("cannot make a folder in {}", .state.display())]
    Folder {
        /// The state.
        state: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Copies {
    /// Keeps them below a state folder.
    pub fn new(state: &Path) -> Self {
        Self { state: state.to_owned(), made: Mutex::default() }
    }

    /// Returns an empty folder.
    pub(super) fn folder(&self) -> Result<Scratch, CopiesError> {
        let failed = |source| CopiesError::Folder { state: self.state.clone(), source };
        Scratch::new(&self.state).map_err(failed)
    }

    /// Returns a copy that others read too, and nobody may write to; `key` is of the files at this path.
    pub(super) fn shared(
        &self,
        key: &Key,
        tree: &dyn FileTree,
        path: &str,
        interrupt: &Interrupt,
    ) -> Result<Arc<Copied>, CopiesError> {
        let place = {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(made.entry(*key).or_default())
        };
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(copied) = &*place {
            return Ok(Arc::clone(copied));
        }
        let copied = Arc::new(self.own(tree, path, interrupt)?);
        *place = Some(Arc::clone(&copied));
        Ok(copied)
    }

    /// Returns a copy of one's own.
    pub(super) fn own(
        &self,
        tree: &dyn FileTree,
        path: &str,
        interrupt: &Interrupt,
    ) -> Result<Copied, CopiesError> {
        let folder = self.folder()?;
        let failed = |source| CopiesError::Folder { state: self.state.clone(), source };
        // Not the folder itself, which is locked, and whose mode is not the files'.
        let files = folder.path().join("files");
        std::fs::create_dir(&files).map_err(failed)?;
        let place = lay_out(tree, path, &files, interrupt)?;
        Ok(Copied { place, _folder: folder })
    }
}
