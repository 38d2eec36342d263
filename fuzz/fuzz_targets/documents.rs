//! Manifests, indexes and configs: no bytes make the readers panic, and bytes are kept as they came.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oxbox_layers::oci::{Config, Document, Index, MediaType, Platform, Raw, graph};

fuzz_target!(|data: &[u8]| {
    for label in [None, Some(MediaType::OCI_MANIFEST), Some(MediaType::OCI_INDEX)] {
        let label = label.map(MediaType::from);
        if let Ok(document) = Document::parse(data.to_vec(), label.as_ref()) {
            assert_eq!(&document.bytes()[..], data);
            for (_, descriptor) in graph::successors(&document) {
                let _ = descriptor.inlined();
            }
            let _ = document.subject();
        }
    }
    if let Ok(index) = Raw::<Index>::parse(data.to_vec(), MediaType::OCI_INDEX.into()) {
        let _ = index.select(&Platform::host());
        // A number beyond every float can be skipped by a view and not be edited: an error, no panic.
        if let Ok(edited) = index.edit(|_| {}) {
            assert_eq!(edited.view(), index.view());
        }
    }
    if let Ok(config) = Raw::<Config>::parse(data.to_vec(), MediaType::OCI_CONFIG.into()) {
        let written = Raw::write(config.view().clone(), MediaType::OCI_CONFIG);
        let again = Raw::<Config>::parse(written.bytes().clone(), MediaType::OCI_CONFIG.into());
        assert_eq!(again.expect("what is written parses").view(), config.view());
    }
});
