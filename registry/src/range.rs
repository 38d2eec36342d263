//! The `Range` request header: which bytes of a blob are asked for.
//!
//! ```text
//! bytes=0-99        bytes=100-        bytes=-50        bytes=0-9,20-29,90-
//! ```
//!
//! What cannot be read is ignored and the whole is served; what lies behind the end is an error.
//! Several ranges are answered as `multipart/byteranges`, which podman's partial pulls rely on.
//!
//! RFC 9110, section 14

use std::ops::Range;

/// More ranges than this are answered with the whole: podman sends up to 1024 for one layer.
pub const MAX_RANGES: usize = 2048;

/// What a `Range` header asks of content of a known size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Everything: no header, or one to be ignored.
    Whole,
    /// These bytes, in the client's order; never empty, no range is.
    Parts(Vec<Range<u64>>),
    /// Nothing that was asked for exists: 416.
    Nothing,
}

/// Reads a `Range` header.
pub fn read(header: Option<&str>, size: u64) -> Wanted {
    let Some(list) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
        return Wanted::Whole;
    };
    let mut parts = Vec::new();
    for (index, text) in list.split(',').enumerate() {
        match one(text.trim(), size) {
            None => return Wanted::Whole,
            Some(_) if index >= MAX_RANGES => return Wanted::Whole,
            Some(range) if range.is_empty() => {}
            Some(range) => parts.push(range),
        }
    }
    // Overlapping ranges would let a small request fetch the blob many times over.
    let total = parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.end - part.start));
    match (parts.is_empty(), total) {
        (true, _) => Wanted::Nothing,
        (false, Some(total)) if total <= size => Wanted::Parts(parts),
        (false, _) => Wanted::Whole,
    }
}

/// Reads one range: `None` if it is unreadable, an empty one if it lies behind the end.
fn one(text: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = text.split_once('-')?;
    match (first, last) {
        ("", suffix) => Some(size.saturating_sub(number(suffix)?)..size),
        (first, "") => Some(number(first)?.min(size)..size),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| first.min(size)..last.saturating_add(1).min(size))
        }
    }
}

/// Digits only: `parse` alone would take a sign.
pub(crate) fn number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Returns the `Content-Range` value of a part.
pub fn content_range(part: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Wanted, content_range, read};

    fn part(range: std::ops::Range<u64>) -> Wanted {
        Wanted::Parts(vec![range])
    }

    #[test]
    fn ends_are_clamped_to_the_size() {
        assert_eq!(read(Some("bytes=2-99"), 10), part(2..10));
        assert_eq!(read(Some("bytes=2-"), 10), part(2..10));
        assert_eq!(read(Some("bytes=-99"), 10), part(0..10));
        assert_eq!(read(Some("bytes=-3"), 10), part(7..10));
        assert_eq!(read(Some("bytes=0-0"), 10), part(0..1));
    }

    #[test]
    fn a_start_at_the_end_is_unsatisfiable() {
        for header in ["bytes=10-", "bytes=10-12", "bytes=11-12,12-", "bytes=-0"] {
            assert_eq!(read(Some(header), 10), Wanted::Nothing, "{header}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_ignored() {
        for header in
            ["", "bytes", "lines=1-2", "bytes=5-2", "bytes=a-b", "bytes=", "bytes=1-2,x", "bytes=+1-2"]
        {
            assert_eq!(read(Some(header), 10), Wanted::Whole, "{header}");
        }
        assert_eq!(read(None, 10), Wanted::Whole);
    }

    #[test]
    fn several_ranges_keep_their_order_and_lose_those_behind_the_end() {
        assert_eq!(read(Some("bytes=8-9, 0-1,20-30"), 10), Wanted::Parts(vec![8..10, 0..2]));
    }

    #[test]
    fn ranges_that_ask_for_more_than_there_is_get_the_whole() {
        assert_eq!(read(Some("bytes=0-9,0-9"), 10), Wanted::Whole);
        let many = vec!["0-0"; 3000].join(",");
        assert_eq!(read(Some(&format!("bytes={many}")), 1 << 20), Wanted::Whole);
    }

    #[test]
    fn a_part_says_its_first_and_last_byte() {
        assert_eq!(content_range(&(2..5), 10), "bytes 2-4/10");
    }

    proptest! {
        #[test]
        fn parts_always_lie_within_the_content(header in "bytes=[0-9,-]{0,24}", size in 0_u64..200) {
            if let Wanted::Parts(parts) = read(Some(&header), size) {
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
                prop_assert!(parts.iter().map(|part| part.end - part.start).sum::<u64>() <= size);
            }
        }
    }
}
