//! Digests: whatever parses prints back to the same text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oxbox_layers::oci::Digest;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
});
