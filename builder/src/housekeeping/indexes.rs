//! Indexes of layers that nobody knows any more.

use std::collections::HashSet;
use std::path::Path;

use oxbox_layers::image::{Image, ImageError};
use oxbox_layers::oci::graph::successors;
use oxbox_layers::oci::{Descriptor, DiffId, Digest};
use oxbox_layers::store::{Layout, Sweep, read_document};

use super::{HousekeepingError, cache, list, remove};

/// Removes the indexes of layers that neither the cache nor an entry of the store knows; returns how many.
///
/// `gone` are entries of the store that do not count, and `forgotten` layers that do not: those that a dry
/// run would have taken.
pub fn sweep_indexes(
    state: &Path,
    store: &Layout,
    gone: &[Descriptor],
    forgotten: &[Digest],
    sweep: Sweep,
) -> Result<usize, HousekeepingError> {
    let files = list(&state.join("indexes"))?;
    if files.is_empty() {
        return Ok(0);
    }
    let mut known = listed(store, gone)?;
    if let Some(cache) = cache(state)? {
        let layers = cache.used_since(i64::MIN)?.into_iter();
        let remembered = layers.filter(|layer| !forgotten.contains(&layer.descriptor.digest));
        known.extend(remembered.map(|layer| layer.diff_id));
    }
    let mut swept = 0;
    for path in files {
        let goes = layer_of(&path).is_some_and(|layer| !known.contains(&layer));
        swept += usize::from(goes && remove(&path, sweep)?);
    }
    Ok(swept)
}

/// Returns the layers of all images that the store lists.
fn listed(store: &Layout, gone: &[Descriptor]) -> Result<HashSet<DiffId>, HousekeepingError> {
    let mut waiting: Vec<Descriptor> = store.entries()?.iter().cloned().collect();
    waiting.retain(|entry| gone.iter().all(|other| other.digest != entry.digest));
    let (mut seen, mut layers) = (HashSet::new(), HashSet::new());
    while let Some(descriptor) = waiting.pop() {
        if !seen.insert(descriptor.digest) {
            continue;
        }
        match Image::load(store, &descriptor) {
            Ok(image) => layers.extend(image.layers.iter().map(|layer| layer.diff_id)),
            Err(ImageError::Index { .. }) => {
                let index = read_document(store, &descriptor);
                waiting.extend(index.iter().flat_map(successors).map(|(_, child)| child.clone()));
            }
            Err(ImageError::Store(error)) => return Err(error.into()),
            // What is no image, or is damaged, has no layers that a build could stand on.
            Err(_) => {}
        }
    }
    Ok(layers)
}

/// Returns the layer that an index is of; `None` for a file that is not finished, which is a leftover's matter.
fn layer_of(path: &Path) -> Option<DiffId> {
    let name = path.file_name()?.to_str()?;
    ["sha256", "sha512"].iter().find_map(|algorithm| format!("{algorithm}:{name}").parse().ok()).map(DiffId)
}
