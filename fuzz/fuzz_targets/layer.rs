//! Layers: any bytes are decompressed, indexed and merged, or refused; what is packed reads back.
#![no_main]

use std::io::Read;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use oxbox_layers::compress::Decoder;
use oxbox_layers::stack::{Follow, LayerIndex, Stack};
use oxbox_layers::tar::limit::MAX_PATH_BYTES;

const MAX_BYTES: u64 = 4 << 20;

fuzz_target!(|data: &[u8]| {
    let mut tar = Vec::new();
    let decoder = Decoder::new(data).expect("memory can be read");
    if decoder.limit(MAX_BYTES).read_to_end(&mut tar).is_err() {
        assert!(tar.len() as u64 <= MAX_BYTES);
    }
    if let Ok(index) = LayerIndex::of_tar(&tar[..]) {
        let again = LayerIndex::from_bytes(index.as_bytes().to_vec()).expect("what is packed reads back");
        assert!(again == index);
        merge(index);
    }
    if let Ok(index) = LayerIndex::from_elsewhere(data.to_vec()) {
        assert!(index.iter().all(|one| one.entry.path.len() <= MAX_PATH_BYTES));
    }
    if let Ok(index) = LayerIndex::from_bytes(data.to_vec()) {
        merge(index);
    }
});

fn merge(index: LayerIndex) {
    let index = Arc::new(index);
    // Onto itself: whiteouts then have something to hide.
    let Ok(stack) = Stack::of(vec![Arc::clone(&index), index]) else { return };
    for found in stack.walk(b"") {
        let path = &found.entry.path;
        assert_eq!(stack.get(path).as_ref(), Some(&found));
        let _ = stack.resolve(path, Follow::Last);
        assert!(stack.children(path).count() <= stack.walk(path).count());
    }
}
