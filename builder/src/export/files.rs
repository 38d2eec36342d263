//! The result's filesystem as files: a plain tar, or a folder.
//!
//! No image, no whiteouts, no compression: `-o type=tar` and `-o type=local`.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use oxbox_layers::layer::Layer;
use oxbox_layers::oci::Platform;
use oxbox_layers::stack::{Flat, FlatError, Stack};
use oxbox_layers::tar::{Entry, Kind, Reader, TarError, Writer};
use oxbox_layers::tree::apply::{Devices, Options, Ownership, Whiteouts};
use oxbox_layers::tree::{ApplyError, ChangeSink, Root, TreeError, Xattrs, apply};

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
}

/// What layers make together.
pub struct Filesystem<'a> {
    /// Of several, in which folder it goes, named as buildx names it; one alone needs none.
    pub folder: Option<String>,
    /// The layers, bottom first.
    pub layers: &'a [Layer],
}

impl<'a> Filesystem<'a> {
    /// One of several.
    pub fn of_platform(platform: &Platform, layers: &'a [Layer]) -> Self {
        Self { folder: Some(platform.to_string().replace('/', "_")), layers }
    }

    fn top(&self, workshop: &Workshop<'_>) -> Result<Stack, ExportError> {
        Ok(workshop.indexes.stack(self.layers, &*workshop.store)?)
    }
}

/// Writes the files that layers make together.
pub fn write(workshop: &Workshop<'_>, all: &[Filesystem<'_>], to: &Files) -> Result<(), ExportError> {
    let tar = |sink: &mut dyn Write| tar(workshop, all, sink);
    match to {
        Files::Folder(path) => all.iter().try_for_each(|one| {
            let alone = [Filesystem { folder: None, layers: one.layers }];
            let path = one.folder.as_ref().map_or_else(|| path.clone(), |name| path.join(name));
            folder(&path, &one.top(workshop)?, |sink| self::tar(workshop, &alone, sink))
        }),
        Files::Stdout => {
            let mut sink = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
            tar(&mut sink)?;
            Ok(sink.flush().map_err(|source| FilesError::Stdout { source })?)
        }
        Files::Tar(path) => whole(path, tar),
    }
}

fn tar(workshop: &Workshop<'_>, all: &[Filesystem<'_>], sink: &mut dyn Write) -> Result<(), ExportError> {
    let failed = |source| FilesError::Tar { source };
    let mut writer = Writer::new(sink);
    for one in all {
        let bottom = workshop.indexes.stack(&[], &*workshop.store)?;
        let flat = Flat::between(&bottom, &one.top(workshop)?);
        let mut sink = Beneath { folder: one.folder.as_deref().map(str::as_bytes), writer: &mut writer };
        if let Some(folder) = sink.folder {
            let entry = Entry { mtime: workshop.epoch, ..Entry::new(folder, Kind::Directory, 0o755) };
            sink.writer.append(&entry, &mut io::empty()).map_err(failed)?;
        }
        flat.emit(&*workshop.store, one.layers, &workshop.spool, &mut sink).map_err(|error| match error {
            FlatError::Content(source) => ExportError::Content { source },
            FlatError::Sink(source) => failed(source).into(),
        })?;
    }
    writer.finish().map_err(failed)?;
    Ok(())
}

/// Puts entries into a folder of the tar.
struct Beneath<'a, 'w> {
    folder: Option<&'a [u8]>,
    writer: &'a mut Writer<&'w mut dyn Write>,
}

impl ChangeSink for Beneath<'_, '_> {
    type Error = TarError;

    fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), TarError> {
        let Some(folder) = self.folder else { return self.writer.append(entry, content) };
        let beneath = |path: &[u8]| [folder, b"/", path].concat();
        let mut entry = Entry { path: beneath(&entry.path), ..entry.clone() };
        if let Kind::Hardlink { target } = &mut entry.kind {
            *target = beneath(target);
        }
        self.writer.append(&entry, content)
    }
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
