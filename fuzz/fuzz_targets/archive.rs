//! ADD: any bytes are decompressed and indexed within bounds, or refused; what is an archive has content.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use oxbox_builder::op::archive;
use oxbox_layers::stack::LayerIndex;

const MAX_BYTES: u64 = 4 << 20;

fuzz_target!(|data: &[u8]| {
    let is_archive = archive::is_archive(&mut &*data).is_ok_and(|is| is);
    let mut tar = Vec::new();
    let mut input = data;
    let mut reader = archive::decompressed(&mut input, MAX_BYTES).expect("memory can be read");
    let whole = reader.read_to_end(&mut tar);
    assert!(tar.len() as u64 <= MAX_BYTES);
    assert!(!is_archive || tar.len() >= 512);
    if whole.is_ok() {
        let _ = LayerIndex::of_tar(&tar[..]);
    }
});
