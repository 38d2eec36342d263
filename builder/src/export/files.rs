//! The result's filesystem as files: a plain tar, or a folder.
//!
//! No image, no whiteouts, no compression: `-o type=tar` and `-o type=local`.

use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use oxbox_layers::layer::Layer;
use oxbox_layers::oci::Platform;
use oxbox_layers::stack::{Flat, FlatError, Stack};
use oxbox_layers::tar::{Reader, TarError, Writer};
use oxbox_layers::tree::apply::{Devices, Options, Ownership, Whiteouts};
use oxbox_layers::tree::{ApplyError, Root, TreeError, Xattrs, apply};

use super::ExportError;
use crate::solve::Workshop;

/// 1 MiB: fewer system calls for many small files.
const BUFFER_BYTES: usize = 1 << 20;

/// Where files go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Files {
    /// Into a folder, which is made. What is there of the same name is replaced, the rest stays. All
    /// becomes the property of whoever builds.
    Folder(PathBuf),
    /// To standard output, as a tar.
    Stdout,
    /// Into a tar file, which is there whole or not at all.
    Tar(PathBuf),
}

/// Why files cannot be written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum FilesError {
    #[error("cannot {verb} {}", .path.display())]
    Io { verb: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot write the files into {}", .path.display())]
    Apply { path: PathBuf, source: Box<ApplyError> },
    #[error(transparent)]
    Root(#[from] TreeError),
    #[error("cannot write the tar")]
    Tar { source: TarError },
    #[error("cannot write the tar to standard output")]
    Stdout { source: io::Error },
    #[error("files for several platforms do not fit into one tar")]
    SeveralInTar,
}

impl Files {
    /// Returns where files for one of several platforms go: a folder of their own, named as buildx names it.
    ///
    /// # Errors
    ///
    /// [`FilesError::SeveralInTar`].
    pub fn of(&self, platform: &Platform) -> Result<Self, FilesError> {
        match self {
            Self::Folder(path) => Ok(Self::Folder(path.join(platform.to_string().replace('/', "_")))),
            Self::Stdout | Self::Tar(_) => Err(FilesError::SeveralInTar),
        }
    }
}

/// Writes the files that layers make together.
pub fn write(workshop: &Workshop<'_>, layers: &[Layer], to: &Files) -> Result<(), ExportError> {
    let top = workshop.indexes.stack(layers, &*workshop.store)?;
    let bottom = workshop.indexes.stack(&[], &*workshop.store)?;
    let flat = Flat::between(&bottom, &top);
    let tar = |sink: &mut dyn Write| tar(workshop, &flat, layers, sink);
    match to {
        Files::Folder(path) => folder(path, &top, tar),
        Files::Stdout => {
            let mut sink = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
            tar(&mut sink)?;
            Ok(sink.flush().map_err(|source| FilesError::Stdout { source })?)
        }
        Files::Tar(path) => whole(path, tar),
    }
}

fn tar(
    workshop: &Workshop<'_>,
    flat: &Flat,
    layers: &[Layer],
    sink: &mut dyn Write,
) -> Result<(), ExportError> {
    let failed = |source| FilesError::Tar { source };
    let mut writer = Writer::new(sink);
    flat.emit(&*workshop.store, layers, &workshop.spool, &mut writer).map_err(|error| match error {
        FlatError::Content(source) => ExportError::Content { source },
        FlatError::Sink(source) => failed(source).into(),
    })?;
    writer.finish().map_err(failed)?;
    Ok(())
}

/// Writes a file beside its place and moves it there once it is whole.
fn whole(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let failed = |verb| move |source| FilesError::Io { verb, path: path.to_owned(), source };
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(folder).map_err(failed("write"))?;
    let mut sink = BufWriter::with_capacity(BUFFER_BYTES, file);
    write(&mut sink)?;
    let file = sink.into_inner().map_err(|error| failed("write")(error.into_error()))?;
    file.persist(path).map_err(|error| failed("write")(error.error))?;
    Ok(())
}

/// Unpacks while the tar is being written.
fn folder(
    path: &Path,
    top: &Stack,
    write: impl FnOnce(&mut dyn Write) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let failed = |verb| move |source| FilesError::Io { verb, path: path.to_owned(), source };
    std::fs::create_dir_all(path).map_err(failed("make"))?;
    let root = Root::open(path).map_err(FilesError::Root)?;
    let options = Options {
        ownership: Ownership::Current,
        devices: Devices::BestEffort,
        whiteouts: Whiteouts::Apply,
        xattrs: Xattrs::Capability,
        // It was bounded when it became layers.
        max_bytes: u64::MAX,
        max_entries: top.walk(b"").count() as u64 + 1,
    };
    let (reader, writer) = io::pipe().map_err(failed("write"))?;
    std::thread::scope(|scope| {
        let unpacked = scope.spawn(|| {
            let mut archive = Reader::new(BufReader::with_capacity(BUFFER_BYTES, reader));
            apply(&root, &mut archive, &options).map(drop)
        });
        let mut sink = BufWriter::with_capacity(BUFFER_BYTES, writer);
        let written = write(&mut sink).and_then(|()| Ok(sink.flush().map_err(failed("write"))?));
        drop(sink);
        let unpacked = unpacked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // Of the two, what went wrong with the folder is the cause: the pipe broke by it.
        unpacked.map_err(|source| FilesError::Apply { path: path.to_owned(), source: Box::new(source) })?;
        written
    })
}
