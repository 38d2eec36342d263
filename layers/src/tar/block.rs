//! The header block: where its fields stand, and how text and numbers are written in them.
//!
//! ```text
//!   0 name 100      124 size 12    157 linkname 100   297 gname 32      345 prefix 155 (ustar)
//! 100 mode 8        136 mtime 12   257 magic 8        329 devmajor 8    345 atime, ctime 12+12 (GNU)
//! 108 uid 8         148 sum 8      265 uname 32       337 devminor 8    386 sparse 4×24, more 1, size 12 (GNU)
//! 116 gid 8         156 flag 1
//! ```
//!
//! Numbers are octal text, NUL at the end. GNU writes what does not fit as a big-endian two's
//! complement number whose first bit is set ("base-256"); this crate reads that and never writes it.
//!
//! POSIX.1-2017, pax, "ustar Interchange Format"

use std::ops::Range;

/// Everything in an archive is a multiple of this.
pub(super) const BLOCK_BYTES: usize = 512;

pub(super) type Block = [u8; BLOCK_BYTES];

pub(super) const NAME: Range<usize> = 0..100;
pub(super) const MODE: Range<usize> = 100..108;
pub(super) const UID: Range<usize> = 108..116;
pub(super) const GID: Range<usize> = 116..124;
pub(super) const SIZE: Range<usize> = 124..136;
pub(super) const MTIME: Range<usize> = 136..148;
pub(super) const SUM: Range<usize> = 148..156;
pub(super) const FLAG: usize = 156;
pub(super) const LINK: Range<usize> = 157..257;
pub(super) const MAGIC: Range<usize> = 257..265;
pub(super) const MAJOR: Range<usize> = 329..337;
pub(super) const MINOR: Range<usize> = 337..345;
pub(super) const PREFIX: Range<usize> = 345..500;
pub(super) const GNU_ATIME: Range<usize> = 345..357;
pub(super) const GNU_CTIME: Range<usize> = 357..369;
pub(super) const GNU_SPARSE: Range<usize> = 386..482;
pub(super) const GNU_MORE: usize = 482;
pub(super) const GNU_SIZE: Range<usize> = 483..495;

pub(super) const USTAR_MAGIC: &[u8; 8] = b"ustar\x0000";
pub(super) const GNU_MAGIC: &[u8; 8] = b"ustar  \0";

/// Largest number that fits `field_bytes` bytes of octal text and a NUL.
pub(super) const fn octal_max(field_bytes: usize) -> u64 {
    (1 << (3 * (field_bytes - 1))) - 1
}

/// Writes a number that is known to fit; one that is not writes its low digits.
pub(super) fn put_octal(field: &mut [u8], value: u64) {
    let mut rest = value;
    let (end, digits) = field.split_last_mut().expect("because every numeric field has bytes");
    *end = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest & 7) as u8;
        rest >>= 3;
    }
}

/// Writes the sum over the finished block: six digits, NUL, space, as every tool does.
pub(super) fn put_sum(block: &mut Block) {
    block[SUM].fill(b' ');
    let sum = sums(block).0;
    put_octal(&mut block[SUM.start..SUM.end - 1], sum);
}

/// Returns the sum of the block's bytes, as unsigned and as signed, its own field counted as spaces.
///
/// Old tars of machines where `char` is signed wrote the second.
pub(super) fn sums(block: &Block) -> (u64, i64) {
    let (mut unsigned, mut high) = (0, 0);
    for &byte in block {
        unsigned += u64::from(byte);
        high += i64::from(byte >> 7);
    }
    for &byte in &block[SUM] {
        unsigned = unsigned - u64::from(byte) + u64::from(b' ');
        high -= i64::from(byte >> 7);
    }
    // A block sums to 512 × 255 at most.
    (unsigned, unsigned as i64 - 256 * high)
}

/// Returns the bytes before the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    match field.iter().position(|&byte| byte == 0) {
        Some(end) => &field[..end],
        None => field,
    }
}

/// Reads a number, octal or base-256; an empty field is zero. `None`: no number, or beyond 64 bits.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 != 0 { base256(field) } else { octal(field) }
}

fn octal(field: &[u8]) -> Option<i64> {
    // Some producers pad with spaces at the front, some end with a space.
    let is_padding = |&byte: &u8| byte == b' ' || byte == 0;
    let Some(start) = field.iter().position(|byte| !is_padding(byte)) else {
        return Some(0);
    };
    let digits = &field[start..];
    let end = digits.iter().position(is_padding).unwrap_or(digits.len());
    let mut value: i64 = 0;
    for &digit in &digits[..end] {
        if !(b'0'..=b'7').contains(&digit) {
            return None;
        }
        value = value.checked_mul(8)?.checked_add(i64::from(digit - b'0'))?;
    }
    Some(value)
}

fn base256(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let filler = if negative { 0xff } else { 0x00 };
    let first = if negative { field[0] } else { field[0] & 0x7f };
    let (front, low) = field.split_at(field.len().saturating_sub(8));
    if let Some((_, rest)) = front.split_first()
        && (first != filler || rest.iter().any(|&byte| byte != filler))
    {
        return None;
    }
    let mut bytes = [filler; 8];
    bytes[8 - low.len()..].copy_from_slice(low);
    if front.is_empty() {
        bytes[8 - low.len()] = first;
    }
    let value = i64::from_be_bytes(bytes);
    ((value < 0) == negative).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::{BLOCK_BYTES, SUM, number, octal_max, put_octal, put_sum, sums};

    #[test]
    fn numbers_are_octal_with_a_nul() {
        let mut field = [b'x'; 8];
        put_octal(&mut field, 0o755);
        assert_eq!(&field, b"0000755\0");
        assert_eq!(octal_max(8), (1 << 21) - 1);
        assert_eq!(octal_max(12), (8 << 30) - 1);
    }

    #[test]
    fn octal_is_read_with_any_padding() {
        for field in [&b"0000755\0"[..], b"    755 ", b"755\0\0\0\0\0", b"  755\0xx", b"00000755"] {
            assert_eq!(number(field), Some(0o755), "{}", field.escape_ascii());
        }
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"        "), Some(0));
    }

    #[test]
    fn a_field_without_a_number_is_refused() {
        for field in [&b"0000758\0"[..], b"-000001\0", b"0x1\0\0\0\0\0", b"7777777777777777777777777"] {
            assert_eq!(number(field), None, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn base256_is_read_with_its_sign() {
        assert_eq!(number(b"\x80\0\0\0\0\0\0\0\0\0\x01\x02"), Some(258));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(number(b"\x80\0\0\0\0\x20\0\0"), Some(0x20_0000));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
    }

    #[test]
    fn base256_beyond_64_bits_is_refused() {
        assert_eq!(number(b"\x80\0\0\x01\0\0\0\0\0\0\0\0"), None);
        assert_eq!(number(b"\x80\0\0\0\x80\0\0\0\0\0\0\0"), None);
        assert_eq!(number(b"\xc0\0\0\0\0\0\0\0\0\0\0\0"), None);
    }

    #[test]
    fn the_signed_sum_counts_high_bytes_as_negative() {
        let mut block = [0; BLOCK_BYTES];
        block[0] = 0xff;
        assert_eq!(sums(&block), (255 + 8 * 32, 8 * 32 - 1));
        put_sum(&mut block);
        assert_eq!(&block[SUM], b"000777\0 ");
        assert_eq!(sums(&block), (255 + 8 * 32, 8 * 32 - 1));
    }
}
