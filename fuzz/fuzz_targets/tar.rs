//! Archives: no bytes make the reader panic, and what it yields the writer writes and it reads again.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use oxbox_layers::tar::{Entry, Kind, Reader, TarError, Writer};

/// Content taken of one file: a sparse one may claim to be as long as it likes.
const MAX_CONTENT_BYTES: u64 = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let _ = members(data);
    let members = members(&with_sums(data));
    let mut writer = Writer::new(Vec::new());
    for (entry, content) in &members {
        match writer.append(entry, &mut &content[..]) {
            Ok(()) => {}
            // Several extended headers before one entry may hold more than one may.
            Err(TarError::Limit { .. }) => return,
            Err(error) => panic!("{entry:?} was read and is not written: {error}"),
        }
    }
    let written = writer.finish().expect("every entry was written whole");
    assert_eq!(self::members(&written), members);
});

/// Mends the sum of every block, which a fuzzer would have to guess.
fn with_sums(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    for block in data.chunks_exact_mut(512).filter(|block| block.iter().any(|&byte| byte != 0)) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    data
}

/// Reads until the end or the first error. The root is left out, as it is never written.
fn members(data: &[u8]) -> Vec<(Entry, Vec<u8>)> {
    let mut members = Vec::new();
    let mut reader = Reader::new(data);
    while let Ok(Some(mut entry)) = reader.next() {
        assert!(!entry.path.starts_with(b"/") && !entry.path.ends_with(b"/"), "{entry:?}");
        assert!(entry.path.split(|&byte| byte == b'/').all(|component| component != b".."), "{entry:?}");
        let mut content = Vec::new();
        if reader.by_ref().take(MAX_CONTENT_BYTES).read_to_end(&mut content).is_err() {
            break;
        }
        if let Kind::File { size } = &mut entry.kind {
            assert!(content.len() as u64 == (*size).min(MAX_CONTENT_BYTES));
            *size = content.len() as u64;
        }
        if !entry.path.is_empty() {
            members.push((entry, content));
        }
    }
    members
}
