//! PAX records: what the ustar header has no room for.
//!
//! ```text
//! 30 mtime=1700000000.123456789\n
//! └┬ whole record's bytes, this number and the newline included
//! ```
//!
//! Written: `SCHILY.devmajor`, `SCHILY.devminor`, `SCHILY.xattr.*`, `gid`, `linkpath`, `mtime`,
//! `path`, `size`, `uid`, and only where needed. Read besides: `GNU.sparse.*`. Everything else
//! (times of access, comments, ACLs, other tools' encodings of attributes) is ignored.
//!
//! POSIX.1-2017, pax, "pax Extended Header"

use std::collections::BTreeMap;

use super::error::TarError;
use super::limit::{
    MAX_LINK_BYTES, MAX_PATH_BYTES, MAX_SPARSE_SEGMENTS, MAX_XATTR_BYTES, MAX_XATTR_NAME_BYTES, MAX_XATTRS,
};
use super::sparse::Segment;

/// Before the name of an extended attribute.
pub(super) const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// Appends one record.
pub(super) fn put(records: &mut Vec<u8>, key: &[&[u8]], value: &[u8]) {
    let key_bytes: usize = key.iter().map(|part| part.len()).sum();
    // Space, equals sign, newline.
    let rest = key_bytes + value.len() + 3;
    let mut length = rest + digits(rest);
    if rest + digits(length) > length {
        length = rest + digits(length);
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    for part in key {
        records.extend_from_slice(part);
    }
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// What extended headers said of one entry, or globally.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<i64>,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) sparse: SparseRecords,
}

/// The `GNU.sparse.*` records of formats 0.0, 0.1 and 1.0.
#[derive(Debug, Default)]
pub(super) struct SparseRecords {
    pub(super) major: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) map: Vec<Segment>,
    /// A 0.0 offset whose length is still to come.
    offset: Option<u64>,
}

impl Records {
    /// Reads an extended header's content over what is known already; later records win.
    pub(super) fn read(&mut self, mut text: &[u8], offset: u64) -> Result<(), TarError> {
        while !text.is_empty() {
            let (key, value, rest) =
                split(text).ok_or_else(|| TarError::Record { offset, text: text.to_vec() })?;
            self.set(key, value, offset)?;
            text = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8], offset: u64) -> Result<(), TarError> {
        if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
            return self.set_xattr(name, value, offset);
        }
        if let Some(name) = key.strip_prefix(b"GNU.sparse.") {
            return self.sparse.set(name, value, offset);
        }
        match key {
            b"path" => self.path = bounded("path", value, MAX_PATH_BYTES, offset)?,
            b"linkpath" => self.link = bounded("link", value, MAX_LINK_BYTES, offset)?,
            b"size" => self.size = unsigned("PAX size", value, offset)?,
            b"uid" => self.uid = unsigned("PAX uid", value, offset)?,
            b"gid" => self.gid = unsigned("PAX gid", value, offset)?,
            b"mtime" => self.mtime = seconds(value, offset)?,
            b"SCHILY.devmajor" => self.major = device("PAX device number", value, offset)?,
            b"SCHILY.devminor" => self.minor = device("PAX device number", value, offset)?,
            _ => {}
        }
        Ok(())
    }

    fn set_xattr(&mut self, name: &[u8], value: &[u8], offset: u64) -> Result<(), TarError> {
        if name.is_empty() || name.contains(&0) {
            return Err(TarError::Record { offset, text: [XATTR_PREFIX, name].concat() });
        }
        limit("name of an extended attribute", name.len(), MAX_XATTR_NAME_BYTES, offset)?;
        limit("extended attribute", value.len(), MAX_XATTR_BYTES, offset)?;
        self.xattrs.insert(name.to_vec(), value.to_vec());
        limit("list of extended attributes", self.xattrs.len(), MAX_XATTRS, offset)
    }
}

impl SparseRecords {
    fn set(&mut self, name: &[u8], value: &[u8], offset: u64) -> Result<(), TarError> {
        match name {
            b"major" => self.major = unsigned("GNU.sparse.major", value, offset)?,
            b"name" => self.name = bounded("path", value, MAX_PATH_BYTES, offset)?,
            b"size" | b"realsize" => self.size = unsigned("GNU.sparse size", value, offset)?,
            b"offset" => self.offset = unsigned("GNU.sparse.offset", value, offset)?,
            b"numbytes" => {
                let bytes = unsigned("GNU.sparse.numbytes", value, offset)?;
                let (Some(start), Some(bytes)) = (self.offset.take(), bytes) else {
                    return Err(TarError::Sparse { offset, fault: "has a length without an offset" });
                };
                self.push(Segment { start, bytes }, offset)?;
            }
            b"map" => self.set_map(value, offset)?,
            _ => {}
        }
        Ok(())
    }

    fn set_map(&mut self, value: &[u8], offset: u64) -> Result<(), TarError> {
        self.map.clear();
        if value.is_empty() {
            return Ok(());
        }
        let mut numbers = value.split(|&byte| byte == b',');
        while let Some(start) = numbers.next() {
            let Some(bytes) = numbers.next() else {
                return Err(TarError::Sparse { offset, fault: "has an offset without a length" });
            };
            let segment =
                (unsigned("GNU.sparse.map", start, offset)?, unsigned("GNU.sparse.map", bytes, offset)?);
            let (Some(start), Some(bytes)) = segment else {
                return Err(TarError::Sparse { offset, fault: "has an empty number" });
            };
            self.push(Segment { start, bytes }, offset)?;
        }
        Ok(())
    }

    fn push(&mut self, segment: Segment, offset: u64) -> Result<(), TarError> {
        self.map.push(segment);
        limit("sparse map", self.map.len(), MAX_SPARSE_SEGMENTS, offset)
    }
}

/// Splits the first record off: key, value, the records after it.
fn split(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = text.iter().take(20).position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&text[..space])?).ok()?;
    let (record, rest) = text.split_at_checked(length)?;
    let line = record.strip_suffix(b"\n")?.get(space + 1..)?;
    let equals = line.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&line[..equals], &line[equals + 1..]);
    (!key.is_empty()).then_some((key, value, rest))
}

/// Reads digits and nothing else.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut value: u64 = 0;
    for &digit in text {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    Some(value)
}

/// Reads a number; an empty value takes an earlier record back, says POSIX.
fn unsigned(field: &'static str, value: &[u8], offset: u64) -> Result<Option<u64>, TarError> {
    if value.is_empty() {
        return Ok(None);
    }
    match decimal(value) {
        Some(number) => Ok(Some(number)),
        None => Err(TarError::Number { offset, field, text: value.to_vec() }),
    }
}

fn device(field: &'static str, value: &[u8], offset: u64) -> Result<Option<u32>, TarError> {
    let number = unsigned(field, value, offset)?.map(u32::try_from).transpose();
    number.map_err(|_| TarError::Number { offset, field, text: value.to_vec() })
}

/// Reads a time, `-1.5` say, and rounds it down to whole seconds.
fn seconds(value: &[u8], offset: u64) -> Result<Option<i64>, TarError> {
    if value.is_empty() {
        return Ok(None);
    }
    let wrong = || TarError::Number { offset, field: "PAX mtime", text: value.to_vec() };
    let (negative, text) = match value.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, value),
    };
    let (whole, fraction) = match text.iter().position(|&byte| byte == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(wrong());
    }
    let whole = i64::try_from(decimal(whole).ok_or_else(wrong)?).map_err(|_| wrong())?;
    let down = i64::from(fraction.iter().any(|&digit| digit != b'0'));
    Ok(Some(if negative { -whole - down } else { whole }))
}

fn bounded(what: &'static str, value: &[u8], max: usize, offset: u64) -> Result<Option<Vec<u8>>, TarError> {
    limit(what, value.len(), max, offset)?;
    if value.contains(&0) {
        return Err(TarError::Nul { path: value.to_vec() });
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

fn limit(what: &'static str, size: usize, max: usize, offset: u64) -> Result<(), TarError> {
    if size > max {
        return Err(TarError::Limit { what, offset, size: size as u64, limit: max as u64 });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Records, put};
    use crate::tar::TarError;

    fn read(text: &[u8]) -> Result<Records, TarError> {
        let mut records = Records::default();
        records.read(text, 0).map(|()| records)
    }

    fn records(pairs: &[(&str, &str)]) -> Result<Records, TarError> {
        let mut text = Vec::new();
        for (key, value) in pairs {
            put(&mut text, &[key.as_bytes()], value.as_bytes());
        }
        read(&text)
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for bytes in [0, 1, 2, 3, 85, 86, 87, 88, 89, 90, 91, 985, 986, 987, 988, 989, 990] {
            let mut records = Vec::new();
            put(&mut records, &[b"path"], &vec![b'a'; bytes]);
            let stated = records.split(|&byte| byte == b' ').next().unwrap();
            assert_eq!(std::str::from_utf8(stated).unwrap(), records.len().to_string());
            assert_eq!(read(&records).unwrap().path.unwrap_or_default().len(), bytes);
        }
    }

    #[test]
    fn fractions_of_seconds_round_down() {
        for (text, seconds) in [("1.9", 1), ("-1.5", -2), ("-1.0", -1), ("-0.1", -1), ("0", 0), ("7.", 7)] {
            let mut records = Vec::new();
            put(&mut records, &[b"mtime"], text.as_bytes());
            assert_eq!(read(&records).unwrap().mtime, Some(seconds), "{text}");
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        for text in
            [&b"6 a=b"[..], b"7 a=b\n", b"6 a=bc\n", b"5 ab\n", b"5 =b\n", b"x a=b\n", b"6a=b\n", b"0 a=b\n"]
        {
            assert!(matches!(read(text), Err(TarError::Record { .. })), "{}", text.escape_ascii());
        }
        assert!(read(b"6 a=b\n").is_ok());
    }

    #[test]
    fn an_empty_value_takes_a_record_back() {
        assert_eq!(records(&[("path", "a"), ("path", "")]).unwrap().path, None);
        assert_eq!(records(&[("path", "a"), ("path", "b")]).unwrap().path.unwrap(), b"b");
    }

    #[test]
    fn a_path_with_a_nul_is_refused() {
        assert!(matches!(records(&[("path", "a\0b")]), Err(TarError::Nul { .. })));
    }

    #[test]
    fn attributes_hold_any_bytes() {
        let read = records(&[("SCHILY.xattr.user.a", "\n\0=")]).unwrap();
        assert_eq!(read.xattrs[&b"user.a"[..]], b"\n\0=");
    }

    #[test]
    fn sparse_maps_of_both_spellings_are_the_same() {
        let (offset, bytes) = ("GNU.sparse.offset", "GNU.sparse.numbytes");
        let pairs = records(&[(offset, "1"), (bytes, "2"), (offset, "9"), (bytes, "0")]);
        let list = records(&[("GNU.sparse.map", "1,2,9,0")]);
        assert_eq!(pairs.unwrap().sparse.map, list.unwrap().sparse.map);
        assert!(records(&[("GNU.sparse.map", "1,2,9")]).is_err());
        assert!(records(&[(bytes, "2")]).is_err());
    }
}
