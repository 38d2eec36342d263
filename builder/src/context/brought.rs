//! Contexts from elsewhere, brought into a folder for as long as the build lasts.
//!
//! ```text
//! stream    tar, plain or compressed ─▶ unpacked          text ─▶ a Dockerfile, and an empty context
//! url       downloaded, then as a stream
//! git       checked out
//!
//! state/scratch/<pid>-<number>/context/     the folder          …/Dockerfile     the text
//! ```
//!
//! Owners are dropped, as those of a folder of this machine are. No entry lands outside of the folder,
//! whatever names and links say, and links are followed nowhere else later on.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use oxbox_layers::tar::Reader;
use oxbox_layers::tree::apply::{Devices, Options, Ownership, Whiteouts};
use oxbox_layers::tree::{ApplyError, Root, Xattrs, apply};

use super::Scratch;
use crate::exec::Interrupt;
use crate::fetch::{Downloaded, FetchError, UrlRequest, Validators, shown};
use crate::lent::{HeaderError, Lent};
use crate::op::archive::{self, ArchiveError};
use crate::op::git::{GitError, Repositories};
use crate::op::http;
use crate::plan::graph::Git;

/// 64 GiB: decompression must end somewhere.
const MAX_BYTES: u64 = 64 << 30;
/// Four million files: ten times the largest context that anybody told of.
const MAX_ENTRIES: u64 = 4 << 20;
/// 2 MiB: whatever compressed it, the first block of a tar is within. One of bzip2 holds up to 900 kB.
const LOOK_BYTES: u64 = 2 << 20;
/// 16 MiB: a text that is larger is no Dockerfile. The parser's own bound is smaller, and says so better.
const MAX_TEXT_BYTES: u64 = 16 << 20;

/// Downloads a file: see [`Fetch::url`](crate::Fetch::url).
pub type Download<'a> = dyn Fn(&UrlRequest<'_>, &mut File) -> Result<Downloaded, FetchError> + 'a;

/// What a stream may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// An archive alone.
    Archive,
    /// An archive, or a Dockerfile for an empty context.
    ArchiveOrDockerfile,
    /// A Dockerfile alone.
    Dockerfile,
}

/// Brings contexts.
pub struct Bringer<'a> {
    /// The state folder.
    pub state: &'a Path,
    /// What downloads.
    pub download: &'a Download<'a>,
    /// Ends it before its time.
    pub interrupt: &'a Interrupt,
    /// Credentials, where addresses have none.
    pub lent: &'a Lent,
}

/// A context that was brought; removed when dropped.
#[derive(Debug)]
pub struct Brought {
    /// The context.
    pub folder: PathBuf,
    /// The Dockerfile, if that is all that came.
    pub dockerfile: Option<PathBuf>,
    /// When it was made, if it says so: the time of a commit, in seconds since 1970.
    pub time: Option<i64>,
    _scratch: Scratch,
}

/// Why a context cannot be brought.
#[derive(Debug, thiserror::Error)]
pub enum BringError {
    /// A secret that is for this server cannot be used.
    #[error(transparent)]
    Authorization(#[from] HeaderError),
    /// Nothing came.
    #[error("{name} is empty")]
    Empty {
        /// What was read.
        name: String,
    },
    /// What came is none of the things that were expected.
    #[error("{name} is no {wanted}")]
    Neither {
        /// What was read.
        name: String,
        /// What was expected.
        wanted: &'static str,
    },
    /// What came cannot be read, or it is an archive that cannot be unpacked.
    #[error("cannot read {name}")]
    Archive {
        /// What was read.
        name: String,
        /// Why not.
        #[source]
        source: ArchiveError,
    },
    /// An entry of the archive cannot be unpacked.
    #[error("cannot unpack {name}")]
    Unpack {
        /// What was read.
        name: String,
        /// Why not.
        #[source]
        source: ApplyError,
    },
    /// Reading failed.
    #[error("cannot read {name}")]
    Read {
        /// What was read.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It could not be downloaded.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The repository could not be had.
    #[error(transparent)]
    Git(#[from] GitError),
    /// It was given up.
    #[error("the build was interrupted")]
    Interrupted,
    /// The folder for it cannot be made.
    #[error("cannot {verb} {}", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Bringer<'_> {
    /// Brings what a stream holds; errors call it `name`.
    pub fn stream(&self, name: &str, content: &mut dyn Read, accept: Accept) -> Result<Brought, BringError> {
        let scratch = self.scratch()?;
        self.put(scratch, name, content, accept)
    }

    /// Brings what is at an address.
    pub fn url(&self, url: &str, accept: Accept) -> Result<Brought, BringError> {
        let (scratch, name) = (self.scratch()?, shown(url));
        let failed = |source| BringError::Read { name: name.clone(), source };
        let mut file = tempfile::tempfile_in(scratch.path()).map_err(failed)?;
        let at_hand = Validators::default();
        let authorization = self.lent.secrets.of_file(url)?;
        let authorization = authorization.as_deref();
        let request = UrlRequest { url, at_hand: &at_hand, authorization, max_bytes: http::MAX_BYTES };
        if (self.download)(&request, &mut file)? == Downloaded::Unchanged {
            return Err(BringError::Empty { name });
        }
        io::Seek::rewind(&mut file).map_err(failed)?;
        self.put(scratch, &name, &mut file, accept)
    }

    /// Brings a commit of a repository.
    pub fn repository(&self, git: &Git) -> Result<Brought, BringError> {
        let scratch = self.scratch()?;
        let into = folder_in(&scratch)?;
        let repositories = Repositories::new(self.state, self.interrupt).lending(self.lent.clone());
        let resolved = repositories.resolve(git)?;
        let checked_out = repositories.check_out(git, &resolved, &into)?;
        let time = Some(checked_out.time);
        Ok(Brought { folder: checked_out.folder, dockerfile: None, time, _scratch: scratch })
    }

    fn scratch(&self) -> Result<Scratch, BringError> {
        let failed =
            |source| BringError::Io { verb: "make a folder in", path: self.state.to_owned(), source };
        Scratch::new(self.state).map_err(failed)
    }

    fn put(
        &self,
        scratch: Scratch,
        name: &str,
        content: &mut dyn Read,
        accept: Accept,
    ) -> Result<Brought, BringError> {
        let mut content = Watched { content, interrupt: self.interrupt };
        let failed = |source| self.failed(BringError::Read { name: name.to_owned(), source });
        let mut start = Vec::new();
        content.by_ref().take(LOOK_BYTES).read_to_end(&mut start).map_err(failed)?;
        if start.is_empty() {
            return Err(BringError::Empty { name: name.to_owned() });
        }
        let folder = folder_in(&scratch)?;
        let is_archive = accept != Accept::Dockerfile
            && archive::is_archive(&mut &start[..])
                .map_err(|source| BringError::Archive { name: name.to_owned(), source })?;
        if is_archive {
            self.unpack(name, start.chain(content), &folder)?;
            return Ok(Brought { folder, dockerfile: None, time: None, _scratch: scratch });
        }
        let wanted = match accept {
            Accept::Archive => "tar archive",
            Accept::ArchiveOrDockerfile => "tar archive and no Dockerfile",
            Accept::Dockerfile => "Dockerfile",
        };
        let neither = || BringError::Neither { name: name.to_owned(), wanted };
        content.take(MAX_TEXT_BYTES).read_to_end(&mut start).map_err(failed)?;
        let is_text = start.len() as u64 <= MAX_TEXT_BYTES && !start.contains(&0);
        if accept == Accept::Archive || !is_text || std::str::from_utf8(&start).is_err() {
            return Err(neither());
        }
        let path = scratch.path().join("Dockerfile");
        let written = File::create_new(&path).and_then(|mut file| file.write_all(&start));
        written.map_err(|source| BringError::Io { verb: "write", path: path.clone(), source })?;
        Ok(Brought { folder, dockerfile: Some(path), time: None, _scratch: scratch })
    }

    fn unpack(&self, name: &str, mut content: impl Read, folder: &Path) -> Result<(), BringError> {
        let read = |source| self.failed(BringError::Read { name: name.to_owned(), source });
        let unpack = |source| self.failed(BringError::Unpack { name: name.to_owned(), source });
        let mut tar = archive::decompressed(&mut content, MAX_BYTES)
            .map_err(|source| self.failed(BringError::Archive { name: name.to_owned(), source }))?;
        let options = Options {
            ownership: Ownership::Current,
            devices: Devices::BestEffort,
            // Into an empty folder, where a whiteout hides nothing.
            whiteouts: Whiteouts::Apply,
            xattrs: Xattrs::Capability,
            max_bytes: MAX_BYTES,
            max_entries: MAX_ENTRIES,
        };
        let root = Root::open(folder).map_err(|source| unpack(source.into()))?;
        apply(&root, &mut Reader::new(&mut tar), &options).map_err(unpack)?;
        // What follows the end mark tells whether the archive came whole.
        io::copy(&mut tar, &mut io::sink()).map_err(read)?;
        Ok(())
    }

    /// Whatever it failed with, an interruption is why.
    fn failed(&self, error: BringError) -> BringError {
        if self.interrupt.is_sent() { BringError::Interrupted } else { error }
    }
}

fn folder_in(scratch: &Scratch) -> Result<PathBuf, BringError> {
    let path = scratch.path().join("context");
    match fs::create_dir(&path) {
        Ok(()) => Ok(path),
        Err(source) => Err(BringError::Io { verb: "make", path, source }),
    }
}

/// A stream that ends when the build is given up.
struct Watched<'a> {
    content: &'a mut dyn Read,
    interrupt: &'a Interrupt,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.interrupt.is_sent() {
            return Err(io::Error::other("given up"));
        }
        self.content.read(buffer)
    }
}

#[cfg(test)]
mod tests;
