//! Symbolic links followed beneath the root of the merged tree, as the kernel would in a chroot.

use std::sync::Arc;

use super::index::LayerIndex;
use super::tree::{Key, Shape, Tree, join, parent, path};
use super::{Follow, StackError};
use crate::tar::Kind;

/// As many links as the kernel follows for one path; more could not be used by any program.
const MAX_LINKS: usize = 40;

/// Returns the key of what `wanted` names. What is missing is taken as it is written, so that the
/// key may be of something that is still to be made.
pub(super) fn resolve(
    tree: &Tree,
    layers: &[Arc<LayerIndex>],
    wanted: &[u8],
    follow: Follow,
) -> Result<Key, StackError> {
    let mut resolved = Key::new();
    let mut links = 0;
    // What is still to be walked, the next component last.
    let mut ahead = components(wanted);
    while let Some(component) = ahead.pop() {
        if component == b".." {
            resolved.truncate(parent(&resolved).len());
            continue;
        }
        let next = join(&resolved, &component);
        match tree.get(&next).map(|node| (node.shape, node.place)) {
            Some((Shape::Symlink, place)) if !ahead.is_empty() || follow == Follow::Last => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(StackError::TooManyLinks { path: wanted.to_vec(), limit: MAX_LINKS });
                }
                let Some(record) = place.record else { continue };
                let link = layers[place.layer as usize].indexed(b"", record).entry.kind;
                let Kind::Symlink { target } = link else { continue };
                if target.starts_with(b"/") {
                    resolved.clear();
                }
                ahead.extend(components(&target));
            }
            Some((Shape::Other, _)) if !ahead.is_empty() => {
                return Err(StackError::NotADirectory { path: path(&next) });
            }
            _ => resolved = next,
        }
    }
    Ok(resolved)
}

/// Returns a path's components, the first one last, without those that go nowhere.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let goes = |component: &&[u8]| !matches!(*component, b"" | b".");
    path.split(|&byte| byte == b'/').filter(goes).map(<[u8]>::to_vec).rev().collect()
}
