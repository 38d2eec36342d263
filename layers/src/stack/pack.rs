//! Numbers and byte strings, packed: LEB128, and a length before bytes.

/// Bytes that hold something else than was to be read.
#[derive(Debug)]
pub(super) struct Malformed {
    /// Position of the reader.
    pub(super) at: usize,
}

/// Writes a number, seven bits a byte, low ones first.
pub(super) fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Writes a signed number so that small ones stay short.
pub(super) fn put_signed(bytes: &mut Vec<u8>, number: i64) {
    put_number(bytes, ((number << 1) ^ (number >> 63)) as u64);
}

/// Writes a length and so many bytes.
pub(super) fn put_bytes(bytes: &mut Vec<u8>, text: &[u8]) {
    put_number(bytes, text.len() as u64);
    bytes.extend_from_slice(text);
}

/// Packed bytes, being read. No length is believed before the bytes are there.
pub(super) struct Packed<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Packed<'a> {
    pub(super) fn new(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.position == self.bytes.len()
    }

    pub(super) fn malformed(&self) -> Malformed {
        Malformed { at: self.position }
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.position).ok_or(self.malformed())?;
        self.position += 1;
        Ok(byte)
    }

    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.malformed())
    }

    pub(super) fn signed(&mut self) -> Result<i64, Malformed> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub(super) fn small(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.number()?).map_err(|_| self.malformed())
    }

    pub(super) fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.number()?).map_err(|_| self.malformed())
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let array = *self.bytes[self.position..].first_chunk().ok_or(self.malformed())?;
        self.position += N;
        Ok(array)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.length()?;
        let rest = &self.bytes[self.position..];
        let bytes = rest.get(..length).ok_or(self.malformed())?;
        self.position += length;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{Packed, put_bytes, put_number, put_signed};

    #[test]
    fn what_is_packed_is_read_back() {
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        let signed = [0, -1, 1, -64, 1_700_000_000, i64::MIN, i64::MAX];
        let mut bytes = Vec::new();
        numbers.iter().for_each(|&number| put_number(&mut bytes, number));
        signed.iter().for_each(|&number| put_signed(&mut bytes, number));
        put_bytes(&mut bytes, b"text");
        let mut packed = Packed::new(&bytes, 0);
        for number in numbers {
            assert_eq!(packed.number().unwrap(), number);
        }
        for number in signed {
            assert_eq!(packed.signed().unwrap(), number);
        }
        assert_eq!(packed.bytes().unwrap(), b"text");
        assert!(packed.is_at_end());
    }

    #[test]
    fn a_length_beyond_the_bytes_is_malformed() {
        let mut bytes = Vec::new();
        put_number(&mut bytes, u64::MAX);
        assert_eq!(Packed::new(&bytes, 0).bytes().unwrap_err().at, bytes.len());
        assert!(Packed::new(&[0xff; 11], 0).number().is_err());
        assert!(Packed::new(&[], 0).byte().is_err());
    }
}
