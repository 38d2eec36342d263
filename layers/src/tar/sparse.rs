//! Sparse files in archives, as GNU tar stores them in four formats, read as dense content.
//!
//! ```text
//! old GNU   flag 'S': 4 segments in the header, 21 in each block that follows it
//! PAX 0.0   GNU.sparse.offset and GNU.sparse.numbytes, once per segment
//! PAX 0.1   GNU.sparse.map=offset,bytes,offset,bytes,…
//! PAX 1.0   decimal lines before the content: count, offset, bytes, offset, bytes, … zeros to 512
//! ```
//!
//! In all of them only the segments' bytes are stored, one after the other.
//!
//! GNU tar manual, "Storing Sparse Files"

use super::block::{BLOCK_BYTES, Block, GNU_MORE, GNU_SPARSE, number};
use super::error::TarError;
use super::limit::MAX_SPARSE_SEGMENTS;
use super::pax;

/// One stretch of a sparse file that is stored; the rest reads as zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// Where it stands in the file.
    pub(super) start: u64,
    /// How long it is.
    pub(super) bytes: u64,
}

/// Checks a map: in order, without overlap, within the file, and as long as what is stored.
pub(super) fn check(map: &[Segment], size: u64, stored: u64, offset: u64) -> Result<(), TarError> {
    let (mut end, mut sum) = (0, 0);
    for segment in map {
        if segment.start < end {
            return Err(TarError::Sparse { offset, fault: "is not in order" });
        }
        end = match segment.start.checked_add(segment.bytes) {
            Some(end) if end <= size => end,
            _ => return Err(TarError::Sparse { offset, fault: "goes beyond the file" }),
        };
        // No overflow: the segments do not overlap and end at `size`.
        sum += segment.bytes;
    }
    if sum != stored {
        return Err(TarError::Sparse { offset, fault: "differs in length from what is stored" });
    }
    Ok(())
}

/// Reads the segments of an old GNU header; tells whether a block with more follows.
pub(super) fn header_segments(block: &Block, map: &mut Vec<Segment>, offset: u64) -> Result<bool, TarError> {
    read_segments(&block[GNU_SPARSE], map, offset)?;
    Ok(block[GNU_MORE] != 0)
}

/// Reads a block of further segments; tells whether another one follows.
pub(super) fn more_segments(block: &Block, map: &mut Vec<Segment>, offset: u64) -> Result<bool, TarError> {
    const MORE: usize = 21 * 24;
    read_segments(&block[..MORE], map, offset)?;
    Ok(block[MORE] != 0)
}

fn read_segments(table: &[u8], map: &mut Vec<Segment>, offset: u64) -> Result<(), TarError> {
    for pair in table.chunks_exact(24) {
        let (start, bytes) = pair.split_at(12);
        // The first empty offset ends the table.
        if start[0] == 0 {
            return Ok(());
        }
        let read = |field: &[u8]| number(field).and_then(|number| u64::try_from(number).ok());
        let (Some(start), Some(bytes)) = (read(start), read(bytes)) else {
            return Err(TarError::Sparse { offset, fault: "holds no number" });
        };
        push(map, Segment { start, bytes }, offset)?;
    }
    Ok(())
}

fn push(map: &mut Vec<Segment>, segment: Segment, offset: u64) -> Result<(), TarError> {
    if map.len() == MAX_SPARSE_SEGMENTS {
        let limit = MAX_SPARSE_SEGMENTS as u64;
        return Err(TarError::Limit { what: "sparse map", offset, size: limit + 1, limit });
    }
    map.push(segment);
    Ok(())
}

/// The map of a 1.0 file, read block by block from the start of its content.
#[derive(Debug, Default)]
pub(super) struct LeadingMap {
    map: Vec<Segment>,
    /// Segments announced by the first line.
    count: Option<u64>,
    /// An offset whose length is still to come.
    start: Option<u64>,
    /// Digits of the number that the last block cut.
    digits: Vec<u8>,
}

impl LeadingMap {
    /// Takes one block; returns the map once it is whole.
    pub(super) fn take(&mut self, block: &Block, offset: u64) -> Result<Option<Vec<Segment>>, TarError> {
        for &byte in block.iter().take(BLOCK_BYTES) {
            if byte != b'\n' {
                // 20 digits are 64 bits.
                if self.digits.len() == 20 {
                    return Err(TarError::Sparse { offset, fault: "holds no number" });
                }
                self.digits.push(byte);
                continue;
            }
            let number = pax::decimal(&self.digits);
            self.digits.clear();
            self.number(number.ok_or(TarError::Sparse { offset, fault: "holds no number" })?, offset)?;
            if self.count == Some(self.map.len() as u64) {
                return Ok(Some(std::mem::take(&mut self.map)));
            }
        }
        Ok(None)
    }

    fn number(&mut self, number: u64, offset: u64) -> Result<(), TarError> {
        if self.count.is_none() {
            self.count = Some(number);
        } else if let Some(start) = self.start.take() {
            push(&mut self.map, Segment { start, bytes: number }, offset)?;
        } else {
            self.start = Some(number);
        }
        Ok(())
    }
}

/// Where the reading of a file's content stands.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Segments not yet read to their end; the first may be begun.
    rest: std::vec::IntoIter<Segment>,
    current: Option<Segment>,
    /// Next byte of the file.
    at: u64,
    size: u64,
}

/// What comes next in a file's content.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// So many stored bytes.
    Stored(u64),
    /// So many zeros.
    Hole(u64),
    /// Nothing.
    End,
}

impl Progress {
    /// Starts a file of `size` bytes, of which the map's are stored.
    pub(super) fn new(map: Vec<Segment>, size: u64) -> Self {
        let mut rest = map.into_iter();
        let current = rest.next();
        Self { rest, current, at: 0, size }
    }

    /// Starts a file that is stored whole.
    pub(super) fn dense(size: u64) -> Self {
        Self { rest: Vec::new().into_iter(), current: Some(Segment { start: 0, bytes: size }), at: 0, size }
    }

    /// Says what comes next.
    pub(super) fn next(&mut self) -> Next {
        while let Some(segment) = self.current {
            if self.at < segment.start {
                return Next::Hole(segment.start - self.at);
            }
            if self.at < segment.start + segment.bytes {
                return Next::Stored(segment.start + segment.bytes - self.at);
            }
            self.current = self.rest.next();
        }
        if self.at < self.size { Next::Hole(self.size - self.at) } else { Next::End }
    }

    /// Moves on by bytes that were read.
    pub(super) fn advance(&mut self, bytes: u64) {
        self.at += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::{LeadingMap, Next, Progress, Segment, check};

    #[test]
    fn holes_and_segments_alternate_to_the_end() {
        let map = vec![Segment { start: 2, bytes: 3 }, Segment { start: 9, bytes: 0 }];
        let mut progress = Progress::new(map, 9);
        let mut seen = Vec::new();
        loop {
            let next = progress.next();
            match next {
                Next::Stored(bytes) | Next::Hole(bytes) => progress.advance(bytes),
                Next::End => break,
            }
            seen.push(next);
        }
        assert_eq!(seen, [Next::Hole(2), Next::Stored(3), Next::Hole(4)]);
    }

    #[test]
    fn a_map_that_does_not_describe_the_file_is_refused() {
        let segment = |start, bytes| Segment { start, bytes };
        assert!(check(&[segment(0, 2), segment(4, 2)], 8, 4, 0).is_ok());
        assert!(check(&[segment(0, 2), segment(1, 2)], 8, 4, 0).is_err());
        assert!(check(&[segment(7, 2)], 8, 2, 0).is_err());
        assert!(check(&[segment(u64::MAX, 2)], 8, 2, 0).is_err());
        assert!(check(&[segment(0, 2)], 8, 3, 0).is_err());
    }

    #[test]
    fn a_leading_map_may_be_cut_by_blocks_anywhere() {
        let mut text = b"100\n".to_vec();
        for at in 0..100 {
            text.extend_from_slice(format!("{}\n{}\n", at * 1000, at).as_bytes());
        }
        text.resize(text.len().next_multiple_of(512), 0);
        let mut leading = LeadingMap::default();
        let mut map = None;
        for block in text.chunks(512) {
            assert!(map.is_none());
            map = leading.take(block.try_into().unwrap(), 0).unwrap();
        }
        assert_eq!(map.unwrap()[99], Segment { start: 99_000, bytes: 99 });
    }
}
