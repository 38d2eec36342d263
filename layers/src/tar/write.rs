//! Writes the one canonical archive of a list of entries.
//!
//! ```text
//! [pax header · records]?  ustar header  content  zeros to 512      for each entry
//! 1024 zeros                                                        at the end, nothing after
//! ```
//!
//! The bytes are those of Go's `archive/tar` as containerd drives it, so that the same tree gives the
//! same diff_id as elsewhere: ustar, a PAX header only where ustar has no room, its records sorted,
//! whole seconds, no names of users or groups, no padding to 10 KiB. Sorting the entries is the
//! caller's part.
//!
//! image-spec v1.1.1, layer.md#distributable-format

use std::io::{Read, Write};

use super::block::{
    BLOCK_BYTES, Block, FLAG, GID, LINK, MAGIC, MAJOR, MINOR, MODE, MTIME, NAME, PREFIX, SIZE, UID,
    USTAR_MAGIC, octal_max, put_octal, put_sum,
};
use super::entry::{Entry, Kind};
use super::error::TarError;
use super::limit::{MAX_LINK_BYTES, MAX_PAX_BYTES, MAX_XATTR_BYTES, MAX_XATTR_NAME_BYTES, MAX_XATTRS};
use super::{path, pax};

/// Headers, content and padding gather here, so that small entries cost no write each. A multiple of
/// the block; beyond 256 KiB the sink's hashing no longer finds the bytes in the second-level cache.
const BUFFER_BYTES: usize = 256 << 10;

/// An archive being written. Dropped without [`Writer::finish`] it has no end and may lack bytes.
pub struct Writer<W> {
    sink: W,
    buffer: Box<[u8]>,
    /// Bytes of the buffer that wait for the sink.
    filled: usize,
    /// Bytes the sink has.
    flushed: u64,
    /// The entry's path with a directory's slash; kept for its allocation.
    name: Vec<u8>,
    /// The entry's PAX records; kept for its allocation.
    records: Vec<u8>,
    /// An entry has been started and not ended.
    open: bool,
}

impl<W: Write> Writer<W> {
    /// Starts an archive.
    pub fn new(sink: W) -> Self {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self { sink, buffer, filled: 0, flushed: 0, name: Vec::new(), records: Vec::new(), open: false }
    }

    /// Appends an entry and its content, which must be exactly as long as the entry says.
    ///
    /// After an error the archive is broken, and every further call says so.
    ///
    /// # Errors
    ///
    /// [`TarError::NotNormal`] for the root and for paths not in normal form,
    /// [`TarError::ContentShort`] and [`TarError::ContentLong`] if the content's length differs,
    /// [`TarError::Content`] if it cannot be read, [`TarError::Io`] if the sink fails.
    pub fn append(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), TarError> {
        check(entry)?;
        self.begin()?;
        self.header(entry)?;
        self.content(entry, content)?;
        self.open = false;
        Ok(())
    }

    /// Writes the end mark and returns the sink, unflushed.
    ///
    /// # Errors
    ///
    /// [`TarError::Unfinished`] if an entry failed before, [`TarError::Io`] if the sink fails.
    pub fn finish(mut self) -> Result<W, TarError> {
        self.begin()?;
        for _ in 0..2 {
            self.block(&[0; BLOCK_BYTES])?;
        }
        self.flush()?;
        Ok(self.sink)
    }

    /// Returns where the archive goes. What was written may be on its way there still.
    pub(crate) fn sink_mut(&mut self) -> &mut W {
        &mut self.sink
    }

    /// Returns the bytes of archive so far.
    pub fn position(&self) -> u64 {
        self.flushed + self.filled as u64
    }

    fn begin(&mut self) -> Result<(), TarError> {
        if self.open {
            return Err(TarError::Unfinished { offset: self.position() });
        }
        self.open = true;
        Ok(())
    }

    fn header(&mut self, entry: &Entry) -> Result<(), TarError> {
        self.name.clear();
        self.name.extend_from_slice(&entry.path);
        if entry.kind == Kind::Directory {
            self.name.push(b'/');
        }
        let split = split(&self.name);
        self.records.clear();
        collect_records(entry, &self.name, split, &mut self.records);
        let mut block = numbers(entry);
        if self.records.is_empty() {
            let (prefix, name) = split
                .map_or((&b""[..], &self.name[..]), |slash| (&self.name[..slash], &self.name[slash + 1..]));
            put_text(&mut block[NAME], name);
            put_text(&mut block[PREFIX], prefix);
            put_text(&mut block[LINK], link(entry));
        } else {
            self.extended_header(entry)?;
            put_ascii(&mut block[NAME], &self.name);
            put_ascii(&mut block[LINK], link(entry));
        }
        put_sum(&mut block);
        self.block(&block)
    }

    /// Writes the PAX header and its records. Its name tells old tools where the file would go.
    fn extended_header(&mut self, entry: &Entry) -> Result<(), TarError> {
        let records = std::mem::take(&mut self.records);
        if records.len() > MAX_PAX_BYTES {
            let (size, limit) = (records.len() as u64, MAX_PAX_BYTES as u64);
            return Err(TarError::Limit { what: "PAX header", offset: self.position(), size, limit });
        }
        let mut block = blank(b'x');
        let file: &[u8] = if entry.kind == Kind::Directory { b"" } else { entry.name() };
        let parent = if entry.kind == Kind::Directory { &entry.path[..] } else { entry.parent() };
        let slash: &[u8] = if parent.is_empty() { b"" } else { b"/" };
        let last: &[u8] = if file.is_empty() { b"" } else { b"/" };
        let name = [parent, slash, b"PaxHeaders.0", last, file].concat();
        put_ascii(&mut block[NAME], &name);
        put_octal(&mut block[SIZE], records.len() as u64);
        put_sum(&mut block);
        self.block(&block)?;
        for chunk in records.chunks(BLOCK_BYTES) {
            let mut block = [0; BLOCK_BYTES];
            block[..chunk.len()].copy_from_slice(chunk);
            self.block(&block)?;
        }
        self.records = records;
        Ok(())
    }

    /// Reads the content straight into the buffer: it is copied once, by the source.
    fn content(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), TarError> {
        let expected = entry.size();
        let mut left = expected;
        loop {
            self.make_room()?;
            // One byte more than is due: a file that grew shows at once.
            let ask = usize::try_from(left.saturating_add(1)).unwrap_or(BUFFER_BYTES);
            let end = BUFFER_BYTES.min(self.filled.saturating_add(ask));
            let count = match content.read(&mut self.buffer[self.filled..end]) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(TarError::Content { path: entry.path.clone(), source }),
            };
            match left.checked_sub(count as u64) {
                Some(rest) => left = rest,
                None => return Err(TarError::ContentLong { path: entry.path.clone(), expected }),
            }
            self.filled += count;
        }
        if left > 0 {
            return Err(TarError::ContentShort {
                path: entry.path.clone(),
                expected,
                actual: expected - left,
            });
        }
        // The buffer is a whole number of blocks and leaves only when full or on a border: the rest fits.
        let end = self.filled.next_multiple_of(BLOCK_BYTES);
        self.buffer[self.filled..end].fill(0);
        self.filled = end;
        Ok(())
    }

    fn block(&mut self, block: &Block) -> Result<(), TarError> {
        self.make_room()?;
        self.buffer[self.filled..self.filled + BLOCK_BYTES].copy_from_slice(block);
        self.filled += BLOCK_BYTES;
        Ok(())
    }

    fn make_room(&mut self) -> Result<(), TarError> {
        if self.filled == BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), TarError> {
        let result = self.sink.write_all(&self.buffer[..self.filled]);
        result.map_err(|source| TarError::Io { verb: "write", offset: self.flushed, source })?;
        self.flushed += self.filled as u64;
        self.filled = 0;
        Ok(())
    }
}

/// Refuses what could not be read back as it was.
///
/// # Errors
///
/// What is odd about it: a path that is not in normal form, or something beyond the limits of `limit`.
pub fn check(entry: &Entry) -> Result<(), TarError> {
    path::check(&entry.path)?;
    match &entry.kind {
        Kind::Hardlink { target } => path::check(target)?,
        Kind::Symlink { target } => check_symlink(entry, target)?,
        _ => {}
    }
    check_xattrs(entry)
}

fn check_symlink(entry: &Entry, target: &[u8]) -> Result<(), TarError> {
    if target.is_empty() {
        return Err(TarError::EmptyLink { path: entry.path.clone() });
    }
    if target.contains(&0) {
        return Err(TarError::Nul { path: target.to_vec() });
    }
    limit("link", target.len(), MAX_LINK_BYTES)
}

fn check_xattrs(entry: &Entry) -> Result<(), TarError> {
    limit("list of extended attributes", entry.xattrs.len(), MAX_XATTRS)?;
    for (name, value) in &entry.xattrs {
        // The first equals sign ends a record's key.
        if name.is_empty() || name.contains(&b'=') || name.contains(&0) {
            return Err(TarError::XattrName { path: entry.path.clone(), name: name.clone() });
        }
        limit("name of an extended attribute", name.len(), MAX_XATTR_NAME_BYTES)?;
        limit("extended attribute", value.len(), MAX_XATTR_BYTES)?;
    }
    Ok(())
}

fn limit(what: &'static str, size: usize, max: usize) -> Result<(), TarError> {
    if size > max {
        return Err(TarError::Limit { what, offset: 0, size: size as u64, limit: max as u64 });
    }
    Ok(())
}

/// Returns a header with everything but names: what does not fit is zero, PAX has it.
fn numbers(entry: &Entry) -> Block {
    let (flag, major, minor) = match entry.kind {
        Kind::File { .. } => (b'0', 0, 0),
        Kind::Hardlink { .. } => (b'1', 0, 0),
        Kind::Symlink { .. } => (b'2', 0, 0),
        Kind::CharacterDevice { major, minor } => (b'3', major, minor),
        Kind::BlockDevice { major, minor } => (b'4', major, minor),
        Kind::Directory => (b'5', 0, 0),
        Kind::Fifo => (b'6', 0, 0),
    };
    let mut block = blank(flag);
    put_octal(&mut block[MODE], u64::from(entry.mode & 0o7777));
    put_octal(&mut block[UID], if fits(entry.uid, 8) { entry.uid } else { 0 });
    put_octal(&mut block[GID], if fits(entry.gid, 8) { entry.gid } else { 0 });
    put_octal(&mut block[SIZE], if fits(entry.size(), 12) { entry.size() } else { 0 });
    put_octal(&mut block[MTIME], seconds(entry).unwrap_or(0));
    put_octal(&mut block[MAJOR], if fits(major.into(), 8) { major.into() } else { 0 });
    put_octal(&mut block[MINOR], if fits(minor.into(), 8) { minor.into() } else { 0 });
    block
}

fn blank(flag: u8) -> Block {
    let mut block = [0; BLOCK_BYTES];
    for field in [MODE, UID, GID, SIZE, MTIME, MAJOR, MINOR] {
        put_octal(&mut block[field], 0);
    }
    block[FLAG] = flag;
    block[MAGIC].copy_from_slice(USTAR_MAGIC);
    if flag == b'x' {
        // Go leaves the device numbers of its extension headers empty.
        block[MAJOR].fill(0);
        block[MINOR].fill(0);
    }
    block
}

fn fits(number: u64, field_bytes: usize) -> bool {
    number <= octal_max(field_bytes)
}

/// Returns the time as the header has it; `None` before 1970 and after 2242.
fn seconds(entry: &Entry) -> Option<u64> {
    u64::try_from(entry.mtime).ok().filter(|&seconds| fits(seconds, 12))
}

fn link(entry: &Entry) -> &[u8] {
    match &entry.kind {
        Kind::Hardlink { target } | Kind::Symlink { target } => target,
        _ => b"",
    }
}

/// Writes the records the entry needs, in byte order of their keys.
fn collect_records(entry: &Entry, name: &[u8], split: Option<usize>, records: &mut Vec<u8>) {
    let too_long = |text: &[u8]| text.len() > 100 || !text.is_ascii();
    if let Kind::BlockDevice { major, minor } | Kind::CharacterDevice { major, minor } = entry.kind {
        for (key, number) in [(&b"SCHILY.devmajor"[..], major), (b"SCHILY.devminor", minor)] {
            if !fits(number.into(), 8) {
                pax::put(records, &[key], number.to_string().as_bytes());
            }
        }
    }
    for (attribute, value) in &entry.xattrs {
        pax::put(records, &[pax::XATTR_PREFIX, attribute], value);
    }
    if !fits(entry.gid, 8) {
        pax::put(records, &[b"gid"], entry.gid.to_string().as_bytes());
    }
    if too_long(link(entry)) {
        pax::put(records, &[b"linkpath"], link(entry));
    }
    if seconds(entry).is_none() {
        pax::put(records, &[b"mtime"], entry.mtime.to_string().as_bytes());
    }
    let (size, uid) = (entry.size(), entry.uid);
    // A long name that splits needs no record of its own, but gets one in company: so does Go.
    let in_company = !records.is_empty() || !fits(size, 12) || !fits(uid, 8);
    if too_long(name) && (split.is_none() || in_company) {
        pax::put(records, &[b"path"], name);
    }
    if !fits(size, 12) {
        pax::put(records, &[b"size"], size.to_string().as_bytes());
    }
    if !fits(uid, 8) {
        pax::put(records, &[b"uid"], uid.to_string().as_bytes());
    }
}

/// Returns the slash at which a name too long for its field divides into prefix and name.
fn split(name: &[u8]) -> Option<usize> {
    let name_bytes = NAME.len();
    if name.len() <= name_bytes || !name.is_ascii() {
        return None;
    }
    let end = if name.len() > PREFIX.len() + 1 {
        PREFIX.len() + 1
    } else {
        name.len() - usize::from(name.ends_with(b"/"))
    };
    let slash = name[..end].iter().rposition(|&byte| byte == b'/')?;
    let rest = name.len() - slash - 1;
    (slash > 0 && rest > 0 && rest <= name_bytes).then_some(slash)
}

fn put_text(field: &mut [u8], text: &[u8]) {
    field[..text.len()].copy_from_slice(text);
}

/// Writes what an old tool may show of a text that stands in full in a record.
fn put_ascii(field: &mut [u8], text: &[u8]) {
    let mut used = 0;
    let mut ascii = text.iter().filter(|byte| byte.is_ascii());
    for (slot, &byte) in field.iter_mut().zip(&mut ascii) {
        *slot = byte;
        used += 1;
    }
    // A cut name must not end with a slash: some readers would take the file for a directory.
    if ascii.next().is_some() {
        while used > 0 && field[used - 1] == b'/' {
            used -= 1;
            field[used] = 0;
        }
    }
}
