//! A folder of this machine as a build context, behind an ignore file.
//!
//! What is ignored does not exist: COPY of an ignored file fails as for a missing one, with a hint. An
//! ignored folder exists only if something below it was taken back. Owners are dropped (everything is
//! root's) and so are extended attributes but file capabilities, as BuildKit does when it takes a
//! context in: who owns a checkout must not decide about the image.
//!
//! What is in it is for [`Look`], which instructions take; what is known of its files outlives them here.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use super::known::Known;
use super::look::Look;
use super::state::Time;
use super::{Ignore, TreeError};

/// A folder, what is ignored in it, and what is known of its files.
pub struct Directory {
    root: PathBuf,
    descriptor: OwnedFd,
    ignore: Ignore,
    known: Known,
    clock: fn() -> Time,
}

impl Directory {
    /// Opens a folder.
    ///
    /// # Errors
    ///
    /// [`TreeError::Io`] if it is not there or no folder.
    pub fn open(root: &Path, ignore: Ignore) -> Result<Self, TreeError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(root, flags, Mode::empty()).map_err(|errno| TreeError::Io {
            verb: "open build context",
            path: root.to_owned(),
            source: errno.into(),
        })?;
        Ok(Self { root: root.to_owned(), descriptor, ignore, known: Known::default(), clock: Time::now })
    }

    /// Takes over what earlier builds found out, as `folder` holds it for all contexts.
    #[must_use]
    pub fn remembering(self, folder: &Path) -> Self {
        Self { known: Known::load(folder, &self.root), ..self }
    }

    /// Believes nothing that is known, reads all files anew, and notes that in `folder`.
    #[must_use]
    pub fn learning(self, folder: &Path) -> Self {
        Self { known: Known::forgotten(folder, &self.root), ..self }
    }

    /// Looks at what is there now.
    pub fn look(self: &Arc<Self>) -> Look {
        Look::of(Arc::clone(self))
    }

    /// Writes down what looks that ended found out. It is a help only: what fails is logged.
    pub fn remember(&self) {
        if let Err(error) = self.known.save() {
            tracing::warn!(context = %self.root.display(), %error, "cannot keep what is known of files");
        }
    }

    /// Returns where it is, as it was opened.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the time by the clock of inodes.
    pub(super) fn now(&self) -> Time {
        (self.clock)()
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    pub(super) fn ignore(&self) -> &Ignore {
        &self.ignore
    }

    pub(super) fn known(&self) -> &Known {
        &self.known
    }
}

#[cfg(test)]
impl Directory {
    /// Goes by another clock.
    pub(super) fn with_clock(self, clock: fn() -> Time) -> Self {
        Self { clock, ..self }
    }
}
