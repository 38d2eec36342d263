//! References and platforms: whatever parses prints to something that parses to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oxbox_layers::oci::{Platform, Reference, wire};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse::<Reference>().as_ref(), Ok(&reference));
        assert_eq!(reference.familiar().parse::<Reference>().as_ref(), Ok(&reference));
    }
    if let Ok(platform) = text.parse::<Platform>() {
        assert_eq!(platform.to_string().parse::<Platform>().as_ref(), Ok(&platform));
    }
    if let Some(path) = wire::Path::parse(text) {
        assert!(wire::Path::parse(&path.to_string()).is_some());
    }
});
