//! Reads every dialect of tar into [`Entry`]s, under limits.
//!
//! ```text
//! GNU    flags L and K: the next entry's long name and link; base-256 numbers; sparse files
//! PAX    flags x (the next entry) and g (all that follow); GNU.sparse.*
//! V7     no magic; a directory is a name with a slash at its end
//! ```
//!
//! What comes out has normal paths: no leading `/` or `./`, and `..` is an error. Every header's sum
//! is verified. Whether a path is safe to write to is the business of `tree/apply.rs`.
//!
//! POSIX.1-2017, pax; GNU tar manual, "Basic Tar Format"

use std::io::{self, Read};

use super::block::{BLOCK_BYTES, Block, FLAG, GID, GNU_SIZE, MAGIC, MODE, MTIME, SIZE, UID, text};
use super::decode::{device, field, hardlink_target, header_path, signed, symlink_target, verify_sum};
use super::entry::{Entry, Kind};
use super::error::TarError;
use super::limit::{MAX_HEADERS, MAX_LINK_BYTES, MAX_PATH_BYTES, MAX_PAX_BYTES};
use super::path;
use super::pax::Records;
use super::sparse::{self, LeadingMap, Next, Progress, Segment};

/// Bytes read at a time when content is skipped.
const SKIP_BYTES: usize = 32 << 10;

/// An archive being read. Reads single blocks: a source where calls are dear wants a `BufReader`.
///
/// As [`Read`] it gives the content of the entry that [`Reader::next`] returned last, holes of a
/// sparse file as zeros; what is not read is skipped.
pub struct Reader<R> {
    source: R,
    /// Bytes taken from the source.
    position: u64,
    /// Headers read so far, extensions included.
    pub(super) headers: u64,
    globals: Records,
    /// Bytes of the current entry still in the source, padding not included.
    stored: u64,
    padding: u64,
    progress: Progress,
    data_offset: Option<u64>,
    ended: bool,
}

/// What extension headers said of the entry to come.
#[derive(Default)]
struct Extension {
    seen: bool,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Records,
}

impl<R: Read> Reader<R> {
    /// Starts at the first byte of an archive.
    pub fn new(source: R) -> Self {
        Self {
            source,
            position: 0,
            headers: 0,
            globals: Records::default(),
            stored: 0,
            padding: 0,
            progress: Progress::default(),
            data_offset: None,
            ended: false,
        }
    }

    /// Skips what is left of the current entry and returns the next one, or `None` at the end mark.
    ///
    /// An archive that stops without an end mark is at its end too, on a block border or where the last
    /// content's padding should be: some tools never write one, and `umoci insert` 0.4.7 leaves off
    /// both. Go's reader takes the same. Bytes after the end mark stay in the source.
    ///
    /// # Errors
    ///
    /// Any [`TarError`] that has an offset; reading on after one is not possible.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend its content")]
    pub fn next(&mut self) -> Result<Option<Entry>, TarError> {
        self.skip_content()?;
        let mut extension = Extension::default();
        while let Some((block, offset)) = self.header()? {
            match block[FLAG] {
                // 'X' is what Solaris called it before the standard did.
                b'x' | b'X' => {
                    let text = self.extension_text(&block, offset, "PAX header", MAX_PAX_BYTES)?;
                    extension.records.read(&text, offset + BLOCK_BYTES as u64)?;
                }
                b'g' => {
                    let text = self.extension_text(&block, offset, "PAX header", MAX_PAX_BYTES)?;
                    self.read_globals(&text, offset + BLOCK_BYTES as u64)?;
                    continue;
                }
                b'L' => extension.name = Some(self.long_text(&block, offset, "path", MAX_PATH_BYTES)?),
                b'K' => extension.link = Some(self.long_text(&block, offset, "link", MAX_LINK_BYTES)?),
                // A volume's label.
                b'V' => {
                    self.begin_content(field("size", &block[SIZE], offset)?);
                    self.skip_content()?;
                    continue;
                }
                _ => return self.entry(&block, offset, extension).map(Some),
            }
            extension.seen = true;
        }
        if extension.seen {
            return Err(TarError::Dangling { offset: self.position });
        }
        self.ended = true;
        Ok(None)
    }

    /// Returns where the current entry's content starts in the archive; `None` if it is sparse, for
    /// then it does not stand there in one piece.
    pub fn data_offset(&self) -> Option<u64> {
        self.data_offset
    }

    /// Returns how many bytes of the archive have been taken from the source.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns the source, from which everything up to [`Reader::position`] has been taken. Whoever
    /// hashes the archive reads it to the end: there may be padding after the end mark.
    pub fn into_inner(self) -> R {
        self.source
    }

    /// Reads the next header that is not blank.
    fn header(&mut self) -> Result<Option<(Block, u64)>, TarError> {
        if self.ended {
            return Ok(None);
        }
        let offset = self.position;
        let Some(block) = self.block()? else {
            return Ok(None);
        };
        if block == [0; BLOCK_BYTES] {
            return match self.block()? {
                Some(second) if second != [0; BLOCK_BYTES] => {
                    Err(TarError::LoneZero { offset: offset + BLOCK_BYTES as u64 })
                }
                _ => Ok(None),
            };
        }
        self.headers += 1;
        if self.headers > MAX_HEADERS {
            let (size, limit) = (self.headers, MAX_HEADERS);
            return Err(TarError::Limit { what: "number of headers", offset, size, limit });
        }
        verify_sum(&block, offset)?;
        Ok(Some((block, offset)))
    }

    /// Reads one block, or `None` if the source ends on the border before it.
    fn block(&mut self) -> Result<Option<Block>, TarError> {
        let mut block = [0; BLOCK_BYTES];
        let mut filled = 0;
        while filled < BLOCK_BYTES {
            match self.take(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(self.truncated((BLOCK_BYTES - filled) as u64)),
                count => filled += count,
            }
        }
        Ok(Some(block))
    }

    fn whole_block(&mut self) -> Result<Block, TarError> {
        self.block()?.ok_or_else(|| self.truncated(BLOCK_BYTES as u64))
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        loop {
            match self.source.read(buffer) {
                Ok(count) => {
                    self.position += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(TarError::Io { verb: "read", offset: self.position, source }),
            }
        }
    }

    fn truncated(&self, missing: u64) -> TarError {
        TarError::Truncated { offset: self.position, missing }
    }

    fn begin_content(&mut self, stored: u64) {
        self.stored = stored;
        self.padding = stored.wrapping_neg() % BLOCK_BYTES as u64;
        self.progress = Progress::default();
    }

    fn skip_content(&mut self) -> Result<(), TarError> {
        self.progress = Progress::default();
        match self.stored {
            0 => {}
            // No need to clear a large buffer for it.
            few @ 1..=512 => self.discard(few, &mut [0; BLOCK_BYTES])?,
            many => self.discard(many, &mut [0; SKIP_BYTES])?,
        }
        self.stored = 0;
        self.skip_padding()
    }

    /// Skips what fills the content's last block, as much as there is of it.
    fn skip_padding(&mut self) -> Result<(), TarError> {
        let mut block = [0; BLOCK_BYTES];
        while self.padding > 0 {
            match self.take(&mut block[..self.padding as usize])? {
                0 => (self.padding, self.ended) = (0, true),
                count => self.padding -= count as u64,
            }
        }
        Ok(())
    }

    fn discard(&mut self, mut left: u64, buffer: &mut [u8]) -> Result<(), TarError> {
        while left > 0 {
            let ask = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match self.take(&mut buffer[..ask])? {
                0 => return Err(self.truncated(left)),
                count => left -= count as u64,
            }
        }
        Ok(())
    }

    /// Reads the content of an extension header.
    fn extension_text(
        &mut self,
        block: &Block,
        offset: u64,
        what: &'static str,
        max: usize,
    ) -> Result<Vec<u8>, TarError> {
        let size = field("size", &block[SIZE], offset)?;
        if size > max as u64 {
            return Err(TarError::Limit { what, offset, size, limit: max as u64 });
        }
        self.begin_content(size);
        let mut text = Vec::new();
        while self.stored > 0 {
            let block = self.whole_block()?;
            let used = self.stored.min(BLOCK_BYTES as u64);
            text.extend_from_slice(&block[..used as usize]);
            self.stored -= used;
        }
        self.padding = 0;
        Ok(text)
    }

    /// Reads a GNU long name, which ends with a NUL.
    fn long_text(
        &mut self,
        block: &Block,
        offset: u64,
        what: &'static str,
        max: usize,
    ) -> Result<Vec<u8>, TarError> {
        let mut long = self.extension_text(block, offset, what, max + 1)?;
        long.truncate(text(&long).len());
        Ok(long)
    }

    /// Keeps of a global header what can be true of more than one entry.
    fn read_globals(&mut self, text: &[u8], offset: u64) -> Result<(), TarError> {
        self.globals.read(text, offset)?;
        let Records { uid, gid, mtime, .. } = std::mem::take(&mut self.globals);
        self.globals = Records { uid, gid, mtime, ..Records::default() };
        Ok(())
    }

    fn entry(&mut self, block: &Block, offset: u64, extension: Extension) -> Result<Entry, TarError> {
        let Extension { name, link, mut records, .. } = extension;
        let raw_path = name
            .or_else(|| records.sparse.name.take())
            .or_else(|| records.path.take())
            .unwrap_or_else(|| header_path(block));
        let path = path::normalise(&raw_path, offset)?;
        let link = link.or_else(|| records.link.take());
        let stored = match records.size {
            Some(size) => size,
            None => field("size", &block[SIZE], offset)?,
        };
        let is_directory_name = raw_path.ends_with(b"/");
        let flag = match block[FLAG] {
            b'\0' if is_directory_name => b'5',
            b'0' if is_directory_name && text(&block[MAGIC]).is_empty() => b'5',
            // Contiguous files were a wish of the 1980s.
            b'\0' | b'7' => b'0',
            flag => flag,
        };
        // Only a directory can be the root.
        if path.is_empty() && flag != b'5' {
            return Err(TarError::NotNormal { path: raw_path });
        }
        self.data_offset = None;
        // Links and directories may state a size; as in Go, no content follows them.
        self.begin_content(if matches!(flag, b'0' | b'S') { stored } else { 0 });
        let kind = match flag {
            b'0' | b'S' => Kind::File { size: self.file_size(block, offset, flag, &mut records)? },
            b'1' => Kind::Hardlink { target: hardlink_target(block, offset, &path, link)? },
            b'2' => Kind::Symlink { target: symlink_target(block, offset, &path, link)? },
            b'3' => {
                let (major, minor) = device(block, offset, &records)?;
                Kind::CharacterDevice { major, minor }
            }
            b'4' => {
                let (major, minor) = device(block, offset, &records)?;
                Kind::BlockDevice { major, minor }
            }
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            flag => return Err(TarError::Kind { offset, path, flag }),
        };
        let number = |record: Option<u64>, global: Option<u64>, name, range| match record.or(global) {
            Some(number) => Ok(number),
            None => field(name, &block[range], offset),
        };
        Ok(Entry {
            kind,
            mode: (field("mode", &block[MODE], offset)? & 0o7777) as u32,
            uid: number(records.uid, self.globals.uid, "uid", UID)?,
            gid: number(records.gid, self.globals.gid, "gid", GID)?,
            mtime: match records.mtime.or(self.globals.mtime) {
                Some(seconds) => seconds,
                None => signed("mtime", &block[MTIME], offset)?,
            },
            xattrs: records.xattrs,
            path,
        })
    }

    /// Finds out how long a file is and which of its bytes are stored.
    fn file_size(
        &mut self,
        block: &Block,
        offset: u64,
        flag: u8,
        records: &mut Records,
    ) -> Result<u64, TarError> {
        let sparse = std::mem::take(&mut records.sparse);
        let (map, size) = match (sparse.major, sparse.size) {
            (Some(1), Some(size)) => (self.leading_map(offset)?, size),
            (Some(1), None) => {
                return Err(TarError::Sparse { offset, fault: "comes without the file's size" });
            }
            (Some(2..), _) => return Err(TarError::Sparse { offset, fault: "is of an unknown version" }),
            (_, Some(size)) => (sparse.map, size),
            (_, None) if flag == b'S' => self.old_map(block, offset)?,
            (_, None) => {
                self.data_offset = Some(self.position);
                self.progress = Progress::dense(self.stored);
                return Ok(self.stored);
            }
        };
        sparse::check(&map, size, self.stored, offset)?;
        self.progress = Progress::new(map, size);
        Ok(size)
    }

    fn leading_map(&mut self, offset: u64) -> Result<Vec<Segment>, TarError> {
        let mut leading = LeadingMap::default();
        loop {
            let Some(left) = self.stored.checked_sub(BLOCK_BYTES as u64) else {
                return Err(TarError::Sparse { offset, fault: "goes beyond what is stored" });
            };
            let block = self.whole_block()?;
            self.stored = left;
            if let Some(map) = leading.take(&block, offset)? {
                return Ok(map);
            }
        }
    }

    fn old_map(&mut self, block: &Block, offset: u64) -> Result<(Vec<Segment>, u64), TarError> {
        let size = field("size of the sparse file", &block[GNU_SIZE], offset)?;
        let mut map = Vec::new();
        let mut more = sparse::header_segments(block, &mut map, offset)?;
        while more {
            // An empty table that announces another one goes on no longer than the archive does.
            let block = self.whole_block()?;
            more = sparse::more_segments(&block, &mut map, offset)?;
        }
        Ok((map, size))
    }
}

impl<R: Read> Read for Reader<R> {
    /// Reads the current entry's content. A truncated archive is an error of kind `UnexpectedEof`
    /// whose inner error is [`TarError::Truncated`].
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len() as u64;
        if room == 0 {
            return Ok(0);
        }
        let count = match self.progress.next() {
            Next::End => 0,
            Next::Hole(bytes) => {
                let count = bytes.min(room) as usize;
                buffer[..count].fill(0);
                count
            }
            Next::Stored(bytes) => {
                let ask = bytes.min(room) as usize;
                let count = self.take(&mut buffer[..ask]).map_err(into_io)?;
                if count == 0 {
                    return Err(into_io(self.truncated(self.stored)));
                }
                self.stored -= count as u64;
                count
            }
        };
        self.progress.advance(count as u64);
        Ok(count)
    }
}

/// Hands the kind of the error on, and the error within it.
fn into_io(error: TarError) -> io::Error {
    let kind = match &error {
        TarError::Io { source, .. } => source.kind(),
        _ => io::ErrorKind::UnexpectedEof,
    };
    io::Error::new(kind, error)
}
