//! What the fields of a header say, whichever tool wrote them.

use super::block::{
    self, Block, GNU_ATIME, GNU_CTIME, GNU_MAGIC, LINK, MAGIC, MAJOR, MINOR, NAME, PREFIX, SUM, text,
};
use super::error::TarError;
use super::limit::MAX_LINK_BYTES;
use super::path;
use super::pax::Records;

pub(super) fn verify_sum(block: &Block, offset: u64) -> Result<(), TarError> {
    let stated = signed("header's sum", &block[SUM], offset)?;
    let (unsigned, signed) = block::sums(block);
    if stated == unsigned as i64 || stated == signed {
        return Ok(());
    }
    Err(TarError::Checksum { offset, stated: stated.unsigned_abs(), computed: unsigned })
}

pub(super) fn signed(name: &'static str, bytes: &[u8], offset: u64) -> Result<i64, TarError> {
    block::number(bytes).ok_or_else(|| TarError::Number { offset, field: name, text: bytes.to_vec() })
}

pub(super) fn field(name: &'static str, bytes: &[u8], offset: u64) -> Result<u64, TarError> {
    let number = block::number(bytes).and_then(|number| u64::try_from(number).ok());
    number.ok_or_else(|| TarError::Number { offset, field: name, text: bytes.to_vec() })
}

pub(super) fn header_path(block: &Block) -> Vec<u8> {
    let name = text(&block[NAME]);
    let has_prefix = match &block[MAGIC] {
        // Go before 1.8 wrote a prefix under GNU's magic, where two times belong.
        magic if magic == GNU_MAGIC => {
            block::number(&block[GNU_ATIME]).is_none() || block::number(&block[GNU_CTIME]).is_none()
        }
        magic => magic.starts_with(b"ustar"),
    };
    let prefix = if has_prefix { text(&block[PREFIX]) } else { b"" };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

fn link_text(block: &Block, link: Option<Vec<u8>>) -> Vec<u8> {
    link.unwrap_or_else(|| text(&block[LINK]).to_vec())
}

pub(super) fn hardlink_target(
    block: &Block,
    offset: u64,
    path: &[u8],
    link: Option<Vec<u8>>,
) -> Result<Vec<u8>, TarError> {
    let target = path::normalise(&link_text(block, link), offset)?;
    if target.is_empty() { Err(TarError::EmptyLink { path: path.to_vec() }) } else { Ok(target) }
}

pub(super) fn symlink_target(
    block: &Block,
    offset: u64,
    path: &[u8],
    link: Option<Vec<u8>>,
) -> Result<Vec<u8>, TarError> {
    let target = link_text(block, link);
    if target.is_empty() {
        return Err(TarError::EmptyLink { path: path.to_vec() });
    }
    if target.len() > MAX_LINK_BYTES {
        let (size, limit) = (target.len() as u64, MAX_LINK_BYTES as u64);
        return Err(TarError::Limit { what: "link", offset, size, limit });
    }
    Ok(target)
}

pub(super) fn device(block: &Block, offset: u64, records: &Records) -> Result<(u32, u32), TarError> {
    let number = |record: Option<u32>, bytes: &[u8]| match record {
        Some(number) => Ok(number),
        None => {
            let number = u32::try_from(field("device number", bytes, offset)?);
            number.map_err(|_| TarError::Number { offset, field: "device number", text: bytes.to_vec() })
        }
    };
    Ok((number(records.major, &block[MAJOR])?, number(records.minor, &block[MINOR])?))
}
