//! A listing as bytes.
//!
//! ```text
//! blake3 of the rest 32 │ "oxtl" 1 │ device u64 │ root: mode uid gid u32, mtime i64 │ record …
//!   record   path │ kind u8 │ size or device number u64 │ target │ mode u32 │ uid gid u64 │ mtime i64, ns u64
//!            │ ctime i64, ns u64 │ inode u64 │ names u64 │ 0, or 1 and blake3 of the content │ u32 attributes
//!   path, target, name and value of an attribute: u32 length, bytes
//! ```
//!
//! Little endian. It is read by the machine that wrote it, and only as long as that runs: what is damaged,
//! or of another version, is no listing.

use std::sync::Arc;

use super::{Listing, Own, Record};
use crate::tar::{Entry, Kind};

const HASH: usize = 32;
const MAGIC: &[u8; 5] = b"oxtl\x01";

/// The bytes are no listing, or of another version.
#[derive(Debug, thiserror::Error)]
#[error("not a listing of a tree, or a damaged one")]
pub struct NoListing;

impl Listing {
    /// Packs it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; HASH];
        bytes.extend(MAGIC);
        bytes.extend(self.device.to_le_bytes());
        for number in [self.root.mode, self.root.uid, self.root.gid] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.root.mtime.to_le_bytes());
        for record in &self.records {
            record.put(&mut bytes);
        }
        let hash = blake3::hash(&bytes[HASH..]);
        bytes[..HASH].copy_from_slice(hash.as_bytes());
        bytes
    }

    /// Unpacks it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NoListing> {
        Self::parse(bytes).ok_or(NoListing)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (hash, rest) = bytes.split_at_checked(HASH)?;
        if blake3::hash(rest).as_bytes() != hash {
            return None;
        }
        let mut at = Cursor(rest.strip_prefix(MAGIC)?);
        let device = at.long()?;
        let (mode, uid, gid, mtime) = (at.word()?, at.word()?, at.word()?, at.signed()?);
        let mut records = Vec::new();
        while !at.0.is_empty() {
            records.push(Arc::new(Record::take(&mut at)?));
        }
        Some(Self { device, root: Own { mode, uid, gid, mtime }, records })
    }
}

impl Record {
    fn put(&self, bytes: &mut Vec<u8>) {
        let entry = &self.entry;
        put_bytes(bytes, &entry.path);
        let device = |major: u32, minor: u32| u64::from(major) << 32 | u64::from(minor);
        let (kind, number, target): (u8, u64, &[u8]) = match &entry.kind {
            Kind::File { size } => (0, *size, b""),
            Kind::Directory => (1, 0, b""),
            Kind::Symlink { target } => (2, 0, target),
            Kind::Fifo => (3, 0, b""),
            Kind::CharacterDevice { major, minor } => (4, device(*major, *minor), b""),
            Kind::BlockDevice { major, minor } => (5, device(*major, *minor), b""),
            // Every name of a file is a file here.
            Kind::Hardlink { target } => (6, 0, target),
        };
        bytes.push(kind);
        bytes.extend(number.to_le_bytes());
        put_bytes(bytes, target);
        bytes.extend(entry.mode.to_le_bytes());
        for number in [entry.uid, entry.gid] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(entry.mtime.to_le_bytes());
        bytes.extend(self.nanoseconds.to_le_bytes());
        bytes.extend(self.changed.0.to_le_bytes());
        bytes.extend(self.changed.1.to_le_bytes());
        bytes.extend(self.inode.to_le_bytes());
        bytes.extend(self.links.to_le_bytes());
        bytes.push(self.content.is_some().into());
        bytes.extend(self.content.iter().flatten());
        put_length(bytes, entry.xattrs.len());
        for (name, value) in &entry.xattrs {
            put_bytes(bytes, name);
            put_bytes(bytes, value);
        }
    }

    fn take(at: &mut Cursor<'_>) -> Option<Self> {
        let path = at.bytes()?.to_vec();
        let (kind, number, target) = (at.take(1)?[0], at.long()?, at.bytes()?.to_vec());
        let [major, minor] = [number >> 32, number & 0xffff_ffff].map(|half| u32::try_from(half).ok());
        let kind = match kind {
            0 => Kind::File { size: number },
            1 => Kind::Directory,
            2 => Kind::Symlink { target },
            3 => Kind::Fifo,
            4 => Kind::CharacterDevice { major: major?, minor: minor? },
            5 => Kind::BlockDevice { major: major?, minor: minor? },
            _ => return None,
        };
        let mut entry = Entry::new(path, kind, at.word()?);
        (entry.uid, entry.gid, entry.mtime) = (at.long()?, at.long()?, at.signed()?);
        let (nanoseconds, changed) = (at.long()?, (at.signed()?, at.long()?));
        let (inode, links) = (at.long()?, at.long()?);
        let content = match at.take(1)?[0] {
            0 => None,
            _ => Some(*at.take(HASH)?.first_chunk()?),
        };
        for _ in 0..at.word()? {
            let (name, value) = (at.bytes()?.to_vec(), at.bytes()?.to_vec());
            entry.xattrs.insert(name, value);
        }
        Some(Self { entry, inode, links, nanoseconds, changed, content })
    }
}

fn put_bytes(bytes: &mut Vec<u8>, part: &[u8]) {
    put_length(bytes, part.len());
    bytes.extend(part);
}

fn put_length(bytes: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).expect("because paths and attributes have at most 64 KiB");
    bytes.extend(length.to_le_bytes());
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.word()?;
        self.take(usize::try_from(length).ok()?)
    }

    fn word(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }

    fn long(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }

    fn signed(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }
}
