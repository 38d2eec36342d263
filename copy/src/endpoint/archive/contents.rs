//! The files of a tar archive by name, each to be read from where it stands.
//!
//! ```text
//! scan once: header ─ (content passed over by seeking) ─ header ─ …   ▶   name → offset, size │ link
//! ```
//!
//! A compressed archive, and one that comes through a pipe, is first written out to a file without a
//! name: images are read in another order than they were written in.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use oxbox_layers::compress::Decoder;
use oxbox_layers::oci::Compressed;
use oxbox_layers::tar::{Kind, Reader, TarError};

use crate::endpoint::FileError;

/// Files of one archive. An archive of a hundred images with fifty layers each, in the old form of
/// four files to a layer, has 20 000.
const MAX_FILES: usize = 200_000;
/// Bytes of all names and links: 160 for each of the most files, where those of images have 80. Names of
/// the greatest length would compress to nothing and take gigabytes.
const MAX_NAME_BYTES: usize = 32 * 1024 * 1024;
/// Links from link to link; `docker save` makes one.
const MAX_LINKS: usize = 8;
/// Bytes of a compressed archive once it is written out: more than any disk that is used so.
const MAX_SPOOLED_BYTES: u64 = 4 << 40;

/// An open archive.
#[derive(Debug)]
pub(super) struct Contents {
    file: Arc<File>,
    path: PathBuf,
    files: HashMap<Vec<u8>, Stored>,
}

/// What a name stands for.
#[derive(Debug)]
enum Stored {
    At(Section),
    /// Another name, from the top of the archive.
    Link(Vec<u8>),
}

impl Stored {
    fn link_bytes(&self) -> usize {
        match self {
            Self::At(_) => 0,
            Self::Link(target) => target.len(),
        }
    }
}

/// Where a file's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// Why a file is not an archive of files.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContentsError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot read {path} as a tar archive", path = .path.display())]
    Tar {
        path: PathBuf,
        #[source]
        source: TarError,
    },
    #[error("{path} has more than {limit} files", path = .path.display())]
    TooMany { path: PathBuf, limit: usize },
    #[error("the names in {path} are longer than {limit} bytes together", path = .path.display())]
    LongNames { path: PathBuf, limit: usize },
}

impl Contents {
    /// Opens the archive and reads its headers; blocks. `temporary` is where a compressed one is
    /// written out.
    pub(super) fn open(path: &Path, temporary: &Path) -> Result<Self, ContentsError> {
        let file = File::open(path).map_err(FileError::of("open", path))?;
        let metadata = file.metadata().map_err(FileError::of("stat", path))?;
        let file = seekable(file, metadata.is_file(), path, temporary)?;
        let files = scan(&file, path)?;
        Ok(Self { file: Arc::new(file), path: path.to_owned(), files })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Finds a file, through links that stay within the archive.
    pub(super) fn find(&self, name: &str) -> Option<Section> {
        let mut name = normal(b"", name.as_bytes())?;
        for _ in 0..MAX_LINKS {
            match self.files.get(&name)? {
                Stored::At(section) => return Some(*section),
                Stored::Link(target) => name.clone_from(target),
            }
        }
        None
    }

    /// Opens a part of the archive. Parts are read independently of each other.
    pub(super) fn read(&self, section: Section) -> SectionReader {
        SectionReader { file: Arc::clone(&self.file), position: section.offset, left: section.size }
    }
}

/// Returns a file that can be read anywhere and is not compressed.
fn seekable(mut file: File, is_regular: bool, path: &Path, temporary: &Path) -> Result<File, FileError> {
    let mut decoder = Decoder::new(&file).map_err(FileError::of("read", path))?.limit(MAX_SPOOLED_BYTES);
    if !is_regular || decoder.format() != Compressed::None {
        let mut spool = tempfile::tempfile_in(temporary)
            .map_err(FileError::of("create a temporary file in", temporary))?;
        io::copy(&mut decoder, &mut spool).map_err(FileError::of("decompress", path))?;
        return Ok(spool);
    }
    drop(decoder);
    file.seek(SeekFrom::Start(0)).map_err(FileError::of("seek in", path))?;
    Ok(file)
}

fn scan(file: &File, path: &Path) -> Result<HashMap<Vec<u8>, Stored>, ContentsError> {
    let failed = |source| ContentsError::Tar { path: path.to_owned(), source };
    let size = file.metadata().map_err(FileError::of("stat", path))?.len();
    let hollow_until = Rc::new(Cell::new(0));
    let mut reader = Reader::new(Headers { file, size, position: 0, hollow_until: Rc::clone(&hollow_until) });
    let mut files = HashMap::new();
    let mut name_bytes = 0;
    while let Some(entry) = reader.next().map_err(failed)? {
        let stored = match &entry.kind {
            Kind::File { size } => {
                // A sparse file has no one place; nobody stores images so.
                let Some(offset) = reader.data_offset() else { continue };
                hollow_until.set(offset + size);
                Stored::At(Section { offset, size: *size })
            }
            Kind::Symlink { target } => match normal(entry.parent(), target) {
                Some(target) => Stored::Link(target),
                None => continue,
            },
            Kind::Hardlink { target } => Stored::Link(target.clone()),
            _ => continue,
        };
        name_bytes += entry.path.len() + stored.link_bytes();
        if name_bytes > MAX_NAME_BYTES {
            return Err(ContentsError::LongNames { path: path.to_owned(), limit: MAX_NAME_BYTES });
        }
        files.insert(entry.path, stored);
        if files.len() > MAX_FILES {
            return Err(ContentsError::TooMany { path: path.to_owned(), limit: MAX_FILES });
        }
    }
    Ok(files)
}

/// Joins a name to the directory it is meant in; `None` if it leaves the archive.
fn normal(directory: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let from: &[u8] = if name.starts_with(b"/") { b"" } else { directory };
    let mut components: Vec<&[u8]> = Vec::new();
    for component in from.split(|&byte| byte == b'/').chain(name.split(|&byte| byte == b'/')) {
        match component {
            b"" | b"." => {}
            b".." => {
                components.pop()?;
            }
            _ => components.push(component),
        }
    }
    Some(components.join(&b'/'))
}

/// The archive as the reader of headers sees it: contents are passed over, and read as anything.
struct Headers<'a> {
    file: &'a File,
    size: u64,
    position: u64,
    hollow_until: Rc<Cell<u64>>,
}

impl Read for Headers<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Never beyond the end: a truncated archive must look like one.
        let hollow = self.hollow_until.get().min(self.size).saturating_sub(self.position);
        let count = match usize::try_from(hollow) {
            Ok(0) => self.file.read_at(buffer, self.position)?,
            Ok(hollow) => buffer.len().min(hollow),
            Err(_) => buffer.len(),
        };
        self.position += count as u64;
        Ok(count)
    }
}

/// A part of the archive.
#[derive(Debug)]
pub(super) struct SectionReader {
    file: Arc<File>,
    position: u64,
    left: u64,
}

impl Read for SectionReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..count], self.position)?;
        self.position += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::path::PathBuf;

    use oxbox_layers::tar::{Entry, Kind, Writer};

    use super::{Contents, ContentsError, normal};

    fn archive() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        let large = vec![7; 3_000_000];
        let file = |path: &str, size: usize| Entry::new(path, Kind::File { size: size as u64 }, 0o644);
        writer.append(&file("large", large.len()), &mut &large[..]).unwrap();
        writer.append(&file("a/small", 5), &mut &b"small"[..]).unwrap();
        for (path, target) in
            [("b/link", "../a/small"), ("loop", "loop"), ("out", "../x"), ("b/up", "../../etc")]
        {
            let kind = Kind::Symlink { target: target.into() };
            writer.append(&Entry::new(path, kind, 0o777), &mut std::io::empty()).unwrap();
        }
        let hard = Kind::Hardlink { target: "a/small".into() };
        writer.append(&Entry::new("b/hard", hard, 0o644), &mut std::io::empty()).unwrap();
        writer.finish().unwrap()
    }

    fn open(bytes: &[u8]) -> Result<Contents, ContentsError> {
        let directory = tempfile::tempdir().unwrap();
        let path: PathBuf = directory.path().join("x.tar");
        std::fs::write(&path, bytes).unwrap();
        Contents::open(&path, directory.path())
    }

    fn text(contents: &Contents, name: &str) -> String {
        let mut text = String::new();
        contents.read(contents.find(name).unwrap()).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_file_is_read_from_where_it_stands() {
        let contents = open(&archive()).unwrap();
        assert_eq!(text(&contents, "a/small"), "small");
        assert_eq!(text(&contents, "./a//small"), "small");
        assert_eq!(contents.find("large").unwrap().size, 3_000_000);
        assert_eq!(contents.find("missing"), None);
    }

    #[test]
    fn a_link_is_followed_within_the_archive_only() {
        let contents = open(&archive()).unwrap();
        assert_eq!(text(&contents, "b/link"), "small");
        assert_eq!(text(&contents, "b/hard"), "small");
        for name in ["loop", "out", "b/up", "../a/small"] {
            assert_eq!(contents.find(name), None, "{name}");
        }
    }

    #[test]
    fn a_compressed_archive_is_read_like_any() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&archive()).unwrap();
        assert_eq!(text(&open(&gzip.finish().unwrap()).unwrap(), "b/link"), "small");
    }

    #[test]
    fn a_truncated_archive_is_never_a_shorter_one() {
        let whole = archive();
        for length in [100, 511, 513, 1_000_000, 3_000_511] {
            let error = open(&whole[..length]).unwrap_err();
            assert!(matches!(error, ContentsError::Tar { .. }), "{length}: {error}");
        }
    }

    #[test]
    fn names_that_would_fill_memory_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.tar");
        let mut writer = Writer::new(std::fs::File::create(&path).unwrap());
        for number in 0..9000 {
            let name = format!("{number}{}", "/long".repeat(800));
            writer.append(&Entry::new(name, Kind::File { size: 0 }, 0o644), &mut std::io::empty()).unwrap();
        }
        writer.finish().unwrap();
        let error = Contents::open(&path, directory.path()).unwrap_err();
        assert!(matches!(error, ContentsError::LongNames { .. }), "{error}");
    }

    #[test]
    fn a_name_that_leaves_the_archive_is_none() {
        assert_eq!(normal(b"a/b", b"../c"), Some(b"a/c".to_vec()));
        assert_eq!(normal(b"a", b"/c"), Some(b"c".to_vec()));
        assert_eq!(normal(b"a", b"../../c"), None);
    }
}
