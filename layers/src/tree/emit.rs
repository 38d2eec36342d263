//! Hands the entries of a tree on, each with its content.

use std::fs::File;
use std::io::{self, Read, Write};

use rustix::fs::{Mode, OFlags};

use super::error::TreeError;
use super::root::{Directories, Root, split};
use crate::tar::{Entry, Kind, TarError, Writer, whiteout};

/// What takes the entries of a layer, in order: an archive, or a layer that is being written.
pub trait ChangeSink {
    /// Why an entry was not taken.
    type Error;

    /// Takes one entry and reads its content, which must be as long as the entry says.
    ///
    /// After an error no further entry may be handed over.
    fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), Self::Error>;
}

impl<W: Write> ChangeSink for Writer<W> {
    type Error = TarError;

    fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), TarError> {
        self.append(entry, content)
    }
}

/// Why the entries of a tree could not be handed on.
#[derive(Debug, thiserror::Error)]
pub enum EmitError<E> {
    /// The sink did not take an entry.
    #[error(transparent)]
    Sink(E),
    /// A file cannot be read.
    #[error(transparent)]
    Tree(TreeError),
}

/// Hands entries that were found beneath `root` to a sink, opening each file in its turn.
pub fn emit<S: ChangeSink>(root: &Root, entries: &[Entry], sink: &mut S) -> Result<(), EmitError<S::Error>> {
    let mut directories = Directories::default();
    for entry in entries {
        let has_content = matches!(entry.kind, Kind::File { .. }) && !whiteout::is_reserved(entry.name());
        let result = if has_content {
            let mut file = open(root, &mut directories, entry).map_err(EmitError::Tree)?;
            sink.entry(entry, &mut file)
        } else {
            sink.entry(entry, &mut io::empty())
        };
        result.map_err(EmitError::Sink)?;
    }
    Ok(())
}

/// Opens a file by its directory, which its siblings opened before.
fn open(root: &Root, directories: &mut Directories, entry: &Entry) -> Result<File, TreeError> {
    let (parent, name) = split(&entry.path);
    // Nonblocking: a pipe that took the file's place must not hang the build.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let directory = directories.get(root, parent).map_err(|error| root.error("open", parent, error))?;
    rustix::fs::openat(&directory.fd, name, flags, Mode::empty())
        .map(File::from)
        .map_err(|error| root.error("open", &entry.path, error))
}
