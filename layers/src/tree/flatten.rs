//! What a stack of trees shows, as one tree.

use std::os::fd::AsFd;

use rustix::fs::AtFlags;

use super::apply::{ApplyError, Entries};
use super::root::{Directories, Root, split};
use super::stack::{Stack, join};
use crate::tar::Kind;

/// Makes what a stack shows in an empty tree on the same file system: `entries` makes the directories, files
/// are linked. The stack's trees must not be written to as long as the new one is.
pub fn flatten(stack: &Stack, root: &Root, entries: &mut Entries<'_>) -> Result<(), ApplyError> {
    let mut opened: Vec<Directories> = stack.layers().iter().map(|_| Directories::default()).collect();
    let mut made = Directories::default();
    let mut waiting = vec![Vec::new()];
    while let Some(directory) = waiting.pop() {
        for name in stack.names(&directory)? {
            let path = join(&directory, &name);
            let Some((layer, found)) = stack.locate(&path)? else { continue };
            if found.entry.kind == Kind::Directory {
                entries.apply(&found.entry, &mut std::io::empty())?;
                waiting.push(path);
                continue;
            }
            let parent = split(&path).0;
            let from = opened[layer].get(&stack.layers()[layer], parent);
            let to = made.get(root, parent);
            from.and_then(|from| {
                rustix::fs::linkat(from.fd.as_fd(), &name[..], to?.fd.as_fd(), &name[..], AtFlags::empty())
            })
            .map_err(|error| root.error("link", &path, error))?;
        }
    }
    Ok(())
}
