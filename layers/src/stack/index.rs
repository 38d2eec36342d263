//! What one layer says, packed so that it can be kept beside the layer's diff_id and used at once.
//!
//! ```text
//! "oxli" 02 │ entry │ entry │ …                       in the order of the archive
//! entry     = shared suffix-length suffix │ record    path: so many bytes of the one before, and these
//! record    = kind ordinal mode uid gid mtime ┬ size offset+1 hash file (0: sparse, not in one piece)
//!             │                               ├ length target      link of either sort
//!             └ 0x80: extended attributes       └ major minor        device
//! ```
//!
//! Numbers are LEB128, times zigzag; a hash is the 32 bytes of blake3, which an empty file has none of.
//! 300 000 entries take about 20 MB. A record can be read on its own: the merged tree of `merge.rs` points
//! at records and does not repeat them.

use std::fmt;
use std::io::{self, BufReader, Read};

use super::pack::{Malformed, Packed, put_bytes, put_number, put_signed};
use crate::layer::{Layer, LayerError};
use crate::store::BlobStore;
use crate::tar::{Entry, Kind, Reader, TarError, check};

const MAGIC: &[u8; 5] = b"oxli\x02";

/// 256 MiB: twenty times what the largest images in public need, and less than what a crafted tar
/// of long names could otherwise ask for.
const MAX_BYTES: usize = 256 << 20;

/// 64 KiB: headers are read block by block, contents in larger steps past the buffer.
const READ_BYTES: usize = 64 << 10;

const HAS_XATTRS: u8 = 0x80;

const HASH_BYTES: usize = blake3::OUT_LEN;

/// What blake3 gives for no bytes.
const HASH_OF_NOTHING: [u8; HASH_BYTES] = [
    0xaf, 0x13, 0x49, 0xb9, 0xf5, 0xf9, 0xa1, 0xa6, 0xa0, 0x40, 0x4d, 0xea, 0x36, 0xdc, 0xc9, 0x49, 0x9b,
    0xcb, 0x25, 0xc9, 0xad, 0xc1, 0x12, 0xb7, 0xcc, 0x9a, 0x93, 0xca, 0xe4, 0x1f, 0x32, 0x62,
];

/// The entries of one layer, without their content.
#[derive(Clone, PartialEq, Eq)]
pub struct LayerIndex {
    bytes: Vec<u8>,
}

impl fmt::Debug for LayerIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LayerIndex({} bytes)", self.bytes.len())
    }
}

/// Why there is no index of a layer.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The layer cannot be read, or is not what it is called.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The layer's tar cannot be read.
    #[error("cannot read the tar of a layer")]
    Tar {
        /// Why not.
        #[source]
        source: TarError,
    },
    /// A file in the layer's tar cannot be read.
    #[error("cannot read {} in the tar of a layer", .path.escape_ascii())]
    Content {
        /// Which.
        path: Vec<u8>,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The layer has too many entries.
    #[error(transparent)]
    TooLarge(#[from] IndexTooLarge),
    /// Packed bytes are no index, or one of another version.
    #[error("packed index of a layer is of another version, or damaged at byte {at}")]
    Malformed {
        /// Where.
        at: usize,
    },
}

/// A layer has more entries, or longer paths, than anybody needs.
#[derive(Debug, thiserror::Error)]
#[error("index of a layer takes more than {limit} bytes")]
pub struct IndexTooLarge {
    /// How much is allowed.
    pub limit: usize,
}

/// An entry of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexed {
    /// The entry as the layer has it, whiteouts and hard links included.
    pub entry: Entry,
    /// Its place among the archive's entries, from 0.
    pub ordinal: u32,
    /// Of a file, where its content is and what it is; of all else, nothing.
    pub body: Body,
}

/// What is noted of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Body {
    /// Where it starts in the uncompressed tar; `None` if it is not there in one piece.
    pub offset: Option<u64>,
    /// Its blake3 hash: the same in every layer that has such a file.
    pub hash: [u8; HASH_BYTES],
}

impl Default for Body {
    /// Nothing, nowhere.
    fn default() -> Self {
        Self { offset: None, hash: HASH_OF_NOTHING }
    }
}

impl LayerIndex {
    /// Reads a layer's index from its blob, and checks the diff_id on the way.
    pub fn of_layer(layer: &Layer, store: &dyn BlobStore) -> Result<Self, IndexError> {
        let mut reader = Reader::new(BufReader::with_capacity(READ_BYTES, layer.open_tar(store)?));
        let index = read(&mut reader)?;
        reader.into_inner().into_inner().verify()?;
        Ok(index)
    }

    /// Reads the index of an uncompressed tar, up to its end mark.
    pub fn of_tar(tar: impl Read) -> Result<Self, IndexError> {
        read(&mut Reader::new(BufReader::with_capacity(READ_BYTES, tar)))
    }

    /// Takes an index as [`LayerIndex::as_bytes`] gave it.
    ///
    /// # Errors
    ///
    /// [`IndexError::Malformed`] if it is anything else; then it has to be read from the layer again.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, IndexError> {
        let malformed = |Malformed { at }| IndexError::Malformed { at };
        if !bytes.starts_with(MAGIC) {
            return Err(IndexError::Malformed { at: 0 });
        }
        let mut packed = Packed::new(&bytes, MAGIC.len());
        let mut path = Vec::new();
        while !packed.is_at_end() {
            read_path(&mut packed, &mut path).map_err(malformed)?;
            read_record(&mut packed, &path).map_err(malformed)?;
        }
        Ok(Self { bytes })
    }

    /// Takes an index that somebody else packed: what no layer can hold is refused.
    ///
    /// # Errors
    ///
    /// [`IndexError::Malformed`] as [`LayerIndex::from_bytes`], [`IndexError::Tar`] of an entry that is none.
    pub fn from_elsewhere(bytes: Vec<u8>) -> Result<Self, IndexError> {
        if bytes.len() > MAX_BYTES {
            return Err(IndexTooLarge { limit: MAX_BYTES }.into());
        }
        let index = Self::from_bytes(bytes)?;
        let is_root = |entry: &Entry| entry.path.is_empty() && entry.kind == Kind::Directory;
        let mut entries = index.iter().map(|indexed| indexed.entry).filter(|entry| !is_root(entry));
        entries.try_for_each(|entry| check(&entry)).map_err(|source| IndexError::Tar { source })?;
        Ok(index)
    }

    /// Returns the packed form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the entries in the order of the archive.
    pub fn iter(&self) -> Iter<'_> {
        Iter { packed: Packed::new(&self.bytes, MAGIC.len()), path: Vec::new() }
    }

    /// Returns each path with the position of its record.
    pub(super) fn records(&self) -> Records<'_> {
        Records { packed: Packed::new(&self.bytes, MAGIC.len()), path: Vec::new() }
    }

    /// Reads the record at a position that [`LayerIndex::records`] gave.
    pub(super) fn indexed(&self, path: &[u8], record: u32) -> Indexed {
        read_record(&mut Packed::new(&self.bytes, record as usize), path)
            .expect("because every record was read when the index was made")
    }
}

fn read(reader: &mut Reader<impl Read>) -> Result<LayerIndex, IndexError> {
    let mut builder = IndexBuilder::default();
    while let Some(entry) = reader.next().map_err(|source| IndexError::Tar { source })? {
        let mut body = Body { offset: reader.data_offset(), ..Body::default() };
        if entry.size() > 0 && matches!(entry.kind, Kind::File { .. }) {
            let mut hasher = blake3::Hasher::new();
            let read = hasher.update_reader(&mut *reader);
            read.map_err(|source| IndexError::Content { path: entry.path.clone(), source })?;
            body.hash = *hasher.finalize().as_bytes();
        }
        builder.push(&entry, &body)?;
    }
    Ok(builder.finish())
}

/// Packs entries as they come, for who has them without reading a tar.
pub struct IndexBuilder {
    bytes: Vec<u8>,
    last: Vec<u8>,
    ordinal: u32,
}

impl Default for IndexBuilder {
    fn default() -> Self {
        Self { bytes: MAGIC.to_vec(), last: Vec::new(), ordinal: 0 }
    }
}

impl IndexBuilder {
    /// Adds the archive's next entry; of what is no file, the body does not count.
    pub fn push(&mut self, entry: &Entry, body: &Body) -> Result<(), IndexTooLarge> {
        let shared = self.last.iter().zip(&entry.path).take_while(|(a, b)| a == b).count();
        put_number(&mut self.bytes, shared as u64);
        put_bytes(&mut self.bytes, &entry.path[shared..]);
        self.last.clone_from(&entry.path);
        put_record(&mut self.bytes, entry, self.ordinal, body);
        self.ordinal += 1;
        if self.bytes.len() > MAX_BYTES {
            return Err(IndexTooLarge { limit: MAX_BYTES });
        }
        Ok(())
    }

    /// Returns the index.
    pub fn finish(self) -> LayerIndex {
        LayerIndex { bytes: self.bytes }
    }
}

fn put_record(bytes: &mut Vec<u8>, entry: &Entry, ordinal: u32, body: &Body) {
    let kind = match entry.kind {
        Kind::File { .. } => 0,
        Kind::Hardlink { .. } => 1,
        Kind::Symlink { .. } => 2,
        Kind::CharacterDevice { .. } => 3,
        Kind::BlockDevice { .. } => 4,
        Kind::Directory => 5,
        Kind::Fifo => 6,
    };
    bytes.push(if entry.xattrs.is_empty() { kind } else { kind | HAS_XATTRS });
    for number in [u64::from(ordinal), u64::from(entry.mode), entry.uid, entry.gid] {
        put_number(bytes, number);
    }
    put_signed(bytes, entry.mtime);
    match &entry.kind {
        Kind::File { size } => {
            put_number(bytes, *size);
            put_number(bytes, body.offset.map_or(0, |offset| offset + 1));
            if *size > 0 {
                bytes.extend(body.hash);
            }
        }
        Kind::Hardlink { target } | Kind::Symlink { target } => put_bytes(bytes, target),
        Kind::CharacterDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            put_number(bytes, u64::from(*major));
            put_number(bytes, u64::from(*minor));
        }
        Kind::Directory | Kind::Fifo => {}
    }
    if !entry.xattrs.is_empty() {
        put_number(bytes, entry.xattrs.len() as u64);
        for (name, value) in &entry.xattrs {
            put_bytes(bytes, name);
            put_bytes(bytes, value);
        }
    }
}

fn read_path(packed: &mut Packed<'_>, path: &mut Vec<u8>) -> Result<(), Malformed> {
    let shared = packed.length()?;
    if shared > path.len() {
        return Err(packed.malformed());
    }
    path.truncate(shared);
    path.extend_from_slice(packed.bytes()?);
    Ok(())
}

fn read_record(packed: &mut Packed<'_>, path: &[u8]) -> Result<Indexed, Malformed> {
    let tag = packed.byte()?;
    let ordinal = packed.small()?;
    let mode = packed.small()?;
    let (uid, gid, mtime) = (packed.number()?, packed.number()?, packed.signed()?);
    let mut body = Body::default();
    let kind = match tag & !HAS_XATTRS {
        0 => {
            let size = packed.number()?;
            body.offset = packed.number()?.checked_sub(1);
            if size > 0 {
                body.hash = packed.array()?;
            }
            Kind::File { size }
        }
        1 => Kind::Hardlink { target: packed.bytes()?.to_vec() },
        2 => Kind::Symlink { target: packed.bytes()?.to_vec() },
        3 => Kind::CharacterDevice { major: packed.small()?, minor: packed.small()? },
        4 => Kind::BlockDevice { major: packed.small()?, minor: packed.small()? },
        5 => Kind::Directory,
        6 => Kind::Fifo,
        _ => return Err(packed.malformed()),
    };
    let mut entry = Entry { mode, uid, gid, mtime, ..Entry::new(path, kind, mode) };
    if tag & HAS_XATTRS != 0 {
        for _ in 0..packed.number()? {
            entry.xattrs.insert(packed.bytes()?.to_vec(), packed.bytes()?.to_vec());
        }
    }
    Ok(Indexed { entry, ordinal, body })
}

/// The entries of an index; see [`LayerIndex::iter`].
pub struct Iter<'a> {
    packed: Packed<'a>,
    path: Vec<u8>,
}

impl Iterator for Iter<'_> {
    type Item = Indexed;

    fn next(&mut self) -> Option<Indexed> {
        if self.packed.is_at_end() {
            return None;
        }
        let sound = "because every record was read when the index was made";
        read_path(&mut self.packed, &mut self.path).expect(sound);
        Some(read_record(&mut self.packed, &self.path).expect(sound))
    }
}

/// Paths and the positions of their records.
pub(super) struct Records<'a> {
    packed: Packed<'a>,
    path: Vec<u8>,
}

impl Iterator for Records<'_> {
    type Item = (Vec<u8>, u32);

    fn next(&mut self) -> Option<Self::Item> {
        if self.packed.is_at_end() {
            return None;
        }
        let sound = "because every record was read when the index was made";
        read_path(&mut self.packed, &mut self.path).expect(sound);
        let record = u32::try_from(self.packed.position()).expect("because an index has a bound below 2^32");
        read_record(&mut self.packed, &self.path).expect(sound);
        Some((self.path.clone(), record))
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, IndexBuilder, IndexError, LayerIndex};
    use crate::tar::{Entry, Kind};

    fn packed(entry: &Entry) -> Vec<u8> {
        let mut builder = IndexBuilder::default();
        builder.push(entry, &Body::default()).unwrap();
        builder.finish().as_bytes().to_vec()
    }

    #[test]
    fn what_no_layer_can_hold_is_taken_from_nobody_else() {
        let long = vec![b'x'; 5000];
        let link = |target: &[u8]| Kind::Symlink { target: target.to_vec() };
        for (path, kind) in [
            (&b"../etc"[..], Kind::Directory),
            (b"/etc", Kind::Directory),
            (b"etc//a", Kind::Fifo),
            (b"", Kind::Fifo),
            (&long, Kind::Directory),
            (b"a", link(b"")),
            (b"a", Kind::Hardlink { target: b"../b".to_vec() }),
        ] {
            let bytes = packed(&Entry::new(path, kind, 0o755));
            let error = LayerIndex::from_elsewhere(bytes).unwrap_err();
            assert!(matches!(error, IndexError::Tar { .. }), "{}: {error}", path.escape_ascii());
        }
        for (path, kind) in [(&b""[..], Kind::Directory), (b"a/.wh.b", Kind::Fifo), (b"a", link(b"../../b"))]
        {
            assert!(LayerIndex::from_elsewhere(packed(&Entry::new(path, kind, 0o755))).is_ok());
        }
        assert!(LayerIndex::from_elsewhere(b"oxli\x01".to_vec()).is_err());
    }
}
