/// Reads the document of a cache, with one layer of a name that all know; what can be read is written, and
/// is the same when it is read again.
///
/// Included where `Document`, `Descriptor` and `MediaType` are in scope.
fn exercise_cache(bytes: &[u8]) {
    let layers = [Descriptor::of(MediaType::OCI_LAYER_GZIP, b"layer")];
    let Ok(document) = Document::read(bytes, &layers) else { return };
    let (written, layers) = document.write();
    let layers: Vec<Descriptor> = layers.into_iter().map(|layer| layer.descriptor).collect();
    assert_eq!(Document::read(&written, &layers).expect("because it was just written"), document);
}
